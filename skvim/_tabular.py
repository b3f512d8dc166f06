"""Autoencoders of tables: missing cells filled, and log-densities of single cells."""

from abc import ABC
from collections.abc import Iterator
from typing import Any, NamedTuple, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim._declare import estimator
from skvim._modes import own_modes
from skvim._row_format import TableRows
from skvim._sampling import SamplingAutoencoder, table_rows
from skvim._validation import check_count, check_is_fitted, draw_seed
from skvim.engine import child_seed, map_rows
from skvim.objectives import Autoencoder, Cells

__all__ = ["TabularAutoencoder"]

# Codes of a row by which its missing cells are filled, and numbers of a chunk of rows.
_N_CODES, _CHUNK_VALUES = 64, 2**22


class _Posteriors(NamedTuple):
    """Codes of some rows and what the decoder makes of them."""

    rows: slice
    weights: NDArray[np.float64]  # (n, n_codes), which sum to 1 in a row
    codes: NDArray[np.float64]  # (n, n_codes, k)


@estimator
class TabularAutoencoder(SamplingAutoencoder, ABC):
    """Base class of autoencoders that fill missing cells of tables."""

    @final
    @own_modes()
    def impute(
        self,
        X: Any,
        *,
        n_draws: int | None = None,
        random_state: int | np.random.RandomState | None = None,
    ) -> Any:
        """Fill the missing cells of a table; all others stay as they are.

        Needs ``likelihood="auto"`` or :class:`~skvim.tables.Columns`.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows with missing cells, at least one cell of each observed.
        n_draws : int in [1, inf) or None, default=None
            None fills in best guesses: conditional means of numbers in their own unit, the most
            probable category otherwise. An int asks for so many tables with random draws.
        random_state : int, RandomState or None, default=None
            Seed of draws; best guesses do not depend on it.

        Returns
        -------
        X : data frame or ndarray of shape (n_samples, n_features), or list of n_draws of these
            The kind of table that was passed, with its dtypes.

        Raises
        ------
        ValueError
            If X is invalid, a row has no observed cell, or the model is not of mixed columns.
        TypeError
            If a column holds another kind of values than in ``fit``.

        Notes
        -----
        The guess is E[x_missing|x_observed] under the model: codes are drawn from the Laplace
        approximation of p(z|x_observed), and weighted by importance. Models without a prior use
        their encoder's posterior.
        """
        check_is_fitted(self)
        form = table_rows(self, "impute")
        rows = self._rows(X)
        has_holes = form.table.missing(X).any(axis=1)
        rows, position = rows[has_holes], np.maximum(has_holes.cumsum() - 1, 0)

        def filled(values: list[Any]) -> Any:
            return form.table.fill(X, [column[position] for column in values])

        if n_draws is None:
            return filled(self._guesses(form, rows))
        seeds = [f"table {i}" for i in range(check_count("n_draws", n_draws))]
        seed = draw_seed(random_state)
        return [filled(self._drawn(form, rows, child_seed(seed, name))) for name in seeds]

    def _posteriors(self, rows: NDArray[Any], seed: int) -> Iterator[_Posteriors]:
        """Yield codes and weights of chunks of rows."""
        n_outputs = self.net_.autoencoder.output_offset.numel()
        step = max(1, _CHUNK_VALUES // (_N_CODES * n_outputs))
        for start in range(0, len(rows), step):
            chunk = slice(start, min(start + step, len(rows)))
            codes, weights = self._posterior_codes(rows[chunk], _N_CODES, seed)
            yield _Posteriors(chunk, weights, codes)

    def _guesses(self, form: TableRows, rows: NDArray[Any]) -> list[Any]:
        """Return the best guess for every cell, column by column; none without rows."""
        if not len(rows):
            return []
        likelihood = self.net_.autoencoder.likelihood.bound()
        seed = child_seed(self.net_.seed, "impute")
        parts: list[list[NDArray[np.float64]]] = []
        for of_chunk in self._posteriors(rows, seed):
            n, n_codes, k = of_chunk.codes.shape
            means = self._decoded(of_chunk.codes.reshape(n * n_codes, k))
            expected = form.expectations(means, likelihood)
            weights = of_chunk.weights[:, :, None]
            parts.append([(weights * e.reshape(n, n_codes, -1)).sum(1) for e in expected])
        return list(form.table.best([np.concatenate(of) for of in zip(*parts, strict=True)]))

    def _drawn(self, form: TableRows, rows: NDArray[Any], seed: int) -> list[Any]:
        """Return a draw for every cell given the observed ones; none without rows."""
        if not len(rows):
            return []
        generator = np.random.default_rng(seed)
        chosen = []
        for of_chunk in self._posteriors(rows, seed):
            below = generator.random((len(of_chunk.weights), 1)) > of_chunk.weights.cumsum(1)
            index = np.minimum(below.sum(1), of_chunk.codes.shape[1] - 1)
            chosen.append(of_chunk.codes[np.arange(len(index)), index])
        drawn = self._draw_rows(np.concatenate(chosen), seed)
        return form.values_of_draws(drawn, child_seed(seed, "labels"))

    @final
    @own_modes()
    def column_scores(self, X: Any) -> NDArray[np.float64]:
        """Return the expected log-density of every cell, to tell which cells of a row are odd.

        Needs ``likelihood="auto"`` or :class:`~skvim.tables.Columns`.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows, in which cells may be missing.

        Returns
        -------
        scores : ndarray of shape (n_samples, n_features)
            E[log p(x_j|z)] over p(z|x_observed) in nats: log-densities per unit of the column for
            continuous columns, log-probabilities for others; NaN for missing cells and for
            categories that ``fit`` has not seen.

        Raises
        ------
        ValueError
            If X is invalid, a row has no observed cell, or the model is not of mixed columns.
        TypeError
            If a column holds another kind of values than in ``fit``.
        """
        check_is_fitted(self)
        form = table_rows(self, "column_scores")
        rows = self._rows(X)
        layout = form.cells.layout
        scores = np.zeros((len(rows), form.table.n_columns))
        columns = [layout.parts[i].column for i in layout.order]
        for of_chunk in self._posteriors(rows, child_seed(self.net_.seed, "column scores")):
            values = self._part_scores(rows[of_chunk.rows], of_chunk)
            for j, column in enumerate(columns):
                scores[of_chunk.rows, column] += values[:, j]
        scores[~form.observed(rows)] = np.nan
        return scores

    def _part_scores(self, rows: NDArray[Any], posterior: _Posteriors) -> NDArray[np.float64]:
        """Return the expected log-density of every part of some rows."""
        n, n_codes, k = posterior.codes.shape
        n_stored = rows.shape[1]
        flat = posterior.codes.reshape(n, n_codes * k)

        def score(model: Autoencoder, both: Tensor) -> list[Tensor]:
            x, weights = both[:, :n_stored].unsqueeze(1), both[:, n_stored : n_stored + n_codes]
            codes = both[:, n_stored + n_codes :].reshape(-1, n_codes, k)
            cells = cast("Cells", model.likelihood.bound())
            values = cells.part_log_density(cells.error(x, model.decode(codes)))
            return [torch.einsum("ns,nsp->np", weights, values)]

        both = np.hstack([rows, posterior.weights, flat])
        width = max(self._width * n_codes, both.shape[1])
        (values,) = map_rows(self.net_, score, both, values_per_row=width)
        return values
