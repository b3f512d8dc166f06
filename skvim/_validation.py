"""Validation of parameters, arguments and rows; only this module uses scikit-learn's helpers."""

import copy
import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar, final

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state, indexable, validation
from sklearn.utils.validation import check_array

from skvim._float_errors import ignore_overflow
from skvim._plain_numbers import is_real, plain
from skvim._sklearn_private import (
    HasMethods,
    Interval,
    StrOptions,
    take,
    validate_parameter_constraints,
)

__all__ = [
    "ROWS",
    "HasMethods",
    "Interval",
    "StrOptions",
    "all_finite",
    "atomic",
    "check_arguments",
    "check_codes",
    "check_count",
    "check_flag",
    "check_is_fitted",
    "check_matrix",
    "check_names",
    "check_parameters",
    "check_results",
    "check_rows",
    "count_rows",
    "draw_seed",
    "integer",
    "largest",
    "real",
    "same_length",
    "take_rows",
    "validate_data",
    "with_plain_parameters",
]

FLOATS = [np.float64, np.float32]
# Bytes are pixels; models store them as bytes and convert them when they are used.
ROWS = [*FLOATS, np.uint8]

P = ParamSpec("P")
R = TypeVar("R")
Estimator = TypeVar("Estimator", bound=BaseEstimator)


@final
class _Numbers(Interval):
    """An interval of numbers, without True and False and without what no float can hold."""

    def is_satisfied_by(self, val: Any) -> bool:
        """Return whether a value is such a number (scikit-learn's hook)."""
        number = not isinstance(val, bool) if self.type is Integral else is_real(val)
        return number and bool(super().is_satisfied_by(val))


def real(low: float | None, high: float | None = None, *, closed: str = "left") -> Interval:
    """Constrain a parameter to an interval of the reals."""
    return _Numbers(Real, low, high, closed=closed)


def integer(low: int | None, high: int | None = None, *, closed: str = "left") -> Interval:
    """Constrain a parameter to an interval of the integers."""
    return _Numbers(Integral, low, high, closed=closed)


def check_parameters(estimator: BaseEstimator) -> None:
    """Raise scikit-learn's error for the first parameter outside its declared range."""
    validate_parameter_constraints(
        estimator._parameter_constraints,
        estimator.get_params(deep=False),
        caller_name=type(estimator).__name__,
    )


def with_plain_parameters(estimator: Estimator) -> Estimator:
    """Return a shallow copy whose parameters are plain numbers of Python, not NumPy's.

    The estimator keeps its parameters as they were given, which is scikit-learn's contract.
    """
    settings = copy.copy(vars(estimator))
    names, caller = estimator._parameter_constraints, type(estimator).__name__
    settings.update({name: _plain(name, settings[name], caller) for name in names})
    copied = object.__new__(type(estimator))
    vars(copied).update(settings)
    return copied


def _plain(name: str, value: Any, caller: str) -> Any:
    """Return a parameter with plain numbers; ``ValueError`` if it is nested without an end."""
    try:
        return plain(value)
    except RecursionError as error:
        raise ValueError(
            f"The {name!r} parameter of {caller} must not hold itself, nor hundreds of containers "
            "within each other."
        ) from error


