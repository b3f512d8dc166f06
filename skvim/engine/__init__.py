"""Training and inference: the only package that knows skorch."""

from skvim.engine._accelerate import ACCELERATIONS
from skvim.engine._alike import likeness, n_batches, obstacle
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
from skvim.engine._modes import own_modes
from skvim.engine._net import AutoencoderNet
from skvim.engine._placement import as_rows, place
from skvim.engine._saved import net_state, restored_net
from skvim.engine._schedules import SCHEDULES
from skvim.engine._statistics import data_statistics
from skvim.engine._stopping import Stopping
from skvim.engine._streams import child_seed
from skvim.engine._threads import bounded_threads, step_work
from skvim.engine._together import Trained, TrainingSet, stack_bytes, train_together
from skvim.engine._trace import NotTraceableError

__all__ = [
    "ACCELERATIONS",
    "OPTIMIZERS",
    "PRECISIONS",
    "SCHEDULES",
    "AutoencoderNet",
    "ModelSettings",
    "NotTraceableError",
    "Stopping",
    "Trained",
    "TrainingSet",
    "TrainingSettings",
    "as_rows",
    "bounded_threads",
    "build_autoencoder",
    "build_net",
    "build_objective",
    "child_seed",
    "data_statistics",
    "likeness",
    "map_rows",
    "n_batches",
    "net_state",
    "obstacle",
    "own_modes",
    "place",
    "resolve_device",
    "restored_net",
    "stack_bytes",
    "step_work",
    "to_tensor",
    "train_together",
    "working_dtype",
]
