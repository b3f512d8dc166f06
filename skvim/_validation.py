"""The only module that uses scikit-learn's validation helpers."""

import functools
import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from numbers import Integral, Real
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import _safe_indexing, check_random_state, indexable
from sklearn.utils._param_validation import (
    HasMethods,
    Interval,
    StrOptions,
    validate_parameter_constraints,
)
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

__all__ = [
    "ROWS",
    "HasMethods",
    "Interval",
    "StrOptions",
    "atomic",
    "check_arguments",
    "check_codes",
    "check_count",
    "check_is_fitted",
    "check_matrix",
    "check_parameters",
    "check_rows",
    "draw_seed",
    "integer",
    "real",
    "same_length",
    "take_rows",
    "validate_data",
]

FLOATS = [np.float64, np.float32]
# Bytes are pixels, and models keep them as bytes until they are used.
ROWS = [*FLOATS, np.uint8]

P = ParamSpec("P")
R = TypeVar("R")


def real(low: float | None, high: float | None = None, *, closed: str = "left") -> Interval:
    """Constrain a parameter to an interval of the reals."""
    return Interval(Real, low, high, closed=closed)


def integer(low: int | None, high: int | None = None, *, closed: str = "left") -> Interval:
    """Constrain a parameter to an interval of the integers."""
    return Interval(Integral, low, high, closed=closed)


def check_parameters(estimator: BaseEstimator) -> None:
    """Raise scikit-learn's error for the first parameter outside its declared range."""
    validate_parameter_constraints(
        estimator._parameter_constraints,
        estimator.get_params(deep=False),
        caller_name=type(estimator).__name__,
    )


def check_arguments(**constraints: list[Any]) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Make a function raise scikit-learn's error for the first argument outside its range."""

    def decorate(function: Callable[P, R]) -> Callable[P, R]:
        signature = inspect.signature(function)

        @functools.wraps(function)
        def checked(*args: P.args, **kwargs: P.kwargs) -> R:
            given = signature.bind(*args, **kwargs)
            given.apply_defaults()
            validate_parameter_constraints(constraints, given.arguments, function.__name__)
            return function(*args, **kwargs)

        return checked

    return decorate


def check_rows(
    estimator: BaseEstimator, X: Any, *, reset: bool, dtype: list[Any] = FLOATS, **options: Any
) -> NDArray[Any]:
    """Validate ``X`` as finite rows; the given dtypes stay, everything else becomes float64.

    Parameters
    ----------
    estimator : estimator
        Whose ``n_features_in_`` and ``feature_names_in_`` are set or compared.
    X : array-like of shape (n_samples, n_features)
        What the user gave.
    reset : bool
        True in ``fit``.
    dtype : list, default=[float64, float32]
        What is kept as it is.
    **options : object
        Passed on to scikit-learn's ``validate_data``.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        ``X`` itself where nothing had to change.
    """
    checked: NDArray[Any] = validate_data(estimator, X, reset=reset, dtype=dtype, **options)
    return checked


def check_codes(estimator: BaseEstimator, X: Any, n_components: int) -> NDArray[Any]:
    """Validate codes of shape (n_samples, n_components) given to an inverse transform."""
    name = type(estimator).__name__
    codes: NDArray[Any] = check_array(X, dtype=FLOATS, input_name="X", estimator=name)
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


def check_matrix(name: str, X: Any, *, least: int = 1) -> NDArray[np.float64]:
    """Return an argument as a finite matrix in float64 with at least ``least`` rows."""
    matrix: NDArray[np.float64] = check_array(
        X, dtype=np.float64, input_name=name, estimator=name, ensure_min_samples=least
    )
    return matrix


def same_length(*arrays: Any) -> list[Any]:
    """Return array-likes with rows that can be taken; raise ``ValueError`` if lengths differ.

    Sparse matrices become CSR.
    """
    return list(indexable(*arrays))


def take_rows(X: Any, rows: NDArray[np.intp]) -> Any:
    """Return rows of an array, list, data frame or CSR matrix, as the same kind of object."""
    return _safe_indexing(X, rows)


def draw_seed(random_state: Any) -> int:
    """Return a seed for an explicit generator.

    An int gives the same seed every time and a ``RandomState`` is advanced, as in scikit-learn.
    None takes fresh entropy from the operating system and so leaves NumPy's global generator,
    which scikit-learn would advance, as it was.
    """
    if random_state is None:
        return int(np.random.SeedSequence().generate_state(1)[0]) % (2**31)
    return int(check_random_state(random_state).randint(2**31 - 1))


@contextmanager
def atomic(estimator: BaseEstimator) -> Iterator[None]:
    """Restore every attribute of the estimator when the block raises.

    ``fit`` runs inside, so that bad input or an interruption leaves the previously fitted model
    as it was: scikit-learn's helpers already overwrite ``feature_names_in_`` before they check X.
    """
    before = dict(vars(estimator))
    try:
        yield
    except BaseException:
        vars(estimator).clear()
        vars(estimator).update(before)
        raise
