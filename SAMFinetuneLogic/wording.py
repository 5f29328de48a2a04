"""Words with a number before them."""


def some_slices(count: int, kind: str = "") -> str:
    """Such as "1 slice", "3 annotated slices"."""
    return counted(count, f"{kind} slice".strip())


def counted(count: int, what: str) -> str:
    """Such as "1 case", "3 cases"; ``what`` takes an "s"."""
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
