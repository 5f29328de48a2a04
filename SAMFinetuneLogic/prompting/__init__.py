"""Promptable segmentation: prompts, the predictor and its embedding cache, the interactive session, whole volumes.

Import from the submodules; this one stays empty so that :mod:`.prompts` and :mod:`.session` load without torch.
"""
