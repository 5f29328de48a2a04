"""Few labelled slices teach a structure: the support collection, the few-shot decoder, and what they are applied to.

After Xie et al., "SAM Fewshot Finetuning for Anatomical Segmentation in Medical Images" (WACV 2024). Only the paper's
abstract was at hand: what is reconstructed is an option of :class:`~SAMFinetuneLogic.fewshot.settings.FitSettings`.
"""
