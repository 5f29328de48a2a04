"""Texts without the names of what is in the scene: such a name may be the patient's, and logs are passed on."""

import re
from typing import Any

_SHORTEST = 3
"""Shorter names say nothing, and stand in every text."""


def without_names(text: str, scene: Any) -> str:
    """``text`` with the kind of a node in place of its name, such as "[Volume]"; whole words only.

    Nodes that users name: volumes, segmentations, markups, transforms and all else that can be stored, but for colour
    tables.
    """
    kinds: dict[str, str] = {}
    nodes = scene.GetNodesByClass("vtkMRMLStorableNode")
    nodes.UnRegister(None)
    for number in range(nodes.GetNumberOfItems()):
        node = nodes.GetItemAsObject(number)
        name = node.GetName() or ""
        if len(name) >= _SHORTEST and not node.IsA("vtkMRMLColorNode"):
            kinds[name] = f"[{node.GetNodeTagName()}]"
    if not kinds:
        return text
    longest_first = sorted(kinds, key=len, reverse=True)
    pattern = re.compile(r"(?<!\w)(?:" + "|".join(map(re.escape, longest_first)) + r")(?!\w)")
    return pattern.sub(lambda found: kinds[found.group()], text)
