"""Teach a structure from a few labelled slices, and find it on the slices of other images, without clicks.

fit    collects labelled slices in a file (a collection) and fits the few-shot decoder to all that it holds. What the
       source paper's abstract leaves open is this project's reconstruction, and an option where there are others
apply  segments the slices of an image with it; without a fitted decoder, by similarity to the labelled slices
show   lists what a collection holds

A collection contains image slices: treat it as you treat the images.
"""

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from SAMFinetuneLogic.cli.arguments import positive, seed, slice_numbers
from SAMFinetuneLogic.cli.image_choice import add_image_choice, read_chosen_image
from SAMFinetuneLogic.cli.model_choice import load_chosen_model
from SAMFinetuneLogic.cli.pairs import add_pair_arguments, check_pairs, read_pairs
from SAMFinetuneLogic.cli.reporting import add_reporting_arguments, notice, print_json, progress_bar
from SAMFinetuneLogic.cli.segment import add_model_arguments
from SAMFinetuneLogic.cli.targets import (
    add_overwrite_argument,
    check_label_map_target,
    check_picture_target,
)
from SAMFinetuneLogic.errors import InputError, ModelError
from SAMFinetuneLogic.files import check_target
from SAMFinetuneLogic.wording import some_slices

if TYPE_CHECKING:
    from SAMFinetuneLogic.fewshot.application import TaughtModel
    from SAMFinetuneLogic.fewshot.collection import SupportCollection
    from SAMFinetuneLogic.fewshot.collection_files import OpenedCollection
    from SAMFinetuneLogic.models.loaded_model import LoadedModel


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(metavar="ACTION", required=True)
    _add_fit(actions.add_parser("fit", help="collect labelled slices and fit the decoder", allow_abbrev=False))
    _add_apply(actions.add_parser("apply", help="segment an image", allow_abbrev=False))
    _add_show(actions.add_parser("show", help="list what a collection holds", allow_abbrev=False))


def run(arguments: argparse.Namespace) -> int:
    return int(arguments.action(arguments))


def _add_fit(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_fit)
    parser.add_argument("collection", type=Path, metavar="COLLECTION", help="made if it is not there: .safetensors")
    add_pair_arguments(parser, required=False, unnamed="five equally spaced ones with labels", axis="axial")
    parser.add_argument("--merge", type=Path, action="append", default=[], metavar="FILE", help="take in a collection")
    parser.add_argument("--reencode", action="store_true", help="make an older collection fit the model")
    parser.add_argument("--no-training", action="store_true", help="only collect; a decoder fitted earlier is dropped")
    parser.add_argument("--fresh", action="store_true", help="forget the decoder that was fitted earlier")
    _add_settings(parser.add_argument_group("training"))
    add_model_arguments(parser)
    add_reporting_arguments(parser)


def _add_settings(group: Any) -> None:
    from SAMFinetuneLogic.fewshot.settings import FitSettings

    default = FitSettings()
    group.add_argument(
        "--targets",
        choices=("mean", "slices", "components", "prototypes"),
        default=default.targets,
        help="embeddings that become tokens: one a class, one for each slice, for each connected part, or for each "
        f"centre of k-means (default: {default.targets})",
    )
    group.add_argument(
        "--dense",
        choices=("none", "prototypes", "classifier"),
        default=default.dense,
        help="first guess beside the tokens: none, by similarity to prototypes, or by logistic regression (default: "
        f"{default.dense})",
    )
    group.add_argument(
        "--background",
        choices=("softmax", "sigmoid"),
        default=default.background,
        help=f"classes exclude each other, or each is decided on its own (default: {default.background})",
    )
    group.add_argument(
        "--purpose",
        choices=("other_images", "same_images"),
        default="other_images",
        help="whether other images are segmented, or more slices of the labelled ones (default: other_images)",
    )
    group.add_argument(
        "--mirror",
        choices=("auto", "always", "never"),
        default=default.mirror,
        help="look at the mirror images of other images' slices, too: they are encoded twice "
        "(default: auto, with the default model only)",
    )
    group.add_argument(
        "--steps",
        type=positive,
        metavar="N",
        help=f"of training (default: {default.steps}, or {default.warm_steps} to continue a decoder fitted earlier)",
    )
    group.add_argument(
        "--option",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="change another choice, as blind=0.3 or patience=8; may be given several times",
    )
    group.add_argument("--augmentations", type=int, default=default.augmentations, metavar="N", help="of each slice")
    group.add_argument("--flips", action="store_true", help="also mirrored; not where left and right matter")
    group.add_argument("--seed", type=seed, default=default.seed, metavar="N", help=f"(default: {default.seed})")


