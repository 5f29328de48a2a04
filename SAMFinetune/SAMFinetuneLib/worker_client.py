"""The client of the inference process, as Slicer starts it."""

from SAMFinetuneLogic.worker.interface import InferenceClient


def make_client() -> InferenceClient:
    """A client whose process starts with the first question."""
    from SAMFinetuneLogic.worker.client import RemoteClient  # brings scipy, too slow for opening the module

    return RemoteClient()
