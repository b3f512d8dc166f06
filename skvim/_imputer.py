"""Autoencoders as imputers: the step of a pipeline that fills missing cells."""

from typing import Any, Self, final

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, clone
from sklearn.utils import Tags

from skvim._autoencoders import DenoisingAETransformer
from skvim._declare import estimator, parameter
from skvim._persistence import Savable
from skvim._row_format import TableRows, takes_table
from skvim._tabular import TabularAutoencoder
from skvim._validation import (
    HasMethods,
    atomic,
    check_is_fitted,
    check_names,
    check_parameters,
)
from skvim.noise import MaskingNoise

__all__ = ["AutoencoderImputer"]


def _default_estimator() -> TabularAutoencoder:
    """Return the model for which ``estimator=None`` stands."""
    return DenoisingAETransformer(
        64,
        likelihood="auto",
        hidden_layer_sizes=(512,),
        noise=MaskingNoise(0.3),
        max_epochs=100,
        lr=2e-3,
        lr_schedule="cosine",
        code_density=None,  # impute does not use it
    )


@final
@estimator
class AutoencoderImputer(Savable, OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Fill the missing cells of a table by the best guesses of an autoencoder.

    It stands where scikit-learn's ``KNNImputer`` does, and takes data frames with numbers, text,
    booleans, categories and dates too. ``transform`` returns the kind of table that it gets, in
    which all observed cells are as they were: missing numbers become their conditional means in
    their own unit, missing categories the most probable ones.

    Attributes
    ----------
    estimator_ : autoencoder
        The model that was fitted to the training rows.
    n_features_in_ : int
        Number of features seen in ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features; defined only if ``X`` has string column names.

    See Also
    --------
    sklearn.impute.KNNImputer : Fills by means of the nearest rows.
    DenoisingAETransformer : The default model; its ``impute`` also draws missing cells at random.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> from skvim import AutoencoderImputer
    >>> rng = np.random.default_rng(0)
    >>> kind = rng.choice(["cat", "dog"], 300)
    >>> weight = np.where(kind == "cat", 4.0, 30.0) + rng.normal(size=300)
    >>> frame = pd.DataFrame({"kind": kind, "weight": weight})
    >>> imputer = AutoencoderImputer(random_state=0).fit(frame)
    >>> holes = pd.DataFrame({"kind": ["cat", "dog", None], "weight": [np.nan, np.nan, 31.0]})
    >>> imputer.transform(holes).round()
      kind  weight
    0  cat     4.0
    1  dog    30.0
    2  dog    31.0
    """

    estimator: Any = parameter(
        default=None,
        kind="autoencoder or None",
        allowed=[HasMethods(["fit", "impute"]), None],
        doc="""
        The model to fit, one with ``likelihood="auto"`` or :class:`~skvim.tables.Columns`; it is
        cloned. None is ``DenoisingAETransformer(64, likelihood="auto", hidden_layer_sizes=(512,),
        noise=MaskingNoise(0.3), max_epochs=100, lr=2e-3, lr_schedule="cosine",
        code_density=None)``.
        """,
        kw_only=False,
    )
    random_state: int | np.random.RandomState | None = parameter(
        default=None,
        kind="int, RandomState or None",
        allowed=["random_state"],
        doc="Seed of the training, which replaces that of ``estimator``; None leaves it as it is.",
    )

    def fit(self, X: Any, y: Any = None) -> Self:
        """Fit the model to a table.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            At least two rows. Cells may be missing, but neither all of a row nor all of a column.
        y : None
            Ignored.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is invalid, or ``estimator`` is not of mixed columns. An imputer
            fitted before stays as it was.
        TypeError
            If X is sparse, or holds values of types that are not supported.
        TrainingDivergedError
            If the loss or the model becomes infinite or NaN. An imputer fitted before stays as it
            was.
        """
        with atomic(self):
            check_parameters(self)
            model = _default_estimator() if self.estimator is None else clone(self.estimator)
            if not takes_table(model.likelihood):
                raise ValueError(
                    "AutoencoderImputer needs an estimator of mixed columns, with "
                    "likelihood='auto' or skvim.tables.Columns. Got "
                    f"likelihood={model.likelihood!r}."
                )
            if self.random_state is not None:
                model.set_params(random_state=self.random_state)
            check_names(self, X, reset=True, least=2)
            self.estimator_ = model.fit(X)
        return self

    def transform(self, X: Any) -> Any:
        """Fill missing cells.

        Parameters
        ----------
        X : array-like or data frame of shape (n_samples, n_features)
            Rows with the columns of ``fit``, in each of which a cell is observed; not modified.

        Returns
        -------
        X : ndarray or data frame of shape (n_samples, n_features)
            A copy in which missing cells have values, of the kind, dtypes and index of the table
            that was passed.

        Raises
        ------
        ValueError
            If X has other columns than in ``fit``, infinite values, or a row without an observed
            cell.
        TypeError
            If a column holds another kind of values than in ``fit``.
        """
        check_is_fitted(self)
        check_names(self, X, reset=False)
        return self.estimator_.impute(X)

    def _restore_state(self, state: dict[str, Any], device: Any) -> None:
        super()._restore_state(state, device)
        if "estimator_" not in state:
            return
        model = self.estimator_
        if not isinstance(model, TabularAutoencoder) or not isinstance(model._format, TableRows):
            raise TypeError("an imputer holds a model of mixed columns")
        if model.n_features_in_ != self.n_features_in_:
            raise ValueError("an imputer and its model have the same number of features")

    def __sklearn_tags__(self) -> Tags:
        """Declare that cells may be missing, text or categories (scikit-learn's hook)."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.string = True
        tags.input_tags.categorical = True
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags
