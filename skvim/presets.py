"""Presets: constructor parameters of published models, and of models whose codes resist noise."""

import inspect
from collections.abc import Sequence
from copy import deepcopy
from typing import Any, NamedTuple

from skvim.networks import Convolutional
from skvim.noise import AugmentationNoise, GaussianNoise, SwapNoise
from skvim.noise._corruptions import check_range
from skvim.objectives import Adversarial, Gaussian

__all__ = ["names", "preset"]

# The reference's weight of squared errors, 0.05 · SSE, as a variance of the likelihood, and the
# standard deviation of its input noise.
_VARIANCE = 10.0
_NOISE = 0.01


class _Published(NamedTuple):
    """Settings in which the presets of published models differ."""

    image_shape: tuple[int, int, int]
    value_range: tuple[float, float]
    n_components: int
    lam: float
    max_epochs: int
    lr: float
    lr_schedule: str
    critic: Adversarial | None = None


_MNIST = _Published((28, 28, 1), (0.0, 1.0), 8, 10.0, 100, 1e-3, "steps")
_CELEBA = _Published((64, 64, 3), (-1.0, 1.0), 64, 100.0, 50, 5e-4, "exponential")
_PUBLISHED = {
    "wae-mnist": _MNIST,
    "wae-gan-mnist": _MNIST._replace(critic=Adversarial((512,) * 4, lr=5e-4)),
    "wae-celeba": _CELEBA,
    "wae-cifar10": _CELEBA._replace(image_shape=(32, 32, 3)),
}


class _Robust(NamedTuple):
    """Settings in which the robust presets differ; rows lie in [0, 1]."""

    reference: str
    noise: AugmentationNoise
    max_epochs: int
    lr_schedule: str = "cosine"
    agreement: float = 10.0
    batch_size: int = 100


_STROKE_NOISE: dict[str, Any] = {"rate": 0.7, "scale": 0.5, "image_shape": (28, 28, 1)}
_PHOTO_NOISE: dict[str, Any] = {
    **{"shift": 1.0, "angle": 10.0, "stretch": 0.1, "shear": 0.1, "crop": 0.5, "mirror": True},
    **{"contrast": 0.3, "brightness": 0.15, "tint": 0.1},
    **{"rate": 0.4, "scale": 0.3, "image_shape": (32, 32, 3)},
}
_ROBUST = {
    "robust-mnist": _Robust("wae-mnist", AugmentationNoise(**_STROKE_NOISE), 40, "steps", 0.0),
    "robust-omniglot": _Robust("wae-mnist", AugmentationNoise(**_STROKE_NOISE | {"rate": 0.9}), 20),
    "robust-cifar10": _Robust("wae-cifar10", AugmentationNoise(**_PHOTO_NOISE), 20, batch_size=200),
}

# Chosen by logistic regression with 50 labels on tables that a benchmark names, see the guide.
_TABLE: dict[str, Any] = {
    "likelihood": "auto",
    "n_components": 64,
    "hidden_layer_sizes": (512,),
    "noise": SwapNoise(0.5),
    "lam": 0.1,
    "max_epochs": 100,
    "code_density": None,
}


def names() -> list[str]:
    """Return the names of all presets.

    Examples
    --------
    >>> from skvim import presets
    >>> presets.names()  # doctest: +NORMALIZE_WHITESPACE
    ['wae-mnist', 'wae-gan-mnist', 'wae-celeba', 'wae-cifar10',
     'robust-mnist', 'robust-omniglot', 'robust-cifar10', 'robust-table']
    """
    return [*_PUBLISHED, *_ROBUST, "robust-table"]


