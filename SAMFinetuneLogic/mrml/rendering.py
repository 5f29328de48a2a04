"""No half-finished picture while several nodes change."""

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import slicer


def paused_rendering() -> AbstractContextManager[Any]:
    """Slicer's render blocker; nothing where there is no application that could render."""
    return slicer.util.RenderBlocker() if hasattr(slicer, "app") else nullcontext()
