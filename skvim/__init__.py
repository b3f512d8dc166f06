"""Information-maximising autoencoders with scikit-learn's interface."""

from skvim._autoencoders import (
    AAETransformer,
    AETransformer,
    BetaVAETransformer,
    CapacityVAETransformer,
    ContractiveAETransformer,
    DenoisingAETransformer,
    InfoVAETransformer,
    UncertaintyAETransformer,
    VAETransformer,
    VIMAETransformer,
    WAETransformer,
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
    "__version__",
]

__version__ = "0.1.0"
