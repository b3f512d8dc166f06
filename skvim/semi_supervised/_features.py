"""Feature maps whose inner products are, or approximate, a kernel."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, cast, final

import numpy as np
from numpy.linalg import eigh
from numpy.typing import NDArray
from scipy.sparse import csr_array, issparse
from sklearn.metrics.pairwise import polynomial_kernel, rbf_kernel
from sklearn.utils import gen_batches

__all__ = [
    "FeatureMap",
    "Kernel",
    "KernelMap",
    "LinearMap",
    "choose_landmarks",
    "make_kernel",
    "map_state",
    "restored_map",
    "same_map",
]

Matrix = NDArray[np.float64]
Kernel = Callable[[Matrix, Matrix], Matrix]

_BATCH = 2**24  # entries of a kernel matrix held at once: 128 MiB
_ROWS_PER_CENTRE = 10  # fewer make poor centres, in many dimensions above all
_CLUSTERED = 20_000  # rows of which centres are sought
_NEGLIGIBLE = 1e-10  # relative size under which an eigenvalue of a kernel matrix is rounding


def make_kernel(
    kernel: str | Callable[[Matrix, Matrix], Any], *, gamma: float, degree: float, coef0: float
) -> Kernel:
    """Return the kernel function k(X, Z) of shape (n_rows_of_X, n_rows_of_Z).

    Parameters
    ----------
    kernel : {"rbf", "poly"} or callable
        exp(-gamma ‖x - z‖²), (gamma ⟨x, z⟩ + coef0)^degree, or a function of two sets of rows.
    gamma, degree, coef0 : float
        Settings of the kernels that have them.

    Returns
    -------
    callable
        It can be pickled if ``kernel`` can.
    """
    if not isinstance(kernel, str):
        return partial(_checked, kernel)
    if kernel == "poly":
        return partial(polynomial_kernel, gamma=gamma, degree=degree, coef0=coef0)
    return partial(_rbf, gamma=gamma)


def _rbf(X: Matrix, Z: Matrix, *, gamma: float) -> Matrix:
    """Return the RBF kernel, accurate wherever the data lie.

    Squared distances are computed as differences of squared norms, which cancel to nothing far
    from the origin; the kernel itself does not depend on where the origin is.
    """
    if issparse(Z):  # its origin is where most values are
        return np.asarray(rbf_kernel(X, Z, gamma=gamma))
    origin = Z.mean(axis=0)
    return np.asarray(rbf_kernel(X - origin, Z - origin, gamma=gamma))


def _checked(function: Callable[[Matrix, Matrix], Any], X: Matrix, Z: Matrix) -> Matrix:
    """Return what the user's kernel gives, if it is a finite matrix of the right shape."""
    values = np.asarray(function(X, Z), dtype=np.float64)
    expected = X.shape[0], Z.shape[0]
    if values.shape != expected or not np.isfinite(values).all():
        raise ValueError(
            "The callable given as the 'kernel' parameter must return a finite matrix of shape "
            f"(n_rows_of_X, n_rows_of_Z) = {expected}. Got shape {values.shape}"
            f"{'' if np.isfinite(values).all() else ' with infinite or missing values'}."
        )
    return values


@final
class LinearMap:
    """φ(x) = x."""

    projection = None

    def values(self, X: Any) -> Any:
        """Return X."""
        return X

    def fold(self, weights: Matrix) -> Matrix:
        """Return the matrix with which :meth:`apply` gives φ(X) · weights."""
        return weights

    def apply(self, X: Any, folded: Matrix) -> Matrix:
        """Return φ(X) · weights from the folded weights."""
        return np.asarray(X @ folded)


@final
@dataclass(frozen=True)
class KernelMap:
    """φ(x) = k(x, landmarks) · projection."""

    kernel: Kernel
    landmarks: Matrix
    projection: Matrix

    @classmethod
    def fit(cls, kernel: Kernel, landmarks: Matrix) -> "KernelMap":
        """Return the Nyström map: exact on the span of the landmarks, its projection elsewhere.

        The projection is the inverse square root of the landmarks' own kernel matrix, without
        the directions in which that matrix is zero up to rounding.
        """
        sizes, directions = eigh(kernel(landmarks, landmarks))
        kept = sizes > max(sizes[-1], 0.0) * _NEGLIGIBLE
        return cls(kernel, landmarks, directions[:, kept] / np.sqrt(sizes[kept]))

    def values(self, X: Matrix) -> Matrix:
        """Return k(X, landmarks), which times the projection is φ(X)."""
        found = np.empty((X.shape[0], self.landmarks.shape[0]))
        for rows in gen_batches(X.shape[0], _batch(self.landmarks)):
            found[rows] = self.kernel(X[rows], self.landmarks)
        return found

    def fold(self, weights: Matrix) -> Matrix:
        """Return the matrix with which :meth:`apply` gives φ(X) · weights, without forming φ."""
        return self.projection @ weights

    def apply(self, X: Matrix, folded: Matrix) -> Matrix:
        """Return k(X, landmarks) · folded, holding the kernel values of few rows at a time."""
        found = np.empty((X.shape[0], folded.shape[1]))
        for rows in gen_batches(X.shape[0], _batch(self.landmarks)):
            found[rows] = self.kernel(X[rows], self.landmarks) @ folded
        return found


