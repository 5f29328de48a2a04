"""`python -m SAMFinetuneLogic.cli` is the `samfinetune` command."""

import sys

from SAMFinetuneLogic.cli.main import main

sys.exit(main())
