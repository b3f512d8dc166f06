"""Which rows carry a label, and which label: -1 marks a row without one."""

from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from skvim._labeled import UNLABELED, labeled_rows

__all__ = ["Labels", "read_labels"]


@final
@dataclass(frozen=True)
class Labels:
    """The labels that were given.

    Attributes
    ----------
    given : ndarray of bool of shape (n_samples,)
        True where the row has a label.
    classes : ndarray of shape (n_classes,)
        The sorted classes.
    codes : ndarray of int of shape (n_labeled,)
        Position in ``classes`` of each labelled row's class.
    """

    given: NDArray[np.bool_]
    classes: NDArray[Any]
    codes: NDArray[np.intp]

    @property
    def signs(self) -> NDArray[np.float64]:
        """+1 or -1 per labelled row and one-vs-rest problem; a single column for two classes."""
        members = self.codes[:, None] == self.columns
        return np.where(members, 1.0, -1.0)

    @property
    def columns(self) -> NDArray[np.intp]:
        """Codes of the classes that have a one-vs-rest problem: the second alone of two."""
        codes = np.arange(len(self.classes))
        return codes[1:] if len(codes) == 2 else codes

    @property
    def frequencies(self) -> NDArray[np.float64]:
        """Share of each class among the labelled rows."""
        counts = np.bincount(self.codes, minlength=len(self.classes))
        return counts / len(self.codes)


def read_labels(y: NDArray[Any], *, name: str) -> Labels:
    """Split ``y`` into labelled and unlabelled rows.

    Parameters
    ----------
    y : ndarray of shape (n_samples,)
        Labels; -1 where there is none.
    name : str
        The estimator, for the messages.

    Returns
    -------
    Labels
        With at least two classes.

    Raises
    ------
    ValueError
        If a label is the string "-1", no row or only one class is labelled, or ``y`` is not
        made of classes.
    """
    found = labeled_rows(y, name=name)
    codes = found.codes()
    classes = np.unique(found.labels)
    if len(classes) < 2:
        raise ValueError(
            f"{name} needs labelled rows of at least two classes, but the {len(codes)} labelled "
            f"rows of y all have the one class {classes.tolist()[0]!r} ({UNLABELED} marks a row "
            "without a label and is not a class)."
        )
    given = np.zeros(len(found.y), dtype=bool)
    given[found.rows] = True
    return Labels(given, classes, codes)
