"""The package's models for tables, by the job they are to do.

A constructor takes a seed. Features: ``fit(frame)`` and ``transform(frame)``; filling:
``fit(frame)`` and ``impute(frame)``; drawing: ``fit(frame)`` and ``sample(n, codes="fitted")``;
odd rows: ``fit(frame)`` and ``score_samples(frame)``.
"""

from collections.abc import Callable
from typing import Any

from skvim import DenoisingAETransformer, VIMAETransformer

__all__ = ["DRAWING", "FEATURES", "FILLING", "ODD"]

Contenders = dict[str, Callable[[int], Any]]
_COMMON: dict[str, Any] = {"likelihood": "auto", "device": "cpu"}


def vimae(seed: int, **options: Any) -> Any:
    """Return a VIMAE for tables."""
    return VIMAETransformer(**_COMMON, random_state=seed, **options)


def denoising(seed: int, **options: Any) -> Any:
    """Return a denoising autoencoder for tables."""
    return DenoisingAETransformer(**_COMMON, random_state=seed, **options)


def untrained(seed: int) -> Any:
    """Return the same without training, as a control: its steps are too small to change it."""
    return denoising(seed, max_epochs=1, lr=1e-12)


# Models of the package that take tables are listed once they have the method.
_READY = hasattr(VIMAETransformer, "impute")
FEATURES: Contenders = {}
FILLING: Contenders = {}
DRAWING: Contenders = {}
ODD: Contenders = {}
if _READY:
    FEATURES = {"VIMAE": vimae, "denoising": denoising, "untrained": untrained}
    FILLING = {"VIMAE": vimae, "denoising": denoising}
    DRAWING = {"VIMAE": vimae}
    ODD = {"VIMAE": vimae}
