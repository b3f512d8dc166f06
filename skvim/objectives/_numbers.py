"""What counts as a number in a setting, and as a share."""

from numbers import Real
from typing import Any

from torch import Tensor

__all__ = ["check_share", "is_real", "number"]


def is_real(value: Any) -> bool:
    """Tell real numbers, NumPy's included, from everything else; True and False are none."""
    return isinstance(value, Real) and not isinstance(value, bool)


def number(value: Any) -> Any:
    """Return a setting as a float; a tensor, which stands for those of many models, as it is."""
    return value if isinstance(value, Tensor) else float(value)


def check_share(name: str, value: Any) -> None:
    """Raise ``ValueError`` unless the setting ``name`` is a number in [0, 1]."""
    if not is_real(value) or not 0 <= value <= 1:
        raise ValueError(f"The {name} must be a number in [0, 1]. Got {value!r}.")
