"""Errors and warnings of skvim."""

from typing import final

__all__ = [
    "AccelerationWarning",
    "BatchingWarning",
    "CallbacksLeftOutWarning",
    "ChainLostWarning",
    "CheckpointWarning",
    "ColumnScaleWarning",
    "DatasetError",
    "DeadDimensionsWarning",
    "FileAccessError",
    "FileFormatError",
    "FileVersionWarning",
    "MissingExtraError",
    "NoGainWarning",
    "OverfittingWarning",
    "PosteriorCollapseWarning",
    "PriorMismatchWarning",
    "SkvimError",
    "SkvimWarning",
    "StopTraining",
    "TooManyComponentsWarning",
    "TrainingDivergedError",
    "UnreliableMeasureWarning",
    "UnsavableError",
]


class SkvimError(Exception):
    """Base class of all errors of skvim."""


class SkvimWarning(UserWarning):
    """Base class of all warnings of skvim."""


@final
class StopTraining(Exception):  # noqa: N818 - no error, as StopIteration is none
    """End of training, raised by a callback in any of its methods.

    ``fit`` ends in good order: an epoch that is not complete is left out of the history, and the
    weights stay as they are. A KeyboardInterrupt, in contrast, leaves ``fit`` as an error, also if
    a callback raises it; only that of skorch's ``EarlyStopping`` ends training.

    Examples
    --------
    >>> import numpy as np
    >>> from skorch.callbacks import Callback
    >>> from skvim import AETransformer
    >>> from skvim.exceptions import StopTraining
    >>> class StopAfter(Callback):
    ...     def __init__(self, n_epochs):
    ...         self.n_epochs = n_epochs
    ...
    ...     def on_epoch_end(self, net, **kwargs):
    ...         if len(net.history) == self.n_epochs:
    ...             raise StopTraining
    >>> X = np.random.default_rng(0).normal(size=(50, 4))
    >>> model = AETransformer(2, hidden_layer_sizes=(8,), callbacks=[StopAfter(3)], random_state=0)
    >>> model.fit(X).n_iter_
    3
    """


@final
class TrainingDivergedError(SkvimError, ArithmeticError):
    """The training loss, or the model after the last step, became infinite or NaN.

    ``fit`` raises it at the end of the epoch or of the training. A model fitted before stays as it
    was.
    """


@final
class DatasetError(SkvimError, OSError):
    """A data set could not be found, downloaded, decoded or stored.

    The message names the file or address and says what to do. Files stored before are kept, and no
    incomplete file is left behind.
    """


@final
class FileAccessError(SkvimError, OSError):
    """A model file could not be written or read.

    An existing file stays unchanged.
    """


@final
class FileFormatError(SkvimError, ValueError):
    """A file is not a model file of skvim, is damaged or modified, or needs a newer skvim.

    Nothing of its contents was used.
    """


@final
class UnsavableError(SkvimError, TypeError):
    """A model has a part that a model file cannot store without code; the message names it."""


@final
class MissingExtraError(SkvimError, ImportError):
    """An optional dependency is not installed.

    The message names the extra to install, for example ``pip install "skvim[plot]"``.
    """


@final
class AccelerationWarning(SkvimWarning):
    """Training steps could not be captured or compiled; the message says why.

    Given with ``acceleration="capture"`` or ``"compile"``. Training goes on with slower steps;
    results are the same, up to rounding.
    """


@final
class BatchingWarning(SkvimWarning):
    """Fits were made one by one instead of as a batch; the message says how many and why.

    Results are the same; it takes longer.
    """


@final
class CheckpointWarning(SkvimWarning):
    """A checkpoint of a training could not be written, read or removed, or continues inexactly.

    Training goes on; the message says what happened.
    """


@final
class CallbacksLeftOutWarning(SkvimWarning):
    """Callbacks that ``set_callbacks`` gave to an estimator of scikit-learn were not saved.

    The message names the estimators. What a fitted model computes does not depend on callbacks.
    """


@final
class FileVersionWarning(SkvimWarning):
    """A file contains estimators fitted by another release of scikit-learn."""


@final
class NoGainWarning(SkvimWarning):
    """A semi-supervised classifier does not learn from the positions of the unlabelled rows.

    Fits without a part of the labels do not gain by them, or there are too few labels for such
    fits. :class:`~skvim.semi_supervised.TransductiveSVC` is then its supervised part, with
    intercepts moved towards the class shares.
    """


@final
class PosteriorCollapseWarning(SkvimWarning):
    """Posterior collapse: the codes of a fitted model contain almost no information on the rows.

    Given at the end of ``fit``, after at least 10 epochs and 150 batches, if every latent dimension
    has less than 0.1 nats of information on the rows or, with a deterministic encoder, equal codes.
    """


@final
class ColumnScaleWarning(SkvimWarning):
    """Columns differ so much in spread that some of them are hardly learned.

    Given by ``fit`` for a gaussian likelihood and flat rows, if the largest standard deviation of
    a column is 100 times the median one: there is one scale for all columns. Standardise rows, or
    use ``likelihood="auto"``.
    """


@final
class TooManyComponentsWarning(SkvimWarning):
    """A model of a table has as many latent dimensions as columns, or more, and a prior.

    Given by ``fit`` where the encoder's input is not corrupted. Samples of such a model from its
    prior differ from the data, and estimates of its log-likelihood are poor. Samples from a density
    of its codes, ``sample(codes="fitted")``, need not be.
    """


@final
class DeadDimensionsWarning(SkvimWarning):
    """More than half of the latent dimensions of a fitted model are unused.

    Given at the end of ``fit``, after at least 10 epochs and 150 batches. A dimension is unused if
    the variance of its codes is below 1 % of the prior's variance and, with a stochastic encoder,
    it has less than 0.1 nats of information on the rows. Without a prior the criterion is the
    information alone or, with a deterministic encoder, a variance below 0.01 % of the greatest one.
    """


@final
class OverfittingWarning(SkvimWarning):
    """A model learned its training rows by heart: little of what it gained holds for other rows.

    Given at the end of ``fit``, after at least 10 epochs, if validation rows were set aside. With
    ``early_stopping`` the weights are those of the epoch with the lowest validation loss. It is
    given if the distortion of the validation rows had decreased until then by less than a fifth of
    what that of the training rows decreased in all epochs, by at least 0.05 nats per feature. With
    a split of skorch's instead, which keeps the last weights, it is given if all validation losses
    of the last 20 epochs are above the lowest by more than a twentieth of the decrease from the
    first and by more than 0.05 nats per feature.
    """


@final
class PriorMismatchWarning(SkvimWarning):
    """The aggregated posterior of a fitted model does not approach the prior.

    Given at the end of ``fit``, after at least 10 epochs and 150 batches, if a divergence between
    q(z) and p(z) that training should decrease is not small and does not decrease.
    """


@final
class ChainLostWarning(SkvimWarning):
    """A Markov chain that draws rows has left the region of the training data."""


@final
class UnreliableMeasureWarning(SkvimWarning):
    """A measure was computed from too few rows or from linearly dependent features.

    The message says which of the two, and how many rows are needed.
    """
