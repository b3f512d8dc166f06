"""What counts as a number in a setting."""

from numbers import Real
from typing import Any

__all__ = ["is_real"]


def is_real(value: Any) -> bool:
    """Tell real numbers, NumPy's included, from everything else; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)
