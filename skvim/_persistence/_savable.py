"""The mixin that gives estimators a method ``save``."""

import os
from typing import TYPE_CHECKING, Any, final

from skvim._persistence._estimators import fitted_state

if TYPE_CHECKING:
    import torch

__all__ = ["Savable"]


class Savable:
    """Mixin of estimators that can be saved to one file, without code."""

    @final
    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the estimator, fitted or not, to one file that :func:`skvim.load` opens.

        The file holds weights and arrays in the format of safetensors, and everything else as
        JSON; opening it runs no code. It is written atomically, and replaces a file that was there
        before, whose permissions and, where possible, owner it keeps.

        Parameters
        ----------
        path : str or path-like
            Where to; any suffix will do, for example ``"model.skvim"``. A symbolic link is
            followed.

        Raises
        ------
        UnsavableError
            When a part of the estimator is code, such as a module, a divergence or a function of
            your own; the message names it.
        FileAccessError
            When the file cannot be written; one that was there before stays as it was.
        """
        # Imports torch, which the noise transformers do without.
        from skvim._persistence._files import save

        save(self, path)

    def _saved_state(self) -> dict[str, Any]:
        """Return the fitted state as values that files can hold (hook)."""
        return fitted_state(self)

    def _restore_state(self, state: dict[str, Any], device: "torch.device") -> None:
        """Set such a state; raise an error of any type where it is invalid (hook)."""
        vars(self).update(state)
