"""Settings of the training, from the parameters of an estimator."""

from typing import Any

from skvim.engine import ModelSettings, Stopping, TrainingSettings, epochs_for, resolve_device
from skvim.engine._checkpoints import Checkpoints

__all__ = ["training_settings"]


def training_settings(
    estimator: Any, model: ModelSettings, n_rows: int, pretraining: int, seed: int
) -> TrainingSettings:
    """Return the settings of the training, checked.

    Parameters
    ----------
    estimator : estimator
        With plain numbers as parameters.
    model : ModelSettings
        Of the model to train.
    n_rows : int
        Number of rows, those included that early stopping sets aside.
    pretraining : int
        Greatest number of pretraining steps of the encoder.
    seed : int
        Of the training.
    """
    stopping, batch_size = _stopping(estimator), estimator.batch_size
    max_epochs = estimator.max_epochs
    if isinstance(max_epochs, str):
        # Without rows that tell the best weights, the last ones overfit in so many steps.
        n_train = None if stopping is None else stopping.n_train(n_rows)
        max_epochs = epochs_for(n_train, batch_size, model.min_batch_rows)
    return TrainingSettings(
        max_epochs=max_epochs,
        batch_size=batch_size,
        lr=estimator.lr,
        optimizer=estimator.optimizer,
        callbacks=estimator.callbacks,
        net_params=dict(estimator.net_params or {}),
        device=resolve_device(estimator.device),
        seed=seed,
        verbose=int(estimator.verbose),
        lr_schedule=estimator.lr_schedule,
        pretraining=pretraining,
        acceleration=estimator.acceleration,
        stopping=stopping,
        checkpoints=_checkpoints(estimator.checkpoint),
    )


def _stopping(estimator: Any) -> Stopping | None:
    """Return the rule of early stopping, if it is asked for."""
    if not estimator.early_stopping:
        return None
    patience, n_steps = int(estimator.n_iter_no_change), int(estimator.n_steps_no_change)
    fraction, tol = float(estimator.validation_fraction), float(estimator.tol)
    return Stopping(fraction, patience, tol, n_steps)


def _checkpoints(given: Any) -> Checkpoints | None:
    """Return where and how often to write checkpoints, if it is asked for."""
    if given is None:
        return None
    checkpoints = given if isinstance(given, Checkpoints) else Checkpoints(given)
    checkpoints.check()
    return checkpoints
