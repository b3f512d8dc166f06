"""Base class of all autoencoders: fit, transform and inverse_transform."""

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin

from skvim._code_density import density_of_codes
from skvim._corruption import made_corruption
from skvim._declare import estimator
from skvim._float_errors import ignore_overflow
from skvim._information import Information, finite_values, measure_information
from skvim._modes import own_modes
from skvim._n_components import number_of_components
from skvim._parameters import CommonParameters
from skvim._persistence import Savable
from skvim._row_format import RowFormat, fitted_format, restored_format, takes_table
from skvim._training import training_settings
from skvim._validation import (
    atomic,
    check_codes,
    check_count,
    check_is_fitted,
    check_parameters,
    check_results,
    draw_seed,
    with_plain_parameters,
)
from skvim._values import by_bytes, itself
from skvim.engine import (
    AutoencoderNet,
    FitRequest,
    ModelSettings,
    encode_moments,
    map_rows,
    net_state,
    restored_net,
    train,
    working_dtype,
)
from skvim.engine.batched import Plan
from skvim.networks import Architecture, Perceptrons, make_architecture, max_activation_size
from skvim.objectives import (
    Posterior,
    Prior,
    Term,
)

__all__ = ["BaseAutoencoder"]

# With fewer rows, information estimates and their standard errors mean nothing.
_MIN_INFORMATION_ROWS = 10
# Attributes that _set_fitted sets from a trained net.
_FROM_NET = {"net_", "device_", "history_", "loss_curve_", "n_iter_", "prior_"}
_FROM_NET |= {"n_components_", "_n_features_out", "_width", "_format"}


