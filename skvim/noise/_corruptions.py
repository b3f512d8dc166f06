"""Corruptions of single values and features, as functions of an array or tensor.

Each function takes a NumPy array with a :class:`numpy.random.Generator`, or a torch tensor with a
:class:`torch.Generator` on the tensor's device. ``x`` holds floating-point values of any shape, or
of shape (n_samples, ...) where rows matter, and is not modified; results have the shape and dtype
of ``x``. Torch is never imported: methods of the tensor do all that is needed, so that users of
NumPy do not wait for the import.
"""

import math
from collections.abc import Iterable, Sequence
from numbers import Integral
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
    "check_groups",
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
    "swap",
    "uniform",
]

Values = TypeVar("Values", NDArray[Any], "torch.Tensor")
Generator = Any  # numpy.random.Generator for arrays, torch.Generator for tensors
Groups = Sequence[int] | None  # group of each feature; None: each is one of its own


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


def mask(x: Values, rate: float, generator: Generator, groups: Groups = None) -> Values:
    """Set each value to 0 independently, with probability ``rate`` in [0, 1].

    The values of a row that are in one of ``groups`` are set to 0 together; ``x`` then has the
    shape (n_samples, ...).
    """
    check_interval("rate", rate, 1.0, closed=True)
    if groups is None:
        return replace(x, _bernoulli(x, float(rate), generator), 0.0)
    return replace(x, _uniform_by_group(x, generator, groups) < rate, 0.0)


def mask_random_rate(x: Values, max_rate: float, generator: Generator) -> Values:
    """Set values to 0 independently, with a probability that each row draws from U(0, max_rate).

    ``max_rate`` is in [0, 1].
    """
    check_interval("rate", max_rate, 1.0, closed=True)
    rates = float(max_rate) * _uniform_per_row(x, generator)
    return replace(x, uniform(x, tuple(x.shape), generator) < rates, 0.0)


def swap(x: Values, rate: float, generator: Generator, groups: Groups = None) -> Values:
    """Replace each value by that of its feature in another row, drawn uniformly.

    Parameters
    ----------
    x : ndarray or tensor of shape (n_samples, ...)
        All axes but the first count as features. A single row is left as it is.
    rate : float
        Probability that a value is replaced, in [0, 1].
    generator : numpy.random.Generator or torch.Generator
        Draws the values that are replaced and the rows that replace them.
    groups : sequence of int of length n_features or None, default=None
        Values of one group are replaced together, from one row.
    """
    check_interval("rate", rate, 1.0, closed=True)
    _count_features(x)
    n_rows = x.shape[0]
    chosen = _uniform_by_group(x, generator, groups) < rate
    places = _uniform_by_group(x, generator, groups) * (n_rows - 1)
    if isinstance(x, np.ndarray):
        rows = (np.cumsum(np.ones_like(places, dtype=np.int64), 0) + places.astype(int)) % n_rows
        return np.where(chosen, np.take_along_axis(x, rows, 0), x)
    rows = (x.new_ones(x.shape).long().cumsum(0) + places.long()) % n_rows
    return x.where(~chosen, x.gather(0, rows))


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
    n_features = _count_features(x)
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


def check_groups(groups: Sequence[int], n_features: int) -> list[int]:
    """Return the number of each feature's group, from 0; ``ValueError`` for invalid groups."""
    found = list(groups)
    if any(isinstance(group, bool) or not isinstance(group, Integral) for group in found):
        raise ValueError(f"groups has to hold an int for each feature. Got {groups!r} instead.")
    if len(found) != n_features:
        raise ValueError(
            f"groups has to hold the group of each of the {n_features} features. Got "
            f"{len(found)} of them; give features without a group one of their own."
        )
    numbers = {group: number for number, group in enumerate(dict.fromkeys(found))}
    return [numbers[group] for group in found]


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


def _uniform_by_group(x: Any, generator: Generator, groups: Groups) -> Any:
    """Draw from U[0, 1) in the shape of ``x``, one number for the features of one group."""
    if groups is None:
        return uniform(x, tuple(x.shape), generator)
    columns = check_groups(groups, _count_features(x))
    draw = uniform(x, (x.shape[0], max(columns, default=-1) + 1), generator)
    if isinstance(x, np.ndarray):
        return draw[:, columns].reshape(x.shape)
    from torch import stack  # imported already: there is a tensor

    # Indexing by a list copies it to the device, which a CUDA graph cannot repeat.
    drawn = draw.unbind(1)
    return stack([drawn[column] for column in columns], 1).reshape(x.shape)


def _count_features(x: Any) -> int:
    """Return the number of values of a row; ``ValueError`` if there are no rows."""
    if x.ndim < 2:
        raise ValueError(f"x has to be of shape (n_samples, ...). Got {tuple(x.shape)} instead.")
    return math.prod(x.shape[1:])


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
