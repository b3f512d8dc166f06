"""Training loop: a skorch net for autoencoders."""

import math
import warnings
from collections import Counter
from contextlib import nullcontext, suppress
from copy import deepcopy
from typing import Any, cast, final

import torch
from skorch import NeuralNet
from skorch.callbacks import EpochTimer, PrintLog
from skorch.utils import is_dataset
from torch import Tensor

from skvim._modes import own_modes
from skvim._torch_private import IMPORTED_ON_USE, version
from skvim._uninterrupted import import_whole
from skvim.engine._batches import TensorBatches, rows_of
from skvim.engine._callbacks import (
    BATCH_HOOKS,
    is_skorch_stop,
    may_change_model,
    names_with_state,
    uses_batches,
)
from skvim.engine._checkpoints import CheckpointFile, warn_of_checkpoint
from skvim.engine._last_pass import diagnose_training, fit_likelihood, is_finite
from skvim.engine._overfitting import check_overfitting
from skvim.engine._placement import Rows, place
from skvim.engine._pretraining import pretrain_encoder
from skvim.engine._schedules import Schedule, begin_step, full_progress
from skvim.engine._statistics import data_statistics, statistics_of_cells
from skvim.engine._stopping import EarlyStopper, Split, Stopping, split_rows
from skvim.engine._streams import Streams, child_seed
from skvim.engine._training_state import (
    load_optimizer,
    load_stopper,
    load_streams,
    load_tensors,
    optimizer_state,
    stopper_state,
    stream_states,
)
from skvim.engine.capture._accelerator import Accelerator
from skvim.engine.capture._eager import EagerStep
from skvim.engine.capture._training_step import TrainingStep, is_library_code
from skvim.engine.capture._update import needs_closure
from skvim.exceptions import SkvimWarning, StopTraining, TrainingDivergedError
from skvim.objectives import Autoencoder, DataStatistics, Losses, Objective, Prior

__all__ = ["AutoencoderNet"]


