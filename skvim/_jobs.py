"""Fits that are made together, each for the estimator that will ask for it."""

import math
import pickle
import time
import warnings
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from copy import deepcopy
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, final

import joblib
import sklearn
from numpy.typing import NDArray
from torch import Tensor

from skvim.engine import (
    AutoencoderNet,
    ModelSettings,
    Trained,
    TrainingSet,
    TrainingSettings,
    as_rows,
    bounded_threads,
    build_autoencoder,
    build_net,
    build_objective,
    likeness,
    obstacle,
    own_modes,
    stack_bytes,
    step_work,
    train_together,
)
from skvim.exceptions import BatchingWarning

__all__ = ["OTHER_ROWS", "Jobs", "trained_before"]

#: Why fits cannot be known beforehand.
OTHER_ROWS = "what comes before it gives other rows every time"

# Multiply-adds of a step above which arithmetic, which nothing saves, is most of its time.
_LONG_STEP = 2**24
_LONG = "its steps take long by themselves"


@final
@dataclass(eq=False)
class _Job:
    """One fit to come, or several of the same, which is made once.

    Attributes
    ----------
    key : str
        What it is known by: its name and the rows.
    name : str
        The estimator's class and parameters.
    tags : list
        Of the fits that it stands for.
    n_left : int
        How many of these have yet to take it.
    """

    key: str
    name: str
    tags: list[Any]
    model: ModelSettings
    training: TrainingSettings
    rows: Tensor
    n_left: int = 0

    def net(self) -> AutoencoderNet:
        """Return a prepared net."""
        device = self.training.device
        net = build_net(self.model, self.training)
        net.start(self.rows, device)
        return net


@final
@dataclass(eq=False)
class Chunk:
    """Fits that are made at once, when the first of them is asked for.

    Attributes
    ----------
    jobs : list of jobs
        Set after set: those of a set have rows and seed in common.
    size : int
        Jobs of a set.
    takers : list
        Tags of the fits that asked, in their order; the first of them waited for the training.
    seconds : float
        What all of them took.
    """

    jobs: list[_Job]
    size: int
    takers: list[Any] = field(default_factory=list)
    seconds: float = 0.0
    trained: dict[_Job, Trained] | None = None

    @property
    def n_fits(self) -> int:
        """Fits that its jobs stand for."""
        return _n_fits(self.jobs)


