"""Plan of fits: train compatible fits as one batch and hand each result to its estimator."""

import math
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Hashable
from copy import deepcopy
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, final

import numpy as np
import sklearn
from numpy.typing import NDArray

from skvim._modes import own_modes
from skvim._values import NotComparableError, describe
from skvim.engine._batches import batch_bounds
from skvim.engine._build import build_autoencoder, build_objective
from skvim.engine._checkpoints import CheckpointFile
from skvim.engine._fit import FitRequest, checkpoint_of
from skvim.engine._memory import freed_memory_kept
from skvim.engine._net import AutoencoderNet
from skvim.engine._placement import as_rows
from skvim.engine._threads import bounded_threads, step_work
from skvim.engine.batched._rows import TrainingSet
from skvim.engine.batched._train import TrainedNet, stack_bytes, train_batched
from skvim.engine.capture._recorder import NotTraceableError
from skvim.engine.capture._training_step import is_library_code
from skvim.exceptions import BatchingWarning
from skvim.networks import Perceptrons

__all__ = ["OTHER_ROWS", "Chunk", "Plan", "batching_key", "why_not_batchable"]

#: Why fits that were planned are not used.
OTHER_ROWS = "what comes before it gives other rows every time"

# Multiply-adds of a step above which arithmetic, which batching does not save, takes most of it.
_LONG_STEP = 2**24
_NO_KEY = "its parameters cannot be compared"


def why_not_batchable(request: FitRequest) -> str:
    """Return why a fit cannot train as part of a batch, or ""."""
    model, training = request.model, request.training
    parts: list[Any] = [model.posterior, model.prior, model.likelihood]
    parts += [getattr(model.prior, "distribution", None), *(term for _, term in model.terms)]
    parts.append(getattr(model.corruption, "__self__", model.corruption))
    beyond = [k for k in training.net_params if not k.startswith("optimizer__")]
    kind = training.device.type
    reasons = {
        "its divergence has a critic": any(term.adversarial for _, term in model.terms),
        "its networks are not multilayer perceptrons": not isinstance(
            model.architecture, Perceptrons
        ),
        "parts of it are neither skvim's nor torch's": not all(map(is_library_code, parts)),
        "it has callbacks": bool(training.callbacks),
        "it prints its epochs (verbose)": bool(training.verbose),
        "its optimizer is not one of those with a name": not isinstance(training.optimizer, str),
        "net_params asks for more than a setting of the optimizer": bool(beyond)
        or "optimizer__param_groups" in training.net_params,
        "its products are not computed in float32": model.precision != "float32",
        "acceleration is None": training.acceleration is None,
        f"nobody has measured it on devices like {kind!r}": kind not in {"cpu", "cuda"},
    }
    return next((reason for reason, holds in reasons.items() if holds), "")


def batching_key(request: FitRequest) -> Hashable:
    """Return what fits that can train as one batch have in common.

    They may differ in weights and numbers of the objective, in their seeds and, as long as an
    epoch has as many batches, in the number of rows. NotComparableError when a part has no
    description by value, ValueError when a batch is too small.
    """
    model, training = request.model, request.training
    parts = dict(vars(model))
    parts["terms"] = [_fixed(term) for _, term in model.terms]
    parts["likelihood"] = _fixed(model.likelihood)
    varying = {"seed", "acceleration", "checkpoints"}
    options = {k: v for k, v in vars(training).items() if k not in varying}
    key: Hashable = describe((parts, options, _n_batches(request)))
    return key


def _fixed(part: Any) -> tuple[Any, ...]:
    """Return class and settings of a part; of the numbers that may vary, whether they are 0."""
    settings = dict(vars(part))
    for name in set(getattr(part, "variable", ())) & set(settings):
        settings[name] = bool(settings[name])
    return type(part), settings


def _n_batches(request: FitRequest) -> int:
    """Return the number of training batches of an epoch."""
    model, training, n_rows = request.model, request.training, len(request.rows)
    if training.stopping is not None:
        n_rows = training.stopping.n_train(n_rows)
    return len(batch_bounds(n_rows, training.batch_size, model.min_batch_rows))


@final
@dataclass(eq=False)
class _Job:
    """One training, for one fit or several equal ones."""

    request: FitRequest
    tags: list[Any]  # of the fits
    n_left: int = 0  # fits that have yet to take the result


