"""Samples of fitted autoencoders: codes by one of several laws, decoded to means or to draws."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skvim._base import BaseAutoencoder
from skvim._code_density import draw_codes
from skvim._declare import estimator
from skvim._float_errors import ignore_overflow
from skvim._row_format import TableRows, takes_table
from skvim._validation import check_count, check_flag, check_is_fitted
from skvim.engine import child_seed, map_rows
from skvim.objectives import Autoencoder, Gaussian
from skvim.tables import Table

__all__ = ["SamplingAutoencoder", "table_rows"]

# Codes for a row of which some columns are given, from which its samples are chosen.
_N_CANDIDATES = 4000


def table_rows(model: Any, method: str) -> TableRows:
    """Return the table format of a fitted model; ``ValueError`` if it has none."""
    if isinstance(model._format, TableRows):
        return model._format
    raise ValueError(
        f"{method} needs a model of mixed columns: fit {type(model).__name__} with "
        f"likelihood='auto' or skvim.tables.Columns. Got likelihood={model.likelihood!r}."
    )


@estimator
class SamplingAutoencoder(BaseAutoencoder, ABC):
    """Base class of autoencoders that turn codes into samples.

    Attributes
    ----------
    table_ : Table
        For tables (``likelihood="auto"``), the description of the columns that ``fit`` found, such
        as their ``kinds``.
    noise_variance_ : ndarray of shape () or (n_features,)
        σ² of p(x|z) for likelihoods that have one.
    """

    @property
    def table_(self) -> Table:
        """Description of the columns that ``fit`` found, for a model of a table."""
        if "_format" not in vars(self) or not isinstance(self._format, TableRows):
            raise AttributeError("only models that were fitted to a table have table_.")
        return self._format.table

    @property
    def noise_variance_(self) -> NDArray[np.float64]:
        """σ² of p(x|z), of shape () or (n_features,), for likelihoods that have one.

        For a table of shape (n_features,), of the values on the scale of ``table_`` where a column
        is about normal; NaN for columns of categories.
        """
        if "net_" not in vars(self):
            raise AttributeError("noise_variance_ is there after fit.")
        likelihood = self.net_.autoencoder.likelihood.bound()
        if isinstance(self._format, TableRows):
            return self._format.variances(likelihood)
        if not isinstance(likelihood, Gaussian):
            raise AttributeError(f"the likelihood {type(likelihood).__name__} has no variance.")
        variance: NDArray[np.float64] = likelihood.value.cpu().numpy().astype(np.float64)
        return variance

    @abstractmethod
    def _posterior_codes(
        self, rows: NDArray[Any], n_draws: int, seed: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return codes given rows, (n, n_draws, k), and their weights, which sum to 1 in a row."""

    @final
    def _sample(
        self,
        n_samples: Any,
        law: str,
        codes: NDArray[np.float64] | None,
        mean: bool | None,
        given: Mapping[Any, Any] | None,
        missing: bool,
        seed: int,
    ) -> Any:
        """Return decoded codes: those given, or of a law where ``codes`` is None."""
        n_samples = check_count("n_samples", n_samples)
        takes_mean = None if mean is None else check_flag("mean", mean)
        if check_flag("missing", missing):
            table_rows(self, "sample with missing=True")
        if given is not None:
            codes = self._codes_given(given, n_samples, seed, law)
        elif codes is None:
            codes = draw_codes(self.code_density_, n_samples, child_seed(seed, "codes"))
        with ignore_overflow():
            converted = codes.astype(self._dtype)
        converted = self._checked("sample", converted, codes, of="the codes' law")
        is_table = isinstance(self._format, TableRows)
        if takes_mean is None:
            takes_mean = not is_table
        if not is_table:
            return self.inverse_transform(converted) if takes_mean else self._draws(converted, seed)
        return self._sample_table(converted, takes_mean, given, missing, seed)

    def _draws(self, codes: NDArray[Any], seed: int) -> Any:
        """Return one draw x ~ p(x|z) for each code, as rows of X."""
        return self._format.restore_draws(self._draw_rows(codes, seed))

    def _sample_table(
        self, codes: NDArray[Any], takes_mean: bool, given: Any, missing: bool, seed: int
    ) -> Any:
        """Return a table for codes, with given values, and missing cells if asked for."""
        form = table_rows(self, "sample")
        if takes_mean:
            likelihood = self.net_.autoencoder.likelihood.bound()
            means = self._decoded(codes)
            values = form.table.best(form.expectations(means, likelihood))
        else:
            rows = self._draw_rows(codes, seed)
            values = form.values_of_draws(rows, child_seed(seed, "labels"))
        if given is not None:
            values = form.with_given(values, given, len(codes))
        if missing:
            values = form.table.with_missing(values, form.missing_cells(codes, given))
        return form.table.build(values)

    def _draw_rows(self, codes: NDArray[Any], seed: int) -> NDArray[Any]:
        """Return one draw x ~ p(x|z) for each code, in stored form."""
        device = self.net_.autoencoder.mean.device
        generator = torch.Generator(device).manual_seed(child_seed(seed, "rows"))

        def draw(model: Autoencoder, z: Tensor) -> list[Tensor]:
            return [model.likelihood.draw(model.decode(z), generator)]

        (rows,) = map_rows(self.net_, draw, codes, values_per_row=self._width)
        return rows

    def _codes_given(
        self, given: Mapping[Any, Any], n_samples: int, seed: int, law: str
    ) -> NDArray[np.float64]:
        """Return codes drawn given the values of some columns."""
        row = table_rows(self, "sample with given").read_given(given, 1)
        n_draws = max(_N_CANDIDATES, n_samples)
        if law == "fitted":
            codes = draw_codes(self.code_density_, n_draws, child_seed(seed, "given"))
            weights = self._weights_of(codes, row)
        else:
            drawn = self._posterior_codes(row, n_draws, child_seed(seed, "given"))
            codes, weights = drawn[0][0], drawn[1][0]
        generator = np.random.default_rng(child_seed(seed, "choice"))
        return codes[generator.choice(len(codes), size=n_samples, p=weights)]

    def _weights_of(
        self, codes: NDArray[np.float64], row: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return weights of codes (n, k) by the likelihood of one row, which sum to 1."""

        def score(model: Autoencoder, z: Tensor) -> list[Tensor]:
            x = torch.as_tensor(row, dtype=z.dtype, device=z.device)
            return [model.likelihood(x, model.decode(z))]

        (scores,) = map_rows(self.net_, score, codes, values_per_row=self._width)
        weights = np.exp(scores - scores.max())
        normalised: NDArray[np.float64] = weights / weights.sum()
        return normalised

    def _asks_for_density(self) -> bool:
        """Tell whether parameters ask for a density of the codes."""
        if isinstance(self.code_density, str) and self.code_density == "auto":
            return takes_table(self.likelihood)
        return self.code_density is not None

    @final
    def _law(self, codes: str, own: str | None) -> str:
        """Return the law that ``codes`` names: "fitted", or ``own``, that of the model itself."""
        laws = [law for law in (own, "fitted") if law is not None]
        if codes not in ("auto", *laws):
            raise ValueError(f"codes must be one of {['auto', *laws]}. Got {codes!r} instead.")
        check_is_fitted(self)
        has_density = getattr(self, "code_density_", None) is not None
        if codes == "auto":
            codes = "fitted" if has_density or own is None else own
        if codes == "fitted" and not has_density:
            raise ValueError(
                "codes='fitted' needs a density of the codes: fit with "
                f"code_density='gaussian-mixture'. Got code_density={self.code_density!r}."
            )
        return codes