def preset(
    name: str,
    model: type | None = None,
    *,
    width: float = 1.0,
    value_range: Sequence[float] | None = None,
) -> dict[str, Any]:
    """Return constructor parameters by name.

    Parameters
    ----------
    name : str
        One of :func:`names`, see Notes.
    model : class or None, default=None
        An autoencoder. The result then has the parameters of its constructor only, and λ only if
        the model weighs a divergence by it. None returns all parameters, which
        :class:`~skvim.VIMAETransformer` takes, and :class:`~skvim.WAETransformer` those of
        published models.
    width : float in (0, inf), default=1.0
        Factor of the networks' channels, see :class:`~skvim.networks.Convolutional`. 1 is the
        reference's, for a GPU; 0.125 suits a CPU. Not for tables.
    value_range : (float, float) or None, default=None
        Values of black and white in the rows. Variance and noise, which are in the unit of the
        data, are converted from the preset's range, so that the objective is the same. None is
        the preset's range. Not for tables.

    Returns
    -------
    dict
        Values by name, made anew at every call; change entries as in
        ``preset("wae-mnist") | {"lam": 1.0}``.

    Raises
    ------
    ValueError
        When the name is unknown, the range is not two finite numbers in rising order, or width or
        range are given for a table.
    TypeError
        When the model is not a class.

    Notes
    -----
    ==================== ============= ============= ============= =============
    setting              wae-mnist     wae-gan-mnist wae-celeba    wae-cifar10
    ==================== ============= ============= ============= =============
    images               28 × 28 × 1   28 × 28 × 1   64 × 64 × 3   32 × 32 × 3
    range of the rows    0 to 1        0 to 1        −1 to 1       −1 to 1
    n_components         8             8             64            64
    lam                  10            10            100           100
    divergence           (default)     critic        (default)     (default)
    max_epochs           100           100           50            50
    lr                   1e-3          1e-3          5e-4          5e-4
    lr_schedule          "steps"       "steps"       "exponential" "exponential"
    ==================== ============= ============= ============= =============

    All use batches of 100, Adam with β₁ = 0.5, up to 200 steps of pretraining, a gaussian
    likelihood of variance 10, which weighs errors as the reference's 0.05 · SSE does, and input
    noise of standard deviation 0.01. The default divergence is the MMD, for
    :class:`~skvim.AAETransformer` its own critic; that of "wae-gan-mnist" has four layers of 512
    units and a learning rate of 5e-4. The VIMAE paper trains with the same settings, at λ = 10 on
    MNIST and 100 on CelebA and CIFAR-10. The reference has no settings for CIFAR-10: those that
    the paper does not give are CelebA's here.

    "robust-mnist", "robust-omniglot" and "robust-cifar10" are not published: VIMAE-l for codes
    that need few labels and change little with noise. Rows lie in [0, 1]. They differ from
    "wae-mnist" and "wae-cifar10" by codes of 64 dimensions, λ = 0.1, a convolutional encoder with
    a multilayer perceptron of 512 hidden units as decoder,
    :class:`~skvim.noise.AugmentationNoise`, the contrastive loss with ``agreement=10`` except on
    MNIST, where it gains nothing, batches of 200 on CIFAR-10, and 40, 20 and 20 epochs at a
    learning rate of 2e-3, decayed as a cosine, on MNIST by steps. Masked values are 0, which is
    black where the range starts at 0. :class:`~skvim.InfoVAETransformer` accepts their λ only
    with α of at least 0.9.

    "robust-table" is for features of tables with mixed columns and missing cells, to be given to
    :class:`~skvim.DenoisingAETransformer`: ``likelihood="auto"``, 64 codes, one hidden layer of
    512 units, 100 epochs and :class:`~skvim.noise.SwapNoise` at rate 0.5, so that half of the cells
    that the encoder sees in training come from other rows. With few labels use these codes beside
    the columns, not instead of them: :doc:`/tables` has an example and what it gains.

    Differences from the reference: the decoder's output is not bounded, the encoder sees centred
    rows of unit scale, the noise is not truncated, and pretraining compares covariances by another
    norm.

    On MNIST a VAE collapses at this variance: codes cost more nats than they save. Give
    :class:`~skvim.VAETransformer` and similar models another likelihood, as in
    ``preset("wae-mnist", VAETransformer) | {"likelihood": "gaussian"}``.

    References
    ----------
    I. Tolstikhin, O. Bousquet, S. Gelly and B. Schölkopf, *Wasserstein auto-encoders*, 2018,
    arXiv:1711.01558, and its code, https://github.com/tolstikhin/wae. V. Crescimanna and
    B. Graham, *The Variational InfoMax AutoEncoder*.

    Examples
    --------
    >>> from skvim import AETransformer, VIMAETransformer
    >>> from skvim.presets import preset
    >>> model = VIMAETransformer(**preset("wae-mnist") | {"prior": "logistic"})
    >>> model.n_components, model.lam, model.likelihood
    (8, 10.0, Gaussian(variance=10.0))
    >>> "lam" in preset("wae-mnist", AETransformer)
    False
    >>> preset("wae-celeba", value_range=(0, 1))["likelihood"]  # squared errors are a quarter
    Gaussian(variance=2.5)
    """
    if name == "robust-table":
        if width != 1.0 or value_range is not None:
            raise ValueError("width and value_range are for images. Leave them out for a table.")
        parameters = deepcopy(_TABLE)
    elif name in _ROBUST:
        parameters = _robust_parameters(_ROBUST[name], width, value_range)
    elif name in _PUBLISHED:
        settings = _PUBLISHED[name]
        ratio = _range_ratio(settings.value_range, value_range)
        parameters = _published_parameters(settings, width, ratio)
    else:
        raise ValueError(f"name must be one of {names()}. Got {name!r} instead.")
    return parameters if model is None else _accepted_by(model, parameters)


