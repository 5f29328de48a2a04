"""What the inference process is asked to load."""

from pathlib import Path

from SAMFinetuneLib.preferences import Preferences
from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.models.store import ModelStore
from SAMFinetuneLogic.worker.requests import ModelChoice


def model_choice(model: str, preferences: Preferences, adapter: Path | None) -> ModelChoice:
    """A model of the catalogue with or without an adapter, from the offline folder if it lies there.

    Raises:
        ModelError: its file is not on this computer.
    """
    stored = ModelStore(by_hand=preferences.model_folder).locate(model)
    entry = stored.entry
    if stored.path is None and not entry.builtin:
        how = "put" if entry.import_only else "press Download under Input, or put"
        where = f"{entry.filename} into the offline folder"
        raise ModelError(f"The file of the model {entry.title} is not on this computer: {how} {where}.")
    return ModelChoice(
        model=model,
        device=preferences.device,
        folder=stored.path.parent if stored.path is not None and stored.origin == "by hand" else None,
        adapter=adapter,
        cache_mb=preferences.cache_limit_mb,
    )
