"""The package's models for tables, by the job they are to do.

A constructor takes a seed. Features: ``fit(frame)`` and ``transform(frame)``; filling:
``fit(frame)`` and ``impute(frame)``; drawing: ``fit(frame)`` and ``sample``; odd rows:
``fit(frame)`` and ``score_samples(frame)``.
"""

from collections.abc import Callable
from typing import Any

from skvim import AutoencoderImputer, DenoisingAETransformer, VAETransformer, VIMAETransformer
from skvim.presets import preset

__all__ = ["DRAWING", "FEATURES", "FILLING", "ODD"]

Contenders = dict[str, Callable[[int], Any]]
_COMMON: dict[str, Any] = {"likelihood": "auto", "max_epochs": 100, "device": "cpu"}


def vimae(seed: int, **options: Any) -> Any:
    """Return a VIMAE for tables."""
    return VIMAETransformer(**_COMMON, random_state=seed, **options)


def robust(seed: int, **options: Any) -> Any:
    """Return the preset for features of tables."""
    parameters = preset("robust-table", DenoisingAETransformer) | options
    return DenoisingAETransformer(**parameters, device="cpu", random_state=seed)


def untrained(seed: int) -> Any:
    """Return the same without training, as a control: its steps are too small to change it."""
    return robust(seed, max_epochs=1, lr=1e-12)


def vae(seed: int) -> Any:
    """Return a VAE with fewer codes than columns."""
    return VAETransformer("auto", **_COMMON, random_state=seed)


class Imputer:
    """The default imputer; it fits and fills the same table."""

    def __init__(self, seed: int) -> None:
        self.imputer = AutoencoderImputer(random_state=seed)

    def fit(self, frame: Any) -> "Imputer":
        """Fit the imputer."""
        self.imputer.fit(frame)
        return self

    def impute(self, frame: Any) -> Any:
        """Fill the missing cells."""
        return self.imputer.transform(frame)


FEATURES: Contenders = {
    "robust-table": robust,
    "robust-table, untrained": untrained,
    "VIMAE": lambda seed: vimae(seed, code_density=None),
}
FILLING: Contenders = {"AutoencoderImputer": Imputer, "VIMAE": vimae}
DRAWING: Contenders = {"VIMAE": vimae}
ODD: Contenders = {"VIMAE": vimae, "VAE, n_components=auto": vae}