def check_arguments(**constraints: list[Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function to raise scikit-learn's error for the first argument out of range.

    The function gets plain numbers of Python in the place of NumPy's.
    """

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)
        names = set(constraints)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            validate_parameter_constraints(constraints, given.arguments, function.__name__)
            caller, values = function.__name__, given.arguments
            values.update({name: _plain(name, values[name], caller) for name in names})
            return function(*given.args, **given.kwargs)

        return checked

    return decorate


def validate_data(estimator: BaseEstimator, X: Any, *y: Any, reset: bool, **options: Any) -> Any:
    """Validate rows, and labels if given, as scikit-learn does; rows get one memory layout.

    Sums over rows of another layout differ in their last bits, and training amplifies that.

    Parameters
    ----------
    estimator : estimator
        Its ``n_features_in_`` and ``feature_names_in_`` are set or compared.
    X : {array-like, sparse matrix} of shape (n_samples, n_features)
        Rows as given by the user.
    *y : array-like of shape (n_samples,)
        Labels, at most one argument.
    reset : bool
        Whether to set the attributes; True in ``fit``.
    **options : object
        Passed to scikit-learn's ``validate_data``.

    Returns
    -------
    rows : {ndarray, CSR matrix} of shape (n_samples, n_features)
        C-contiguous, or CSR with sorted indices and no duplicates; ``X`` itself if already so.
    labels : ndarray of shape (n_samples,)
        Only with ``y``.
    """
    # Whether values are finite shows in their sum, in which infinities of both signs may arise.
    with ignore_overflow():
        validated = validation.validate_data(estimator, X, *y, reset=reset, order="C", **options)
    rows, *labels = validated if y else (validated,)
    if issparse(rows) and not rows.has_canonical_format:
        rows = rows.copy()  # X is the caller's
        rows.sum_duplicates()
    return (rows, *labels) if y else rows


def check_is_fitted(estimator: BaseEstimator) -> None:
    """Raise scikit-learn's ``NotFittedError`` before ``fit``."""
    # Without a hook, scikit-learn looks for such an attribute too, in ten times the time.
    if "n_features_in_" not in vars(estimator) or hasattr(estimator, "__sklearn_is_fitted__"):
        validation.check_is_fitted(estimator)


def check_names(estimator: BaseEstimator, X: Any, *, reset: bool, least: int = 1) -> None:
    """Check number, names and order of columns as scikit-learn does, and no values.

    ``reset`` sets ``n_features_in_`` and ``feature_names_in_`` instead. ``ValueError`` for fewer
    rows than ``least`` and for arrays of one dimension.
    """
    shape = X.shape if hasattr(X, "shape") else np.asarray(X).shape
    if len(shape) == 1:
        raise ValueError(
            "Expected 2D array, got 1D array instead. Reshape your data either using "
            "array.reshape(-1, 1) if your data has a single feature or array.reshape(1, -1) if it "
            "contains a single sample."
        )
    n_rows = shape[0] if shape else count_rows("X", X)  # which raises an error
    if n_rows < least:
        raise ValueError(
            f"Found {n_rows} sample(s) while a minimum of {least} is required by "
            f"{type(estimator).__name__}."
        )
    validation.validate_data(estimator, X, reset=reset, skip_check_array=True)


def check_rows(
    estimator: BaseEstimator, X: Any, *, reset: bool, dtype: list[Any] = FLOATS, **options: Any
) -> NDArray[Any]:
    """Validate ``X`` as finite dense rows; the given dtypes stay, everything else becomes float64.

    Parameters and result are those of :func:`validate_data`, without labels.
    """
    rows: NDArray[Any] = validate_data(estimator, X, reset=reset, dtype=dtype, **options)
    return rows


def check_codes(estimator: BaseEstimator, X: Any, n_components: int) -> NDArray[Any]:
    """Validate codes of shape (n_samples, n_components) given to an inverse transform."""
    name = type(estimator).__name__
    with ignore_overflow():
        codes: NDArray[Any] = check_array(
            X, dtype=FLOATS, order="C", input_name="X", estimator=name
        )
    if codes.shape[1] != n_components:
        raise ValueError(
            f"X has {codes.shape[1]} columns, but inverse_transform of {name} takes codes and it "
            f"was fitted with n_components={n_components}. Pass codes as transform returns them."
        )
    return codes


def check_count(name: str, value: Any, *, least: int = 1) -> int:
    """Return an integer of at least ``least`` given as an argument, or raise ``ValueError``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or value < least:
        raise ValueError(f"{name} must be an int in [{least}, inf). Got {value!r} instead.")
    return int(value)


def check_flag(name: str, value: Any) -> bool:
    """Return True or False given as an argument, or raise ``ValueError``."""
    if not isinstance(value, bool | np.bool_):
        raise ValueError(f"{name} must be True or False. Got {value!r} instead.")
    return bool(value)


def check_matrix(name: str, X: Any, *, least: int = 1) -> NDArray[np.float64]:
    """Return an argument as a finite C-contiguous float64 matrix of at least ``least`` rows."""
    with ignore_overflow():
        matrix: NDArray[np.float64] = check_array(
            X,
            dtype=np.float64,
            order="C",
            input_name=name,
            estimator=name,
            ensure_min_samples=least,
        )
    return matrix


def all_finite(values: NDArray[Any]) -> bool:
    """Return whether no value is infinite or NaN."""
    # Both survive a sum, which needs no memory; a sum of finite values may overflow.
    with ignore_overflow():
        total = values.sum()
    return bool(np.isfinite(total)) or bool(np.isfinite(values).all())


def largest(*arrays: NDArray[Any]) -> float:
    """Return the largest absolute value, 0 for empty arrays."""
    return max(float(np.abs(values).max(initial=0.0)) for values in arrays)


def check_results(
    name: str, results: NDArray[Any], *given: Any, advice: str = "", of: str = "X"
) -> NDArray[Any]:
    """Return the results for finite rows, or raise ``ValueError`` where they overflowed.

    Parameters
    ----------
    name : str
        What computed the results.
    results : ndarray
        They have to be finite.
    *given : array-like
        Finite numbers that they were computed from.
    advice : str, default=""
        What to do other than to scale the values.
    of : str, default="X"
        What the error calls the given numbers.
    """
    if all_finite(results):
        return results
    wider = ", or pass it in float64" if results.dtype == np.float32 else ""
    raise ValueError(
        f"{name} cannot represent its result in {results.dtype}: {of} holds values of up to "
        f"{largest(*map(np.asarray, given)):.3g}, too large to compute with here. Scale "
        f"{of}{advice}{wider}."
    )


def count_rows(name: str, X: Any) -> int:
    """Return the number of rows of an argument of any kind; ``ValueError`` if it has none."""
    shape = getattr(X, "shape", None)
    if shape is None and hasattr(X, "__len__"):
        return len(X)
    if not shape:
        raise ValueError(f"{name} must hold rows, (n_samples, n_features). Got {X!r} instead.")
    return int(shape[0])  # sparse matrices have no len


def same_length(*arrays: Any) -> list[Any]:
    """Return array-likes that can be indexed by row; raise ``ValueError`` if lengths differ.

    Sparse matrices become CSR.
    """
    return list(indexable(*arrays))


def take_rows(X: Any, rows: NDArray[np.intp]) -> Any:
    """Return rows of an array, list, data frame or CSR matrix, as the same kind of object."""
    return take(X, rows)


def draw_seed(random_state: Any) -> int:
    """Return a seed for a new generator.

    An int gives the same seed every time and a ``RandomState`` is advanced, as in scikit-learn.
    None takes fresh entropy from the operating system; NumPy's global generator, which scikit-learn
    would advance, is not used.
    """
    if isinstance(random_state, bool | np.bool_):
        raise ValueError(
            f"random_state must be an int, a RandomState or None. Got {random_state!r} instead."
        )
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0]) % (2**31)
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextmanager
def atomic(estimator: BaseEstimator) -> Iterator[None]:
    """Restore every attribute of the estimator when the block raises.

    ``fit`` runs inside it, so that bad input or an interruption leaves the previously fitted model
    unchanged: scikit-learn's helpers overwrite ``feature_names_in_`` before they check X.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        estimator.__dict__ = before  # in one step, which a second interruption cannot divide
        raise
