"""Training and inference: the only package that knows skorch."""

from skvim.engine._build import (
    OPTIMIZERS,
    ModelSettings,
    TrainingSettings,
    build_net,
    resolve_device,
)
from skvim.engine._inference import map_rows, to_tensor
from skvim.engine._net import AutoencoderNet, data_statistics
from skvim.engine._streams import child_seed

__all__ = [
    "OPTIMIZERS",
    "AutoencoderNet",
    "ModelSettings",
    "TrainingSettings",
    "build_net",
    "child_seed",
    "data_statistics",
    "map_rows",
    "resolve_device",
    "to_tensor",
]
