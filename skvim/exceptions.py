"""Errors and warnings raised by skvim, one base each."""

from typing import final

__all__ = [
    "AccelerationWarning",
    "BatchingWarning",
    "ChainLostWarning",
    "DatasetError",
    "DeadDimensionsWarning",
    "FileAccessError",
    "FileFormatError",
    "FileVersionWarning",
    "MissingExtraError",
    "PosteriorCollapseWarning",
    "PriorMismatchWarning",
    "SkvimError",
    "SkvimWarning",
    "TrainingDivergedError",
    "UnreliableMeasureWarning",
    "UnsavableError",
]


class SkvimError(Exception):
    """Base of every error that skvim defines."""


class SkvimWarning(UserWarning):
    """Base of every warning that skvim defines."""


@final
class TrainingDivergedError(SkvimError, ArithmeticError):
    """The training loss became infinite or not a number.

    Raised by ``fit`` at the end of the epoch in which it happened; a model fitted before stays
    as it was.
    """


@final
class DatasetError(SkvimError, OSError):
    """A data set could not be found, downloaded, decoded or stored.

    The message says which file or address is concerned and what to do. Nothing that was stored
    before is lost, and no file of half a data set is left behind.
    """


@final
class FileAccessError(SkvimError, OSError):
    """A file of a model could not be written or read.

    What was there before is as it was.
    """


@final
class FileFormatError(SkvimError, ValueError):
    """A file is not one of skvim's, was damaged or changed, or needs a newer skvim.

    Nothing that it holds was used.
    """


@final
class UnsavableError(SkvimError, TypeError):
    """A model has a part that a file without code cannot hold; the message names it."""


@final
class MissingExtraError(SkvimError, ImportError):
    """A feature was used whose optional dependency is not installed.

    The message names the extra to install, for example ``pip install "skvim[plot]"``.
    """


@final
class AccelerationWarning(SkvimWarning):
    """Training takes a slower way than was asked for; the message says why.

    ``acceleration="capture"`` or ``"compile"`` was set, and what the model computes cannot be
    captured or compiled here. Results are those of the plain way.
    """


@final
class BatchingWarning(SkvimWarning):
    """Fits that were to be made together were made one by one; the message says why.

    Results are the same; only the time is not.
    """


@final
class FileVersionWarning(SkvimWarning):
    """A file holds estimators of scikit-learn that another release of it has fitted."""


@final
class PosteriorCollapseWarning(SkvimWarning):
    """A model was fitted whose codes tell next to nothing of the rows.

    Given at the end of ``fit``, after at least 10 epochs and 150 batches: every latent dimension
    carries below 0.1 nats or, with a deterministic encoder, has codes that are all the same.
    """


@final
class DeadDimensionsWarning(SkvimWarning):
    """A model was fitted that leaves more than half of its latent dimensions unused.

    Given at the end of ``fit``, after at least 10 epochs and 150 batches. Unused are dimensions
    whose codes vary by less than 1 % of the prior's variance and, with a stochastic encoder, carry
    below 0.1 nats. Without a prior the nats alone count, or 0.01 % of the widest dimension's
    variance for a deterministic encoder.
    """


@final
class PriorMismatchWarning(SkvimWarning):
    """A model was fitted whose codes, all together, do not approach the prior.

    Given at the end of ``fit``, after at least 10 epochs and 150 batches: a divergence between
    q(z) and p(z) that training should bring down is not small and does not fall.
    """


@final
class ChainLostWarning(SkvimWarning):
    """A Markov chain that draws rows has left the data that the model was fitted on."""


@final
class UnreliableMeasureWarning(SkvimWarning):
    """A measure was computed from too few rows, or from features that depend on each other.

    The message says which of the two, and how many rows it takes.
    """
