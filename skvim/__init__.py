"""Information-maximising autoencoders with scikit-learn's interface."""

from skvim._autoencoders import (
    AETransformer,
    BetaVAETransformer,
    CapacityVAETransformer,
    DenoisingAETransformer,
    InfoVAETransformer,
    VAETransformer,
    VIMAETransformer,
    WAETransformer,
)

__all__ = [
    "AETransformer",
    "BetaVAETransformer",
    "CapacityVAETransformer",
    "DenoisingAETransformer",
    "InfoVAETransformer",
    "VAETransformer",
    "VIMAETransformer",
    "WAETransformer",
    "__version__",
]

__version__ = "0.1.0"
