"""Capture of training steps: tracer, graph optimiser, direct optimizer updates, CUDA graphs."""

from skvim.engine.capture._accelerator import ACCELERATIONS, Accelerator
from skvim.engine.capture._captured import (
    CapturedStep,
    capture,
    require_close,
    require_close_terms,
)
from skvim.engine.capture._graphs import Graphed, GraphedStep, warn_of_no_graph
from skvim.engine.capture._optimiser import Program, optimise
from skvim.engine.capture._recorder import Draw, NotTraceableError, OperationRecorder, record
from skvim.engine.capture._step import (
    StepResult,
    Trace,
    TrainingStep,
    is_library_code,
    run_step,
    trace_step,
)
from skvim.engine.capture._update import Update, flush_subnormals, make_update

__all__ = [
    "ACCELERATIONS",
    "Accelerator",
    "CapturedStep",
    "Draw",
    "Graphed",
    "GraphedStep",
    "NotTraceableError",
    "OperationRecorder",
    "Program",
    "StepResult",
    "Trace",
    "TrainingStep",
    "Update",
    "capture",
    "flush_subnormals",
    "is_library_code",
    "make_update",
    "optimise",
    "record",
    "require_close",
    "require_close_terms",
    "run_step",
    "trace_step",
    "warn_of_no_graph",
]
