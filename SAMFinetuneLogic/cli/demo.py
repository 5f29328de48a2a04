"""Make a phantom abdomen CT, segment it from a few prompts, and say how well that went.

It writes the phantom, its truth, the prompts, the segmentation with its JSON file, and a picture. Dice is measured
against the truth on the slices that the prompts ask for.
"""

import argparse
from pathlib import Path

from SAMFinetuneLogic.cli.arguments import seed
from SAMFinetuneLogic.cli.model_choice import load_chosen_model
from SAMFinetuneLogic.cli.reporting import add_reporting_arguments
from SAMFinetuneLogic.cli.segment import add_model_arguments, report
from SAMFinetuneLogic.cli.targets import add_overwrite_argument
from SAMFinetuneLogic.files import check_target

FILES = {
    "image": "phantom.nii.gz",
    "truth": "phantom_truth.nii.gz",
    "truth_sidecar": "phantom_truth.json",
    "prompts": "phantom_prompts.json",
    "segmentation": "phantom_segmentation.nii.gz",
    "segmentation_sidecar": "phantom_segmentation.json",
    "picture": "phantom_segmentation.png",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folder", type=Path, default=Path(), help="where to write (default: the current folder)")
    parser.add_argument(
        "--seed", type=seed, default=0, metavar="N", help="another number gives another phantom (default: 0)"
    )
    add_model_arguments(parser)
    add_overwrite_argument(parser)
    add_reporting_arguments(parser)


def run(arguments: argparse.Namespace) -> int:
    paths = {what: arguments.folder / name for what, name in FILES.items()}
    for path in paths.values():
        check_target(path, arguments.overwrite)

    from SAMFinetuneLogic.cli.pipeline import Request, segment_to_files
    from SAMFinetuneLogic.imaging.labels import LabelMap
    from SAMFinetuneLogic.imaging.reading import read_image
    from SAMFinetuneLogic.imaging.writing import write_label_map
    from SAMFinetuneLogic.prompting.prompt_files import read_prompts, write_prompts
    from SAMFinetuneLogic.synthetic.phantom import make_phantom
    from SAMFinetuneLogic.synthetic.phantom_files import write_volume
    from SAMFinetuneLogic.synthetic.phantom_prompts import phantom_prompts

    model = load_chosen_model(arguments)
    phantom = make_phantom(arguments.seed)
    write_volume(paths["image"], phantom.volume, arguments.overwrite)
    write_label_map(paths["truth"], phantom.truth, {"phantom_seed": arguments.seed}, arguments.overwrite)
    write_prompts(paths["prompts"], phantom_prompts(phantom), arguments.overwrite)
    # From here on as for any other image: from the files.
    volume = read_image(paths["image"])
    request = Request(
        prompts=read_prompts(paths["prompts"]),
        out=paths["segmentation"],
        picture=paths["picture"],
        axis=None,
        window="auto",
        model=model,
        truth=LabelMap(phantom.truth.voxels, volume.ijk_to_ras, phantom.truth.segments),
    )
    result = segment_to_files(volume, request, arguments)
    result["files"] = [str(path) for path in paths.values()]
    report(result, arguments)
    return 0