@final
class AutoencoderNet(NeuralNet):
    """skorch net for autoencoders, with every loss term in its history.

    To save time per batch there is no DataLoader, sums stay on the device, and batches are recorded
    only if a callback uses them.

    ``module`` returns a new Autoencoder and ``criterion`` a new Objective. ``min_rows`` is what the
    networks need in training, ``pretraining`` the most steps of ``pretrain_encoder``, and
    ``schedule`` maps the share of training that is done to a factor of learning rates.
    ``plain_because_`` says why the last epoch was all eager, or is "" if some steps were captured.
    """

    def __init__(
        self,
        *args: Any,
        seed: int = 0,
        min_rows: int = 1,
        schedule: Schedule | None = None,
        pretraining: int = 0,
        acceleration: str | None = None,
        stopping: Stopping | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self.seed = seed
        self.min_rows = min_rows
        self.schedule = schedule
        self.pretraining = pretraining
        self.acceleration = acceleration
        self.stopping = stopping
        self.in_fit_loop_ = False

    def prepare(self, rows: Tensor | DataStatistics, device: torch.device) -> None:
        """Build the model, and initialise it from rows (n_samples, n_features) or their statistics.

        ValueError for too few rows, or values that the likelihood or float32 cannot hold.
        """
        import_whole(IMPORTED_ON_USE)
        self.initialize()
        if isinstance(rows, Tensor):
            split = self.split(len(rows))
            has_holes = self.autoencoder.likelihood.settings.takes_missing
            measure = statistics_of_cells if has_holes else data_statistics
            rows = measure(rows, device, None if split is None else split.train)
        self.autoencoder.prepare(rows)
        self.streams_ = Streams(self.seed, device)
        self.noise_ = self.streams_.noise
        self.casts_: dict[torch.dtype, tuple[Any, Autoencoder]] = {}
        self.has_batch_callbacks_ = any(
            uses_batches(callback, self.use_caching) for _, callback in self.callbacks_
        )
        self.accelerator_: Accelerator | None = None
        self.eager_step_: EagerStep | None = None
        self.plain_because_ = ""
        self.pretraining_curve_: list[float] | None = None
        n_features = self.autoencoder.mean.numel()
        self.stopper_ = None if self.stopping is None else EarlyStopper(self.stopping, n_features)
        self.validation_rows_: Rows | None = None
        self.checkpoint_: CheckpointFile | None = None
        self.resumed_: dict[str, Any] | None = None
        self.order_: Tensor | None = None  # state of the shuffling at the beginning of the epoch

    def set_training(self, training: bool) -> None:
        """Set model and objective to training or evaluation mode."""
        self.autoencoder.train(training)
        self.objective.train(training)

    def split(self, n_rows: int) -> Split | None:
        """Return the rows to train on and to validate on, or None without early stopping."""
        if self.stopping is None:
            return None
        needed = self.objective.min_rows
        return split_rows(self.stopping, n_rows, self.seed, (max(needed, self.min_rows), needed))

    def train(
        self,
        x: Rows,
        checkpoint: CheckpointFile | None = None,
        state: dict[str, Any] | None = None,
    ) -> None:
        """Train on rows of shape (n_samples, n_features) for at most ``max_epochs`` epochs.

        ``state``, which ``checkpoint`` held, is that of an earlier training to go on from.
        StopTraining from a callback ends training in good order; a KeyboardInterrupt is passed on.
        """
        split = self.split(len(x))
        if split is not None:
            x, self.validation_rows_ = x.select(split.train), x.select(split.valid)
        self.checkpoint_ = checkpoint
        with suppress(StopTraining):
            self.notify("on_train_begin", X=x, y=None)
            if state is not None:
                self.resume(state)
            if not self.has_stopped():
                self.fit_loop(x, epochs=self.max_epochs - len(self.history))
        for warning in self.finish(x):
            warnings.warn(warning, stacklevel=4)  # where the estimator's fit was called

    def finish(self, x: Rows) -> list[SkvimWarning]:
        """End the training on these rows, and return the warnings that it gives reason for.

        TrainingDivergedError if the model is not finite now.
        """
        last = "train_loss" if self.stopper_ is None else "valid_loss"
        if len(self.history) and last not in self.history[-1]:
            del self.history[-1]  # a callback interrupted this epoch
        if self.stopper_ is not None:
            self.stopper_.restore(self._tensors())
        self.stopper_ = self.validation_rows_ = self.order_ = None
        self.checkpoint_ = self.resumed_ = None
        with suppress(StopTraining):
            self.notify("on_train_end", X=x, y=None)
        self.set_training(False)
        q = fit_likelihood(self.autoencoder, x, self.streams_)
        if not is_finite(self.autoencoder, self._tensors(), x):
            raise _divergence("The weights or the codes of training rows are not finite.")
        generator = torch.Generator(x.device).manual_seed(child_seed(self.seed, "diagnosis"))
        found = diagnose_training(self.autoencoder, self.objective, self.history, x, q, generator)
        n = self.autoencoder.mean.numel()
        return found + check_overfitting(self.history, n, self.stopping, self.callbacks_)

    def has_stopped(self) -> bool:
        """Tell whether early stopping has ended the training."""
        return self.stopper_ is not None and self.stopper_.n_to_wait == 0

    def step(self) -> TrainingStep:
        """Return model and objective as one module."""
        return TrainingStep(self.autoencoder, self.objective, self.streams_.noise)

    def state(self, n_batches: int = 0, total: Tensor | None = None) -> dict[str, Any]:
        """Return the state of the training, as values for a checkpoint.

        Within an epoch ``n_batches`` of it are done, and ``total`` sums their losses and terms.
        """
        step = self.step()
        history = [dict(epoch) for epoch in self.history]
        return {
            "seed": self.seed,
            "history": history[:-1] if n_batches else history,
            "n_batches": n_batches,
            "total": total,
            "tensors": step.tensors(),
            "optimizer": optimizer_state(self.optimizer_, list(step.parameters())),
            "shuffle": self.order_ if n_batches else self.streams_.shuffle.get_state(),
            "noise": self.streams_.noise.get_state(),
            "layers": stream_states(step, self.streams_.noise.device),
            "stopper": stopper_state(self.stopper_),
            "pretraining_curve": self.pretraining_curve_,
            "acceleration": self._accelerator().state(),
            "plain_because": self.plain_because_,
            "callbacks": names_with_state(self.callbacks_),
        }

    def matches(self, state: dict[str, Any]) -> bool:
        """Tell whether a state has tensors of the same names and shapes."""
        own, kept = self.step().tensors(), state["tensors"]
        return own.keys() == kept.keys() and all(own[k].shape == kept[k].shape for k in own)

    def resume(self, state: dict[str, Any]) -> None:
        """Set the state of the training, which :meth:`state` returned."""
        step = self.step()
        self.history.extend(state["history"])
        load_tensors(step.tensors(), state["tensors"])
        load_optimizer(self.optimizer_, list(step.parameters()), state["optimizer"])
        self.streams_.shuffle.set_state(state["shuffle"])
        self.streams_.noise.set_state(state["noise"])
        load_streams(step, self.streams_.noise.device, state["layers"])
        load_stopper(self.stopper_, state["stopper"])
        self.pretraining_curve_ = state["pretraining_curve"]
        self.plain_because_ = state["plain_because"]
        self.resumed_ = state
        if self.verbose:
            print(f"Training goes on after epoch {len(self.history)}.")
        anew = sorted({*state["callbacks"], *names_with_state(self.callbacks_)})
        if anew:
            message = (
                f"Training goes on after epoch {len(self.history)}, but callbacks start anew, as "
                f"checkpoints do not hold their state: {anew}. The result may differ from "
                "that of an uninterrupted fit."
            )
            warn_of_checkpoint(message)

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
        # Further training and loaded checkpoints change weights in place.
        tensors = model.state_dict(keep_vars=True).values()
        versions = [(id(tensor), version(tensor)) for tensor in tensors]
        cast_versions, cast_model = self.casts_.get(dtype, (None, model))
        if cast_versions != versions:
            cast_model = deepcopy(model).to(dtype)
            self.casts_[dtype] = (versions, cast_model)
        return cast_model

    def pretrain(self, x: Rows) -> None:
        """Run ``pretrain_encoder`` on training rows, if asked to."""
        if self.pretraining:
            generator = torch.Generator(x.device).manual_seed(child_seed(self.seed, "pretraining"))
            prior = cast("Prior", self.objective.prior)
            self.pretraining_curve_ = pretrain_encoder(
                self.autoencoder, prior, x, steps=self.pretraining, generator=generator
            )

    def validation_noise(self) -> torch.Generator:
        """Return the generator of a validation, which draws the same numbers every time."""
        device = self.streams_.noise.device
        return torch.Generator(device).manual_seed(child_seed(self.seed, "validation"))

    def record_epoch(self, prefix: str, means: list[float], n_rows: int, n_batches: int) -> None:
        """Record an epoch's loss and terms; TrainingDivergedError if the loss is not finite."""
        if not self.has_batch_callbacks_:
            # skorch's checkpoints look for a batch; one record stands for all of the epoch's.
            self.history.new_batch()
            self.history.record_batch(f"{prefix}_loss", means[0])
            self.history.record_batch(f"{prefix}_batch_size", n_rows)
        terms = dict(zip(self.objective.names, means, strict=True))
        for name, value in terms.items():
            self.history.record(f"{prefix}_{name}", value)
        earlier = self.history[:-1, f"{prefix}_loss"] if len(self.history) > 1 else []
        self.history.record(f"{prefix}_loss_best", means[0] < min(earlier, default=math.inf))
        self.history.record(f"{prefix}_batch_count", n_batches)
        if self.schedule is not None:
            self.history.record("lr", float(self.optimizer_.param_groups[0]["lr"]))
        if not math.isfinite(means[0]):
            epoch = len(self.history)
            raise _divergence(f"The {prefix} loss is not finite in epoch {epoch}: {terms}.")

    # skorch's hooks.

    def get_default_callbacks(self) -> list[tuple[str, Any]]:
        """Time epochs, and print them if verbose."""
        printing = [("print_log", PrintLog())] if self.verbose else []
        return [("epoch_timer", EpochTimer()), *printing]

    def get_dataset(self, X: Any, y: Any = None) -> Any:
        """Wrap rows as a data set, unless they are one."""
        return X if is_dataset(X) else place(X, torch.device(self.device))

    def get_split_datasets(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Return training and validation sets: those of early stopping, or skorch's."""
        if self.validation_rows_ is not None:
            return X, self.validation_rows_
        return super().get_split_datasets(X, y, **fit_params)

    def get_iterator(self, dataset: Any, training: bool = False) -> TensorBatches:
        """Return batches, in random order for training."""
        generator = self.streams_.shuffle if training else None
        rows = rows_of(dataset, self.streams_.noise.device)
        # Prediction does not compute the objective.
        min_rows = self.objective.min_rows if self.in_fit_loop_ else 1
        min_rows = max(min_rows, self.min_rows if training else 1)
        return TensorBatches(rows, self.batch_size, min_rows, generator)

    def fit_loop(self, X: Any, y: Any = None, epochs: int | None = None, **options: Any) -> Any:
        """Run skorch's loop over epochs."""
        self.in_fit_loop_ = True
        try:
            with suppress(StopTraining):
                super().fit_loop(X, y, epochs, **options)
            return self
        finally:
            self.in_fit_loop_ = False
            # Parameters may be frozen before training goes on.
            self.accelerator_ = self.eager_step_ = None

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call the callbacks, about batches only if one uses them.

        StopTraining if one of them asks for it, or the validation loss does.
        """
        if method_name in BATCH_HOOKS and not self.has_batch_callbacks_:
            return
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as error:
            if not is_skorch_stop(error):
                raise
            raise StopTraining from error
        if method_name == "on_epoch_end":
            self._write_checkpoint(epoch_ends=True)
            if self.has_stopped():
                raise StopTraining

    def run_single_epoch(self, iterator: Any, training: bool, prefix: str, step_fn: Any) -> None:
        """Run over the batches once and record the mean of every loss term."""
        if iterator is None:
            return
        self.set_training(training)
        if training and len(self.history) == 1 and self.resumed_ is None:
            self.pretrain(iterator.x)
        # The same noise in every validation makes their losses comparable.
        self.noise_ = self.streams_.noise if training else self.validation_noise()
        stopper = None if training else self.stopper_
        with nullcontext() if stopper is None else full_progress(self.objective):
            means = self._run_batches(iterator, training, prefix, step_fn)
        if training:
            self.plain_because_ = self._accelerator().plain_because()
            # Fused kernels and CUDA graphs do not count the versions of the weights they change.
            self.casts_.clear()
        self.record_epoch(prefix, means, len(iterator.x), len(iterator))
        if stopper is not None:
            n_steps = self.history[-1]["train_batch_count"]
            if stopper.update(means[0], n_steps):
                stopper.save(self._tensors())

    def train_step_single(self, batch: tuple[Tensor, Tensor]) -> dict[str, Any]:
        """Compute the losses of a batch and the gradients of their sum."""
        step, target = self._losses(batch[0])
        target.backward()  # type: ignore[no-untyped-call]
        return step

    def validation_step(self, batch: tuple[Tensor, Tensor]) -> dict[str, Any]:
        """Compute the losses of a batch."""
        with torch.no_grad():
            return self._losses(batch[0])[0]

    def evaluation_step(self, batch: tuple[Tensor, Tensor], training: bool = False) -> Tensor:
        """Reconstruct a batch: what ``predict`` and ``forward`` of the net return."""
        self.check_is_fitted()
        before = self.autoencoder.training
        with torch.set_grad_enabled(training):
            self.set_training(training)
            reconstructed = self.autoencoder.reconstruct(batch[0])
        # Callbacks also predict in the middle of an epoch.
        self.set_training(before)
        return reconstructed

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        temporary = ["noise_", "accelerator_", "eager_step_", "stopper_"]
        temporary += ["validation_rows_", "checkpoint_"]
        return {**state, "casts_": {}, **dict.fromkeys(temporary)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        with own_modes():  # copies are made by this too
            super().__setstate__(state)

    def _run_batches(self, iterator: Any, training: bool, prefix: str, step_fn: Any) -> list[float]:
        """Return the means of loss and terms over the rows of all batches."""
        total = self.autoencoder.mean.new_zeros(len(self.objective.names))
        if training:
            self._train_on_batches(iterator, total, step_fn)
        else:
            for batch in iterator:
                total.add_(self._observed(batch, prefix, step_fn), alpha=len(batch[0]))
        means: list[float] = (total / len(iterator.x)).tolist()
        return means

    def _train_on_batches(self, iterator: TensorBatches, total: Tensor, step_fn: Any) -> None:
        """Train on every batch, and add losses and terms times rows to ``total``."""
        epoch, n_batches = len(self.history) - 1, len(iterator)
        accelerator, eager = self._accelerator(), self.eager_step_
        sizes = Counter(stop - start for start, stop in iterator.bounds)
        accelerator.begin_epoch(sizes, max(1, self.max_epochs - epoch))
        first = self._begin_where_left(iterator, total)
        progress, optimizer, schedule = self.objective.progress, self.optimizer_, self.schedule
        for i, batch in enumerate(iterator, start=first):
            number, share = epoch * n_batches + i + 1, (epoch + i / n_batches) / self.max_epochs
            begin_step(number, share, progress, optimizer, schedule)
            step = accelerator.captured(batch[0]) or eager
            terms = self._observed(batch, "train", step_fn) if step is None else step(batch[0])
            total.add_(terms, alpha=len(batch[0]))
            if i + 1 < n_batches:
                self._write_checkpoint(i + 1, total)

    def _observed(self, batch: Any, prefix: str, step_fn: Any) -> Tensor:
        """Take a step of skorch's, of which callbacks may hear, and return its loss and terms."""
        training = prefix == "train"
        self.notify("on_batch_begin", batch=batch, training=training)
        step = step_fn(batch)
        if self.has_batch_callbacks_:
            self.history.record_batch(f"{prefix}_loss", step["loss"].item())
            self.history.record_batch(f"{prefix}_batch_size", len(batch[0]))
        self.notify("on_batch_end", batch=batch, training=training, **step)
        terms: Tensor = step["terms"]
        return terms

    def _begin_where_left(self, iterator: TensorBatches, total: Tensor) -> int:
        """Begin a pass over training rows where an earlier training was left; return the batch."""
        state, self.resumed_ = self.resumed_, None
        if state is not None:
            self._accelerator().resume(state["acceleration"], lambda n: next(iterator.x.split(n)))
            iterator.n_skipped = state["n_batches"]
            if state["total"] is not None:
                total.copy_(state["total"])
        if self.checkpoint_ is not None:
            self.order_ = self.streams_.shuffle.get_state()
        return iterator.n_skipped

    def _write_checkpoint(
        self, n_batches: int = 0, total: Tensor | None = None, *, epoch_ends: bool = False
    ) -> None:
        """Write a checkpoint if one is due; where callbacks record batches, after epochs only."""
        file = self.checkpoint_
        if file is None or (self.has_batch_callbacks_ and not epoch_ends):
            return
        if file.is_due(len(self.history) if epoch_ends else 0):
            file.write(self.state(n_batches, total))

    def _losses(self, x: Tensor) -> tuple[dict[str, Any], Tensor]:
        """Return what callbacks see of a batch, and the scalar to differentiate."""
        outputs = self.module_(x, self.noise_)
        losses: Losses = self.criterion_(self.autoencoder, outputs, self.noise_)
        # Callbacks may keep them, and would keep the graph.
        with torch.no_grad():
            terms = torch.stack(losses.values)
        return {"loss": terms[0], "y_pred": outputs, "terms": terms}, losses.target

    def _tensors(self) -> list[Tensor]:
        """Return the parameters and buffers of model and objective."""
        modules = (self.autoencoder, self.objective)
        return [tensor for m in modules for tensor in (*m.parameters(), *m.buffers())]

    def _accelerator(self) -> Accelerator:
        """Return what captures training steps; it is made in the first epoch."""
        if self.accelerator_ is None:
            reason = "a callback may change the model" if may_change_model(self.callbacks_) else ""
            reason = "a callback listens to batches" if self.has_batch_callbacks_ else reason
            own = is_library_code(self.optimizer_) and not needs_closure(self.optimizer_)
            if own and not reason:  # others may call the closure that skorch gives them
                self.eager_step_ = EagerStep(self.step(), self.optimizer_)
            self.accelerator_ = Accelerator(
                self.acceleration, self.step(), self.optimizer_, reason, int(self.verbose)
            )
        return self.accelerator_


def _divergence(what: str) -> TrainingDivergedError:
    """Return the error for a loss or a model that is not finite."""
    return TrainingDivergedError(f"{what} Try a smaller lr, or look for extreme values in X.")
