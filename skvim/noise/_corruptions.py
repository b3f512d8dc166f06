"""Corruptions of single values and features, as functions of an array or tensor.

Each function takes a NumPy array with a :class:`numpy.random.Generator`, or a torch tensor with a
:class:`torch.Generator` on the tensor's device. ``x`` holds floating-point values of any shape, or
of shape (n_samples, ...) where rows matter, and is not modified; results have the shape and dtype
of ``x``. Torch is never imported: methods of the tensor do all that is needed, so that users of
NumPy do not wait for the import.
"""

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from skvim._plain_numbers import is_real

if TYPE_CHECKING:
    import torch

__all__ = [
    "Generator",
    "Values",
    "check_floating",
    "check_interval",
    "check_range",
    "drop_features",
    "gaussian",
    "gaussian_random_scale",
    "is_array",
    "mask",
    "mask_random_rate",
    "replace",
    "salt_pepper",
    "shift_brightness",
    "uniform",
]

Values = TypeVar("Values", NDArray[Any], "torch.Tensor")
Generator = Any  # numpy.random.Generator for arrays, torch.Generator for tensors


def gaussian(x: Values, scale: float, generator: Generator) -> Values:
    """Add independent normal noise, x + scale · ε with ε ~ N(0, 1).

    ``scale``, in [0, inf), is in the units of ``x``.
    """
    check_interval("scale", scale)
    corrupted: Values = x + float(scale) * _standard_normal(x, generator)
    return corrupted


def gaussian_random_scale(x: Values, max_scale: float, generator: Generator) -> Values:
    """Add independent normal noise whose standard deviation each row draws from U(0, max_scale).

    ``max_scale``, in [0, inf), is in the units of ``x``; at 0 the result is ``x`` itself.
    """
    check_interval("scale", max_scale)
    if max_scale == 0:
        return x
    scales = float(max_scale) * _uniform_per_row(x, generator)
    # The product would change the dtype.
    scales = scales.astype(x.dtype) if isinstance(x, np.ndarray) else scales.to(x.dtype)
    corrupted: Values = x + scales * _standard_normal(x, generator)
    return corrupted


def mask(x: Values, rate: float, generator: Generator) -> Values:
    """Set each value to 0 independently, with probability ``rate`` in [0, 1]."""
    check_interval("rate", rate, 1.0, closed=True)
    return replace(x, _bernoulli(x, float(rate), generator), 0.0)


def mask_random_rate(x: Values, max_rate: float, generator: Generator) -> Values:
    """Set values to 0 independently, with a probability that each row draws from U(0, max_rate).

    ``max_rate`` is in [0, 1].
    """
    check_interval("rate", max_rate, 1.0, closed=True)
    rates = float(max_rate) * _uniform_per_row(x, generator)
    return replace(x, uniform(x, tuple(x.shape), generator) < rates, 0.0)


def salt_pepper(
    x: Values, rate: float, value_range: Sequence[float], generator: Generator
) -> Values:
    """Replace each value with probability ``rate`` by either end of a range, equally likely.

    ``rate`` is in [0, 1], ``value_range`` a pair (low, high).
    """
    check_interval("rate", rate, 1.0, closed=True)
    low, high = check_range(value_range)
    draw = uniform(x, tuple(x.shape), generator)
    return replace(replace(x, draw < rate, high), draw < rate / 2, low)


def drop_features(
    x: Values, rate: float, generator: Generator, *, value: float, per_row: bool
) -> Values:
    """Replace a share of the features by one value, the same for all rows or others in each.

    Parameters
    ----------
    x : ndarray or tensor of shape (n_samples, ...)
        All axes but the first count as features.
    rate : float
        Share of the features, in [0, 1]; rounded to a whole number of them, and at least one
        unless 0.
    generator : numpy.random.Generator or torch.Generator
        Draws the features.
    value : float
        Replaces them; may be nan.
    per_row : bool
        Whether each row loses features of its own.
    """
    check_interval("rate", rate, 1.0, closed=True)
    if x.ndim < 2:
        raise ValueError(f"x has to be of shape (n_samples, ...). Got {tuple(x.shape)} instead.")
    n_features = math.prod(x.shape[1:])
    n_lost = max(math.floor(rate * n_features + 0.5), 1) if rate else 0
    draw = uniform(x, (x.shape[0] if per_row else 1, n_features), generator)
    # Ranks of uniform draws rather than a threshold on them: the number is exact.
    lost = draw.argsort(-1) < n_lost
    return replace(x, lost.reshape(-1, *x.shape[1:]), value)