def _batch(landmarks: Matrix) -> int:
    """Return the number of rows whose kernel values are held at once."""
    return max(1, _BATCH // int(landmarks.shape[0]))


FeatureMap = LinearMap | KernelMap


def map_state(found: FeatureMap) -> dict[str, Any]:
    """Return what a map is made of, for a file; a kernel of the user's as it is."""
    if isinstance(found, LinearMap):
        return {"kernel": "linear"}
    kernel = cast("partial[Matrix]", found.kernel)
    names: dict[Any, str] = {_rbf: "rbf", polynomial_kernel: "poly"}
    state = {"landmarks": _packed(found.landmarks), "projection": found.projection}
    return {"kernel": names.get(kernel.func) or kernel.args[0], **kernel.keywords, **state}


def restored_map(state: dict[str, Any], n_features: int) -> tuple[FeatureMap, int]:
    """Return the map of such a state, and how many rows its folded weights have.

    Raises
    ------
    ValueError
        When sizes do not fit together, or the kernel is unknown.
    """
    name = state["kernel"]
    if name == "linear":
        return LinearMap(), n_features
    if name not in ("rbf", "poly"):
        raise ValueError(f"the kernel {name!r} is unknown")
    settings = {key: state.get(key, 0.0) for key in ("gamma", "degree", "coef0")}
    landmarks, projection = _unpacked(state["landmarks"]), state["projection"]
    if landmarks.shape[1] != n_features or projection.shape[0] != landmarks.shape[0]:
        raise ValueError(f"landmarks have the shapes {landmarks.shape} and {projection.shape}")
    return KernelMap(make_kernel(name, **settings), landmarks, projection), landmarks.shape[0]


def same_map(one: FeatureMap, other: FeatureMap) -> bool:
    """Whether two maps are of one kernel and the same landmarks."""
    states = map_state(one), map_state(other)
    if states[0].keys() != states[1].keys():
        return False
    return all(_equal(state, states[1][name]) for name, state in states[0].items())


def _equal(one: Any, other: Any) -> bool:
    """Whether settings, arrays or the parts of sparse arrays are equal."""
    if isinstance(one, dict) and isinstance(other, dict):
        return all(np.array_equal(part, other[name]) for name, part in one.items())
    return one is other or (type(one) is type(other) and np.array_equal(one, other))


def _packed(rows: Any) -> Any:
    """Return the parts of a sparse array, and a dense one as it is."""
    if not issparse(rows):
        return rows
    parts = {name: getattr(rows, name) for name in ("data", "indices", "indptr")}
    return {**parts, "n_features": rows.shape[1]}


def _unpacked(state: Any) -> Any:
    """Return the array of such parts; ``ValueError`` where they do not fit together."""
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
    """Return the landmarks: centres of clusters of the rows, or some of the rows.

    Centres stand for more rows each and were measured to give smaller errors, if there are many
    rows to each; else they are labelled rows first, since those steer the fit most.

    Parameters
    ----------
    X : {ndarray, csr_array} of shape (n_samples, n_features)
        All rows.
    labeled : ndarray of bool of shape (n_samples,)
        Which rows have a label.
    n_landmarks : int
        How many to take; all rows if there are no more.
    generator : numpy.random.Generator
        Source of the choice.
    centres : bool, default=True
        Whether they may be other points than rows. Those of sparse rows never are.

    Returns
    -------
    {ndarray, csr_array} of shape (min(n_landmarks, n_samples), n_features)
        The landmarks.
    """
    n_rows = X.shape[0]
    if n_landmarks >= n_rows:
        return X.copy()  # X may be the caller's own, who may change it after the fit
    if centres and not issparse(X) and n_rows >= _ROWS_PER_CENTRE * n_landmarks:
        return _centres(X, n_landmarks, generator)
    shuffled = generator.permutation(n_rows)
    labeled_first = shuffled[np.argsort(~labeled[shuffled], kind="stable")]
    return X[np.sort(labeled_first[:n_landmarks])]


def _centres(X: Matrix, n_centres: int, generator: np.random.Generator) -> Matrix:
    """Return the centres of k-means on some of the rows, roughly."""
    from sklearn.cluster import MiniBatchKMeans

    n_rows = min(len(X), max(_CLUSTERED, _ROWS_PER_CENTRE * n_centres))
    rows = X[generator.choice(len(X), n_rows, replace=False)]
    origin = rows.mean(axis=0)  # far from it, squared distances cancel to nothing
    rows -= origin
    # A set number of passes: to stop by sums of distances depends on the number of threads.
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
