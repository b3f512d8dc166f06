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
from skvim._imputer import AutoencoderImputer
from skvim._load import load
from skvim._persistence._files import save
from skvim.engine._checkpoints import Checkpoints

__all__ = [
    "AAETransformer",
    "AETransformer",
    "AutoencoderImputer",
    "BetaVAETransformer",
    "CapacityVAETransformer",
    "Checkpoints",
    "ContractiveAETransformer",
    "DenoisingAETransformer",
    "InfoVAETransformer",
    "UncertaintyAETransformer",
    "VAETransformer",
    "VIMAETransformer",
    "WAETransformer",
    "__version__",
    "load",
    "save",
]

__version__ = "0.1.0"
