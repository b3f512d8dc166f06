"""Overfitting, told from the losses of training rows and of rows set aside."""

from collections.abc import Iterable, Sequence
from typing import Any

from skvim.engine._stopping import Stopping, rises
from skvim.exceptions import OverfittingWarning, SkvimWarning

__all__ = ["check_overfitting", "share_carried_over"]

# After fewer epochs little can be said. Recent epochs, whose losses are compared to the lowest.
_MIN_EPOCHS, _RECENT = 10, 20
# A model overfits where less than this share of what training gains shows in rows set aside. Gains
# of fewer nats per row and feature are those of a model that learns nothing.
_LEAST_SHARE, _LEAST_GAIN = 0.2, 0.05


def check_overfitting(
    history: Any, n_features: int, stopping: Stopping | None, callbacks: Iterable[tuple[str, Any]]
) -> list[SkvimWarning]:
    """Return a warning if the losses of a training show that the model overfits.

    Parameters
    ----------
    history : skorch.history.History
        Of all epochs, with losses of validation rows if there were some.
    n_features : int
        Number of features of a row.
    stopping : Stopping or None
        Settings of early stopping, which keeps the weights of the epoch with the lowest validation
        loss; without it those of the last epoch are kept.
    callbacks : iterable of (str, callback)
        Those of the training; some of skorch's restore weights.
    """
    if len(history) < _MIN_EPOCHS or "valid_loss" not in history[-1]:
        return []
    valid = [epoch["valid_loss"] for epoch in history]
    lowest = min(valid)
    best = valid.index(lowest)
    if stopping is None:
        late = valid[-_RECENT:]
        restored = any(getattr(callback, "load_best", False) for _, callback in callbacks)
        if restored or not rises(valid[0], lowest, late, n_features):
            return []
        return [OverfittingWarning(_RISEN.format(late=min(late), lowest=lowest, best=best + 1))]
    train = [epoch["train_distortion"] for epoch in history]
    aside = [epoch["valid_distortion"] for epoch in history]
    # Losses of training rows are means over an epoch, those of the others are measured after it.
    share = share_carried_over(train[1:], aside[: best + 1])
    gain = train[1] - min(train[1:])
    if gain < _LEAST_GAIN * n_features or share >= _LEAST_SHARE:
        return []
    message = _KEPT.format(best=best + 1, n=len(history), gain=gain, aside=share * gain)
    return [OverfittingWarning(message)]


def share_carried_over(train: Sequence[float], valid: Sequence[float]) -> float:
    """Return the decrease of losses of validation rows, as a share of that of training rows.

    Parameters
    ----------
    train, valid : sequence of float
        Losses after each epoch; those of validation rows up to the epoch that is kept.

    Examples
    --------
    >>> from skvim.engine._overfitting import share_carried_over
    >>> share_carried_over([10.0, 4.0, 2.0], [10.0, 8.0])
    0.25
    """
    gain = train[0] - min(train)
    return (valid[0] - valid[-1]) / gain if gain > 0 else 1.0


_RISEN = (
    "The model overfits: the losses of the validation rows in the last epochs, {late:.4g} nats a "
    "row or more, are clearly above the lowest, {lowest:.4g} after epoch {best}, and the weights "
    "are those of the last epoch. Set early_stopping=True, which keeps the best ones, or "
    "max_epochs={best}."
)
_KEPT = (
    "The model overfits: reconstructions of training rows gained {gain:.3g} nats a row in {n} "
    "epochs, those of the rows set aside {aside:.3g} until epoch {best}, whose weights are kept. "
    "What it has learned hardly holds for new rows. Give more rows, smaller hidden_layer_sizes, a "
    "smaller n_components, noise, or weight decay (optimizer='adamw' with "
    "net_params={{'optimizer__weight_decay': 0.1}})."
)