@estimator
class BaseAutoencoder(
    Savable,
    CommonParameters,
    ClassNamePrefixFeaturesOutMixin,
    TransformerMixin,
    BaseEstimator,
    ABC,
):
    """Base class of autoencoders; subclasses define prior, posterior and loss terms.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; ``net_.module_`` is the torch module.
    history_ : skorch.history.History
        ``net_.history``: for each epoch the mean loss and distortion (nats per row), the unweighted
        divergences (KL in nats per row, MMD without a unit) and the time in seconds.
    loss_curve_ : list of float
        Mean training loss of every epoch, in nats per row.
    n_components_ : int
        Number of latent dimensions.
    n_iter_ : int
        Epochs trained: ``max_epochs``, or what "auto" stands for, unless training stopped early.
    validation_loss_curve_ : list of float or None
        Validation loss of every epoch, in nats per row; None without ``early_stopping``.
    best_validation_loss_ : float or None
        The lowest of them, that of the weights that were kept.
    code_density_ : estimator or None
        The density fitted to the codes of training rows, if ``code_density`` asks for one.
    device_ : torch.device
        Device on which the model was trained.
    n_features_in_ : int
        Number of features seen by ``fit``; height · width · channels for images.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the features, if X had string column names.
    """

    #: Whether the encoder's means are standardised over rows (hook).
    _unit_codes: ClassVar[bool] = False

    @abstractmethod
    def _make_posterior(self) -> Posterior:
        """Return the family of q(z|x)."""

    @abstractmethod
    def _make_prior(self) -> Prior | None:
        """Return p(z), or None for a model without one."""

    @abstractmethod
    def _make_terms(self) -> list[tuple[float, Term]]:
        """Return weights and terms to add to −log p(x|z)."""

    def _pretraining_steps(self) -> int:
        """Return the greatest number of pretraining steps of the encoder (hook)."""
        return 0

    def _sampler(self) -> Callable[[NDArray[Any], NDArray[Any]], NDArray[Any]] | None:
        """Return a function from means and deviations to codes; None for the means (hook)."""
        return None

    @final
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train the encoder and the decoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            At least two finite rows, or images of any numeric dtype; a table where the likelihood
            is "auto". Values are not rescaled.
        y : None
            Ignored.

        Returns
        -------
        self : object
            Fitted estimator.

        Raises
        ------
        ValueError
            If X or a parameter is invalid. A model fitted before stays as it was.
        TrainingDivergedError
            If the loss or the model becomes infinite or NaN. A model fitted before stays as it was.
        """
        plan: Plan | None = self.__dict__.pop("_plan", None)
        with atomic(self), own_modes():
            request = self._make_request(X)
            net = None if plan is None else plan.take(request)
            self._finish_fit(request, train(request) if net is None else net)
        return self

    def _make_request(self, X: Any) -> FitRequest:
        """Validate parameters and rows, and return the request for the training."""
        check_parameters(self)
        self._format: RowFormat
        self._format, rows = fitted_format(self, X)
        settings = with_plain_parameters(self)
        seed = draw_seed(settings.random_state)
        settings.n_components = number_of_components(settings, self._format, rows, seed)
        model = settings._model_settings()
        training = training_settings(settings, model, len(rows), self._pretraining_steps(), seed)
        return FitRequest(model, training, rows, has_own_seed=self.random_state is None)

    def _finish_fit(self, request: FitRequest, net: AutoencoderNet) -> None:
        """Set all fitted attributes from a trained net."""
        self._dtype = working_dtype(request.rows)
        self._set_fitted(net, request.model, request.training.device)
        curve = [epoch["valid_loss"] for epoch in net.history if "valid_loss" in epoch]
        self.validation_loss_curve_ = curve if self.early_stopping else None
        self.best_validation_loss_ = min(curve, default=None) if self.early_stopping else None
        law = self._format.law(self.code_density)
        self.code_density_ = density_of_codes(law, net, request.rows, self._width)
        self._format.keep_codes(self._encoded, request.rows)

    def _set_fitted(self, net: AutoencoderNet, model: ModelSettings, device: torch.device) -> None:
        """Set a trained net and the attributes of ``_FROM_NET``."""
        self.net_ = net
        self.device_ = device
        self.history_ = net.history
        self.loss_curve_ = [epoch["train_loss"] for epoch in net.history]
        self.n_iter_ = len(self.loss_curve_)
        self.n_components_ = self._n_features_out = model.n_components
        # Size of the largest activation of one row, from which inference derives its chunks.
        encoder, decoder = net.autoencoder.encoder, net.autoencoder.decoder
        self._width = max(
            max_activation_size(encoder, math.prod(model.input_shape)),
            max_activation_size(decoder, model.n_components),
        )
        if model.prior is not None:
            self.prior_ = model.prior

    @final
    def _saved_state(self) -> dict[str, Any]:
        state = super()._saved_state()
        if "net_" not in state:
            return state
        kept = {key: value for key, value in state.items() if key not in _FROM_NET}
        shapes = self._format.state()
        return {**kept, **shapes, "_dtype": self._dtype.name, "net_": net_state(self.net_)}

    @final
    def _restore_state(self, state: dict[str, Any], device: torch.device) -> None:
        super()._restore_state(state, device)
        if "net_" not in state:
            return
        self._format = restored_format(state)
        for name in self._format.state():
            del self.__dict__[name]
        self._dtype = np.dtype({"float32": np.float32, "float64": np.float64}[state["_dtype"]])
        net, model = restored_net(state["net_"], device)
        names = state.get("feature_names_in_")
        if not self._format.fits(model, self.n_features_in_, names):
            raise ValueError(
                f"the networks, for rows of shape {model.shape}, and what is kept of X disagree"
            )
        self._set_fitted(net, model, device)

    def _model_settings(self) -> ModelSettings:
        """Return the settings of the model, checked."""
        shape = self._format.shape
        posterior, prior = self._make_posterior(), self._make_prior()
        terms = self._make_terms()
        for _, term in terms:
            term.check(posterior, prior)
        return ModelSettings(
            shape=shape,
            n_components=int(self.n_components),
            architecture=self._architecture(shape),
            posterior=posterior,
            likelihood=self._format.likelihood(self.likelihood),
            prior=prior,
            terms=terms,
            corruption=made_corruption(self.noise, self._format),
            unit_codes=self._unit_codes,
            precision=self.precision,
        )

    def _architecture(self, shape: tuple[int, ...]) -> Architecture:
        """Return the architecture of encoder and decoder, checked."""
        perceptrons = Perceptrons(
            self.hidden_layer_sizes, self.activation, self.normalization, self.dropout
        )
        return make_architecture(self.network, perceptrons, shape)

    @final
    @own_modes()
    def transform(self, X: Any) -> NDArray[Any]:
        """Encode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Finite values, also outside the support of the likelihood. Flat rows, images or a
            table, whichever ``fit`` got; cells of a table may be missing.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Posterior means, or draws where the model has ``output="sample"``; computed and
            returned in float32 for float32 input, else in float64.

        Raises
        ------
        ValueError
            If X is invalid, or codes are beyond the range of that dtype.
        """
        check_is_fitted(self)
        sampler = self._sampler()
        if sampler is not None:
            mean, std = self.posterior_moments(X)
            return self._checked("transform", sampler(mean, std), mean, of="the posterior mean")
        rows = self._rows(X)
        return self._checked("transform", self._encoded(rows), rows)

    def _encoded(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the posterior means of stored rows."""
        encode = lambda model, x: [model.encode(x).loc]
        (mean,) = map_rows(self.net_, encode, rows, values_per_row=self._width)
        return mean

    @final
    @own_modes()
    def posterior_moments(self, X: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return mean and standard deviation of q(z|x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Rows or images.

        Returns
        -------
        mean, std : ndarray of shape (n_samples, n_components)
            The standard deviation is zero for a deterministic encoder. Dtypes as in ``transform``.

        Raises
        ------
        ValueError
            If X is invalid, or a moment is beyond the range of that dtype.
        """
        check_is_fitted(self)
        rows = self._rows(X)
        mean, std = map_rows(self.net_, encode_moments, rows, values_per_row=self._width)
        self._checked("posterior_moments", mean, rows)
        return mean, self._checked("posterior_moments", std, rows)

    @final
    @own_modes()
    def inverse_transform(self, X: Any) -> NDArray[Any]:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes, as ``transform`` returns them.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            E[x|z], in units and layout of the training data. For tables (``likelihood="auto"``) a
            table of the kind of the training data: means of numbers, the most probable categories;
            a frame of pandas has the index of X, if this is one too.

        Raises
        ------
        ValueError
            If X is invalid, or E[x|z] is beyond the range of its dtype.
        """
        check_is_fitted(self)
        codes = check_codes(self, X, self._n_features_out)
        return self._restored(codes, like=X)

    def _restored(self, codes: NDArray[Any], like: Any) -> NDArray[Any]:
        """Return E[x|z] in the form of the training data, with the index of ``like``."""
        likelihood = self.net_.autoencoder.likelihood.bound()
        decoded: NDArray[Any] = self._format.restore(self._decoded(codes), likelihood, like)
        return decoded

    def _decoded(self, codes: NDArray[Any]) -> NDArray[Any]:
        """Return what the likelihood's ``mean`` is at codes, (n_samples, n_outputs)."""
        decode = lambda model, z: [model.likelihood.mean(model.decode(z))]
        (means,) = map_rows(self.net_, decode, codes, values_per_row=self._width)
        checked: NDArray[Any] = self._checked("inverse_transform", means, codes)
        return checked

    @final
    @own_modes()
    def reconstruct(self, X: Any) -> NDArray[Any]:
        """Encode rows and decode their posterior means.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            Rows or images.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            E[x|z = E[z|x]], in units and layout of the training data; for tables as
            :meth:`inverse_transform` gives it.

        Raises
        ------
        ValueError
            If X is invalid, or a code or its E[x|z] is beyond the range of the dtype.
        """
        return self._restored(self.posterior_moments(X)[0], like=X)

    @final
    def _checked(
        self, method: str, results: NDArray[Any], X: Any, *, of: str = "X"
    ) -> NDArray[Any]:
        """Return results of a method, or raise ``ValueError`` where they overflowed."""
        return check_results(f"{type(self).__name__}.{method}", results, X, of=of)

    @final
    def _mean_score(self, values: NDArray[Any], X: Any) -> float:
        """Return the mean of rows' scores, or raise ``ValueError`` where it overflowed."""
        with ignore_overflow():
            mean = np.asarray(values.mean())
        return float(self._checked("score", mean, X))

    def _rows(self, X: Any) -> NDArray[Any]:
        """Return X as stored rows, checked against those of ``fit``."""
        return self._format.read(self, X)

    @final
    @own_modes()
    def information(self, X: Any, *, max_samples: int = 5000) -> Information:
        """Estimate rate, distortion and mutual information of the codes of given rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features) or (n_samples, height, width[, channels])
            At least 10 rows or images.
        max_samples : int in [10, inf), default=5000
            Greatest number of rows to use, since all pairs are compared. If X has more, a random
            subset, seeded by ``random_state``, is used.

        Returns
        -------
        Information
            Distortion, rate, mutual information and more in nats per row, as defined in
            :class:`skvim.metrics.Information`; the same at every call.

        Raises
        ------
        ValueError
            If X is invalid or has fewer than 10 rows, max_samples is below 10, values of X lie
            outside the support of the likelihood, or a measure is beyond the range of float64.
        """
        check_is_fitted(self)
        n_rows = check_count("max_samples", max_samples, least=_MIN_INFORMATION_ROWS)
        rows, width = self._rows_to_score(X), self._width
        if len(rows) < _MIN_INFORMATION_ROWS:
            raise ValueError(
                f"information compares rows with each other and needs at least "
                f"{_MIN_INFORMATION_ROWS}. Got {len(rows)}."
            )
        measured = measure_information(self.net_, rows, max_samples=n_rows, values_per_row=width)
        self._checked("information", finite_values(measured, self.net_.objective.prior), rows)
        return measured

    def _rows_to_score(self, X: Any) -> NDArray[np.float64]:
        """Return rows in float64, checked against the support of the likelihood."""
        rows: NDArray[np.float64] = self._rows(X).astype(np.float64, copy=False)
        self.net_.autoencoder.likelihood.check_support(rows.min(), rows.max())
        return rows

    def __sklearn_clone__(self) -> Self:
        """Clone, keeping the plan of a search under way (scikit-learn's hook)."""
        with own_modes():
            cloned: Self = super().__sklearn_clone__()
        plan: Plan | None = vars(self).get("_plan")
        if plan is not None and plan.is_active:
            cloned._set_plan(plan)
        return cloned

    def _set_plan(self, plan: Plan) -> None:
        """Make the next fit of this estimator, or of a clone, take its result from a plan."""
        self.__dict__["_plan"] = plan

    def __getstate__(self) -> dict[str, Any]:
        """Pickle torch objects among parameters by value, so that equal estimators hash alike."""
        state: dict[str, Any] = super().__getstate__()  # may be the attributes themselves
        names = self._parameter_constraints
        return {
            name: by_bytes(value) if name in names else value
            for name, value in state.items()
            if name != "_plan"
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({name: itself(value) for name, value in state.items()})

    def __sklearn_tags__(self) -> Any:
        """Declare dtypes that are kept, images, and tables (scikit-learn's hook)."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = takes_table(self.likelihood)
        tags.input_tags.string = takes_table(self.likelihood)
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        tags.input_tags.three_d_array = True
        return tags
