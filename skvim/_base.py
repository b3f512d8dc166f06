"""What every autoencoder does, written once: fit, encode and decode."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, Self, final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from torch import Tensor, optim

from skvim._declare import estimator, parameter
from skvim._validation import (
    StrOptions,
    atomic,
    check_codes,
    check_is_fitted,
    check_parameters,
    check_rows,
    draw_seed,
    integer,
    real,
)
from skvim.engine import (
    OPTIMIZERS,
    ModelSettings,
    TrainingSettings,
    build_net,
    data_statistics,
    map_rows,
    resolve_device,
    to_tensor,
)
from skvim.networks import ACTIVATIONS
from skvim.objectives import (
    Autoencoder,
    Divergence,
    Likelihood,
    Posterior,
    Prior,
    make_likelihood,
)

__all__ = ["BaseAutoencoder"]


@estimator
class BaseAutoencoder(ClassNamePrefixFeaturesOutMixin, TransformerMixin, BaseEstimator, ABC):
    """An encoder and a decoder trained together; subclasses say by which objective.

    Attributes
    ----------
    net_ : skorch.NeuralNet
        The trained net; its module is the model, its history the record of training.
    history_ : skorch.history.History
        ``net_.history``: per epoch the mean loss and its distortion (nats per row), each divergence
        as it is (the KL in nats per row, the MMD without a unit), and the time in seconds.
    loss_curve_ : list of float
        Mean training loss of every epoch, in nats per row.
    n_iter_ : int
        Epochs trained.
    device_ : torch.device
        Where the model was trained.
    n_features_in_ : int
        Features seen by ``fit``.
    feature_names_in_ : ndarray of shape (n_features,)
        Their names, when X had string column names.
    """

    n_components: int = parameter(
        default=16,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="Latent dimensions: columns that ``transform`` returns.",
        kw_only=False,
    )
    likelihood: str | Likelihood = parameter(
        default="gaussian",
        kind='{"gaussian", "bernoulli"} or Likelihood',
        allowed=[StrOptions({"gaussian", "bernoulli"}), Likelihood],
        doc="""
        p(x|z). "gaussian" has one variance for all features, kept at its maximum-likelihood value;
        :class:`~skvim.objectives.Gaussian` fixes it. "bernoulli" wants every value of X in [0, 1].
        """,
    )
    hidden_layer_sizes: Sequence[int] = parameter(
        default=(256, 256),
        kind="sequence of int",
        allowed=[tuple, list],
        doc="Widths of the encoder's hidden layers, mirrored in the decoder; () makes both affine.",
    )
    activation: str = parameter(
        default="relu",
        kind='{"elu", "gelu", "relu", "silu", "softplus", "tanh"}',
        allowed=[StrOptions(set(ACTIVATIONS))],
        doc="Activation after each hidden layer.",
    )
    max_epochs: int = parameter(
        default=100,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="Passes over the training rows.",
    )
    lr: float = parameter(
        default=1e-3,
        kind="float in (0, inf)",
        allowed=[real(0, closed="neither")],
        doc="Learning rate of the optimizer.",
    )
    batch_size: int = parameter(
        default=100,
        kind="int in [1, inf)",
        allowed=[integer(1)],
        doc="Rows in a batch; a remainder of one row joins the batch before it.",
    )
    optimizer: str | type[optim.Optimizer] = parameter(
        default="adam",
        kind='{"adam", "adamw", "sgd"} or optimizer class',
        allowed=[StrOptions(set(OPTIMIZERS)), type],
        doc="Optimizer, by name in torch's fused form or a class of ``torch.optim``'s kind.",
    )
    callbacks: list[Any] | None = parameter(
        default=None,
        kind="list of skorch callbacks or None",
        allowed=[list, None],
        doc="""
        Callbacks that skorch's loop notifies, for example to stop early or keep checkpoints. They
        are used as given, so that what they recorded can be read; fits that share one also share
        its memory.
        """,
    )
    net_params: dict[str, Any] | None = parameter(
        default=None,
        kind="dict or None",
        allowed=[dict, None],
        doc="""
        Further arguments of ``skorch.NeuralNet``, for example
        ``{"optimizer__weight_decay": 1e-4}``.
        """,
    )
    device: str = parameter(
        default="auto",
        kind="str",
        allowed=[str],
        doc='torch device to train on; "auto" takes a GPU where torch finds one.',
    )
    random_state: int | np.random.RandomState | None = parameter(
        default=None,
        kind="int, RandomState or None",
        allowed=["random_state"],
        doc="""
        Seed of initialisation, shuffling and sampling. The global generators of NumPy and torch
        are never used.
        """,
    )
    verbose: int = parameter(
        default=0,
        kind="int in [0, inf)",
        allowed=["verbose"],
        doc="Positive: print a line an epoch.",
    )

    @abstractmethod
    def _make_posterior(self) -> Posterior:
        """Return the family of q(z|x)."""

    @abstractmethod
    def _make_prior(self) -> Prior | None:
        """Return p(z), or None for a model without one."""

    @abstractmethod
    def _make_terms(self) -> list[tuple[float, Divergence]]:
        """Return weights and divergences to add to −log p(x|z)."""

    def _make_corruption(self) -> Callable[[Tensor, torch.Generator], Tensor] | None:
        """Return what corrupts the encoder's input in training (hook; nothing by default)."""
        return None

    def _codes(self, mean: NDArray[Any], std: NDArray[Any]) -> NDArray[Any]:
        """Return what ``transform`` gives for posteriors with these moments (hook)."""
        return mean

    @final
    def fit(self, X: Any, y: Any = None) -> Self:
        """Train encoder and decoder.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            At least two finite rows.
        y : None
            Ignored.

        Returns
        -------
        self : object
            Fitted.

        Raises
        ------
        ValueError
            When X or a parameter is not acceptable; a model fitted before stays as it was.
        TrainingDivergedError
            When the loss becomes infinite or not a number; likewise.
        """
        with atomic(self):
            check_parameters(self)
            rows = check_rows(self, X, reset=True, ensure_min_samples=2)
            self._train(rows)
        return self

    def _train(self, X: NDArray[Any]) -> None:
        """Build and train the net on validated rows."""
        device = resolve_device(self.device)
        model = self._model_settings(X.shape[1])
        net = build_net(model, self._training_settings(device))
        net.prepare(data_statistics(to_tensor(X, device=torch.device("cpu")), device), device)
        net.train(to_tensor(X, device=device, dtype=torch.float32))
        self.net_ = net
        self.device_ = device
        self.history_ = net.history
        self.loss_curve_ = [epoch["train_loss"] for epoch in net.history]
        self.n_iter_ = len(self.loss_curve_)
        self._dtype = X.dtype
        self._n_features_out = self.n_components
        # Widest layer: values that one row needs at once when the model is used.
        self._width = max(X.shape[1], self.n_components, *model.hidden_layer_sizes)
        if model.prior is not None:
            self.prior_ = model.prior

    def _model_settings(self, n_features: int) -> ModelSettings:
        """Gather what the model is made of, checked."""
        posterior = self._make_posterior()
        terms = self._make_terms()
        for _, divergence in terms:
            divergence.check(posterior)
        return ModelSettings(
            n_features=n_features,
            n_components=self.n_components,
            hidden_layer_sizes=_checked_widths(self.hidden_layer_sizes),
            activation=self.activation,
            posterior=posterior,
            likelihood=make_likelihood(self.likelihood),
            prior=self._make_prior(),
            terms=terms,
            corruption=self._make_corruption(),
        )

    def _training_settings(self, device: torch.device) -> TrainingSettings:
        """Gather how it is trained."""
        return TrainingSettings(
            max_epochs=self.max_epochs,
            batch_size=self.batch_size,
            lr=self.lr,
            optimizer=self.optimizer,
            callbacks=self.callbacks,
            net_params=dict(self.net_params or {}),
            device=device,
            seed=draw_seed(self.random_state),
            verbose=int(self.verbose),
        )

    @final
    def transform(self, X: Any) -> NDArray[Any]:
        """Encode rows.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Any finite values, also outside the likelihood's range.

        Returns
        -------
        Z : ndarray of shape (n_samples, n_components)
            Posterior means, float32 for float32 input and else float64; computed in the same
            precision.
        """
        return self._codes(*self.posterior_moments(X))

    @final
    def posterior_moments(self, X: Any) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return mean and standard deviation of q(z|x).

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        mean, std : ndarray of shape (n_samples, n_components)
            The standard deviation is zero for a deterministic encoder.
        """
        check_is_fitted(self)
        rows = check_rows(self, X, reset=False)
        mean, std = map_rows(self.net_, _encode, rows, values_per_row=self._width)
        return mean, std

    @final
    def inverse_transform(self, X: Any) -> NDArray[Any]:
        """Decode codes.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_components)
            Codes, as ``transform`` returns them.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
            E[x|z], in the units of the training data.
        """
        check_is_fitted(self)
        codes = check_codes(self, X, self._n_features_out)
        (decoded,) = map_rows(self.net_, _decode, codes, values_per_row=self._width)
        return decoded

    @final
    def reconstruct(self, X: Any) -> NDArray[Any]:
        """Encode rows and decode their posterior means.

        Parameters
        ----------
        X : array-like of shape (n_samples, n_features)
            Rows.

        Returns
        -------
        X_hat : ndarray of shape (n_samples, n_features)
            E[x|z = E[z|x]], in the units of the training data.
        """
        return self.inverse_transform(self.posterior_moments(X)[0])

    def _rows_to_score(self, X: Any) -> NDArray[np.float64]:
        """Return rows in float64, if the likelihood has a density for them."""
        rows: NDArray[np.float64] = check_rows(self, X, reset=False).astype(np.float64, copy=False)
        self.net_.autoencoder.likelihood.check_support(rows.min(), rows.max())
        return rows

    def __sklearn_tags__(self) -> Any:
        """Keep float32 (scikit-learn's hook)."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


def _encode(model: Autoencoder, x: Tensor) -> tuple[Tensor, Tensor]:
    """Return posterior mean and standard deviation."""
    loc, scale = model.encode(x)
    return loc, torch.zeros_like(loc) if scale is None else scale


def _decode(model: Autoencoder, z: Tensor) -> tuple[Tensor]:
    """Return E[x|z]."""
    return (model.likelihood.mean(model.decode(z)),)


def _checked_widths(hidden_layer_sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the hidden layers' widths; ``ValueError`` unless all are positive integers."""
    for width in hidden_layer_sizes:
        if not isinstance(width, (int, np.integer)) or width < 1:
            raise ValueError(
                "hidden_layer_sizes must hold integers in [1, inf). "
                f"Got {tuple(hidden_layer_sizes)!r} instead."
            )
    return tuple(int(width) for width in hidden_layer_sizes)
