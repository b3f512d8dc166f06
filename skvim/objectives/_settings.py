"""The base of likelihoods, posteriors and terms: settings that compare by value."""

from typing import Any, Self, final

from skvim._values import ByValue, attributes

__all__ = ["Settings"]


class Settings(ByValue):
    """Settings of a part of a model; ``fit`` never changes them.

    Objects of one class with equal attributes are equal, and hash and pickle alike. What training
    keeps beside the settings, such as a learned variance or a critic, is held by modules of the
    library, which call the methods of a :meth:`bound` copy.
    """

    @final
    def bound(self, **state: Any) -> Self:
        """Return a shallow copy with further attributes, such as ``critic`` or ``progress``.

        Parameters
        ----------
        **state : object
            Attributes of the copy alone; they take the place of settings of the same name.

        Returns
        -------
        object of the same class
            Its constructor is not called again.
        """
        copied = object.__new__(type(self))
        vars(copied).update(vars(self), **state)
        return copied

    def __repr__(self) -> str:
        """Show the settings."""
        shown = ", ".join(f"{name}={value!r}" for name, value in attributes(self).items())
        return f"{type(self).__name__}({shown})"