def _add_apply(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_apply)
    parser.add_argument("collection", type=Path, metavar="COLLECTION")
    parser.add_argument("image", type=Path, metavar="IMAGE")
    parser.add_argument("out", type=Path, metavar="OUT", help="the result, .nii.gz or .nii")
    parser.add_argument(
        "--training-free",
        action="store_true",
        help="by similarity to the labelled slices, also where a decoder is fitted",
    )
    add_image_choice(parser.add_argument_group("image"))
    parser.add_argument("--slices", type=slice_numbers, metavar="3,17,40", help="only these (default: all)")
    parser.add_argument("--axis", help="of the slices (default: the collection's plane)")
    parser.add_argument("--window", metavar="NAME|LEVEL/WIDTH", help="intensity window (default: the collection's)")
    add_model_arguments(parser)
    add_overwrite_argument(parser)
    add_reporting_arguments(parser)


def _add_show(parser: argparse.ArgumentParser) -> None:
    parser.set_defaults(action=_show)
    parser.add_argument("collection", type=Path, metavar="COLLECTION")
    parser.add_argument("--picture", type=Path, metavar="OUT.png", help="also draw the slices")
    add_overwrite_argument(parser)
    add_reporting_arguments(parser)


def _fit(arguments: argparse.Namespace) -> int:
    path: Path = arguments.collection
    check_pairs(arguments)
    if not arguments.pair and not arguments.merge and not path.exists():
        raise InputError(f"There is no collection {path}, and nothing to make it of: give --pair IMAGE LABELS.")

    from SAMFinetuneLogic.fewshot.collection_files import SUFFIX, save_collection
    from SAMFinetuneLogic.fewshot.fitting import fit
    from SAMFinetuneLogic.fewshot.setting_options import parse_settings
    from SAMFinetuneLogic.fewshot.settings import FitSettings

    if path.suffix.lower() != SUFFIX:
        raise InputError(f"Collections are written as {SUFFIX}, not as {path.name}; end the name in {SUFFIX}.")
    check_target(path, overwrite=True)
    default = FitSettings()
    settings = FitSettings(
        targets=arguments.targets,
        dense=arguments.dense,
        background=arguments.background,
        purpose=arguments.purpose,
        mirror=arguments.mirror,
        steps=arguments.steps or default.steps,
        warm_steps=arguments.steps or default.warm_steps,
        augmentations=arguments.augmentations,
        flips=arguments.flips,
        seed=arguments.seed,
        **parse_settings(arguments.option, arguments.targets, arguments.dense),
    )
    model = load_chosen_model(arguments)
    collection, opened = _gather(arguments, model)
    if arguments.no_training:
        save_collection(path, collection)
        return _report_collected(path, collection, arguments)
    start = None
    if opened is not None and not arguments.fresh and not arguments.reencode:
        start = opened.fitted(model)
        # Another reading of the paper is another decoder: what was learned before is of no use to it.
        if start is not None and _shape_of(start.settings) != _shape_of(settings):
            start = None
    with progress_bar(model.description, arguments, unit="step") as progress:
        fitted = fit(collection, model, settings, start, progress=progress)
    save_collection(path, collection, fitted)
    for text in model.warnings:
        notice(f"Note: {text}", arguments)
    record = fitted.record
    result = {**_description(path, collection), "fit": record.to_dict()}
    if arguments.json:
        print_json(result)
        return 0
    held = f", held-out Dice {max(dice for _, dice in record.held_out_dice):.3f}" if record.held_out_dice else ""
    kind = "continued for" if record.warm else "fitted in"
    print(f"{some_slices(len(collection.slices))}, {kind} {record.steps} steps, {sum(record.seconds):.1f} s{held}")
    print(path)
    return 0


def _report_collected(path: Path, collection: "SupportCollection", arguments: argparse.Namespace) -> int:
    if arguments.json:
        print_json({**_description(path, collection), "fit": None})
        return 0
    print(f"{some_slices(len(collection.slices))}, no decoder fitted")
    print(path)
    return 0


def _shape_of(settings: Any) -> tuple[object, ...]:
    return settings.targets, settings.dense, settings.background, settings.anchored, settings.blind


def _gather(arguments: argparse.Namespace, model: "LoadedModel") -> "tuple[SupportCollection, OpenedCollection | None]":
    """The collection of the file, with what is merged into it and the new slices; and what the file held."""
    from SAMFinetuneLogic.fewshot.collection import SupportCollection, SupportModel, add_slices, check_model, merge
    from SAMFinetuneLogic.fewshot.collection_files import load_collection
    from SAMFinetuneLogic.fewshot.labelling import label_slices, reencode, slices_to_label
    from SAMFinetuneLogic.fewshot.planes import Plane

    def current(found: SupportCollection) -> SupportCollection:
        if arguments.reencode:
            return reencode(found, model)
        with _options_named(found, " To encode it again: --reencode."):
            check_model(found, model)
        return found

    opened = load_collection(arguments.collection) if arguments.collection.exists() else None
    collection = SupportCollection(SupportModel.of(model)) if opened is None else current(opened.collection)
    for path in arguments.merge:
        collection = merge(collection, current(load_collection(path).collection))
    for pair in read_pairs(arguments):
        indices = slices_to_label(pair.labels, pair.axis) if pair.indices is None else pair.indices
        slices = label_slices(Plane.of(pair.volume, pair.axis, pair.window), pair.labels, indices, model)
        collection = add_slices(collection, pair.labels.segments, slices)
    return collection, opened