def shift_brightness(x: Values, shift: float, value_range: Sequence[float] | None) -> Values:
    """Add one finite number, in the units of ``x``, to all values; clip to a range (low, high)."""
    if not math.isfinite(shift):
        raise ValueError(f"shift has to be a finite float. Got {shift!r} instead.")
    shifted: Values = x + float(shift)
    if value_range is None:
        return shifted
    low, high = check_range(value_range)
    clipped: Values = shifted.clip(low, high)
    return clipped


def check_interval(
    name: str, value: float, high: float = math.inf, *, closed: bool = False, kind: str = "a float"
) -> None:
    """Raise ``ValueError`` unless a value is in [0, high), or in [0, high] if ``closed``."""
    if not 0.0 <= value <= high or (value == high and not closed):
        interval = f"[0, {high:g}{']' if closed else ')'}"
        raise ValueError(f"{name} has to be {kind} in {interval}. Got {value!r} instead.")


def check_floating(x: Any) -> None:
    """Raise ``TypeError`` unless ``x`` is a floating-point array or tensor."""
    if isinstance(x, np.ndarray):
        floating = x.dtype in (np.float32, np.float64)
    else:
        floating = hasattr(x, "is_floating_point") and x.is_floating_point()
    if not floating:
        raise TypeError(
            "x has to be an array in float32 or float64, or a floating-point tensor. Got "
            f"{type(x).__name__} of {getattr(x, 'dtype', 'no dtype')}; convert it first, for "
            "example by x.astype(np.float32) or x.float()."
        )


def check_range(value_range: Sequence[float]) -> tuple[float, float]:
    """Return (low, high); ``ValueError`` unless both are finite and low is below high."""
    pair = tuple(value_range) if isinstance(value_range, Iterable) else ()
    finite = len(pair) == 2 and all(is_real(end) and math.isfinite(end) for end in pair)
    if not finite or pair[0] >= pair[1]:
        raise ValueError(
            "value_range has to be a pair (low, high) of finite numbers, low below high, for "
            f"example (0, 1). Got {value_range!r} instead."
        )
    return float(pair[0]), float(pair[1])


def replace(x: Values, where: Any, value: float) -> Values:
    """Return a copy of ``x`` with ``value`` where a boolean mask, broadcast to ``x``, is True."""
    # Selected rather than multiplied: -1 · 0 is -0, and inf · 0 is not a number.
    if isinstance(x, np.ndarray):
        return np.where(where, x.dtype.type(value), x)
    return x.masked_fill(where, value)


def uniform(x: Any, shape: tuple[int, ...], generator: Generator) -> Any:
    """Draw from U[0, 1) in a shape, in the library and on the device of ``x``.

    Never in half precision, which has too few values to choose among many.
    """
    if is_array(x, generator):
        return generator.random(shape)
    return x.new_empty(shape).float().uniform_(generator=generator)


def _uniform_per_row(x: Any, generator: Generator) -> Any:
    """Draw one number from U[0, 1) per row, in a shape that broadcasts to ``x``."""
    return uniform(x, (x.shape[0],), generator).reshape(-1, *(1 for _ in x.shape[1:]))


def _standard_normal(x: Any, generator: Generator) -> Any:
    """Draw from N(0, 1) in the shape, dtype and library of ``x``."""
    if is_array(x, generator):
        return generator.standard_normal(x.shape, dtype=x.dtype)
    return x.new_empty(x.shape).normal_(generator=generator)


def _bernoulli(x: Any, probability: float, generator: Generator) -> Any:
    """Draw booleans, True with the given probability, in the shape and library of ``x``."""
    if is_array(x, generator):
        return generator.random(x.shape, dtype=x.dtype) < probability
    return x.new_empty(x.shape).bernoulli_(probability, generator=generator).bool()


def is_array(x: Any, generator: Generator) -> bool:
    """Return whether ``x`` is an array; ``TypeError`` for a generator of the other library."""
    is_array = isinstance(x, np.ndarray)
    if is_array != isinstance(generator, np.random.Generator):
        raise TypeError(
            "An ndarray is corrupted with a numpy.random.Generator, a tensor with a "
            f"torch.Generator. Got {type(x).__name__} with {type(generator).__name__} instead."
        )
    return is_array
