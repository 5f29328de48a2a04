"""``python -m SAMFinetuneLogic.worker``: started by the client, which hands over port and key on standard input."""

import faulthandler
import json
import secrets
import sys
import threading

from SAMFinetuneLogic.worker.link import connect
from SAMFinetuneLogic.worker.server import Server, end_process


def _end_with_parent() -> None:
    """Standard input closes when the parent ends, however it does."""
    try:
        while sys.stdin.buffer.read(1):
            pass
    finally:
        end_process(0)


def main() -> None:
    """Serve the process that started this one."""
    faulthandler.enable()
    line = sys.stdin.buffer.readline()
    if not line.strip():
        sys.exit("This process is started by SAMFinetune itself.")
    facts = json.loads(line)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        connection = connect(int(facts["port"]), bytes.fromhex(facts["key"]), secrets.token_bytes(32))
    except OSError as error:
        sys.exit(f"The client cannot be reached: {error}")
    Server(connection).run()


if __name__ == "__main__":
    main()
