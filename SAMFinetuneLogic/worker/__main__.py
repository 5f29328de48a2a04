"""``python -m SAMFinetuneLogic.worker``: started by the client, which hands over port and key on standard input."""

import faulthandler
import json
import secrets
import sys

from SAMFinetuneLogic.priority import ASSISTANT, lower_priority
from SAMFinetuneLogic.worker.link import connect
from SAMFinetuneLogic.worker.parent_watch import end_with_parent
from SAMFinetuneLogic.worker.server import Server, end_process


def main() -> None:
    """Serve the process that started this one."""
    faulthandler.enable()
    line = sys.stdin.buffer.readline()
    if not line.strip():
        sys.exit("This process is started by SAMFinetune itself.")
    facts = json.loads(line)
    lower_priority(ASSISTANT)
    end_with_parent(lambda: end_process(0))
    try:
        connection = connect(int(facts["port"]), bytes.fromhex(facts["key"]), secrets.token_bytes(32))
    except OSError as error:
        sys.exit(f"The client cannot be reached: {error}")
    Server(connection).run()


if __name__ == "__main__":
    main()