@final
@dataclass(eq=False)
class Chunk:
    """Jobs that are trained at once, when the first of their fits asks for its result."""

    jobs: list[_Job]  # set after set: those of a set have rows and seed in common
    size: int  # jobs of a set
    takers: list[Any] = field(default_factory=list)  # tags in the order in which their fits asked
    seconds: float = 0.0  # for which the first of them waited
    trained: dict[_Job, TrainedNet] | None = None


@final
class Plan:
    """Fits that are known beforehand, of which compatible ones train as one batch."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()  # why fits were made one by one
        self.n_batched = 0  # fits that trained in a batch with others
        self.chunks: list[Chunk] = []
        self.is_active = True  # clones of estimators keep an active plan only
        self.is_complete = False  # whether all planned fits were made: later ones are others
        self._groups: dict[Hashable, list[_Job]] = defaultdict(list)
        self._rows: list[NDArray[Any]] = []
        self._waiting: dict[Hashable, list[tuple[_Job, Chunk]]] = defaultdict(list)
        self._n_other_rows = 0

    def add(self, request: FitRequest, tag: Any = None) -> None:
        """Plan a fit; ``tag`` is what it is called in ``Chunk.takers``."""
        reason = why_not_batchable(request)
        if not reason:
            try:
                key = batching_key(request)
            except NotComparableError:
                reason = _NO_KEY
            except ValueError:  # its fit will raise it
                return
        if reason:
            self.reasons[reason] += 1
            return
        # Equal rows as one array, which tells sets of fits.
        request = replace(request, rows=self._interned(request.rows))
        for job in self._groups[key]:
            known = job.request
            same_seed = known.training.seed == request.training.seed
            if same_seed and known.rows is request.rows and known.key == request.key:
                job.tags.append(tag)
                return
        self._groups[key].append(_Job(request, [tag]))

    def build_chunks(self) -> None:
        """Decide which fits train together, within scikit-learn's working memory."""
        for jobs in self._groups.values():
            if _n_fits(jobs) > 1 and _is_long(jobs[0].request):
                self.reasons["its steps take long by themselves"] += _n_fits(jobs)
                continue
            sound = jobs if _n_fits(jobs) == 1 else _without_refused_rows(jobs)
            if _n_fits(sound) == 1:
                self.reasons["no other fit is like it"] += 1
            elif sound:
                self._cut_into_chunks(sound)
        self._groups.clear()
        self._rows.clear()

    def take(self, request: FitRequest) -> AutoencoderNet | None:
        """Return the net that was trained for a fit, or None where it has to train alone.

        It warns and raises TrainingDivergedError as a training of its own would.
        """
        trained = self._find(request)
        if trained is None:
            return None
        if trained.error is not None:
            raise trained.error
        for warning in trained.warnings:
            warnings.warn(warning, stacklevel=3)  # where the estimator's fit was called
        return trained.net

    def finish(self) -> None:
        """End the plan; BatchingWarning when some fits were made one by one, with the reason."""
        self.is_active = False
        # Results that nobody asked for may also have come from the memory of a Pipeline.
        n_left = sum(job.n_left for chunk in self.chunks for job in chunk.jobs)
        self.reasons[OTHER_ROWS] += min(n_left, self._n_other_rows)
        self._waiting.clear()
        self.chunks.clear()  # they hold rows
        for reason, number in (+self.reasons).items():
            message = f"{number} of the fits were made one by one: {reason}."
            warnings.warn(message, BatchingWarning, stacklevel=3)

    def _interned(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the first array that is equal to rows."""
        same = [known for known in self._rows if known is rows] or [
            known for known in self._rows if _same(known, rows)
        ]
        self._rows += [] if same else [rows]
        return same[0] if same else rows

    def _cut_into_chunks(self, jobs: list[_Job]) -> None:
        """Cut compatible jobs into chunks that fit scikit-learn's working memory."""
        request = jobs[0].request
        budget = 2**20 * float(sklearn.get_config()["working_memory"])
        most = max(1, int(budget / stack_bytes(request.make_net(), request.batch_rows)))
        sets: dict[Any, list[_Job]] = defaultdict(list)
        for job in jobs:
            sets[id(job.request.rows), job.request.training.seed].append(job)
        parts = [part for of_set in sets.values() for part in _cut(of_set, most)]
        for size in sorted({len(part) for part in parts}):
            same_size = [part for part in parts if len(part) == size]
            step = max(1, most // size)
            for i in range(0, len(same_size), step):
                self._add_chunk([job for part in same_size[i : i + step] for job in part], size)

    def _add_chunk(self, jobs: list[_Job], size: int) -> None:
        """Add a chunk, and let its jobs wait for their fits."""
        chunk = Chunk(jobs, size)
        if _n_fits(jobs) == 1:
            self.reasons["no other fit like it has room beside it in the working memory"] += 1
            return
        self.chunks.append(chunk)
        for job in jobs:
            job.n_left = len(job.tags)
            self._waiting[job.request.key].append((job, chunk))

    def _find(self, request: FitRequest) -> TrainedNet | None:
        """Return the result of the planned fit that equals a request, if there is one."""
        if not self.chunks:
            return None
        try:
            waiting = self._waiting.get(request.key)
        except NotComparableError:
            return None
        if not waiting:
            return None
        match = next((pair for pair in waiting if _same(pair[0].request.rows, request.rows)), None)
        if match is None:
            self._n_other_rows += not self.is_complete
            return None
        trained = self._taken(*match)
        if match[0].n_left == 0:
            waiting.remove(match)
        return trained

    def _taken(self, job: _Job, chunk: Chunk) -> TrainedNet | None:
        """Return the result of a job for one of its fits; None where its chunk did not train."""
        if chunk.trained is None:
            start = time.perf_counter()
            chunk.trained = self._train(chunk)
            chunk.seconds = time.perf_counter() - start
        chunk.takers.append(job.tags[-job.n_left])
        job.n_left -= 1
        self.n_batched += job in chunk.trained
        if job.n_left:
            return deepcopy(chunk.trained.get(job))
        return chunk.trained.pop(job, None)

    def _train(self, chunk: Chunk) -> dict[_Job, TrainedNet]:
        """Train a chunk; return nothing where its fits have to train one by one."""
        requests = [job.request for job in chunk.jobs]
        # Inside the checkpoint, which is of no use to fits that are then made one by one.
        with own_modes(), checkpoint_of(requests) as checkpoint:
            try:
                done = _train_together(requests, chunk.size, checkpoint)
            except (NotTraceableError, MemoryError, RuntimeError) as error:
                lines = str(error).strip().rstrip(".").splitlines()
                self.reasons[lines[0] if lines else type(error).__name__] += _n_fits(chunk.jobs)
                return {}
        trained = [trained for of_set in done for trained in of_set]
        return dict(zip(chunk.jobs, trained, strict=True))


def _train_together(
    requests: list[FitRequest], size: int, checkpoint: CheckpointFile | None
) -> list[list[TrainedNet]]:
    """Train fits in sets of a size, from their checkpoint if there is one."""
    state = None if checkpoint is None else checkpoint.read()
    if state is not None:
        requests = [r.with_seed(seed) for r, seed in zip(requests, state["seeds"], strict=True)]
    nets = [request.make_net() for request in requests]
    sets = [
        TrainingSet(nets[i : i + size], as_rows(requests[i].rows))
        for i in range(0, len(nets), size)
    ]
    work = step_work(nets[0].autoencoder, nets[0].objective, requests[0].batch_rows)
    with freed_memory_kept(), bounded_threads(len(nets) * work):
        return train_batched(sets, checkpoint, state)


def _same(rows: NDArray[Any], others: NDArray[Any]) -> bool:
    """Tell whether two arrays of rows are equal, with missing cells in the same places."""
    holes = rows.dtype.kind == "f"
    return rows.dtype == others.dtype and np.array_equal(rows, others, equal_nan=holes)


def _n_fits(jobs: list[_Job]) -> int:
    """Return the number of fits of some jobs."""
    return sum(len(job.tags) for job in jobs)


def _cut(jobs: list[_Job], most: int) -> list[list[_Job]]:
    """Cut jobs into the fewest parts of at most so many, of about the same length."""
    stops = np.linspace(0, len(jobs), math.ceil(len(jobs) / most) + 1).astype(int)
    return [jobs[start:stop] for start, stop in pairwise(stops)]


def _without_refused_rows(jobs: list[_Job]) -> list[_Job]:
    """Return the compatible jobs whose rows are accepted; other fits raise the error themselves."""
    refused = set()
    for key, request in {id(job.request.rows): job.request for job in jobs}.items():
        try:
            request.make_net()
        except ValueError:
            refused.add(key)
    return [job for job in jobs if id(job.request.rows) not in refused]


def _is_long(request: FitRequest) -> bool:
    """Tell whether arithmetic takes most of a step; on a GPU launching kernels does."""
    model, seed = request.model, request.training.seed
    if request.training.device.type == "cuda":
        return False
    try:
        parts = build_autoencoder(model, seed), build_objective(model, seed)
    except ValueError:  # its fit will raise it
        return False
    return step_work(*parts, request.batch_rows) > _LONG_STEP