@final
class Jobs:
    """Fits of autoencoders that are known beforehand.

    Attributes
    ----------
    reasons : Counter of str
        Why fits are made one by one, and how many.
    n_together : int
        Fits that were made with others.
    counts : bool
        Whether a fit of which nothing is known is one that was planned, for other rows.
    """

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.n_together = 0
        self.counts = True
        self.chunks: list[Chunk] = []
        # Names of fits with their rows, and of those that are made alone with the shape of theirs.
        self._planned: set[str] = set()
        self._alone: set[str] = set()
        self._long: dict[bytes, bool] = {}
        self._n_unknown = 0
        self._groups: dict[bytes, list[_Job]] = defaultdict(list)
        self._rows: dict[str, Tensor] = {}
        self._seen: dict[int, tuple[NDArray[Any], str]] = {}
        self._waiting: dict[str, list[tuple[_Job, Chunk]]] = defaultdict(list)

    def add(self, estimator: Any, X: Any, tag: Any = None) -> None:
        """Plan the fit of an estimator, which is changed, to X.

        A fit that would raise an error is left to raise it when its time comes; if it is one of a
        large network, it may count among those made one by one.

        Parameters
        ----------
        estimator : autoencoder
            With the parameters of the fit.
        X : array-like
            As its ``fit`` takes it.
        tag : object
            What to know the fit by.
        """
        try:
            rows, device = estimator._receive(X)
            name = _name(estimator)  # before a RandomState among its parameters moves
            model, training = estimator._settings(device)
        except pickle.PicklingError:
            self.reasons["its parameters cannot be compared"] += 1
            return
        except Exception:  # its own, or of a part that the user brought
            return
        reason = obstacle(model, training) or _unmeasured(training)
        try:
            like = b"" if reason else likeness(model, training, len(rows))
        except Exception:  # whatever pickle raises, or a batch that is too small
            reason = "its parameters cannot be compared"
        if not reason and self._takes_long(like, model, training, len(rows)):
            reason = _LONG
        if reason:
            self.reasons[reason] += 1
            self._alone.add(name + str(rows.shape))
            return
        digest = self._digest(X, rows)
        self._planned.add(name + digest)
        for job in self._groups[like]:
            if (job.key, job.training.seed) == (name + digest, training.seed):
                job.tags.append(tag)
                return
        known = self._rows.setdefault(digest, as_rows(rows))
        self._groups[like].append(_Job(name + digest, name, [tag], model, training, known))

    def arrange(self) -> None:
        """Decide which fits are made together."""
        for jobs in self._groups.values():
            sound = jobs if _n_fits(jobs) == 1 else _sound(jobs)
            if _n_fits(sound) == 1:
                self.reasons["no other fit is like it"] += 1
            elif sound:
                self._arrange_group(sound)
        self._groups.clear()
        self._seen.clear()
        self._rows.clear()  # jobs have theirs

    @contextmanager
    def at_hand(self) -> Iterator[None]:
        """Let estimators that are fitted inside take what is planned for them; then say the rest.

        Warns
        -----
        BatchingWarning
            At the end, when some fits were made one by one.
        """
        token = _JOBS.set(self)
        try:
            yield
        finally:
            _JOBS.reset(token)
        # What nobody asked for may also have come from the memory of a Pipeline.
        n_left = sum(job.n_left for chunk in self.chunks for job in chunk.jobs)
        self.reasons[OTHER_ROWS] += min(n_left, self._n_unknown)
        for reason, number in (+self.reasons).items():
            message = f"{number} of the fits were made one by one: {reason}."
            warnings.warn(message, BatchingWarning, stacklevel=4)

    def take(self, estimator: Any, rows: NDArray[Any]) -> Trained | None:
        """Return what was trained for an estimator, with others, or None."""
        if not self.chunks:  # nothing trains together
            return None
        try:
            name = _name(estimator)
        except pickle.PicklingError:  # no name, no job
            return None
        key = name + str(joblib.hash(rows))
        waiting = self._waiting.get(key)
        if not waiting:
            is_known = key in self._planned or name + str(rows.shape) in self._alone
            self._n_unknown += self.counts and not is_known
            return None
        job, chunk = waiting[0]
        if chunk.trained is None:
            start = time.perf_counter()
            chunk.trained = self._train(chunk)
            chunk.seconds = time.perf_counter() - start
        chunk.takers.append(job.tags[-job.n_left])
        job.n_left -= 1
        self.n_together += job in chunk.trained
        if job.n_left:
            return deepcopy(chunk.trained.get(job))
        waiting.pop(0)
        return chunk.trained.pop(job, None)

    def _takes_long(
        self, like: bytes, model: ModelSettings, training: TrainingSettings, n_rows: int
    ) -> bool:
        """Whether a fit's steps are long; asked once, when a second fit is like the first."""
        if like not in self._groups:
            return False
        if like not in self._long:
            self._long[like] = _is_long(model, training, n_rows)
            if self._long[like]:
                first = self._groups[like]
                self.reasons[_LONG] += _n_fits(first)
                self._alone.update(job.name + str(tuple(job.rows.shape)) for job in first)
                first.clear()
        return self._long[like]

    def _digest(self, X: Any, rows: NDArray[Any]) -> str:
        """Return what rows are known by. Those of a fold are the same array for every candidate."""
        known, digest = self._seen.get(id(X), (None, ""))
        if known is not X:
            digest = str(joblib.hash(rows))
            # A copy has nothing to show that the next one is equal.
            if rows is X:
                self._seen[id(X)] = (rows, digest)
        return digest

    def _arrange_group(self, jobs: list[_Job]) -> None:
        """Cut jobs that are alike into chunks that fit scikit-learn's working memory."""
        net = jobs[0].net()
        n_rows = min(jobs[0].training.batch_size, len(jobs[0].rows))
        budget = 2**20 * float(sklearn.get_config()["working_memory"])
        most = max(1, int(budget / stack_bytes(net, n_rows)))
        sets: dict[Any, list[_Job]] = defaultdict(list)
        for job in jobs:
            sets[id(job.rows), job.training.seed].append(job)
        parts = [part for of in sets.values() for part in _cut(of, most)]
        for size in sorted({len(part) for part in parts}):
            alike = [part for part in parts if len(part) == size]
            step = max(1, most // size)
            for i in range(0, len(alike), step):
                self._add_chunk(Chunk([job for part in alike[i : i + step] for job in part], size))

    def _add_chunk(self, chunk: Chunk) -> None:
        """Let the jobs of a chunk wait."""
        if chunk.n_fits == 1:
            self.reasons["no other fit like it has room beside it in the working memory"] += 1
            return
        self.chunks.append(chunk)
        for job in chunk.jobs:
            job.n_left = len(job.tags)
            self._waiting[job.key].append((job, chunk))

    def _train(self, chunk: Chunk) -> dict[_Job, Trained]:
        """Train a chunk; nothing comes back of what has to be trained one by one."""
        jobs = chunk.jobs
        with own_modes(jobs[0].training.device):
            try:
                nets = [job.net() for job in jobs]
                sets = [
                    TrainingSet(nets[i : i + chunk.size], jobs[i].rows)
                    for i in range(0, len(jobs), chunk.size)
                ]
                first = nets[0]
                n_rows = min(first.batch_size, len(jobs[0].rows))
                work = len(jobs) * step_work(first.autoencoder, first.objective, n_rows)
                with bounded_threads(work):
                    done = train_together(sets)
            except Exception as error:  # whatever it is, fits can be made one by one
                lines = str(error).strip().rstrip(".").splitlines()
                self.reasons[lines[0] if lines else type(error).__name__] += chunk.n_fits
                return {}
        return dict(zip(jobs, [trained for of_set in done for trained in of_set], strict=True))


def trained_before(estimator: Any, rows: NDArray[Any]) -> AutoencoderNet | None:
    """Return the net that was trained for an estimator, and warn of what there is to say of it.

    Parameters
    ----------
    estimator : autoencoder
        That is being fitted.
    rows : ndarray of shape (n_samples, n_features)
        Its training data.

    Returns
    -------
    AutoencoderNet or None
        None where it has to train a net itself.

    Raises
    ------
    TrainingDivergedError
        When its loss became infinite or not a number.
    """
    jobs = _JOBS.get()
    trained = None if jobs is None else jobs.take(estimator, rows)
    if trained is None:
        return None
    if trained.error is not None:
        raise trained.error
    for warning in trained.warnings:
        warnings.warn(warning, stacklevel=4)  # where the estimator's fit was called
    return trained.net


def _n_fits(jobs: list[_Job]) -> int:
    """Count the fits that jobs stand for."""
    return sum(len(job.tags) for job in jobs)


def _cut(jobs: list[_Job], most: int) -> list[list[_Job]]:
    """Cut jobs into the fewest parts of at most so many, of about the same length."""
    n_parts = math.ceil(len(jobs) / most)
    stops = [len(jobs) * i // n_parts for i in range(n_parts + 1)]
    return [jobs[start:stop] for start, stop in pairwise(stops)]


def _sound(jobs: list[_Job]) -> list[_Job]:
    """Return those of jobs that are alike whose rows are accepted; other fits raise an error."""
    accepted = {}
    for job in jobs:
        if id(job.rows) not in accepted:
            try:
                job.net()
            except Exception:  # so does its own fit, and says it
                accepted[id(job.rows)] = False
            else:
                accepted[id(job.rows)] = True
    return [job for job in jobs if accepted[id(job.rows)]]


def _is_long(model: ModelSettings, training: TrainingSettings, n_rows: int) -> bool:
    """Whether arithmetic, which nothing saves, is most of a step. On a GPU launches are."""
    if training.device.type == "cuda":
        return False
    try:
        parts = build_autoencoder(model, training.seed), build_objective(model, training.seed)
    except Exception:  # so does its own fit, and says it
        return False
    return step_work(*parts, min(training.batch_size, n_rows)) > _LONG_STEP


def _unmeasured(training: TrainingSettings) -> str:
    """Say so where nobody knows whether it pays."""
    kind = training.device.type
    return "" if kind in {"cpu", "cuda"} else f"nobody has measured it on devices like {kind!r}"


def _name(estimator: Any) -> str:
    """Return what fits to any rows are known by: the class and its parameters."""
    kind = type(estimator)
    try:
        parts = (kind.__module__, kind.__qualname__, estimator.get_params(deep=False))
        return str(joblib.hash(parts))
    except Exception as error:  # pickle raises whatever it likes
        raise pickle.PicklingError(str(error)) from error


_JOBS: ContextVar[Jobs | None] = ContextVar("jobs", default=None)
