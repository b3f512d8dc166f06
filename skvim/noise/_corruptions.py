"""The maths of the corruptions: plain functions of floating-point values and a generator.

Each works on a NumPy array with a :class:`numpy.random.Generator` and on a torch tensor with a
:class:`torch.Generator` of the tensor's device. Torch itself is never imported here: a tensor
brings along all that is needed, and users of NumPy do not wait for the import.
"""

import math
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

__all__ = ["Generator", "Values", "gaussian", "mask"]

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
    if not 0.0 <= scale < math.inf:
        raise ValueError(f"scale has to be a float in [0, inf). Got {scale!r} instead.")
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
    if not 0.0 <= rate <= 1.0:
        raise ValueError(f"rate has to be a float in [0, 1]. Got {rate!r} instead.")
    hidden = _bernoulli(x, float(rate), generator)
    # Selected rather than multiplied: -1 · 0 is -0, and inf · 0 is not a number.
    if isinstance(x, np.ndarray):
        return np.where(hidden, x.dtype.type(0), x)
    return x.masked_fill(hidden, 0)


def _standard_normal(x: Any, generator: Generator) -> Any:
    """Draw from N(0, 1) in the shape, dtype and library of ``x``."""
    if _is_array(x, generator):
        return generator.standard_normal(x.shape, dtype=x.dtype)
    return x.new_empty(x.shape).normal_(generator=generator)


def _bernoulli(x: Any, probability: float, generator: Generator) -> Any:
    """Draw booleans, True with the given probability, in the shape and library of ``x``."""
    if _is_array(x, generator):
        return generator.random(x.shape, dtype=x.dtype) < probability
    return x.new_empty(x.shape).bernoulli_(probability, generator=generator).bool()


def _is_array(x: Any, generator: Generator) -> bool:
    """Tell arrays from tensors, and refuse a generator of the other library."""
    is_array = isinstance(x, np.ndarray)
    if is_array != isinstance(generator, np.random.Generator):
        raise TypeError(
            "An ndarray is corrupted with a numpy.random.Generator, a tensor with a "
            f"torch.Generator. Got {type(x).__name__} with {type(generator).__name__} instead."
        )
    return is_array
