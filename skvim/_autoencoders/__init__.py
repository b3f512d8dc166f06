"""The autoencoders: each chooses a posterior and the terms that it adds to −log p(x|z)."""

from skvim._autoencoders._infomax import (
    AAETransformer,
    InfoVAETransformer,
    VIMAETransformer,
    WAETransformer,
)
from skvim._autoencoders._plain import (
    AETransformer,
    ContractiveAETransformer,
    DenoisingAETransformer,
    UncertaintyAETransformer,
)
from skvim._autoencoders._variational import (
    BetaVAETransformer,
    CapacityVAETransformer,
    VAETransformer,
)

__all__ = [
    "AAETransformer",
    "AETransformer",
    "BetaVAETransformer",
    "CapacityVAETransformer",
    "ContractiveAETransformer",
    "DenoisingAETransformer",
    "InfoVAETransformer",
    "UncertaintyAETransformer",
    "VAETransformer",
    "VIMAETransformer",
    "WAETransformer",
]
