"""The model that the arguments of :func:`SAMFinetuneLogic.cli.segment.add_model_arguments` ask for."""

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from SAMFinetuneLogic.models.loaded_model import LoadedModel


def load_chosen_model(arguments: argparse.Namespace) -> "LoadedModel":
    """`--model` on `--device`, with `--adapter` in it if one is given.

    Raises:
        InputError: there is no such adapter, or it takes no prompts.
        ModelError: the model is not on this machine, or the adapter belongs to another one.
    """
    if arguments.adapter is not None:
        from SAMFinetuneLogic.finetuning.predicting import load_adapted_model

        return load_adapted_model(arguments.adapter, arguments.model, arguments.device)
    from SAMFinetuneLogic.models.loading import load_model

    return load_model(arguments.model, arguments.device)
