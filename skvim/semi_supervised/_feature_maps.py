"""Kernel feature maps: the identity for the linear kernel, Nyström for all others."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any, cast, final

import numpy as np
from numpy.linalg import eigh
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.utils import gen_batches
from sklearn.utils.extmath import row_norms

from skvim._float_errors import ignore_overflow
from skvim._validation import all_finite, check_results, largest

__all__ = [
    "FeatureMap",
    "Kernel",
    "KernelRows",
    "LinearMap",
    "NystroemMap",
    "choose_landmarks",
    "make_kernel",
    "map_from_state",
    "map_state",
    "maps_equal",
    "stored_values",
    "training_values",
]

Matrix = NDArray[np.float64]
Kernel = Callable[[Matrix, Matrix], Matrix]

# Entries of a kernel matrix computed at once, 4 MiB: such blocks stay in the processor's caches.
_MAX_ENTRIES = 2**19
_MAX_STORED = 2**26  # entries of kernel values that are kept during a fit: 512 MiB
_ROWS_PER_CENTRE = 10  # fewer make poor cluster centres, above all in many dimensions
_MAX_CLUSTERED = 20_000  # rows that k-means sees, unless ten per centre are more
_FAR = 1e150  # sums of a million squares of smaller values are in the range of float64
_MAX_RATIO = 1e10  # of the norm of a row to the median
_EIGENVALUE_TOL = 1e-10  # relative to the largest; smaller eigenvalues are rounding errors


def make_kernel(
    kernel: str | Callable[[Matrix, Matrix], Any], *, gamma: float, degree: int, coef0: float
) -> Kernel:
    """Return the kernel function k(X, Z) of shape (n_rows_of_X, n_rows_of_Z).

    Parameters
    ----------
    kernel : {"rbf", "poly"} or callable
        exp(-gamma ‖x - z‖²), (gamma ⟨x, z⟩ + coef0)^degree, or a function of two sets of rows.
    gamma, degree, coef0 : float
        Parameters of the named kernels.

    Returns
    -------
    callable
        Can be pickled if ``kernel`` can.
    """
    if not isinstance(kernel, str):
        return partial(_checked_kernel, kernel)
    if kernel == "poly":
        return partial(_poly, gamma=gamma, degree=degree, coef0=coef0)
    return partial(_rbf, gamma=gamma)


def _rbf(X: Matrix, Z: Matrix, *, gamma: float) -> Matrix:
    """Return the RBF kernel of centred rows, to avoid cancellation far from the origin.

    Squared distances are computed as differences of squared norms, which cancel far from the
    origin; the kernel itself is translation invariant.
    """
    if issparse(Z):  # centring would fill it
        return np.asarray(rbf_kernel(X, Z, gamma=gamma))
    rows: Any = X
    X = rows.toarray() if issparse(rows) else X
    far, far_landmarks = _are_far(X), _are_far(Z)
    if far.any() or far_landmarks.any():
        return _rbf_of_far_rows(X, Z, far, far_landmarks, gamma=gamma)
    origin = Z.mean(axis=0)
    return _rbf_of_near_rows(X - origin, Z - origin, gamma)


def _rbf_of_near_rows(X: Matrix, Z: Matrix, gamma: float) -> Matrix:
    """Return the RBF kernel; in place, in less than half the time of scikit-learn's function."""
    squares, ones = row_norms(X, squared=True), np.ones(len(X))
    left = np.column_stack([X, squares, ones])
    right = np.column_stack([2.0 * Z, -np.ones(len(Z)), -row_norms(Z, squared=True)])
    exponents = left @ (gamma * right).T  # -gamma ‖x - z‖²
    np.minimum(exponents, 0.0, out=exponents)
    return np.exp(exponents, out=exponents)


def _rbf_of_far_rows(
    X: Matrix, Z: Matrix, far: NDArray[np.bool_], far_landmarks: NDArray[np.bool_], *, gamma: float
) -> Matrix:
    """Return the RBF kernel where the squares of some rows overflow, pair by pair for these."""
    values = np.empty((len(X), len(Z)))
    near, near_landmarks = np.flatnonzero(~far), np.flatnonzero(~far_landmarks)
    if len(near) and len(near_landmarks):
        block = _rbf(X[near], Z[near_landmarks], gamma=gamma)
        values[np.ix_(near, near_landmarks)] = block
    for i in np.flatnonzero(far):
        values[i] = _rbf_of_pairs(X[i], Z, gamma)
    for j in np.flatnonzero(far_landmarks):
        values[:, j] = _rbf_of_pairs(Z[j], X, gamma)
    return values


