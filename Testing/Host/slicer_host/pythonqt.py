"""PythonQt's manners over PySide6: properties are attributes, signals are connected by their signature."""

import weakref
from collections.abc import Callable
from typing import Any

import PySide6.QtCore as QtCore
import PySide6.QtGui as QtGui
import PySide6.QtWidgets as QtWidgets
import shiboken6

_MODULES = (QtCore, QtGui, QtWidgets)


class QtProxy:
    """A QObject as Slicer's Python sees it.

    ``widget.text`` is the property, ``widget.text = "a"`` sets it, ``widget.connect("clicked()", f)`` connects.
    Unknown properties, methods and signals raise AttributeError.
    """

    __slots__ = ("_q",)

    def __init__(self, q: QtCore.QObject) -> None:
        object.__setattr__(self, "_q", q)

    def __getattr__(self, name: str) -> Any:
        q = object.__getattribute__(self, "_q")
        if not shiboken6.isValid(q):
            raise TypeError(f"Trying to call '{name}' on a destroyed {type(q).__name__} object")
        if name == "name":
            return q.objectName()
        if _has_property(q, name):
            return wrap(q.property(name))
        found = getattr(type(q), name, None)
        if found is None or isinstance(found, QtCore.Signal) or name.startswith("_"):
            raise AttributeError(f"{q.metaObject().className()} has no property or method {name!r} known to the host")
        if callable(getattr(q, name)):
            return _method(getattr(q, name))
        return wrap(getattr(q, name))

    def __setattr__(self, name: str, value: Any) -> None:
        q = self._q
        if name == "name":
            q.setObjectName(value)
            return
        if not _has_property(q, name):
            raise AttributeError(f"{q.metaObject().className()} has no property {name!r} known to the host")
        value = unwrap(value)
        attribute = _python_property(q, name)
        if attribute is not None:
            setattr(q, name, value)
        elif not q.setProperty(name, value):
            raise AttributeError(f"{q.metaObject().className()}.{name} does not take {value!r}")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, QtProxy) and other._q is self._q

    def __hash__(self) -> int:
        return id(self._q)

    def __repr__(self) -> str:
        return f"<{self._q.metaObject().className()} {self._q.objectName()!r}>"

    def className(self) -> str:
        return self._q.metaObject().className()

    def connect(self, signature: str, receiver: Callable[..., Any]) -> bool:
        """Qt keeps the receiver until this object is deleted, and Python's garbage collector sees nothing of it."""
        signal, call = _signal(self._q, signature), _receiver(receiver, signature)
        signal.connect(call)
        self._q.__dict__.setdefault("_host_receivers", []).append((signature, weakref.ref(call)))
        return True

    def disconnect(self, signature: str, receiver: Callable[..., Any]) -> bool:
        known = self._q.__dict__.get("_host_receivers", [])
        for entry in known:
            call = entry[1]()
            if entry[0] == signature and call is not None and call.receiver == receiver:
                known.remove(entry)
                _signal(self._q, signature).disconnect(call)
                return True
        return False


class QtClass:
    """A QObject class as Slicer's Python sees it: called, it makes a proxy; its enumerators and statics are there."""

    def __init__(self, cls: type) -> None:
        self._cls = cls
        self.__name__ = cls.__name__

    def __call__(self, *arguments: Any) -> QtProxy:
        return wrap(self._cls(*(unwrap(argument) for argument in arguments)))

    def __getattr__(self, name: str) -> Any:
        try:
            found = getattr(self._cls, name)
        except AttributeError:
            raise AttributeError(f"qt.{self._cls.__name__} has no {name!r} known to the host") from None
        return _method(found) if callable(found) and not isinstance(found, type) else found

    def __instancecheck__(self, value: object) -> bool:
        return isinstance(unwrap(value), self._cls)


def wrap(value: Any) -> Any:
    """A QObject as proxy (always the same one), lists of them too; anything else as it is."""
    if isinstance(value, QtCore.QObject):
        proxy = value.__dict__.get("_host_proxy")
        if proxy is None:
            proxy = QtProxy(value)
            value.__dict__["_host_proxy"] = proxy
        return proxy
    if isinstance(value, list | tuple):
        return type(value)(wrap(entry) for entry in value)
    return value


def unwrap(value: Any) -> Any:
    """The inverse of :func:`wrap`."""
    if isinstance(value, QtProxy):
        return value._q
    if isinstance(value, list | tuple):
        return type(value)(unwrap(entry) for entry in value)
    return value


class QtModule:
    """What ``import qt`` gives in Slicer, as far as PySide6 knows the name."""

    __name__ = "qt"

    def __init__(self, extra: dict[str, Any]) -> None:
        self.__dict__.update(extra)

    def __getattr__(self, name: str) -> Any:
        for module in _MODULES:
            found = getattr(module, name, None)
            if found is not None and not name.startswith("_"):
                made = QtClass(found) if isinstance(found, type) and issubclass(found, QtCore.QObject) else found
                self.__dict__[name] = made
                return made
        raise AttributeError(f"qt has no {name!r} known to the host")


def _receiver(receiver: Callable[..., Any], signature: str) -> Callable[..., Any]:
    count = _argument_count(signature)

    def call(*arguments: Any) -> None:
        receiver(*(wrap(argument) for argument in arguments[:count]))

    call.receiver = receiver
    return call


def _argument_count(signature: str) -> int:
    inside = signature[signature.index("(") + 1 : -1].strip()
    return len(inside.split(",")) if inside else 0


def _signal(q: QtCore.QObject, signature: str) -> Any:
    """The bound signal with exactly this C++ signature."""
    if "(" not in signature or not signature.endswith(")"):
        raise AttributeError(f"{signature!r} is no signal's signature; write it as in C++, such as 'clicked()'")
    name = signature[: signature.index("(")]
    declared = getattr(type(q), "SIGNATURES", {})
    if signature in declared.values() or signature in declared:
        return getattr(q, declared.get(signature, name))
    meta = q.metaObject()
    normal = bytes(QtCore.QMetaObject.normalizedSignature(signature)).decode()
    if meta.indexOfSignal(normal) < 0:
        raise AttributeError(f"{meta.className()} has no signal {signature!r} known to the host")
    bound = getattr(q, name)
    try:
        arguments = normal[normal.index("(") + 1 : -1]
        return bound[tuple(arguments.split(","))] if "," in arguments else bound[arguments] if arguments else bound[()]
    except (KeyError, TypeError, IndexError):
        return bound


def _has_property(q: QtCore.QObject, name: str) -> bool:
    return q.metaObject().indexOfProperty(name) >= 0 or _python_property(q, name) is not None


def _python_property(q: QtCore.QObject, name: str) -> Any:
    found = getattr(type(q), name, None)
    return found if isinstance(found, QtCore.Property) else None


def _method(bound: Callable[..., Any]) -> Callable[..., Any]:
    def call(*arguments: Any) -> Any:
        if any(isinstance(argument, QtWidgets.QListWidgetItem) for argument in arguments):
            raise TypeError("PythonQt may delete an item that is made in Python: add its text, and take item(n)")
        return wrap(bound(*(unwrap(argument) for argument in arguments)))

    call.__name__ = getattr(bound, "__name__", "method")
    return call
