"""Training and inference: the only package that knows skorch."""

from skvim.engine._accelerate import ACCELERATIONS
from skvim.engine._build import (
    OPTIMIZERS,
    PRECISIONS,
    ModelSettings,
    TrainingSettings,
    build_autoencoder,
    build_net,
    build_objective,
    resolve_device,
)
from skvim.engine._inference import map_rows, to_tensor, working_dtype
from skvim.engine._net import AutoencoderNet, data_statistics
from skvim.engine._placement import as_rows, place
from skvim.engine._schedules import SCHEDULES
from skvim.engine._streams import child_seed

__all__ = [
    "ACCELERATIONS",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "AutoencoderNet",
    "ModelSettings",
    "TrainingSettings",
    "as_rows",
    "build_autoencoder",
    "build_net",
    "build_objective",
    "child_seed",
    "data_statistics",
    "map_rows",
    "place",
    "resolve_device",
    "to_tensor",
    "working_dtype",
]
