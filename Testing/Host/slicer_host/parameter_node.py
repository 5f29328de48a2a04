"""``slicer.parameterNodeWrapper``: the part that the module uses (texts, numbers, booleans, nodes; no GUI binding)."""

import typing
from typing import Any

import slicer

_READERS: dict[type, Any] = {str: str, int: int, float: float, bool: lambda text: text == "True"}


def parameterNodeWrapper(cls: type) -> type:
    """Turn annotated fields into properties that live in a vtkMRMLScriptedModuleNode."""
    fields = typing.get_type_hints(cls)
    defaults = {name: getattr(cls, name, None) for name in fields}
    for name, kind in fields.items():
        setattr(cls, name, _node_property(name) if _is_node(kind) else _value_property(name, kind, defaults[name]))

    def init(self: Any, node: slicer.vtkMRMLScriptedModuleNode) -> None:
        self.parameterNode = node
        for name, kind in fields.items():
            if not _is_node(kind) and not node.GetParameter(name):
                setattr(self, name, kind() if defaults[name] is None else defaults[name])

    cls.__init__ = init
    cls.AddObserver = lambda self, event, callback, priority=0.0: self.parameterNode.AddObserver(
        event, callback, priority
    )
    cls.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
    return cls


def _is_node(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)


def _value_property(name: str, kind: type, default: Any) -> property:
    if kind not in _READERS:
        raise TypeError(f"The host's parameterNodeWrapper knows no fields of type {kind} ({name})")

    def read(self: Any) -> Any:
        text = self.parameterNode.GetParameter(name)
        if text == "" and kind is not str:
            return kind() if default is None else default
        return _READERS[kind](text)

    def write(self: Any, value: Any) -> None:
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ValueError(f"{name} takes {kind.__name__}, not {value!r}")
        self.parameterNode.SetParameter(name, str(value))

    return property(read, write)


def _node_property(name: str) -> property:
    def read(self: Any) -> Any:
        return self.parameterNode.GetNodeReference(name)

    def write(self: Any, node: Any) -> None:
        self.parameterNode.SetNodeReferenceID(name, node.GetID() if node is not None else None)

    return property(read, write)