def _rbf_of_pairs(row: NDArray[np.float64], others: Matrix, gamma: float) -> NDArray[np.float64]:
    """Return the RBF kernel of one row and others, without squares that overflow."""
    halves = others / 2 - row / 2  # of large values of both signs, differences overflow
    size = np.abs(halves).max(axis=1)
    scaled = halves / np.where(size > 0, size, 1.0)[:, None]
    with ignore_overflow():  # the kernel is then 0
        distances = 2 * math.sqrt(gamma) * size * np.sqrt(np.square(scaled).sum(axis=1))
        return np.asarray(np.exp(-np.square(distances)))


def _are_far(rows: Matrix) -> NDArray[np.bool_]:
    """Return which rows have values whose squares may overflow."""
    return np.asarray(np.abs(rows).max(axis=1, initial=0.0) > _FAR)


def _poly(X: Matrix, Z: Matrix, *, gamma: float, degree: int, coef0: float) -> Matrix:
    """Return the polynomial kernel."""
    return np.asarray(polynomial_kernel(X, Z, gamma=gamma, degree=degree, coef0=coef0))


def _finite_kernel(kernel: Kernel, X: Any, Z: Any, numbers: Any) -> Matrix:
    """Return the values of a kernel; raise ValueError where they overflow or are undefined.

    ``numbers`` are those of the rows of X in what the user passed; None: rows are landmarks.
    """
    with ignore_overflow():
        values = kernel(X, Z)
    if not all_finite(values):
        first = int(np.flatnonzero(~np.isfinite(values).all(axis=1))[0])
        row = "a landmark" if numbers is None else f"row {int(numbers[first])}"
        size = largest(stored_values(X), stored_values(Z))
        raise ValueError(
            f"The kernel of TransductiveSVC overflows, first for {row}: X holds values of up to "
            f"{size:.3g}. Scale X, or choose smaller values of gamma, degree and coef0."
        )
    return values


def _check_row_sizes(values: Matrix, order: NDArray[np.intp]) -> None:
    """Raise ValueError where a row of features is so large that others cannot be told apart.

    A hyperplane that separates the others has to be orthogonal to it, up to the ratio of their
    sizes: beyond 1e10 the weights, in float64, cannot be so exact. ``order`` has the numbers of the
    rows in X.
    """
    sizes = row_norms(values)  # (n_rows,)
    typical = float(np.median(sizes[sizes > 0])) if np.any(sizes > 0) else 0.0
    worst = int(np.argmax(sizes))
    if sizes[worst] > _MAX_RATIO * typical:
        raise ValueError(
            f"X holds rows of too different sizes: the features of row {int(order[worst])} have a "
            f"norm of {sizes[worst]:.3g}, half of all rows one below {typical:.3g}. Remove it, or "
            "clip or scale X."
        )


def stored_values(rows: Any) -> NDArray[np.float64]:
    """Return the stored values of rows."""
    return np.asarray(rows.data if issparse(rows) else rows)


def _checked_kernel(function: Callable[[Matrix, Matrix], Any], X: Matrix, Z: Matrix) -> Matrix:
    """Call the user's kernel; raise ValueError unless it returns a finite real (n, m) matrix."""
    result, expected = function(X, Z), (X.shape[0], Z.shape[0])
    wanted = (
        "The callable given as the 'kernel' parameter must return a finite matrix of shape "
        f"(n_rows_of_X, n_rows_of_Z) = {expected}."
    )
    if issparse(result):
        raise ValueError(f"{wanted} Got a sparse matrix; return its toarray().")
    try:
        values = np.asarray(result)
        if values.dtype.kind not in "c":
            values = values.astype(np.float64, copy=False)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{wanted} Got {type(result).__name__}, not numbers.") from error
    if values.dtype.kind == "c":
        raise ValueError(f"{wanted} Got complex numbers; return real ones.")
    if values.shape != expected:
        raise ValueError(f"{wanted} Got shape {values.shape}.")
    if not np.isfinite(values).all():
        raise ValueError(
            f"{wanted} Got infinite or missing values for rows of up to "
            f"{largest(stored_values(X), stored_values(Z)):.3g}; scale X or change the callable."
        )
    return values


@final
class LinearMap:
    """Feature map φ(x) = x of the linear kernel."""

    projection = None

    def values(self, X: Any) -> Any:
        """Return X itself."""
        return X

    def fold(self, weights: Matrix) -> Matrix:
        """Return the weights, which :meth:`apply` multiplies X by."""
        return weights

    def apply(self, X: Any, folded: Matrix) -> Matrix:
        """Return φ(X) · weights."""
        return np.asarray(X @ folded)


