"""Words with a number before them."""


def some_slices(count: int, kind: str = "") -> str:
    """Such as "1 slice", "3 annotated slices"."""
    return " ".join(filter(None, (str(count), kind, "slice" if count == 1 else "slices")))
