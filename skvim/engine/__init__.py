"""Training and inference; the only package that imports skorch."""

from skvim.engine._batches import epochs_for
from skvim.engine._build import (
    OPTIMIZERS,
    PRECISIONS,
    ModelSettings,
    TrainingSettings,
    resolve_device,
)
from skvim.engine._fit import FitRequest, train
from skvim.engine._inference import encode_moments, map_rows, to_tensor, working_dtype
from skvim.engine._net import AutoencoderNet
from skvim.engine._saved import net_state, restored_net
from skvim.engine._schedules import SCHEDULES
from skvim.engine._stopping import Stopping
from skvim.engine._streams import child_seed
from skvim.engine._threads import one_thread
from skvim.engine.capture._accelerator import ACCELERATIONS

__all__ = [
    "ACCELERATIONS",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "AutoencoderNet",
    "FitRequest",
    "ModelSettings",
    "Stopping",
    "TrainingSettings",
    "child_seed",
    "encode_moments",
    "epochs_for",
    "map_rows",
    "net_state",
    "one_thread",
    "resolve_device",
    "restored_net",
    "to_tensor",
    "train",
    "working_dtype",
]