@final
@dataclass(frozen=True)
class NystroemMap:
    """Nyström feature map φ(x) = k(x, landmarks) · projection."""

    kernel: Kernel
    landmarks: Matrix
    projection: Matrix

    @classmethod
    def fit(cls, kernel: Kernel, landmarks: Matrix) -> "NystroemMap":
        """Fit the Nyström map: exact on the span of the landmarks, a projection elsewhere.

        The projection is the inverse square root of the kernel matrix of the landmarks, without
        the eigenvectors whose eigenvalues are zero up to rounding.
        """
        eigenvalues, eigenvectors = eigh(_finite_kernel(kernel, landmarks, landmarks, None))
        kept = eigenvalues > max(eigenvalues[-1], 0.0) * _EIGENVALUE_TOL
        return cls(kernel, landmarks, eigenvectors[:, kept] / np.sqrt(eigenvalues[kept]))

    def values(self, X: Any, numbers: NDArray[np.intp] | None = None) -> Matrix:
        """Return the kernel values k(X, landmarks); times the projection they are φ(X).

        ``numbers`` are those of the rows for error messages, by default 0, 1, ...
        """
        numbers = np.arange(X.shape[0]) if numbers is None else numbers
        n_batch = _batch_size(self.landmarks)
        if X.shape[0] <= n_batch:
            return _finite_kernel(self.kernel, X, self.landmarks, numbers)
        values = np.empty((X.shape[0], self.landmarks.shape[0]))
        for rows in gen_batches(X.shape[0], n_batch):
            values[rows] = _finite_kernel(self.kernel, X[rows], self.landmarks, numbers[rows])
        return values

    def fold(self, weights: Matrix) -> Matrix:
        """Return the coefficients of the kernel expansion over the landmarks, for :meth:`apply`."""
        return self.projection @ weights

    def apply(self, X: Matrix, folded: Matrix) -> Matrix:
        """Return φ(X) · weights = k(X, landmarks) · folded, in batches of rows."""
        scores = np.empty((X.shape[0], folded.shape[1]))
        for rows in gen_batches(X.shape[0], _batch_size(self.landmarks)):
            numbers = range(rows.start, rows.stop)
            values = _finite_kernel(self.kernel, X[rows], self.landmarks, numbers)
            scores[rows] = values @ folded
        return scores


