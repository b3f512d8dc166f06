"""Checks and conversions of numbers in settings."""

from typing import Any

from torch import Tensor

from skvim._plain_numbers import is_real

__all__ = ["SCALES", "check_share", "number"]

#: Bounds of standard deviations: squares, times those of many dimensions, are in float32's range.
SCALES = (1e-18, 1e18)


def number(value: Any) -> Any:
    """Return a setting as a float; a tensor, the settings of many models, is returned as it is."""
    return value if isinstance(value, Tensor) else float(value)


def check_share(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless the setting ``name`` is a number in [0, 1]."""
    if not is_real(value) or not 0 <= value <= 1:
        raise ValueError(f"The {name} must be a number in [0, 1]. Got {value!r}.")
