"""Formats of rows: how rows of X are stored for a model, and how its results become rows of X."""

import math
import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Self, final

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from skvim._float_errors import ignore_overflow
from skvim._layout import Layout, flatten
from skvim._modes import numpy_alone
from skvim._uninterrupted import import_whole
from skvim._validation import ROWS, check_names, check_rows
from skvim.engine import ModelSettings
from skvim.exceptions import ColumnScaleWarning, TooManyComponentsWarning
from skvim.objectives import (
    Categorical,
    Cells,
    Gaussian,
    Likelihood,
    Part,
    Value,
    make_likelihood,
)
from skvim.tables import Columns, Table

__all__ = [
    "ArrayRows",
    "RowFormat",
    "TableRows",
    "fitted_format",
    "restored_format",
    "takes_table",
]

# From stored rows to their codes.
Encode = Callable[[NDArray[Any]], NDArray[Any]]

# Rows of the training data whose patterns of missing cells are kept.
_N_PATTERNS = 1000
# Columns differ much in spread if one has this many times the median; rows to find out by, and
# names that the warning shows.
_WIDE, _N_ROWS, _N_NAMES = 100, 2000, 5


class RowFormat(ABC):
    """How rows of X are stored as numbers for a model, and its results turned into rows of X."""

    #: What ``code_density="auto"`` stands for.
    code_density: ClassVar[str | None]

    @final
    def law(self, given: Any) -> Any:
        """Return the density of codes to fit, or None, for the value of the parameter."""
        return self.code_density if isinstance(given, str) and given == "auto" else given

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """Shape of a stored row."""

    @property
    @abstractmethod
    def n_columns(self) -> int:
        """Number of columns of X."""

    @property
    @abstractmethod
    def image(self) -> tuple[int, int, int] | None:
        """(height, width, channels), if rows are images."""

    @property
    @abstractmethod
    def groups(self) -> list[int] | None:
        """Column of every number that the encoder sees; None if each is a column of its own."""

    @abstractmethod
    def likelihood(self, given: Any) -> Likelihood:
        """Return the likelihood for the value of the estimator's parameter, checked."""

    @abstractmethod
    def read(self, estimator: BaseEstimator, X: Any) -> NDArray[Any]:
        """Return X as stored rows (n_samples, n_stored), checked against those of ``fit``."""

    @abstractmethod
    def restore(self, means: NDArray[Any], likelihood: Likelihood, like: Any) -> Any:
        """Return what ``likelihood.mean`` gave, (n_samples, n_outputs), as rows of X.

        Frames of pandas' get the index of ``like``, if it is one.
        """

    @abstractmethod
    def restore_draws(self, rows: NDArray[Any]) -> Any:
        """Return drawn stored rows, (n_samples, n_stored), as rows of X."""

    @abstractmethod
    def keep_codes(self, encode: Encode, rows: NDArray[Any]) -> None:
        """Keep codes of training rows that samples need, once a model is trained."""

    @abstractmethod
    def fits(self, model: ModelSettings, n_features: int, names: Any) -> bool:
        """Tell whether a model, and number and names of features, agree with the format."""

    @abstractmethod
    def state(self) -> dict[str, Any]:
        """Return the format as values for a file, by the name under which it is kept."""