@final
@dataclass(frozen=True)
class KernelRows:
    """Rows in a given order, whose kernel values are computed when they are asked for.

    Attributes
    ----------
    feature_map : NystroemMap
        Has the kernel and the landmarks.
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        The rows.
    order : ndarray of int of shape (n_samples,)
        Their order.
    """

    feature_map: NystroemMap
    X: Any
    order: NDArray[np.intp]
    _stored: dict[int, Matrix] = field(default_factory=dict, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the matrix of all kernel values."""
        return len(self.order), len(self.feature_map.projection)

    def blocks(self) -> Iterator[tuple[slice, Matrix]]:
        """Yield all rows, as slices, and their kernel values.

        The values of the first rows are stored, as many as the memory limit allows: to read them
        takes a third of the time of computing them.
        """
        n_rows, n_landmarks = self.shape
        for block in gen_batches(n_rows, _batch_size(self.feature_map.landmarks)):
            values = self._stored.get(block.start)
            if values is None:
                values = self.values(block)
                if block.stop * n_landmarks <= _MAX_STORED:
                    self._stored[block.start] = values
            yield block, values

    def values(self, rows: NDArray[np.intp] | slice) -> Matrix:
        """Return the kernel values of the rows at these places of the order."""
        numbers = self.order[rows]
        return self.feature_map.values(self.X[numbers], numbers)


def _batch_size(landmarks: Matrix) -> int:
    """Return the number of rows whose kernel values fit in the memory limit."""
    return max(1, _MAX_ENTRIES // int(landmarks.shape[0]))


FeatureMap = LinearMap | NystroemMap


def training_values(
    feature_map: FeatureMap, X: Any, order: NDArray[np.intp], *, streamed: bool
) -> Any:
    """Return the values of all rows in this order, or a :class:`KernelRows` of them.

    Raises
    ------
    ValueError
        If values are beyond the range of float64, or a row is too large against the others.
    """
    if isinstance(feature_map, NystroemMap):
        rows = KernelRows(feature_map, X, order)
        return rows if streamed else rows.values(slice(None))
    values = feature_map.values(X[order])
    squares = np.square(stored_values(values)).sum()
    check_results("TransductiveSVC.fit", squares, stored_values(X))
    _check_row_sizes(values, order)  # features of other kernels are small by themselves
    return values


def map_state(feature_map: FeatureMap) -> dict[str, Any]:
    """Return the state of a feature map for serialisation; a callable kernel as it is."""
    if isinstance(feature_map, LinearMap):
        return {"kernel": "linear"}
    kernel = cast("partial[Matrix]", feature_map.kernel)
    names: dict[Any, str] = {_rbf: "rbf", _poly: "poly"}
    return {
        "kernel": names.get(kernel.func) or kernel.args[0],
        **kernel.keywords,
        "landmarks": _rows_to_state(feature_map.landmarks),
        "projection": feature_map.projection,
    }


def map_from_state(state: dict[str, Any], n_features: int) -> tuple[FeatureMap, int]:
    """Restore a feature map, and return the number of rows of its folded weights.

    Raises
    ------
    ValueError
        If shapes do not match, or the kernel is unknown.
    """
    name = state["kernel"]
    if name == "linear":
        return LinearMap(), n_features
    if name not in ("rbf", "poly"):
        raise ValueError(f"the kernel {name!r} is unknown")
    settings = {key: state.get(key, 0.0) for key in ("gamma", "degree", "coef0")}
    landmarks, projection = _rows_from_state(state["landmarks"]), state["projection"]
    if landmarks.shape[1] != n_features or projection.shape[0] != landmarks.shape[0]:
        raise ValueError(f"landmarks have the shapes {landmarks.shape} and {projection.shape}")
    return NystroemMap(make_kernel(name, **settings), landmarks, projection), landmarks.shape[0]


def maps_equal(one: FeatureMap, other: FeatureMap) -> bool:
    """Whether two maps have the same kernel and the same landmarks."""
    states = map_state(one), map_state(other)
    if states[0].keys() != states[1].keys():
        return False
    return all(_equal(state, states[1][name]) for name, state in states[0].items())


def _equal(one: Any, other: Any) -> bool:
    """Whether two entries of a state are equal: parameters, arrays or sparse arrays."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(np.array_equal(part, other[name]) for name, part in one.items())
    return one is other or (type(one) is type(other) and np.array_equal(one, other))


def _rows_to_state(rows: Any) -> Any:
    """Return the components of a CSR array as a dict; a dense array as it is."""
    if not issparse(rows):
        return rows
    parts = {name: getattr(rows, name) for name in ("data", "indices", "indptr")}
    return {**parts, "n_features": rows.shape[1]}


def _rows_from_state(state: Any) -> Any:
    """Restore rows from their state; ValueError if the components do not match."""
    if not isinstance(state, dict):
        return state
    parts = tuple(state[name] for name in ("data", "indices", "indptr"))
    rows = csr_array(parts, shape=(len(parts[-1]) - 1, state["n_features"]))
    rows.check_format(full_check=True)
    return rows


def choose_landmarks(
    X: Any,
    labeled: NDArray[np.bool_],
    n_landmarks: int,
    generator: np.random.Generator,
    *,
    centres: bool = True,
) -> Any:
    """Choose Nyström landmarks: k-means centres, or rows drawn at random, labelled ones first.

    With at least ten rows per landmark, centres were measured to give smaller errors than rows.
    Labelled rows come first because they influence the fit most.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        All rows.
    labeled : ndarray of bool of shape (n_samples,)
        True where the row has a label.
    n_landmarks : int
        Number of landmarks; all rows if there are no more.
    generator : numpy.random.Generator
        Random numbers for the choice.
    centres : bool, default=True
        Whether landmarks may be k-means centres; landmarks of sparse X are always rows.

    Returns
    -------
    {ndarray, csr_array} of shape (min(n_landmarks, n_samples), n_features)
        The landmarks.
    """
    n_rows = X.shape[0]
    if n_landmarks >= n_rows:
        return X.copy()  # X may be the caller's array, which may change after the fit
    # Squared distances to far rows, which k-means compares, overflow.
    if (
        centres
        and not issparse(X)
        and not _are_far(X).any()
        and n_rows >= _ROWS_PER_CENTRE * n_landmarks
    ):
        return _cluster_centres(X, n_landmarks, generator)
    shuffled = generator.permutation(n_rows)
    labeled_first = shuffled[np.argsort(~labeled[shuffled], kind="stable")]
    return X[np.sort(labeled_first[:n_landmarks])]


def _cluster_centres(X: Matrix, n_centres: int, generator: np.random.Generator) -> Matrix:
    """Return centres of mini-batch k-means, fitted to a random subset of the rows."""
    from sklearn.cluster import MiniBatchKMeans

    n_rows = min(len(X), max(_MAX_CLUSTERED, _ROWS_PER_CENTRE * n_centres))
    rows = X[generator.choice(len(X), n_rows, replace=False)]
    origin = rows.mean(axis=0)  # without centring, squared distances may cancel
    rows -= origin
    # A fixed number of passes: stopping by inertia would depend on the number of threads.
    means = MiniBatchKMeans(
        n_centres,
        init="random",
        n_init=1,
        batch_size=4096,
        max_iter=20,
        max_no_improvement=None,
        random_state=int(generator.integers(2**31)),
    )
    centres: Matrix = means.fit(rows).cluster_centers_ + origin
    return centres
