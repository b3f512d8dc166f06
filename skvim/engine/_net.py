"""The training loop: a skorch net for autoencoders."""

import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from copy import deepcopy
from typing import Any, cast, final

import torch
from skorch import NeuralNet
from skorch.callbacks import (
    Callback,
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    LoadInitState,
    LRScheduler,
    PassthroughScoring,
    PrintLog,
    TrainEndCheckpoint,
)
from skorch.utils import is_dataset
from torch import Tensor

from skvim.engine._batches import Rows, TensorBatches, rows_of
from skvim.engine._diagnosis import diagnose, joined, rows_to_diagnose, some_rows
from skvim.engine._placement import TrainingRows, held, place
from skvim.engine._pretraining import pretrain_encoder
from skvim.engine._schedules import Schedule, begin_step
from skvim.engine._statistics import data_statistics
from skvim.engine._stopping import Split, Stopping, Watch, split_rows
from skvim.engine._streams import Streams, child_seed
from skvim.engine.capture._accelerator import Accelerator
from skvim.engine.capture._training_step import TrainingStep
from skvim.exceptions import SkvimWarning, TrainingDivergedError
from skvim.networks import BatchNormEncoder
from skvim.objectives import (
    Autoencoder,
    DataStatistics,
    Losses,
    Moments,
    Objective,
    Outputs,
    Prior,
)

__all__ = ["AutoencoderNet", "StopRequestedError", "final_weights"]

# Rows, and values of a chunk of rows, in the pass after training.
_SETTLING_ROWS = 4096
_CHUNK_VALUES = 2**22
_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")
# Callbacks that change no more of a model than values of weights and learning rates.
_PASSIVE = {
    Checkpoint,
    EarlyStopping,
    EpochScoring,
    EpochTimer,
    LRScheduler,
    LoadInitState,
    PrintLog,
    TrainEndCheckpoint,
}


@final
class StopRequestedError(Exception):
    """A callback, or the loss of validation rows, asked for the end of training."""


