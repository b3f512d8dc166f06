"""Loading of saved estimators."""

import os
from typing import Any

from skvim._modes import own_modes
from skvim._persistence._files import open_estimator
from skvim.engine import resolve_device

__all__ = ["load"]


def load(path: str | os.PathLike[str], device: str = "auto") -> Any:
    """Load an estimator from a file that ``save`` has written.

    The file contains no code: it names classes of skvim and scikit-learn, and holds values for
    them. The loaded estimator computes the same as the saved one, to the last bit on the same kind
    of machine. The file is read once, and takes hardly more memory than it is long.

    Parameters
    ----------
    path : str or path-like
        A file that ``save`` has written.
    device : str, default="auto"
        torch device for the networks; "auto" takes a GPU where torch finds one. Models trained on
        a GPU open without one. The parameter ``device``, which ``fit`` uses, stays as it was.

    Returns
    -------
    estimator
        Of the class that was saved. It can be used, cloned and fitted again; the optimizer's state
        and callbacks of the training are not kept.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    FileAccessError
        When it cannot be read, or does not fit into memory.
    FileFormatError
        When ``save`` has not written it, or it has a later format, was truncated or changed,
        names classes that files may not hold, or holds estimators of a release of scikit-learn that
        this one cannot read.
    ValueError
        When torch cannot use the device.

    Warns
    -----
    FileVersionWarning
        When the file holds estimators that another release of scikit-learn, of 1.7 to 1.9, has
        fitted.

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
    with own_modes():
        return open_estimator(path, resolve_device(device))
