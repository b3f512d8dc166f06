"""Information-maximising autoencoders with scikit-learn's interface."""

from skvim._autoencoders import (
    AETransformer,
    BetaVAETransformer,
    VAETransformer,
    VIMAETransformer,
)

__all__ = [
    "AETransformer",
    "BetaVAETransformer",
    "VAETransformer",
    "VIMAETransformer",
    "__version__",
]

__version__ = "0.1.0"