@final
class AutoencoderNet(NeuralNet):
    """skorch's loop over batches cut from one tensor, with every loss term in its history.

    It keeps skorch's hooks, history, checkpoints and pickling, and leaves out what costs time per
    batch: no DataLoader, no record per batch unless a callback listens to batches, mode switches
    and the sum over an epoch on the device.

    Parameters
    ----------
    module : callable
        Returns a fresh Autoencoder.
    criterion : callable
        Returns a fresh Objective.
    seed : int
        Where shuffling and sampling start.
    min_rows : int, default=1
        Rows that the networks need in training.
    schedule : callable or None
        From the share of the training that is done to a factor of every learning rate.
    pretraining : int
        Most steps that bring the codes to the prior's mean and covariance before the first epoch.
    acceleration : {"auto", "capture", "compile"} or None
        How steps are run, unless a callback listens to batches.
    stopping : Stopping or None
        When training ends before its last epoch, and by which rows.
    **options : object
        Any other argument of ``skorch.NeuralNet``.

    Attributes
    ----------
    plain_because_ : str
        Why the last epoch took every step eagerly, or nothing if some were captured.
    """

    def __init__(
        self,
        module: Any,
        *,
        criterion: Any,
        seed: int = 0,
        min_rows: int = 1,
        schedule: Schedule | None = None,
        pretraining: int = 0,
        acceleration: str | None = None,
        stopping: Stopping | None = None,
        **options: Any,
    ) -> None:
        super().__init__(module, criterion=criterion, **options)
        self.seed = seed
        self.min_rows = min_rows
        self.schedule = schedule
        self.pretraining = pretraining
        self.acceleration = acceleration
        self.stopping = stopping
        self.in_epoch_ = False

    # What the estimator calls.

    def prepare(self, data: DataStatistics, device: torch.device) -> None:
        """Build the model, start it from the statistics of the rows and seed the streams."""
        self.initialize()
        self._prepare(data, device)

    def start(self, x: Tensor, device: torch.device) -> None:
        """Prepare for training on rows of shape (n_samples, n_features).

        Raises
        ------
        ValueError
            When rows leave the likelihood's support, float32 cannot tell them apart, or they are
            too few to set some aside.
        """
        self.initialize()
        split = self.split(len(x))
        self._prepare(data_statistics(x, device, None if split is None else split.train), device)

    def _prepare(self, data: DataStatistics, device: torch.device) -> None:
        """Start the model that was built from statistics, and seed the streams."""
        self.autoencoder.prepare(data)
        self.streams_ = Streams(self.seed, device)
        self.casts_: dict[torch.dtype, tuple[Any, Autoencoder]] = {}
        self.n_steps_ = 0
        callbacks = [callback for _, callback in self.callbacks_]
        self.listened_ = any(map(_listens, callbacks))
        self.watched_ = any(type(callback) not in _PASSIVE for callback in callbacks)
        self.accelerator_: Accelerator | None = None
        self.plain_because_ = ""
        self.watch_ = None if self.stopping is None else Watch(self.stopping)
        self.validation_: TrainingRows | None = None

    def split(self, n_rows: int) -> Split | None:
        """Return which rows train and which validate; None where none are set aside for it."""
        if self.stopping is None:
            return None
        needed = self.objective.min_rows
        return split_rows(self.stopping, n_rows, self.seed, (max(needed, self.min_rows), needed))

    def train(self, x: TrainingRows) -> None:
        """Train on rows of shape (n_samples, n_features) for ``max_epochs`` epochs at most.

        An interruption from the keyboard is passed on; a callback that stops training in
        skorch's way, by raising ``KeyboardInterrupt`` itself, ends it in good order.
        """
        split = self.split(len(x))
        if split is not None:
            x, self.validation_ = held(x)[split.train], held(x)[split.valid]
        with suppress(StopRequestedError):
            self.notify("on_train_begin", X=x, y=None)
            self.fit_loop(x)
        for warning in self.finish(x):
            warnings.warn(warning, stacklevel=4)  # where the estimator's fit was called

    def finish(self, x: TrainingRows) -> list[SkvimWarning]:
        """End the training on these rows and return what there is to say of it."""
        last = "train_loss" if self.watch_ is None else "valid_loss"
        if len(self.history) and last not in self.history[-1]:
            del self.history[-1]  # the epoch that a callback broke off
        if self.watch_ is not None:
            self.watch_.restore(self._tensors())
            self.noise_ = self.streams_.noise  # which validation has put aside
        self.watch_ = self.validation_ = None
        with suppress(StopRequestedError):
            self.notify("on_train_end", X=x, y=None)
        self._set_training(False)
        return self._diagnose(x, self._settle(x))

    @property
    def autoencoder(self) -> Autoencoder:
        """The model in training precision."""
        return cast("Autoencoder", self.module_)

    @property
    def objective(self) -> Objective:
        """What training minimises."""
        return cast("Objective", self.criterion_)

    def in_precision(self, dtype: torch.dtype) -> Autoencoder:
        """Return the model in evaluation mode with weights in ``dtype``."""
        model = self.autoencoder
        if model.training:
            model.eval()
        if dtype == model.mean.dtype:
            return model
        # Weights change in place, when training goes on or a checkpoint is loaded.
        state = [
            (id(tensor), tensor._version) for tensor in model.state_dict(keep_vars=True).values()
        ]
        kept, cast_model = self.casts_.get(dtype, (None, model))
        if kept != state:
            cast_model = deepcopy(model).to(dtype)
            self.casts_[dtype] = (state, cast_model)
        return cast_model

    def on_cpu(self, dtype: torch.dtype) -> Autoencoder:
        """Return a model as :meth:`in_precision` does, in main memory."""
        model = self.in_precision(dtype)
        return model if model.mean.device.type == "cpu" else deepcopy(model).cpu()

    # skorch's hooks.

    def get_default_callbacks(self) -> list[tuple[str, Any]]:
        """Time epochs, and print them when asked to."""
        printing = [("print_log", PrintLog())] if self.verbose else []
        return [("epoch_timer", EpochTimer()), *printing]

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Wrap an array or tensor of rows; a data set stays as it is."""
        if is_dataset(X):
            return X
        return Rows(place(X, torch.device(self.device)))

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> tuple[Any, Any]:
        """Return training rows, and those set aside or what skorch's argument sets aside."""
        if self.validation_ is not None:
            return self.get_dataset(X), self.get_dataset(self.validation_)
        found: tuple[Any, Any] = super().get_split_datasets(X, y, **fit_params)
        return found

    def get_iterator(self, dataset: Any, training: bool = False) -> TensorBatches:
        """Cut batches from the tensor; training ones in random order."""
        generator = self.streams_.shuffle if training else None
        rows = rows_of(dataset, self.streams_.noise.device)
        # Only what computes the objective needs its number of rows.
        min_rows = self.objective.min_rows if self.in_epoch_ else 1
        min_rows = max(min_rows, self.min_rows if training else 1)
        return TensorBatches(rows, self.batch_size, min_rows, generator)

    def evaluation_step(self, batch: tuple[Tensor, Tensor], training: bool = False) -> Tensor:
        """Reconstruct a batch: what ``predict`` and ``forward`` of the net give."""
        self.check_is_fitted()
        before = self.autoencoder.training
        with torch.set_grad_enabled(training):
            self._set_training(training)
            reconstructed = self.autoencoder.reconstruct(batch[0])
        # Callbacks predict in the middle of an epoch too.
        self._set_training(before)
        return reconstructed

    def infer(self, x: Tensor, **fit_params: Any) -> Outputs:
        """Run the model with the stream of sampling noise."""
        outputs: Outputs = self.module_(x, self.noise_)
        return outputs

    def train_step_single(self, batch: tuple[Tensor, Tensor], **fit_params: Any) -> dict[str, Any]:
        """Compute the losses of a batch and the gradients of their sum."""
        step, target = self._step(batch, **fit_params)
        target.backward()  # type: ignore[no-untyped-call]
        return step

    def validation_step(self, batch: tuple[Tensor, Tensor], **fit_params: Any) -> dict[str, Any]:
        """Compute the losses of a batch."""
        with torch.no_grad():
            return self._step(batch, **fit_params)[0]

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Run over the batches once and record the mean of every loss term."""
        if iterator is None:
            return
        self._set_training(training)
        if training and len(self.history) == 1:
            self.pretrain(iterator.x)
        # Validation meets the same noise at every epoch, so that its losses can be compared.
        self.noise_ = self.streams_.noise if training else self.validation_noise()
        watch = None if training else self.watch_
        with nullcontext() if watch is None else final_weights(self.objective):
            means, n_rows = self._run_batches(iterator, training, prefix, step_fn, **fit_params)
        if training:
            self.plain_because_ = self._accelerator().plain_because()
            # Fused kernels and CUDA graphs change weights without a word to their versions.
            self.casts_.clear()
        self.record_epoch(prefix, means, n_rows, len(iterator))
        if watch is not None and watch.update(means[0]):
            watch.keep(self._tensors())

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call the callbacks, those of a batch only if one listens."""
        if method_name in _BATCH_HOOKS and not self.listened_:
            return
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as stop:
            raise StopRequestedError from stop
        if method_name == "on_epoch_end" and self.watch_ is not None and self.watch_.is_over:
            raise StopRequestedError

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be made again."""
        state: dict[str, Any] = super().__getstate__()
        made: dict[str, Any] = {"casts_": {}, "noise_": None, "accelerator_": None}
        return {**state, **made, "watch_": None, "validation_": None}

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **options: Any) -> Any:
        """Run skorch's loop, in which iterators have to suit the objective."""
        self.in_epoch_ = True
        try:
            return super().fit_loop(X, y, epochs, **options)
        finally:
            self.in_epoch_ = False
            self.accelerator_ = None  # parameters may be frozen before training goes on

    # Parts of the above.

    def _run_batches(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> tuple[list[float], int]:
        """Return the mean of loss and terms over the rows of all batches, and their number."""
        total = self.autoencoder.mean.new_zeros(len(self.objective.names))
        n_rows = 0
        epoch, n_batches = len(self.history) - 1, len(iterator)
        accelerator = self._accelerator()
        if training:  # captured steps are of the model in training mode
            accelerator.begin_epoch(iterator.sizes, max(1, self.max_epochs - epoch))
        for i, batch in enumerate(iterator):
            if training:
                self._begin_step(epoch + i / n_batches)
            captured = accelerator.captured(batch[0]) if training else None
            if captured:
                terms = captured(batch[0])
            else:
                terms = self._one_batch(batch, training, prefix, step_fn, **fit_params)
            size = len(batch[0])
            total += terms * size
            n_rows += size
        return (total / n_rows).tolist(), n_rows

    def _one_batch(
        self,
        batch: tuple[Tensor, Tensor],
        training: bool,
        prefix: str,
        step_fn: Any,
        **fit_params: Any,
    ) -> Tensor:
        """Take a step in skorch's way and return loss and terms."""
        self.notify("on_batch_begin", batch=batch, training=training)
        step = step_fn(batch, **fit_params)
        if self.listened_:
            self.history.record_batch(f"{prefix}_loss", step["loss"].item())
            self.history.record_batch(f"{prefix}_batch_size", len(batch[0]))
        self.notify("on_batch_end", batch=batch, training=training, **step)
        terms: Tensor = step["terms"]
        return terms

    def _tensors(self) -> list[Tensor]:
        """Return the parameters and buffers of model and objective."""
        modules = (self.autoencoder, self.objective)
        return [tensor for m in modules for tensor in (*m.parameters(), *m.buffers())]

    def _accelerator(self) -> Accelerator:
        """Return what captures steps; it is made when training begins."""
        if self.accelerator_ is None:
            step = TrainingStep(self.autoencoder, self.objective, self.streams_.noise)
            reason = "a callback may change the model" if self.watched_ else ""
            reason = "a callback listens to batches" if self.listened_ else reason
            self.accelerator_ = Accelerator(
                self.acceleration, step, self.optimizer_, reason, int(self.verbose)
            )
        return self.accelerator_

    def pretrain(self, x: TrainingRows) -> None:
        """Bring the codes of training rows to the prior's mean and covariance, if asked to."""
        if not self.pretraining:
            return
        generator = torch.Generator(x.device).manual_seed(child_seed(self.seed, "pretraining"))
        prior = cast("Prior", self.objective.prior)
        self.pretraining_curve_ = pretrain_encoder(
            self.autoencoder, prior, x, steps=self.pretraining, generator=generator
        )

    def _begin_step(self, epochs_done: float) -> None:
        """Let what changes in the course of training take its value for the next batch."""
        self.n_steps_ += 1
        share, progress = epochs_done / self.max_epochs, self.objective.progress
        begin_step(self.n_steps_, share, progress, self.optimizer_, self.schedule)

    def _settle(self, x: TrainingRows) -> Moments | None:
        """Give the likelihood rows' errors, for what it holds at an optimum; return their codes.

        A few thousand rows say the mean error to a per cent, in a fraction of an epoch's time.
        """
        model = self.autoencoder
        standardised = isinstance(model.encoder, BatchNormEncoder)
        if not (model.likelihood.learns or standardised):
            return None
        if len(x) > _SETTLING_ROWS:
            order = torch.randperm(len(x), generator=self.streams_.shuffle, device=x.device)
            x = x[order[:_SETTLING_ROWS]]
        if standardised:
            self._calibrate(x)
        codes, errors = [], []
        with torch.no_grad():
            for rows in _chunks(x):
                codes.append(model.encode(rows))
                z = model.posterior.draw(codes[-1], self.streams_.noise)
                errors.append(model.likelihood.error(rows, model.decode(z)))
            model.likelihood.settle(torch.cat(errors), x.shape[1])
        return joined(codes)

    def _calibrate(self, x: TrainingRows) -> None:
        """Standardise codes by rows as they are now, in place of a memory of batches."""
        model = self.autoencoder
        encoder = cast("BatchNormEncoder", model.encoder)
        with torch.no_grad():
            parts = [encoder.encoder(model.standardise(rows)) for rows in _chunks(x)]
        encoder.calibrate(torch.cat(parts))

    def _diagnose(self, x: TrainingRows, q: Moments | None) -> list[SkvimWarning]:
        """Look at posteriors that are known already, or at those of some rows, and the history."""
        n_rows = rows_to_diagnose(self.history, len(x))
        if n_rows == 0:
            return []
        generator = torch.Generator(x.device).manual_seed(child_seed(self.seed, "diagnosis"))
        with torch.no_grad():
            if q is None:
                rows = x[some_rows(len(x), n_rows, generator)]
                q = joined([self.autoencoder.encode(chunk) for chunk in _chunks(rows)])
            return diagnose(self.objective, q, self.history, generator)

    def _step(
        self, batch: tuple[Tensor, Tensor], **fit_params: Any
    ) -> tuple[dict[str, Any], Tensor]:
        """Return what the loop and callbacks see of a batch, and what to take gradients of."""
        outputs = self.infer(batch[0], **fit_params)
        losses: Losses = self.criterion_(self.autoencoder, outputs, self.noise_)
        # Callbacks may keep what they are shown; the graph must not live on with it.
        terms = torch.stack([value.detach() for value in losses.values])
        return {"loss": terms[0], "y_pred": outputs, "terms": terms}, losses.target

    def validation_noise(self) -> torch.Generator:
        """Return a generator that is the same after every epoch."""
        device = self.streams_.noise.device
        return torch.Generator(device).manual_seed(child_seed(self.seed, "validation"))

    def record_epoch(self, prefix: str, values: list[float], n_rows: int, batch_count: int) -> None:
        """Write an epoch's means into the history; an error if the loss is not finite."""
        if not self.listened_:
            # skorch's checkpoints look for a batch; one record stands for all of the epoch's.
            self.history.new_batch()
            self.history.record_batch(f"{prefix}_loss", values[0])
            self.history.record_batch(f"{prefix}_batch_size", n_rows)
        for name, value in zip(self.objective.names, values, strict=True):
            self.history.record(f"{prefix}_{name}", value)
        earlier = self.history[:-1, f"{prefix}_loss"] if len(self.history) > 1 else []
        self.history.record(f"{prefix}_loss_best", values[0] < min(earlier, default=math.inf))
        self.history.record(f"{prefix}_batch_count", batch_count)
        if self.schedule is not None:
            self.history.record("lr", float(self.optimizer_.param_groups[0]["lr"]))
        if not math.isfinite(values[0]):
            terms = dict(zip(self.objective.names, values, strict=True))
            raise TrainingDivergedError(
                f"The {prefix} loss is not finite in epoch {len(self.history)}: {terms}. Try a "
                "smaller lr, or look for extreme values in X."
            )


def _chunks(x: TrainingRows) -> Iterator[Tensor]:
    """Cut rows into as many as the model may see at once, in float32 on the model's device."""
    for rows in x.split(max(1, _CHUNK_VALUES // x.shape[1])):
        # A module of the user's may write to its input, and small data come as they are.
        yield rows.to(torch.float32, copy=True)


@contextmanager
def final_weights(objective: Objective) -> Iterator[None]:
    """Let what changes with the progress of training be as it is at its end."""
    before = objective.progress.clone()
    objective.progress.fill_(1)
    try:
        yield
    finally:
        objective.progress.copy_(before)


def _listens(callback: Any) -> bool:
    """Whether a callback uses single batches, or what is recorded of them."""
    if type(callback) is LRScheduler and callback.step_every == "epoch":
        return False  # its hook of batches does nothing
    overrides = (
        getattr(type(callback), hook) is not getattr(Callback, hook) for hook in _BATCH_HOOKS
    )
    return isinstance(callback, PassthroughScoring) or any(overrides)