@final
class ArrayRows(RowFormat):
    """Rows of numbers or images, stored as they are.

    Parameters
    ----------
    layout : Layout
        Shape of the rows.
    """

    code_density = None

    def __init__(self, layout: Layout) -> None:
        self.layout = layout

    @classmethod
    def fit(cls, estimator: BaseEstimator, X: Any) -> tuple[Self, NDArray[Any]]:
        """Return the format of training rows, and the rows."""
        flat, axes = flatten(X)
        given = estimator.likelihood
        rows = check_rows(estimator, flat, reset=True, dtype=ROWS, ensure_min_samples=2)
        made = cls(Layout.of(rows.shape[1], axes, estimator.image_shape))
        if made.image is None and (isinstance(given, Gaussian) or given == "gaussian"):
            _warn_of_scales(rows, getattr(estimator, "feature_names_in_", range(rows.shape[1])))
        return made, rows

    @property
    def shape(self) -> tuple[int, ...]:
        """(height, width, channels) of an image, or (n_features,)."""
        return self.layout.shape

    @property
    def n_columns(self) -> int:
        """Number of features."""
        return math.prod(self.layout.shape)

    @property
    def image(self) -> tuple[int, int, int] | None:
        """(height, width, channels), if rows are images."""
        return self.layout.image

    @property
    def groups(self) -> list[int] | None:
        """None."""
        return None

    def likelihood(self, given: Any) -> Likelihood:
        """Return the likelihood that was given."""
        return make_likelihood(given)

    def read(self, estimator: BaseEstimator, X: Any) -> NDArray[Any]:
        """Return rows or images as flat rows."""
        flat, axes = flatten(X)
        rows = check_rows(estimator, flat, reset=False, dtype=ROWS)
        self.layout.check(axes)
        return rows

    def restore(self, means: NDArray[Any], likelihood: Likelihood, like: Any) -> NDArray[Any]:
        """Return rows in the layout of ``fit``."""
        return self.layout.restore(means)

    def restore_draws(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return rows in the layout of ``fit``."""
        return self.layout.restore(rows)

    def keep_codes(self, encode: Encode, rows: NDArray[Any]) -> None:
        """Do nothing."""

    def fits(self, model: ModelSettings, n_features: int, names: Any) -> bool:
        """Tell whether all numbers of features agree."""
        shapes = (model.shape, self.layout.axes, self.layout.shape)
        return {int(np.prod(part)) for part in shapes} == {n_features}

    def state(self) -> dict[str, Any]:
        """Return the shapes."""
        return {"_layout": {"axes": self.layout.axes, "image": self.layout.image}}


@final
class TableRows(RowFormat):
    """Rows of a table with mixed columns, stored as the parts of their cells.

    Parameters
    ----------
    table : Table
        The fitted description of the columns.
    patterns : ndarray of bool of shape (n_patterns, n_columns)
        Which cells are missing in some rows of the training data.
    pattern_codes : ndarray of shape (n_patterns, n_components), default=None
        Codes of these rows, once a model is trained.

    Attributes
    ----------
    cells : Cells
        The likelihood of its parts, before training.
    """

    code_density = "gaussian-mixture"

    def __init__(
        self,
        table: Table,
        patterns: NDArray[np.bool_],
        pattern_codes: NDArray[np.float64] | None = None,
    ) -> None:
        self.table = table
        self.patterns = patterns
        self.pattern_codes = pattern_codes
        self.cells = Cells(_parts(table))

    @classmethod
    def fit(cls, estimator: BaseEstimator, X: Any) -> tuple[Self, NDArray[Any]]:
        """Return the format of training rows, and the rows."""
        given = estimator.likelihood
        columns = Columns() if isinstance(given, str) else given
        columns.check()
        if estimator.image_shape is not None:
            raise ValueError(
                "image_shape must be None where likelihood is 'auto' or Columns: rows of a table "
                f"are no images. Got {estimator.image_shape!r}."
            )
        check_names(estimator, X, reset=True, least=2)
        table = Table.fit(X, columns)
        missing = table.missing(X)
        made = cls(table, missing[_kept(len(missing))])
        has_prior = hasattr(estimator, "score_samples")
        if has_prior and estimator.noise is None and not isinstance(estimator.n_components, str):
            _warn_of_components(estimator.n_components, table.n_columns)
        return made, made.stored(table.encode(X, values=True))

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_stored,)."""
        return (self.cells.layout.n_stored,)

    @property
    def n_columns(self) -> int:
        """Number of columns of the table."""
        return self.table.n_columns

    @property
    def image(self) -> None:
        """None."""
        return None

    @property
    def groups(self) -> list[int]:
        """Column of every number that the encoder sees."""
        return self.cells.layout.columns_of_inputs()

    def likelihood(self, given: Any) -> Likelihood:
        """Return the product over the parts of the columns."""
        return self.cells

    def read(self, estimator: BaseEstimator, X: Any) -> NDArray[np.float64]:
        """Return the stored numbers of rows."""
        check_names(estimator, X, reset=False)
        return self.stored(self.table.encode(X, values=True))

    def observed(self, rows: NDArray[Any]) -> NDArray[np.bool_]:
        """Return for stored rows which cells are seen, (n_samples, n_columns)."""
        seen = np.zeros((len(rows), self.table.n_columns), dtype=bool)
        for part, places in zip(self.cells.layout.parts, self.cells.layout.stored(), strict=True):
            seen[:, part.column] |= ~np.isnan(rows[:, places[0]])
        return seen

    def read_given(self, given: Mapping[Any, Any], n_rows: int) -> NDArray[np.float64]:
        """Return equal rows of which some columns are observed."""
        return self.stored(self.table.encode_given(given, n_rows, values=True))

    def stored(self, parts: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
        """Return the parts of rows as one array (n_samples, n_stored)."""
        rows = np.empty((len(parts[0]), self.cells.layout.n_stored))
        for places, part in zip(self.cells.layout.stored(), parts, strict=True):
            rows[:, places] = part
        return rows

    def expectations(
        self, means: NDArray[Any], likelihood: Likelihood
    ) -> list[NDArray[np.float64]]:
        """Return expectations by column: means, or probabilities of categories."""
        parameters = [means[:, place] for place in self.cells.layout.outputs()]
        return self.table.expectations(parameters, self.scales(likelihood))

    def scales(self, likelihood: Likelihood) -> NDArray[np.float64]:
        """Return σ of every part, NaN for categorical ones."""
        layout = self.cells.layout
        scales = np.full(len(layout.parts), np.nan)
        variance = likelihood.variance.cpu().numpy()  # type: ignore[attr-defined]  # of Cells
        scales[layout.order[: layout.n_normal]] = np.sqrt(variance)
        return scales

    def variances(self, likelihood: Likelihood) -> NDArray[np.float64]:
        """Return σ² by column, NaN for those of categories alone."""
        variances = np.full(self.table.n_columns, np.nan)
        parts = zip(self.cells.layout.parts, self.scales(likelihood), strict=True)
        for part, scale in parts:
            if not np.isnan(scale):
                variances[part.column] = scale**2
        return variances

    def restore(self, means: NDArray[Any], likelihood: Likelihood, like: Any) -> Any:
        """Return best guesses as a table: means, and the most probable categories."""
        return self.table.build(self.table.best(self.expectations(means, likelihood)), like)

    def values_of_draws(self, rows: NDArray[Any], seed: int | None = None) -> list[Any]:
        """Return values by column for drawn stored rows.

        ``seed`` is that of draws among labels that share a level; None takes the most frequent.
        """
        firsts = [rows[:, places[:1]] for places in self.cells.layout.stored()]
        generator = None if seed is None else np.random.default_rng(seed)
        return list(self.table.decode(firsts, generator))

    def with_given(self, values: list[Any], given: Mapping[Any, Any], n_rows: int) -> list[Any]:
        """Return values by column with those that are given in their places."""
        fixed = self.table.values_given(given, n_rows)
        return [fixed.get(j, column) for j, column in enumerate(values)]

    def keep_codes(self, encode: Encode, rows: NDArray[Any]) -> None:
        """Keep the codes of the rows whose patterns of missing cells are kept."""
        self.pattern_codes = encode(rows[_kept(len(rows))]).astype(np.float64)

    def missing_cells(
        self, codes: NDArray[Any], given: Mapping[Any, Any] | None
    ) -> NDArray[np.bool_]:
        """Return which cells are missing in the training rows of nearest codes, (n, n_columns)."""
        with numpy_alone():
            neighbors = import_whole("sklearn.neighbors")
            nearest = neighbors.NearestNeighbors(n_neighbors=1).fit(self.pattern_codes)
            mask: NDArray[np.bool_] = self.patterns[nearest.kneighbors(codes)[1][:, 0]]
        if given is not None:
            mask[:, self.observed(self.read_given(given, 1))[0]] = False
        return mask

    def log_patterns(self, rows: NDArray[Any]) -> NDArray[np.float64]:
        """Return the log-probability of which cells of stored rows are missing, (n_samples,).

        Each cell is missing by itself, as often as in the kept patterns, of which there are half a
        missing and half an observed cell more in every column.
        """
        share = (self.patterns.sum(0) + 0.5) / (len(self.patterns) + 1)
        each = np.where(self.observed(rows), np.log1p(-share), np.log(share))
        total: NDArray[np.float64] = each.sum(1)
        return total

    def restore_draws(self, rows: NDArray[Any]) -> Any:
        """Return drawn values as a table."""
        return self.table.build(self.values_of_draws(rows))

    def fits(self, model: ModelSettings, n_features: int, names: Any) -> bool:
        """Tell whether columns, their names, parts of rows and sizes of codes agree."""
        n_patterns, codes = len(self.patterns), self.pattern_codes
        own = self.table.feature_names
        return (
            n_patterns > 0
            and self.patterns.shape == (n_patterns, n_features)
            and codes is not None
            and codes.shape == (n_patterns, model.n_components)
            and bool(np.isfinite(codes).all())
            and self.table.n_columns == n_features
            and (None if own is None else list(own)) == (None if names is None else list(names))
            and model.shape == self.shape
            and isinstance(model.likelihood, Cells)
            and tuple(model.likelihood.parts) == self.cells.parts
        )

    def state(self) -> dict[str, Any]:
        """Return table and patterns."""
        kept = {"patterns": self.patterns, "pattern_codes": self.pattern_codes}
        return {"_table": {"table": self.table.state(), **kept}}


def _kept(n_rows: int) -> NDArray[np.intp]:
    """Return the positions of training rows whose patterns of missing cells are kept.

    They are drawn at random: those at equal distances would all be alike where missing cells recur
    with that period.
    """
    return np.sort(np.random.default_rng(0).permutation(n_rows)[:_N_PATTERNS])


def _parts(table: Table) -> tuple[Part, ...]:
    """Return the parts of a table, and values of the columns of numbers.

    The encoder sees numbers by their values: a small change of one that has a probability of its
    own, such as 0, would be a large one of what tells whether it is that number.
    """
    numbers = set(table.value_columns)
    mixed = {part.column for part in table.parts if not isinstance(part, Categorical)}
    parts = [
        Categorical(part.column, part.probabilities, seen=False)
        if isinstance(part, Categorical) and part.column in numbers & mixed
        else part
        for part in table.parts
    ]
    return (*parts, *(Value(i) for i in table.value_columns))


def fitted_format(estimator: BaseEstimator, X: Any) -> tuple[RowFormat, NDArray[Any]]:
    """Return the format of training rows that the estimator's likelihood asks for, and the rows."""
    return (TableRows if takes_table(estimator.likelihood) else ArrayRows).fit(estimator, X)


def takes_table(likelihood: Any) -> bool:
    """Tell whether a value of the parameter ``likelihood`` stands for that of a table."""
    return isinstance(likelihood, Columns) or (isinstance(likelihood, str) and likelihood == "auto")


def restored_format(state: dict[str, Any]) -> RowFormat:
    """Return the format of a state of a file; an error of any type if it is wrong."""
    if "_table" in state:
        kept = state["_table"]
        patterns = np.asarray(kept["patterns"], dtype=bool)
        codes = np.asarray(kept["pattern_codes"], dtype=np.float64)
        return TableRows(Table.from_state(kept["table"]), patterns, codes)
    return ArrayRows(Layout(**state["_layout"]))


def _warn_of_scales(rows: NDArray[Any], names: Sequence[Any]) -> None:
    """Warn where some columns vary so little beside others that they are hardly learned."""
    few = rows[:: -(-len(rows) // _N_ROWS)].astype(np.float64)
    with ignore_overflow():
        spreads = few.std(0)
        varied = spreads > 0
        if not varied.any() or spreads.max() <= _WIDE * np.median(spreads[varied]):
            return
        small = varied & (spreads * _WIDE < spreads.max())
    shown = [str(names[j]) for j in np.flatnonzero(small)[:_N_NAMES]]
    more = f" and {small.sum() - _N_NAMES} more" if small.sum() > _N_NAMES else ""
    warnings.warn(
        f"Columns differ in spread: {', '.join(shown)}{more} vary less than 1/{_WIDE} as much as "
        f"{names[int(spreads.argmax())]}, and one scale for all hardly learns them. Standardise X, "
        "for example with StandardScaler, or use likelihood='auto'.",
        ColumnScaleWarning,
        stacklevel=6,  # where the estimator's fit was called
    )


def _warn_of_components(n_components: int, n_columns: int) -> None:
    """Warn of as many latent dimensions as columns."""
    if n_components >= n_columns:
        warnings.warn(
            f"n_components={n_components} is not below the number of columns, {n_columns}: samples "
            "from the prior and log-likelihoods will be poor. Reduce it, or use 'auto'.",
            TooManyComponentsWarning,
            stacklevel=6,
        )
