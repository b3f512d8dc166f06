"""The training loop: a skorch net for autoencoders."""

import math
from collections.abc import Iterable
from contextlib import suppress
from copy import deepcopy
from typing import Any, cast, final

import torch
from skorch import NeuralNet
from skorch.callbacks import Callback, EpochTimer, PassthroughScoring, PrintLog
from torch import Tensor

from skvim.engine._batches import Rows, TensorBatches, rows_of
from skvim.engine._streams import Streams, child_seed
from skvim.exceptions import TrainingDivergedError
from skvim.objectives import Autoencoder, DataStatistics, Objective, Outputs

__all__ = ["AutoencoderNet"]

_BATCH_HOOKS = ("on_batch_begin", "on_batch_end", "on_grad_computed")


class _StopRequestedError(Exception):
    """A callback asked for the end of training."""


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
    **options : object
        Any other argument of ``skorch.NeuralNet``.
    """

    def __init__(self, module: Any, *, criterion: Any, seed: int = 0, **options: Any) -> None:
        super().__init__(module, criterion=criterion, **options)
        self.seed = seed

    # What the estimator calls.

    def prepare(self, x: Tensor) -> None:
        """Build the model, start it from the statistics of rows ``x`` and seed the streams."""
        self.initialize()
        self.autoencoder.prepare(data_statistics(x))
        self.streams_ = Streams(self.seed, x.device)
        self.casts_: dict[torch.dtype, Autoencoder] = {}

    def train(self, x: Tensor) -> None:
        """Train on rows of shape (n_samples, n_features) for ``max_epochs`` epochs.

        An interruption from the keyboard is passed on; a callback that stops training in
        skorch's way, by raising ``KeyboardInterrupt`` itself, ends it in good order.
        """
        self.casts_.clear()
        self.listened_ = any(_listens(callback) for _, callback in self.callbacks_)
        with suppress(_StopRequestedError):
            self.notify("on_train_begin", X=x, y=None)
            self.fit_loop(x)
        self.notify("on_train_end", X=x, y=None)
        self._set_training(False)

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
        if dtype == self.autoencoder.mean.dtype:
            return self.autoencoder
        if dtype not in self.casts_:
            self.casts_[dtype] = deepcopy(self.autoencoder).to(dtype)
        return self.casts_[dtype]

    # skorch's hooks.

    def get_default_callbacks(self) -> list[tuple[str, Any]]:
        """Time epochs, and print them when asked to."""
        printing = [("print_log", PrintLog())] if self.verbose else []
        return [("epoch_timer", EpochTimer()), *printing]

    def get_dataset(self, X: Any, y: Any = None) -> Rows:
        """Wrap the tensor of rows."""
        return Rows(X)

    def get_iterator(self, dataset: Any, training: bool = False) -> TensorBatches:
        """Cut batches from the tensor; training ones in random order."""
        generator = self.streams_.shuffle if training else None
        return TensorBatches(rows_of(dataset), self.batch_size, generator)

    def infer(self, x: Tensor, **fit_params: Any) -> Outputs:
        """Run the model with the stream of sampling noise."""
        outputs: Outputs = self.module_(x, self.noise_)
        return outputs

    def train_step_single(self, batch: tuple[Tensor, Tensor], **fit_params: Any) -> dict[str, Any]:
        """Compute the losses of a batch and the gradients of their sum."""
        step = self._step(batch, **fit_params)
        step["loss"].backward()
        # Callbacks may keep what they are shown; the graph must not live on with it.
        return {**step, "loss": step["loss"].detach()}

    def validation_step(self, batch: tuple[Tensor, Tensor], **fit_params: Any) -> dict[str, Any]:
        """Compute the losses of a batch."""
        with torch.no_grad():
            return self._step(batch, **fit_params)

    def run_single_epoch(
        self, iterator: Any, training: bool, prefix: str, step_fn: Any, **fit_params: Any
    ) -> None:
        """Run over the batches once and record the mean of every loss term."""
        if iterator is None:
            return
        self._set_training(training)
        # Validation meets the same noise at every epoch, so that its losses can be compared.
        self.noise_ = self.streams_.noise if training else self._validation_noise()
        total = torch.zeros(len(self.objective.names), device=rows_device(iterator))
        n_rows = 0
        for batch in iterator:
            self.notify("on_batch_begin", batch=batch, training=training)
            step = step_fn(batch, **fit_params)
            size = len(batch[0])
            total += step["terms"] * size
            n_rows += size
            if self.listened_:
                self.history.record_batch(f"{prefix}_loss", step["loss"].item())
                self.history.record_batch(f"{prefix}_batch_size", size)
            self.notify("on_batch_end", batch=batch, training=training, **step)
        self._record(prefix, (total / n_rows).tolist(), len(iterator))

    def notify(self, method_name: str, **cb_kwargs: Any) -> None:
        """Call the callbacks, those of a batch only if one listens."""
        if method_name in _BATCH_HOOKS and not self.listened_:
            return
        try:
            super().notify(method_name, **cb_kwargs)
        except KeyboardInterrupt as stop:
            raise _StopRequestedError from stop

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what can be made again."""
        state: dict[str, Any] = super().__getstate__()
        return {**state, "casts_": {}, "noise_": None}

    # Parts of the above.

    def _step(self, batch: tuple[Tensor, Tensor], **fit_params: Any) -> dict[str, Any]:
        outputs = self.infer(batch[0], **fit_params)
        values = self.criterion_(outputs, self.noise_)
        terms = torch.stack([value.detach() for value in values])
        return {"loss": values[0], "y_pred": outputs, "terms": terms}

    def _validation_noise(self) -> torch.Generator:
        device = self.streams_.noise.device
        return torch.Generator(device).manual_seed(child_seed(self.seed, "validation"))

    def _record(self, prefix: str, values: list[float], batch_count: int) -> None:
        """Write an epoch's means into the history; an error if the loss is not finite."""
        for name, value in zip(self.objective.names, values, strict=True):
            self.history.record(f"{prefix}_{name}", value)
        earlier = self.history[:-1, f"{prefix}_loss"] if len(self.history) > 1 else []
        self.history.record(f"{prefix}_loss_best", values[0] < min(earlier, default=math.inf))
        self.history.record(f"{prefix}_batch_count", batch_count)
        if not math.isfinite(values[0]):
            terms = dict(zip(self.objective.names, values, strict=True))
            raise TrainingDivergedError(
                f"The {prefix} loss is not finite in epoch {len(self.history)}: {terms}. Try a "
                "smaller lr, or look for extreme values in X."
            )


def data_statistics(x: Tensor) -> DataStatistics:
    """Measure rows of shape (n_samples, n_features) before training."""
    variance, mean = torch.var_mean(x, dim=0, correction=0)
    low, high = (value.item() for value in torch.aminmax(x))
    scale = math.sqrt(variance.mean().item())
    if not math.isfinite(scale):
        raise ValueError(
            "X must be small enough for training in float32. Got values from "
            f"{low:g} to {high:g}, whose variance overflows; rescale X."
        )
    # Below float32's resolution of the mean, a spread is rounding.
    negligible = 1e-6 * max(abs(low), abs(high))
    return DataStatistics(mean, scale if scale > negligible else 1.0, low, high)


def rows_device(batches: Iterable[Any]) -> torch.device:
    """Return where the rows of an iterator over batches lie."""
    return cast("TensorBatches", batches).x.device


def _listens(callback: Any) -> bool:
    """Whether a callback uses single batches, or what is recorded of them."""
    overrides = (
        getattr(type(callback), hook) is not getattr(Callback, hook) for hook in _BATCH_HOOKS
    )
    return isinstance(callback, PassthroughScoring) or any(overrides)
