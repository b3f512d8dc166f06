"""What an estimator needs in order to be saved.

The rest is imported when something is saved: noise alone does without torch.
"""

import os
from typing import TYPE_CHECKING, Any, final

from sklearn.base import BaseEstimator

if TYPE_CHECKING:
    import torch

__all__ = ["Savable", "fitted_state"]


def fitted_state(estimator: BaseEstimator) -> dict[str, Any]:
    """Return every attribute that is no parameter."""
    parameters = estimator.get_params(deep=False)
    return {key: value for key, value in vars(estimator).items() if key not in parameters}


class Savable:
    """A mixin of estimators: they are saved to one file, without code."""

    @final
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the estimator, fitted or not, to one file that :func:`skvim.load` opens.

        The file holds weights and arrays in the format of safetensors, and everything else as
        JSON; opening it runs no code. It appears whole or not at all, and a file that was there
        before is replaced.

        Parameters
        ----------
        path : str or path-like
            Where to; any suffix will do, for example ``"model.skvim"``.

        Raises
        ------
        UnsavableError
            When a part of the estimator is code, such as a module, a divergence or a function of
            your own; the message names it.
        FileAccessError
            When the file cannot be written; one that was there before stays as it was.
        """
        from skvim._persistence._files import save

        save(self, path)

    def _saved_state(self) -> dict[str, Any]:
        """Return what fit has left, as values that files can hold (hook)."""
        return fitted_state(self)

    def _restore_state(self, state: dict[str, Any], device: "torch.device") -> None:
        """Take over such a state, and check it by errors of any type (hook)."""
        vars(self).update(state)
