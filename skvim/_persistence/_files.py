"""Saving estimators to files, and opening them."""

import os
import re
import sys
import warnings
from typing import Any

import numpy as np
import sklearn
import torch
from sklearn.base import BaseEstimator

from skvim._persistence._archive import read_archive, write_archive
from skvim._persistence._codec import Reader, Writer
from skvim._persistence._estimators import ESTIMATOR
from skvim._persistence._kinds import KINDS
from skvim.exceptions import FileFormatError, FileVersionWarning, UnsavableError

__all__ = ["open_estimator", "save", "versions"]

_ALL_KINDS = [ESTIMATOR, *KINDS]


def save(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Write an estimator to one file that :func:`skvim.load` opens.

    Parameters
    ----------
    estimator : estimator
        One of skvim or scikit-learn, fitted or not, or a pipeline of such. Of scikit-learn's,
        files hold linear models, preprocessing, decompositions, mixtures and more, but not trees,
        nearest neighbours, KMeans, OneHotEncoder or SVC: see :doc:`/files`.
    path : str or path-like
        Where to; any suffix will do, for example ``"model.skvim"``.

    Raises
    ------
    UnsavableError
        When a part of the estimator is code, such as a module, a divergence or a function of your
        own, or an estimator or object that files do not hold; the message names it.
    FileAccessError
        When the file cannot be written; one that was there before stays as it was.

    See Also
    --------
    load : Opens the file.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> import numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> import skvim
    >>> X = np.random.default_rng(0).normal(size=(64, 6))
    >>> vae = skvim.VAETransformer(2, hidden_layer_sizes=(16,), max_epochs=5, random_state=0)
    >>> model = make_pipeline(StandardScaler(), vae).fit(X)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     skvim.save(model, Path(folder) / "model.skvim")
    ...     loaded = skvim.load(Path(folder) / "model.skvim")
    >>> bool((loaded.transform(X) == model.transform(X)).all())
    True
    """
    name = type(estimator).__name__
    if not isinstance(estimator, BaseEstimator):
        raise UnsavableError(
            f"save takes an estimator of skvim or scikit-learn. Got {estimator!r} instead."
        )
    writer = Writer(_ALL_KINDS)
    try:
        document = {"versions": versions(), "model": writer.write(estimator, name)}
    except UnsavableError as error:
        raise UnsavableError(f"{name} cannot be saved: {error}") from error.__cause__
    write_archive(path, document, writer.arrays)


def open_estimator(path: str | os.PathLike[str], device: torch.device) -> Any:
    """Return the estimator of a file, its networks on a device; see :func:`skvim.load`."""
    document, arrays = read_archive(path)
    reader = Reader(_ALL_KINDS, arrays, device)
    try:
        estimator = reader.read(document["model"])
        reader.finish()
        if not isinstance(estimator, BaseEstimator):
            raise FileFormatError("it holds no estimator")
        _warn_of_versions(path, document)
    except Exception as error:  # constructors raise any error for invalid values
        if isinstance(error, Warning):  # turned into an error by the user
            raise
        reason = str(error) if isinstance(error, FileFormatError) else repr(error)
        raise FileFormatError(
            f"{os.fspath(path)} is refused: {reason}. Save the model again with this release of "
            "skvim, or install the one that wrote the file."
        ) from error
    return estimator


def versions() -> dict[str, str]:
    """Return the versions of the libraries that write a file."""
    return {
        "skvim": str(sys.modules["skvim"].__version__),
        "torch": str(torch.__version__),
        "scikit-learn": str(sklearn.__version__),
        "numpy": str(np.__version__),
    }


def _warn_of_versions(path: str | os.PathLike[str], document: dict[str, Any]) -> None:
    """Warn if another release of scikit-learn has fitted some of the estimators."""
    written, here = document["versions"]["scikit-learn"], versions()["scikit-learn"]
    if _holds_foreign(document["model"]) and _minor(written) != _minor(here):
        warnings.warn(
            f"{os.fspath(path)} holds estimators of scikit-learn {written}, and this is {here}: "
            "what they compute may differ. Install that release, or fit them again.",
            FileVersionWarning,
            stacklevel=4,
        )


def _holds_foreign(node: Any) -> bool:
    """Whether the JSON contains an estimator of scikit-learn."""
    if isinstance(node, list):
        return any(_holds_foreign(item) for item in node)
    if not isinstance(node, dict):
        return False
    estimator = node.get("$estimator")
    own = isinstance(estimator, dict) and estimator["class"].startswith("sklearn.")
    return own or any(_holds_foreign(item) for item in node.values())


def _minor(version: str) -> list[str]:
    """Return the major and the minor number of a version."""
    return re.findall(r"\d+", version)[:2]