@contextmanager
def _options_named(collection: "SupportCollection", otherwise: str = "") -> Iterator[None]:
    """Within it, the refusal of a model names the options that help."""
    try:
        yield
    except ModelError as error:
        raise ModelError(f"{error} Its model: --model {collection.model.id}, and its --adapter.{otherwise}") from error


def _apply(arguments: argparse.Namespace) -> int:
    check_label_map_target(arguments.out, arguments.overwrite, [arguments.image, arguments.collection])

    from SAMFinetuneLogic.fewshot.application import apply_to_volume
    from SAMFinetuneLogic.fewshot.collection_files import load_collection
    from SAMFinetuneLogic.fewshot.training_free import TrainingFreeModel
    from SAMFinetuneLogic.imaging.writing import write_label_map

    opened = load_collection(arguments.collection)
    volume = read_chosen_image(arguments.image, arguments)
    model = load_chosen_model(arguments)
    with _options_named(opened.collection):
        taught: TaughtModel | None = None if arguments.training_free else opened.fitted(model)
        method = "fewshot" if taught is not None else "fewshot, training-free"
        taught = taught or TrainingFreeModel.of(opened.collection, model)
    if method != "fewshot" and not arguments.training_free:
        notice("Note: no decoder is fitted; the slices are segmented without training.", arguments)
    with progress_bar(model.description, arguments) as progress:
        found = apply_to_volume(
            taught, volume, model, arguments.axis, arguments.window, arguments.slices, progress=progress
        )
    provenance = {
        "method": method,
        "image": {"name": volume.name, "shape_kji": list(volume.shape)},
        "model": model.provenance,
        "axis": found.axis,
        "window": found.window.to_dict(),
        "support_slices": len(opened.collection.slices),
    }
    sidecar = write_label_map(arguments.out, found.labels, provenance, arguments.overwrite)
    for text in model.warnings:
        notice(f"Note: {text}", arguments)
    segments: list[dict[str, Any]] = []
    for segment in found.labels.segments:
        scores = [entry for entry in found.slices if entry.value == segment.value and entry.pixels]
        mean = round(sum(entry.confidence for entry in scores) / len(scores), 4) if scores else None
        voxels = sum(entry.pixels for entry in scores)
        segments.append(
            {"value": segment.value, "name": segment.name, "voxels": voxels, "slices": len(scores), "confidence": mean}
        )
    if arguments.json:
        print_json({"output": str(arguments.out), "method": method, "axis": found.axis, "segments": segments})
        return 0
    for entry in segments:
        sure = "" if entry["confidence"] is None else f", mean confidence {entry['confidence']:.2f}"
        print(f"{entry['name']}: {entry['voxels']} voxels on {some_slices(entry['slices'])}{sure}")
    print(arguments.out)
    print(sidecar)
    return 0


def _show(arguments: argparse.Namespace) -> int:
    if arguments.picture is not None:
        check_picture_target(arguments.picture, arguments.overwrite, [arguments.collection])

    from SAMFinetuneLogic.fewshot.collection_files import load_collection
    from SAMFinetuneLogic.fewshot.preview import collection_picture
    from SAMFinetuneLogic.pictures.sheet import save_picture

    opened = load_collection(arguments.collection)
    collection = opened.collection
    if arguments.picture is not None:
        save_picture(collection_picture(collection), arguments.picture, arguments.overwrite)
    description = _description(arguments.collection, collection)
    if arguments.json:
        print_json({**description, "fit": None if opened.fit is None else opened.fit["record"]})
        return 0
    print(f"{collection.model.title} ({collection.model.encoder[:8]}), window {collection.window_name}")
    for segment in collection.classes:
        print(f"{segment.value}: {segment.name}, on {some_slices(len(collection.labelled(segment.value)))}")
    for entry in collection.slices:
        values = [segment.name for segment in collection.classes if (entry.labels == segment.value).any()]
        print(f"{entry.title}: {', '.join(values) or 'negative'}")
    if opened.fit is None:
        print("No decoder is fitted.")
    else:
        print(f"A decoder is fitted to {some_slices(len(opened.fit['record']['slices']))}.")
    if arguments.picture is not None:
        print(arguments.picture)
    return 0


def _description(path: Path, collection: "SupportCollection") -> dict[str, Any]:
    return {
        "collection": str(path),
        "model": {"id": collection.model.id, "encoder": collection.model.encoder},
        "classes": [
            {"value": s.value, "name": s.name, "slices": len(collection.labelled(s.value))} for s in collection.classes
        ],
        "slices": [
            {"image": entry.image, "axis": entry.slice.axis, "index": entry.slice.index} for entry in collection.slices
        ],
    }
