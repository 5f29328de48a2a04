"""What frozen layers say about a view, computed once.

Where no layer of the encoder is trained, or only the last ones, the layers before them give the same answer to the
same view each time. Each slice then gets a fixed number of augmented views, and what the frozen layers make of them
is kept in memory.
"""

from collections import OrderedDict
from collections.abc import Callable, Hashable

import torch

LIMIT_BYTES = 2 << 30


class PrefixCache:
    """Outputs of frozen layers by view; the oldest go when there are too many.

    Args:
        limit: bytes of memory.
    """

    def __init__(self, limit: int = LIMIT_BYTES) -> None:
        self._limit, self._bytes = limit, 0
        self._kept: OrderedDict[Hashable, torch.Tensor] = OrderedDict()
        self.computed = 0

    def get(
        self, keys: list[Hashable], inputs: torch.Tensor, run: Callable[[torch.Tensor], torch.Tensor]
    ) -> torch.Tensor:
        """The outputs (B, ...) for inputs (B, ...), of which only those not known yet are computed."""
        missing = [n for n, key in enumerate(keys) if key not in self._kept]
        outputs: dict[Hashable, torch.Tensor] = {}
        if missing:
            with torch.no_grad():
                # One by one: what a view gives must not depend on which others were missing.
                for n in missing:
                    outputs[keys[n]] = run(inputs[n : n + 1])[0].detach()
            self.computed += len(missing)
        result = torch.stack([outputs[key] if key in outputs else self._kept[key] for key in keys])
        for key, output in outputs.items():
            if key not in self._kept:
                self._kept[key] = output
                self._bytes += output.numel() * output.element_size()
        while self._bytes > self._limit and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.numel() * dropped.element_size()
        return result
