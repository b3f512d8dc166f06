"""Opening files of models."""

import os
from typing import Any

from skvim._persistence._files import open_estimator
from skvim.engine import resolve_device

__all__ = ["load"]


def load(path: str | os.PathLike[str], device: str = "auto") -> Any:
    """Return the estimator that a file holds.

    No code of the file is run: it names classes, of skvim and scikit-learn, and holds values for
    them. Results of the estimator are those of the one that was saved, to the last bit on the same
    kind of machine.

    Parameters
    ----------
    path : str or path-like
        A file that ``save`` has written.
    device : str, default="auto"
        torch device for the networks; "auto" takes a GPU where torch finds one. Models trained on
        a GPU open without one. The parameter ``device``, which ``fit`` follows, stays as it was.

    Returns
    -------
    estimator
        Of the class that was saved. It can be used, cloned and fitted again; what continued a
        training (the optimizer's state, callbacks) is not kept.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    FileAccessError
        When it cannot be read.
    FileFormatError
        When it is anything else than what ``save`` writes: a pickle, a file of a later format, one
        that was cut off or changed, or names classes that files may not hold.
    ValueError
        When torch cannot use the device.

    Warns
    -----
    FileVersionWarning
        When the file holds estimators that another release of scikit-learn fitted.

    See Also
    --------
    save : Writes the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import skvim
    >>> from skvim.noise import GaussianNoise
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     GaussianNoise(0.5).save(Path(folder) / "noise.skvim")
    ...     skvim.load(Path(folder) / "noise.skvim")
    GaussianNoise(scale=0.5)
    """
    return open_estimator(path, resolve_device(device))
