"""Stratified cross-validation splitters for partly labelled data (semi-supervised learning)."""

import warnings
from collections.abc import Iterator
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from sklearn.model_selection import (
    BaseCrossValidator,
    BaseShuffleSplit,
    StratifiedKFold,
    StratifiedShuffleSplit,
)

from skvim._labeled import labeled_rows
from skvim._plain_numbers import plain
from skvim._validation import draw_seed

__all__ = ["MaskedStratifiedKFold", "MaskedStratifiedShuffleSplit"]

Rows = NDArray[np.intp]


@final
class MaskedStratifiedKFold(BaseCrossValidator):
    """Stratified k-fold of the labelled rows; all unlabelled rows are in every training set.

    A row of ``y`` equal to -1 has no label. scikit-learn's
    :class:`~sklearn.model_selection.StratifiedKFold` treats -1 as another class and puts unlabelled
    rows into test sets. Here the test sets are folds of the labelled rows only.

    Parameters
    ----------
    n_splits : int in [2, inf), default=5
        Number of folds.
    shuffle : bool, default=False
        Whether the labelled rows of each class are shuffled before they are split into folds.
    random_state : int, RandomState instance or None, default=None
        Seeds the shuffling; must be None if ``shuffle`` is False. None takes fresh entropy from the
        operating system at each call of ``split``.

    See Also
    --------
    MaskedStratifiedShuffleSplit : Random splits, any number of them, with test sets of any size.
    mask_labels : Masks labels, to simulate few labels.
    skvim.metrics.masked_scorer : Scorer for test sets with unlabelled rows.

    Notes
    -----
    Training and test set of a split together are all rows. The test sets are disjoint and hold
    every labelled row once, but no unlabelled row. They are therefore no partition of all rows,
    which ``cross_val_predict`` requires: it refuses this splitter, and
    :func:`cross_val_predict_masked` takes its place. ``cross_val_score``, ``cross_validate`` and
    searches accept it.

    ``split`` raises ValueError if y is missing or has no label, if it contains the string "-1",
    missing values or the largest value of an unsigned dtype (which -1 becomes), if ``n_splits`` is
    out of range, or if every class has fewer labelled rows than ``n_splits``. If only some classes
    have fewer, scikit-learn's StratifiedKFold warns: such a class is missing from some test sets,
    and one with a single labelled row from one training set.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.model_selection import MaskedStratifiedKFold
    >>> y = np.array([0, 1, -1, -1, 0, 1])
    >>> for train, test in MaskedStratifiedKFold(2).split(np.zeros((6, 1)), y):
    ...     print(train, test)
    [2 3 4 5] [0 1]
    [0 1 2 3] [4 5]
    """

    def __init__(
        self, n_splits: int = 5, *, shuffle: bool = False, random_state: Any = None
    ) -> None:
        self.n_splits = n_splits
        self.shuffle = shuffle
        self.random_state = random_state

    def get_n_splits(self, X: Any = None, y: Any = None, groups: Any = None) -> int:
        """Return the number of splits.

        Parameters
        ----------
        X, y, groups : object
            Ignored.

        Returns
        -------
        int
            ``n_splits``.
        """
        return int(self.n_splits)

    def _iter_test_indices(
        self, X: Any = None, y: Any = None, groups: Any = None
    ) -> Iterator[Rows]:
        name = type(self).__name__
        _warn_of_groups(name, groups)
        seed: Any = self.random_state
        if self.shuffle:
            seed = _seed(seed)
        elif isinstance(seed, np.random.RandomState):
            seed = None  # StackingClassifier sets it in the splitter it was given
        folds = StratifiedKFold(plain(self.n_splits), shuffle=self.shuffle, random_state=seed)
        labeled = labeled_rows(y, name=name)
        codes = labeled.codes()
        most = int(np.bincount(codes).max())
        if most < self.n_splits:
            raise ValueError(
                f"{name} cannot make n_splits={self.n_splits} folds: no class has more than {most} "
                f"labelled rows. Take at most {most} folds, or label more rows."
            )
        for _, test in folds.split(codes, codes):
            yield labeled.rows[test]


@final
class MaskedStratifiedShuffleSplit(BaseShuffleSplit):
    """Stratified shuffle split of the labelled rows; all unlabelled rows are in training sets.

    A row of ``y`` equal to -1 has no label.

    Parameters
    ----------
    n_splits : int in [1, inf), default=10
        Number of splits.
    test_size : float in (0, 1), int or None, default=None
        Share or number of the labelled rows in the test set. None is the complement of
        ``train_size``, or 0.1 if that is None too.
    train_size : float in (0, 1), int or None, default=None
        Share or number of the labelled rows in the training set. None is the complement of
        ``test_size``. Labelled rows in neither set are left out of the split.
    random_state : int, RandomState instance or None, default=None
        Seeds the splits. None takes fresh entropy from the operating system at each call of
        ``split``.

    See Also
    --------
    MaskedStratifiedKFold : Disjoint test sets that hold every labelled row once.

    Notes
    -----
    Test sets of different splits may overlap and need not hold every row, so
    ``cross_val_predict`` and :func:`cross_val_predict_masked` refuse this splitter.

    ``split`` raises ValueError if y is missing or has no label, if it contains the string "-1",
    missing values or the largest value of an unsigned dtype (which -1 becomes), if a class has a
    single labelled row, or if there are too few labelled rows for one of each class in both sets.

    Examples
    --------
    >>> import numpy as np
    >>> from skvim.model_selection import MaskedStratifiedShuffleSplit
    >>> y = np.array([0, 1, -1, -1, 0, 1])
    >>> splitter = MaskedStratifiedShuffleSplit(3, test_size=0.5, random_state=0)
    >>> for train, test in splitter.split(np.zeros((6, 1)), y):
    ...     print(sorted(y[train].tolist()), sorted(y[test].tolist()))
    [-1, -1, 0, 1] [0, 1]
    [-1, -1, 0, 1] [0, 1]
    [-1, -1, 0, 1] [0, 1]
    """

    def __init__(
        self,
        n_splits: int = 10,
        *,
        test_size: float | None = None,
        train_size: float | None = None,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            n_splits, test_size=test_size, train_size=train_size, random_state=random_state
        )

    def _iter_indices(
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Iterator[tuple[Rows, Rows]]:
        name = type(self).__name__
        _warn_of_groups(name, groups)
        splits = StratifiedShuffleSplit(
            plain(self.n_splits),
            test_size=plain(self.test_size),
            train_size=plain(self.train_size),
            random_state=_seed(self.random_state),
        )
        labeled = labeled_rows(y, name=name)
        codes = labeled.codes()
        for train, test in splits.split(codes, codes):
            yield np.concatenate([labeled.rows[train], labeled.unlabeled]), labeled.rows[test]


def _seed(random_state: Any) -> Any:
    """Replace None by a fresh seed: scikit-learn would use NumPy's global generator."""
    return draw_seed(None) if random_state is None else random_state


def _warn_of_groups(name: str, groups: Any) -> None:
    if groups is not None:
        warnings.warn(f"The groups parameter is ignored by {name}.", UserWarning, stacklevel=4)
