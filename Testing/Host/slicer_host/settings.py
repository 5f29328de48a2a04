"""``qt.QSettings`` that forget: no test writes into the settings of the person who runs it."""

from typing import Any

_values: dict[str, Any] = {}


class QSettings:
    """The application's settings, shared between instances as Qt's are."""

    def value(self, key: str, default: Any = None) -> Any:
        stored = _values.get(key, default)
        # Qt gives back text for what it has read from a file.
        return str(stored).lower() if isinstance(stored, bool) and key in _values else stored

    def setValue(self, key: str, value: Any) -> None:
        _values[key] = value

    def contains(self, key: str) -> bool:
        return key in _values

    def remove(self, key: str) -> None:
        for stored in [k for k in _values if k == key or k.startswith(key + "/")]:
            del _values[stored]


def clear() -> None:
    """Forget everything."""
    _values.clear()
