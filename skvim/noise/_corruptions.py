"""The maths of the corruptions: plain functions of floating-point values and a generator.

Each works on a NumPy array with a :class:`numpy.random.Generator` and on a torch tensor with a
:class:`torch.Generator` of the tensor's device. Torch itself is never imported here: a tensor
brings along all that is needed, and users of NumPy do not wait for the import.
"""

import math
from collections.abc import Iterable, Sequence
from numbers import Real
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = [
    "Generator",
    "Values",
    "brighten",
    "check_floating",
    "check_range",
    "gaussian",
    "gaussian_up_to",
    "is_array",
    "mask",
    "mask_up_to",
    "miss",
    "replace",
    "salt_pepper",
    "uniform",
]

Values = TypeVar("Values", NDArray[Any], "torch.Tensor")
Generator = Any  # numpy.random.Generator for arrays, torch.Generator for tensors


def gaussian(x: Values, scale: float, generator: Generator) -> Values:
    """Add independent normal noise, x + scale · ε with ε ~ N(0, 1).

    Parameters
    ----------
    x : ndarray or tensor of any shape
        Floating-point values; not modified.
    scale : float
        Standard deviation of the noise in the units of ``x``, in [0, inf).
    generator : numpy.random.Generator or torch.Generator
        Of the same library (and device) as ``x``.

    Returns
    -------
    ndarray or tensor
        New values of the shape and dtype of ``x``.
    """
    _check_scale(scale)
    corrupted: Values = x + float(scale) * _standard_normal(x, generator)
    return corrupted


def mask(x: Values, rate: float, generator: Generator) -> Values:
    """Set each value to 0 with probability ``rate``, independently of all others.

    Parameters
    ----------
    x : ndarray or tensor of any shape
        Floating-point values; not modified.
    rate : float
        Probability of being masked, in [0, 1].
    generator : numpy.random.Generator or torch.Generator
        Of the same library (and device) as ``x``.

    Returns
    -------
    ndarray or tensor
        New values of the shape and dtype of ``x``.
    """
    _check_rate(rate)
    return replace(x, _bernoulli(x, float(rate), generator), 0.0)


def gaussian_up_to(x: Values, scale: float, generator: Generator) -> Values:
    """Add independent normal noise of a standard deviation that each row draws for itself.

    Parameters
    ----------
    x : ndarray or tensor of shape (n_samples, ...)
        Floating-point values; not modified.
    scale : float
        Largest standard deviation, in the units of ``x``, in [0, inf); those of rows are uniform
        between 0 and it.
    generator : numpy.random.Generator or torch.Generator
        Of the same library (and device) as ``x``.

    Returns
    -------
    ndarray or tensor
        New values of the shape and dtype of ``x``; ``x`` itself at a scale of 0.
    """
    _check_scale(scale)
    if scale == 0:
        return x
    scales = float(scale) * _of_rows(x, generator)
    # In the type of the values, which the product would change.
    scales = scales.astype(x.dtype) if isinstance(x, np.ndarray) else scales.to(x.dtype)
    corrupted: Values = x + scales * _standard_normal(x, generator)
    return corrupted


def mask_up_to(x: Values, rate: float, generator: Generator) -> Values:
    """Set values to 0, independently, with a probability that each row draws for itself.

    Parameters
    ----------
    x : ndarray or tensor of shape (n_samples, ...)
        Floating-point values; not modified.
    rate : float
        Largest probability, in [0, 1]; those of rows are uniform between 0 and it.
    generator : numpy.random.Generator or torch.Generator
        Of the same library (and device) as ``x``.

    Returns
    -------
    ndarray or tensor
        New values of the shape and dtype of ``x``.
    """
    _check_rate(rate)
    rates = float(rate) * _of_rows(x, generator)
    return replace(x, uniform(x, tuple(x.shape), generator) < rates, 0.0)


def salt_pepper(
    x: Values, rate: float, value_range: Sequence[float], generator: Generator
) -> Values:
    """Set each value with probability ``rate`` to either end of a range, by the toss of a coin.

    Parameters
    ----------
    x : ndarray or tensor of any shape
        Floating-point values; not modified.
    rate : float
        Probability of being replaced, in [0, 1].
    value_range : pair of float
        (low, high), the two values.
    generator : numpy.random.Generator or torch.Generator
        Of the same library (and device) as ``x``.

    Returns
    -------
    ndarray or tensor
        New values of the shape and dtype of ``x``.
    """
    _check_rate(rate)
    low, high = check_range(value_range)
    draw = uniform(x, tuple(x.shape), generator)
    return replace(replace(x, draw < rate, high), draw < rate / 2, low)


