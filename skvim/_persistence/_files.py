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

from skvim._persistence._archive import no_memory, read_archive, write_archive
from skvim._persistence._codec import Reader, Writer
from skvim._persistence._estimators import ESTIMATOR, is_foreign
from skvim._persistence._kinds import KINDS
from skvim._persistence._releases import check_releases
from skvim.exceptions import (
    CallbacksLeftOutWarning,
    FileFormatError,
    FileVersionWarning,
    UnsavableError,
)

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
        Where to; any suffix will do, for example ``"model.skvim"``. A symbolic link is followed.

    Raises
    ------
    UnsavableError
        When a part of the estimator is code, such as a module, a divergence or a function of your
        own, or an estimator or object that files do not hold; the message names it.
    FileAccessError
        When the file cannot be written; one that was there before stays as it was.

    Warns
    -----
    CallbacksLeftOutWarning
        When estimators of scikit-learn have callbacks, which are code.

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
    if writer.left_out:
        warnings.warn(
            f"The callbacks of {', '.join(writer.left_out)} were not saved, as they are code. Set "
            "them again after loading, with set_callbacks, if the model is to be fitted again.",
            CallbacksLeftOutWarning,
            stacklevel=2,
        )


def open_estimator(path: str | os.PathLike[str], device: torch.device) -> Any:
    """Return the estimator of a file, its networks on a device; see :func:`skvim.load`."""
    document, arrays = read_archive(path)
    reader = Reader(_ALL_KINDS, arrays, device)
    try:
        if "model" not in document:
            raise FileFormatError("it holds no estimator, but for example a checkpoint of fit")
        written, here = _versions_of(document), versions()
        releases = written["scikit-learn"], here["scikit-learn"]
        differ = check_releases(_foreign_classes(document["model"]), *releases)
        estimator = reader.read(document["model"])
        reader.finish()
        if not isinstance(estimator, BaseEstimator):
            raise FileFormatError("it holds no estimator")
    except (MemoryError, torch.cuda.OutOfMemoryError) as error:
        memory = "memory" if isinstance(error, MemoryError) else f"the memory of {device}"
        raise no_memory(path, memory) from error
    except Exception as error:  # constructors raise any error for invalid values
        reason = str(error) if isinstance(error, FileFormatError) else repr(error)
        raise FileFormatError(
            f"{os.fspath(path)} is refused: {_shortened(reason)}. {_advice(document)}"
        ) from error
    if differ:
        warnings.warn(
            f"{os.fspath(path)} holds estimators of scikit-learn {releases[0]}, and this is "
            f"{releases[1]}: what they compute may differ in rounding or by mended faults. Install "
            "that release, or fit them again.",
            FileVersionWarning,
            stacklevel=3,
        )
    return estimator


def versions() -> dict[str, str]:
    """Return the versions of the libraries that write a file."""
    return {
        "skvim": str(sys.modules["skvim"].__version__),
        "torch": str(torch.__version__),
        "scikit-learn": str(sklearn.__version__),
        "numpy": str(np.__version__),
    }


def _versions_of(document: dict[str, Any]) -> dict[str, str]:
    """Return the versions that a document names."""
    found: dict[str, str] = document["versions"]
    if not all(re.fullmatch(r"[\w.+-]{1,50}", found[name]) for name in versions()):
        raise FileFormatError("it does not say which versions wrote it")
    return found


def _advice(document: dict[str, Any]) -> str:
    """Return what to do about a file that is refused."""
    try:
        found = _versions_of(document)
    except Exception:  # it is this that is wrong with the file
        return "Save the model again."
    return (
        f"It was written by skvim {found['skvim']} with scikit-learn {found['scikit-learn']} and "
        f"torch {found['torch']}: open it with these, or fit and save the model again."
    )


def _foreign_classes(node: Any) -> set[str]:
    """Return the names of scikit-learn's estimators in the JSON, without their modules."""
    if isinstance(node, list):
        return set().union(*map(_foreign_classes, node))
    if not isinstance(node, dict):
        return set()
    estimator = node.get("$estimator")
    name = estimator["class"] if isinstance(estimator, dict) else ""
    found = set().union(*map(_foreign_classes, node.values()))
    return found | ({name.rpartition(".")[2]} if is_foreign(name) else set())


def _shortened(text: str) -> str:
    """Return a reason of a bounded length: it may show values of the file."""
    return text if len(text) <= 1000 else f"{text[:997]}..."
