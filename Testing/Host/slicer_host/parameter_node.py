"""``slicer.parameterNodeWrapper``: the part that the module uses (texts, numbers, booleans, nodes; no GUI binding).

As in Slicer, values are kept and read anew when the parameter node says that it was modified: a node that is removed
without such a word would still be given out.
"""

import typing
import weakref
from typing import Any

import slicer
import vtk

_TYPES = (str, int, float, bool)


def parameterNodeWrapper(cls: type) -> type:
    """Turn annotated fields into properties that live in a vtkMRMLScriptedModuleNode."""
    fields = typing.get_type_hints(cls)
    defaults = {name: getattr(cls, name, None if _is_node(kind) else kind()) for name, kind in fields.items()}
    for name, kind in fields.items():
        if not _is_node(kind) and kind not in _TYPES:
            raise TypeError(f"The host's parameterNodeWrapper knows no fields of type {kind} ({name})")
        setattr(cls, name, _property(name))

    def init(self: Any, node: slicer.vtkMRMLScriptedModuleNode) -> None:
        self.parameterNode = node
        for name, kind in fields.items():
            setattr(self, f"_{name}_impl", _Parameter(node, name, kind, defaults[name]))

    cls.__init__ = init
    for name, value in (
        ("AddObserver", lambda self, event, call, priority=0.0: self.parameterNode.AddObserver(event, call, priority)),
        ("RemoveObserver", lambda self, tag: self.parameterNode.RemoveObserver(tag)),
        ("StartModify", lambda self: self.parameterNode.StartModify()),
        ("EndModify", lambda self, modified: self.parameterNode.EndModify(modified)),
        ("Modified", lambda self: self.parameterNode.Modified()),
    ):
        if hasattr(cls, name):
            raise ValueError(f"Cannot use reserved name '{name}' in a parameterNodeWrapper")
        setattr(cls, name, value)
    return cls


class _Parameter:
    """A value in the parameter node, and the copy of it that is given out."""

    def __init__(self, node: slicer.vtkMRMLScriptedModuleNode, name: str, kind: type, default: Any) -> None:
        self._node, self._name, self._kind = node, name, kind
        self._writing = False
        if not node.HasParameter(name):
            self._store(default)
        self.value = self._stored()
        me = weakref.ref(self)  # as in Slicer: it goes with the last reference to the wrapper
        self._tag = node.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: me()._on_modified())

    def __del__(self) -> None:
        self._node.RemoveObserver(self._tag)

    def write(self, value: Any) -> None:
        wrong = not isinstance(value, self._kind) or (self._kind is int and isinstance(value, bool))
        if wrong and not (value is None and _is_node(self._kind)):
            raise ValueError(f"{self._name} takes {self._kind.__name__}, not {value!r}")
        self._writing = True
        try:
            with slicer.util.NodeModify(self._node):
                self._store(value)
                self.value = self._stored()
        finally:
            self._writing = False

    def _on_modified(self) -> None:
        if not self._writing:
            self.value = self._stored()

    def _store(self, value: Any) -> None:
        if _is_node(self._kind):
            self._node.SetParameter(self._name, "")
            self._node.SetNodeReferenceID(self._name, value.GetID() if value is not None else None)
        else:
            self._node.SetParameter(self._name, str(value))

    def _stored(self) -> Any:
        if _is_node(self._kind):
            return self._node.GetNodeReference(self._name)
        text = self._node.GetParameter(self._name)
        return text == "True" if self._kind is bool else self._kind(text)


def _is_node(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode)


def _property(name: str) -> property:
    def read(self: Any) -> Any:
        return getattr(self, f"_{name}_impl").value

    def write(self: Any, value: Any) -> None:
        getattr(self, f"_{name}_impl").write(value)

    return property(read, write)
