"""Lines of Markdown tables."""

from collections.abc import Iterable

__all__ = ["header", "line"]


def header(first: str, names: Iterable[str]) -> str:
    """Return the header of a table, numbers to the right."""
    names = list(names)
    return f"| {first} | {' | '.join(names)} |\n| --- |" + " --: |" * len(names)


def line(first: str, cells: Iterable[str]) -> str:
    """Return a line of a table."""
    return f"| {first} | {' | '.join(cells)} |"