def miss(x: Values, rate: float, generator: Generator, *, value: float, per_row: bool) -> Values:
    """Set a share of the features to one value, those of all rows or others in each.

    Parameters
    ----------
    x : ndarray or tensor of shape (n_samples, ...)
        Floating-point values; not modified. All axes but the first count as features.
    rate : float
        Share of the features, in [0, 1]; rounded to a whole number of them, and at least one
        unless 0.
    generator : numpy.random.Generator or torch.Generator
        Of the same library (and device) as ``x``.
    value : float
        What stands in their place; may be nan.
    per_row : bool
        Whether each row loses features of its own.

    Returns
    -------
    ndarray or tensor
        New values of the shape and dtype of ``x``.
    """
    _check_rate(rate)
    if x.ndim < 2:
        raise ValueError(f"x has to be of shape (n_samples, ...). Got {tuple(x.shape)} instead.")
    n_features = math.prod(x.shape[1:])
    n_lost = max(math.floor(rate * n_features + 0.5), 1) if rate else 0
    draw = uniform(x, (x.shape[0] if per_row else 1, n_features), generator)
    # A random permutation rather than a threshold: the number is exact.
    lost = draw.argsort(-1) < n_lost
    return replace(x, lost.reshape(-1, *x.shape[1:]), value)


def brighten(x: Values, shift: float, value_range: Sequence[float] | None) -> Values:
    """Add one number to all values, and cut off what leaves a range.

    Parameters
    ----------
    x : ndarray or tensor of any shape
        Floating-point values; not modified.
    shift : float
        What is added, in the units of ``x``; finite.
    value_range : pair of float or None
        (low, high), where values are cut off; None leaves them as they are.

    Returns
    -------
    ndarray or tensor
        New values of the shape and dtype of ``x``.
    """
    if not math.isfinite(shift):
        raise ValueError(f"shift has to be a finite float. Got {shift!r} instead.")
    shifted: Values = x + float(shift)
    if value_range is None:
        return shifted
    low, high = check_range(value_range)
    clipped: Values = shifted.clip(low, high)
    return clipped


def check_floating(x: Any) -> None:
    """Raise ``TypeError`` unless values are of a type that holds every corruption of them."""
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
    """Return (low, high), or raise ``ValueError`` unless they are finite and in this order."""
    pair = tuple(value_range) if isinstance(value_range, Iterable) else ()
    known = len(pair) == 2 and all(isinstance(end, Real) and math.isfinite(end) for end in pair)
    if not known or pair[0] >= pair[1]:
        raise ValueError(
            "value_range has to be a pair (low, high) of finite numbers, low below high, for "
            f"example (0, 1). Got {value_range!r} instead."
        )
    return float(pair[0]), float(pair[1])


def replace(x: Values, chosen: Any, value: float) -> Values:
    """Return a copy of ``x`` with one value where a mask, of a shape that fits, is True."""
    # Selected rather than multiplied: -1 · 0 is -0, and inf · 0 is not a number.
    if isinstance(x, np.ndarray):
        return np.where(chosen, x.dtype.type(value), x)
    return x.masked_fill(chosen, value)


def uniform(x: Any, shape: tuple[int, ...], generator: Generator) -> Any:
    """Draw from [0, 1) in a shape, in the library of ``x`` and on its device.

    Never in half precision, whose steps are too coarse to choose among many.
    """
    if is_array(x, generator):
        return generator.random(shape)
    return x.new_empty(shape).float().uniform_(generator=generator)


def _of_rows(x: Any, generator: Generator) -> Any:
    """Draw one number from [0, 1) for each row, of a shape that goes with ``x``."""
    return uniform(x, (x.shape[0],), generator).reshape(-1, *(1 for _ in x.shape[1:]))


def _check_scale(scale: float) -> None:
    """Raise ``ValueError`` unless it is a standard deviation."""
    if not 0.0 <= scale < math.inf:
        raise ValueError(f"scale has to be a float in [0, inf). Got {scale!r} instead.")


def _check_rate(rate: float) -> None:
    """Raise ``ValueError`` unless it is a probability."""
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"rate has to be a float in [0, 1]. Got {rate!r} instead.")


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
    """Tell arrays from tensors, and refuse a generator of the other library."""
    is_array = isinstance(x, np.ndarray)
    if is_array != isinstance(generator, np.random.Generator):
        raise TypeError(
            "An ndarray is corrupted with a numpy.random.Generator, a tensor with a "
            f"torch.Generator. Got {type(x).__name__} with {type(generator).__name__} instead."
        )
    return is_array
