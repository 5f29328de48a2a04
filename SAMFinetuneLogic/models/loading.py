"""``load_model``: a model of the catalogue or a checkpoint file, ready to encode slices on the best device."""

from dataclasses import replace
from pathlib import Path

from SAMFinetuneLogic.errors import ModelError
from SAMFinetuneLogic.files import sha256_of
from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID, Backbone, ModelEntry, load_catalogue
from SAMFinetuneLogic.models.checkpoints import OpenedCheckpoint, open_checkpoint
from SAMFinetuneLogic.models.device import choose_device, choose_precision, gains_from_half_on_cpu
from SAMFinetuneLogic.models.fast_attention import use_folded_attention
from SAMFinetuneLogic.models.loaded_model import LoadedModel
from SAMFinetuneLogic.models.preprocessing_rule import SAM_PREPROCESSING, Preprocessing
from SAMFinetuneLogic.models.store import ModelStore

__all__ = ["LoadedModel", "load_model"]


def load_model(
    id_or_path: str | Path = DEFAULT_MODEL_ID,
    device: str = "auto",
    precision: str = "auto",
    folder: Path | None = None,
) -> LoadedModel:
    """Load a model. Nothing is downloaded.

    Args:
        id_or_path: an id of the catalogue, or a checkpoint file, whose layout is recognised. A file with the hash of
            a catalogue entry is treated as that entry; any other gets SAM's preprocessing, with a warning.
        device: "auto" (CUDA, else MPS, else CPU), "cpu", "cuda", "cuda:N" or "mps".
        precision: of the image encoder: "auto" takes bf16 or fp16 where the device gains by it; or "fp32", ...
        folder: the model folder, instead of the default one.

    Raises:
        ModelError: the model is unknown, not on this machine, damaged, or of another kind; or there is no such device.
    """
    torch_device = choose_device(device)
    catalogue = load_catalogue()
    if str(id_or_path) in catalogue:
        entry = catalogue[str(id_or_path)]
        path, sha256 = _checked_file(entry, ModelStore(folder))
        opened = open_checkpoint(path, entry.backbone)
        notes: list[str] = []
    else:
        path = Path(id_or_path).expanduser()
        if not path.exists():
            raise ModelError(
                f"'{id_or_path}' is neither a model nor a file: choose one of {', '.join(catalogue)}, "
                "or give the path of a checkpoint."
            )
        opened = open_checkpoint(path)
        sha256 = sha256_of(path)
        entry, notes = _entry_of_file(path, sha256, opened.backbone)
    entry = _with_own_preprocessing(entry, opened)
    opened.network.requires_grad_(False)
    use_folded_attention(opened.network.image_encoder)
    chosen = choose_precision(torch_device, precision, gains_from_half_on_cpu(entry.backbone))
    return LoadedModel(opened.network, entry, sha256, torch_device, chosen, notes)


def _checked_file(entry: ModelEntry, store: ModelStore) -> tuple[Path, str]:
    """The model's file and its hash, which must be the expected one."""
    if entry.encoder_only:
        raise ModelError(
            f"'{entry.id}' is an image encoder without a mask decoder, which cannot answer prompts: "
            "use it as a starting point for fine-tuning, or choose another model."
        )
    verification = store.verify(entry.id)
    if not verification.ok:
        raise ModelError(
            f"{verification.path} is not the file that '{entry.id}' needs (its SHA-256 differs): "
            f"run 'samfinetune models remove {entry.id}' (or delete the file) and get it again."
        )
    return verification.path, verification.sha256


def _entry_of_file(path: Path, sha256: str, backbone: Backbone) -> tuple[ModelEntry, list[str]]:
    """The catalogue entry that a file is, or one made up for it, and what the user should know."""
    for entry in load_catalogue().values():
        if entry.sha256 == sha256:
            return entry, []
    preprocessing, assumed = SAM_PREPROCESSING, "SAM's"
    if backbone in ("vit_t_256", "compact"):
        like = next(entry for entry in load_catalogue().values() if entry.backbone == backbone)
        preprocessing, assumed = like.preprocessing, f"{like.title}'s"
    entry = ModelEntry(
        id=path.stem,
        title=path.name,
        backbone=backbone,
        url=None,
        filename=path.name,
        bytes=path.stat().st_size,
        sha256=sha256,
        licence="unknown",
        licence_note="A file of the user's.",
        non_commercial=False,
        source="a file of the user's",
        preprocessing=preprocessing,
        prompts=("point", "box", "mask"),
        multimask=True,
        single_mask_first=backbone == "compact",
        import_only=True,
    )
    return entry, [f"{path.name} is not in the catalogue: {assumed} preprocessing is assumed."]


def _with_own_preprocessing(entry: ModelEntry, opened: OpenedCheckpoint) -> ModelEntry:
    """Our own checkpoints may state their preprocessing; those of the compact model state at least the input size."""
    stated = opened.metadata.get("preprocessing")
    if stated is not None:
        return replace(entry, preprocessing=Preprocessing(**stated))
    if opened.backbone != "compact":
        return entry
    size = int(opened.metadata["config"]["size"])
    return replace(entry, preprocessing=replace(entry.preprocessing, size=size))
