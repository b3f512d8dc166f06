"""Errors and warnings raised by skvim, one base each."""

from typing import final

__all__ = ["MissingExtraError", "SkvimError", "SkvimWarning", "TrainingDivergedError"]


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
class MissingExtraError(SkvimError, ImportError):
    """A feature was used whose optional dependency is not installed.

    The message names the extra to install, for example ``pip install "skvim[plot]"``.
    """
