"""The two presets of each strategy, as plain tables. Knows no torch.

``faithful``: what the public code of paper A does (Gu et al., MELBA 2025:006). ``recommended``: this project's
changes; the fine-tuning documentation states what was measured for them.
"""

from collections.abc import Mapping
from typing import Any

FAITHFUL: Mapping[str, Mapping[str, Any]] = {
    # AdamW with the same rate and decay for every weight.
    "vanilla": {"learning_rate": 1e-3, "weight_decay": 0.1, "decay_all": True},
    "adapter": {
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "decay_all": True,
        "adapter_ratio": 0.25,
        "zero_init": False,
        "whole": "none",
    },
    "lora": {
        "learning_rate": 1e-3,
        "weight_decay": 0.1,
        "decay_all": True,
        "rank": 4,
        "alpha": 4.0,  # scale 1
        "projections": ("q", "v"),
        "whole": "all",
    },
}

RECOMMENDED: Mapping[str, Mapping[str, Any]] = {
    "vanilla": {
        "learning_rate": 2e-4,
        "layer_decay": 0.8,
        "weight_decay": 0.02,
        "background": "zero",
        "automatic_rate": 4.0,
    },
    "adapter": {
        "learning_rate": 1e-3,
        "weight_decay": 0.02,
        "adapter_ratio": 0.25,
        "zero_init": True,
        "whole": "outputs",
        "whole_rate": 0.2,
        "frozen_fraction": 0.25,
        "background": "zero",
        "automatic_rate": 4.0,
    },
    "lora": {
        "learning_rate": 1e-3,
        "weight_decay": 0.02,
        "rank": 8,
        "alpha": 8.0,
        "rslora": True,
        "projections": ("q", "k", "v", "out", "mlp"),
        "convolutions": True,
        "whole": "outputs",
        "whole_rate": 0.2,
        "frozen_fraction": 0.25,
        "background": "zero",
        "automatic_rate": 4.0,
    },
}

PRESETS: Mapping[str, Mapping[str, Mapping[str, Any]]] = {"faithful": FAITHFUL, "recommended": RECOMMENDED}
