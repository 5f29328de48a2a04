"""Go on training a model's image encoder on images without labels, by masked auto-encoding.

The result is a new base, model.safetensors in the job's folder, for --model of `finetune`. Its decoder has not followed
the encoder: use it as a base, not as it is. The job's folder holds image slices: treat it as you treat the images.
"""

import argparse
from pathlib import Path

from SAMFinetuneLogic.cli.arguments import positive, seed
from SAMFinetuneLogic.cli.image_files import image_files
from SAMFinetuneLogic.cli.jobs import begin
from SAMFinetuneLogic.cli.reporting import add_reporting_arguments, notice
from SAMFinetuneLogic.files import absolute_if_file
from SAMFinetuneLogic.wording import counted, some_slices


def add_arguments(parser: argparse.ArgumentParser) -> None:
    from SAMFinetuneLogic.models.catalogue import DEFAULT_MODEL_ID

    parser.add_argument("images", type=Path, nargs="+", metavar="IMAGE", help="files, or folders with files or DICOM")
    parser.add_argument("--job", type=Path, required=True, metavar="FOLDER", help="where all of it goes; a new folder")
    parser.add_argument("--axis", default="k", help="of the slices: i, j, k, axial, coronal or sagittal (default: k)")
    parser.add_argument("--window", default="auto", metavar="NAME|LEVEL/WIDTH", help="intensity window (default: auto)")
    parser.add_argument("--model", default=DEFAULT_MODEL_ID, metavar="ID|FILE", help=f"(default: {DEFAULT_MODEL_ID})")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:N or mps (default: auto)")
    parser.add_argument("--steps", type=positive, default=400, metavar="N", help="of training (default: 400)")
    parser.add_argument("--batch", type=positive, default=8, metavar="N", help="slices a step (default: 8)")
    parser.add_argument(
        "--mask-ratio", type=float, default=0.75, metavar="SHARE", help="that is hidden (default: 0.75)"
    )
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="the same seed gives the same encoder (default: 0)"
    )
    parser.add_argument("--detach", action="store_true", help="return at once; see 'samfinetune jobs'")
    add_reporting_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    from SAMFinetuneLogic.jobs.folder import JobFolder

    JobFolder(arguments.job).check_free()

    from SAMFinetuneLogic.finetuning.labelled_slices import joined
    from SAMFinetuneLogic.finetuning.selfsupervised import PretrainSettings, unlabelled_slices
    from SAMFinetuneLogic.imaging.axes import resolve_axis
    from SAMFinetuneLogic.imaging.reading import read_image
    from SAMFinetuneLogic.imaging.windows import choose_window
    from SAMFinetuneLogic.jobs.creating import create_pretrain_job
    from SAMFinetuneLogic.models.loading import load_model

    parts = []
    for path in [file for given in arguments.images for file in _files(given)]:
        volume = read_image(path)
        axis = resolve_axis(arguments.axis, volume.ijk_to_ras)
        parts.append(unlabelled_slices(volume, choose_window(volume, arguments.window), axis))
    settings = PretrainSettings(
        steps=arguments.steps,
        epoch_steps=min(25, max(1, arguments.steps // 4)),  # a short run shows where it goes, too
        batch=arguments.batch,
        mask_ratio=arguments.mask_ratio,
        warmup=min(40, arguments.steps // 4),
        seed=arguments.seed,
    )
    model = load_model(arguments.model, arguments.device)
    named = absolute_if_file(arguments.model)
    folder = create_pretrain_job(arguments.job, joined(parts), named, model.weights_sha256, settings, arguments.device)
    notice(f"{some_slices(sum(len(part.slices) for part in parts))}; {counted(settings.steps, 'step')}.", arguments)
    del model
    return begin(folder, arguments)


def _files(given: Path) -> list[Path]:
    """The files of a folder; a folder of DICOM is an image by itself."""
    return (image_files(given) if given.is_dir() else []) or [given]