def _published_parameters(settings: _Published, width: float, ratio: float) -> dict[str, Any]:
    """Return all parameters, for data whose range is ``ratio`` times as wide as the reference's."""
    critic = {} if settings.critic is None else {"divergence": deepcopy(settings.critic)}
    return {
        **critic,
        "n_components": settings.n_components,
        "network": Convolutional(width),
        "image_shape": settings.image_shape,
        "likelihood": Gaussian(variance=_VARIANCE * ratio**2),
        "lam": settings.lam,
        "noise": GaussianNoise(_NOISE * ratio),
        "pretraining": 200,
        "batch_size": 100,
        "max_epochs": settings.max_epochs,
        "lr": settings.lr,
        "lr_schedule": settings.lr_schedule,
        "optimizer": "adam",
        "net_params": {"optimizer__betas": (0.5, 0.999)},
    }


def _robust_parameters(
    settings: _Robust, width: float, value_range: Sequence[float] | None
) -> dict[str, Any]:
    """Return all parameters of a robust preset."""
    reference = _PUBLISHED[settings.reference]
    ratio = _range_ratio((0.0, 1.0), value_range)
    noise = deepcopy(settings.noise)
    for name in ("brightness", "tint", "scale"):
        setattr(noise, name, getattr(noise, name) * ratio)
    low, high = reference.value_range
    return _published_parameters(reference, width, ratio / (high - low)) | {
        "n_components": 64,
        "network": (Convolutional(width), "mlp"),
        "hidden_layer_sizes": (512,),
        "prior": "logistic",
        "lam": 0.1,
        "agreement": settings.agreement,
        "noise": noise,
        "max_epochs": settings.max_epochs,
        "batch_size": settings.batch_size,
        "lr": 2e-3,
        "lr_schedule": settings.lr_schedule,
    }


def _range_ratio(reference: tuple[float, float], value_range: Sequence[float] | None) -> float:
    """Return the width of the data's range of values over that of the reference's."""
    low, high = reference
    if value_range is None:
        return 1.0
    black, white = check_range(value_range)
    return (white - black) / (high - low)


def _accepted_by(model: type, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return the parameters of a class's constructor, without λ unless it weighs a divergence."""
    if not inspect.isclass(model):
        raise TypeError(f"model must be a class, such as VIMAETransformer. Got {model!r} instead.")
    accepted = set(inspect.signature(model).parameters)
    if "divergence" not in accepted:
        accepted -= {"lam"}  # such models weigh something else by it
    return {key: value for key, value in parameters.items() if key in accepted}
