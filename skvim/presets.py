"""Constructor parameters by name: those of published models, and those of codes that hold noise."""

import inspect
import math
from collections.abc import Sequence
from copy import deepcopy
from numbers import Real
from typing import Any, NamedTuple

from skvim.networks import Convolutional
from skvim.noise import AugmentationNoise, GaussianNoise
from skvim.objectives import Adversarial, Gaussian

__all__ = ["names", "preset"]

# The reference weighs squared errors as 0.05 · SSE, and corrupts its input by this much.
_VARIANCE = 10.0
_NOISE = 0.01


class _Recipe(NamedTuple):
    """What differs between presets."""

    image_shape: tuple[int, int, int]
    value_range: tuple[float, float]
    n_components: int
    lam: float
    max_epochs: int
    lr: float
    lr_schedule: str
    critic: Adversarial | None = None


_MNIST = _Recipe((28, 28, 1), (0.0, 1.0), 8, 10.0, 100, 1e-3, "steps")
_CELEBA = _Recipe((64, 64, 3), (-1.0, 1.0), 64, 100.0, 50, 5e-4, "exponential")
_RECIPES = {
    "wae-mnist": _MNIST,
    "wae-gan-mnist": _MNIST._replace(critic=Adversarial((512,) * 4, lr=5e-4)),
    "wae-celeba": _CELEBA,
    "wae-cifar10": _CELEBA._replace(image_shape=(32, 32, 3)),
}


class _Robust(NamedTuple):
    """What differs between presets whose codes are to hold noise; rows lie in [0, 1]."""

    reference: str
    noise: AugmentationNoise
    max_epochs: int
    lr_schedule: str = "cosine"
    agreement: float = 10.0
    batch_size: int = 100


_STROKES: dict[str, Any] = {"rate": 0.7, "scale": 0.5, "image_shape": (28, 28, 1)}
_PHOTOS: dict[str, Any] = {
    **{"shift": 1.0, "angle": 10.0, "stretch": 0.1, "shear": 0.1, "crop": 0.5, "mirror": True},
    **{"contrast": 0.3, "brightness": 0.15, "tint": 0.1},
    **{"rate": 0.4, "scale": 0.3, "image_shape": (32, 32, 3)},
}
_ROBUST = {
    "robust-mnist": _Robust("wae-mnist", AugmentationNoise(**_STROKES), 40, "steps", 0.0),
    "robust-omniglot": _Robust("wae-mnist", AugmentationNoise(**_STROKES | {"rate": 0.9}), 20),
    "robust-cifar10": _Robust("wae-cifar10", AugmentationNoise(**_PHOTOS), 20, batch_size=200),
}


def names() -> list[str]:
    """Return the names of all presets.

    Examples
    --------
    >>> from skvim import presets
    >>> presets.names()  # doctest: +NORMALIZE_WHITESPACE
    ['wae-mnist', 'wae-gan-mnist', 'wae-celeba', 'wae-cifar10',
     'robust-mnist', 'robust-omniglot', 'robust-cifar10']
    """
    return [*_RECIPES, *_ROBUST]


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
        One of :func:`names`: what to reproduce, or the images whose codes are to hold noise, see
        Notes.
    model : class or None, default=None
        An autoencoder. The result is then cut to the parameters that its constructor takes, and
        holds λ for models alone that weigh a divergence by it. None returns all parameters, which
        :class:`~skvim.VIMAETransformer` takes, and those of published models
        :class:`~skvim.WAETransformer` too.
    width : float in (0, inf), default=1.0
        Multiplies the channels of the networks, see :class:`~skvim.networks.Convolutional`. 1 is
        the reference, for a GPU; 0.125 suits a CPU.
    value_range : (float, float) or None, default=None
        Values of black and white in your rows. Variance and noise, which are in the unit of the
        data, are converted from the preset's range, so that the objective is the same. None
        expects rows in the preset's range.

    Returns
    -------
    dict
        From names to values, fresh at every call; entries may be changed, as in
        ``preset("wae-mnist") | {"lam": 1.0}``.

    Raises
    ------
    ValueError
        When the name is unknown, or the range is not two finite numbers in rising order.
    TypeError
        When the model is no class.

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

    All take batches of 100, Adam with β₁ = 0.5, up to 200 steps of pretraining, a gaussian
    likelihood of variance 10, which weighs errors as the reference's 0.05 · SSE does, and input
    noise of standard deviation 0.01. The default divergence is the MMD, for
    :class:`~skvim.AAETransformer` its own critic; that of "wae-gan-mnist" has four layers of 512
    units and a learning rate of 5e-4. The VIMAE paper trains with the same
    settings, at λ = 10 on MNIST and 100 on CelebA and CIFAR-10; the reference has none for
    CIFAR-10, and what that paper leaves open stands here as for CelebA.

    "robust-mnist", "robust-omniglot" and "robust-cifar10" are ours: VIMAE-l for codes that few
    labels suffice for, and that noise leaves where they are. Rows lie in [0, 1]. To what stands
    above for "wae-mnist" and "wae-cifar10" they add codes of 64 dimensions, λ = 0.1, a
    convolutional encoder with a perceptron of 512 units for a decoder,
    :class:`~skvim.noise.AugmentationNoise`, and but for MNIST, where it gains nothing, the
    contrastive loss with ``agreement=10``; batches of 100, colours of 200, and 40, 20 and 20
    epochs at a learning rate of 2e-3 that falls as a cosine, on MNIST by steps. Masking sets 0,
    which is black where ranges start at 0. :class:`~skvim.InfoVAETransformer` refuses their λ
    unless its α is 0.9 or more.

    What differs from the reference: the decoder's output is not bounded, the encoder sees rows
    that are centred and brought to unit scale, the noise is not truncated, and pretraining
    compares covariances by another norm.

    On MNIST a VAE collapses at this variance: codes cost more nats than they save. Give
    :class:`~skvim.VAETransformer` and its like another, as
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
    if name in _ROBUST:
        parameters = _robust_parameters(_ROBUST[name], width, value_range)
    elif name in _RECIPES:
        recipe = _RECIPES[name]
        parameters = _parameters(recipe, width, _unit(recipe.value_range, value_range))
    else:
        raise ValueError(f"name must be one of {names()}. Got {name!r} instead.")
    return parameters if model is None else _taken_by(model, parameters)


def _parameters(recipe: _Recipe, width: float, unit: float) -> dict[str, Any]:
    """Return all parameters; ``unit`` is the size of the reference's in that of the data."""
    critic = {} if recipe.critic is None else {"divergence": deepcopy(recipe.critic)}
    return {
        **critic,
        "n_components": recipe.n_components,
        "network": Convolutional(width),
        "image_shape": recipe.image_shape,
        "likelihood": Gaussian(variance=_VARIANCE * unit**2),
        "lam": recipe.lam,
        "noise": GaussianNoise(_NOISE * unit),
        "pretraining": 200,
        "batch_size": 100,
        "max_epochs": recipe.max_epochs,
        "lr": recipe.lr,
        "lr_schedule": recipe.lr_schedule,
        "optimizer": "adam",
        "net_params": {"optimizer__betas": (0.5, 0.999)},
    }


def _robust_parameters(
    recipe: _Robust, width: float, value_range: Sequence[float] | None
) -> dict[str, Any]:
    """Return all parameters of a preset of ours."""
    reference = _RECIPES[recipe.reference]
    unit = _unit((0.0, 1.0), value_range)
    noise = deepcopy(recipe.noise)
    for name in ("brightness", "tint", "scale"):
        setattr(noise, name, getattr(noise, name) * unit)
    low, high = reference.value_range
    return _parameters(reference, width, unit / (high - low)) | {
        "n_components": 64,
        "network": (Convolutional(width), "mlp"),
        "hidden_layer_sizes": (512,),
        "prior": "logistic",
        "lam": 0.1,
        "agreement": recipe.agreement,
        "noise": noise,
        "max_epochs": recipe.max_epochs,
        "batch_size": recipe.batch_size,
        "lr": 2e-3,
        "lr_schedule": recipe.lr_schedule,
    }


def _unit(reference: tuple[float, float], value_range: Sequence[float] | None) -> float:
    """Return what one unit of the reference's range is worth in the data's."""
    low, high = reference
    if value_range is None:
        return 1.0
    ends = tuple(value_range)
    real = len(ends) == 2 and all(isinstance(end, Real) and math.isfinite(end) for end in ends)
    if not real or not ends[0] < ends[1]:
        raise ValueError(
            "value_range must be None or two finite numbers, the values of black and white in "
            f"rising order. Got {value_range!r} instead."
        )
    return float(ends[1] - ends[0]) / (high - low)


def _taken_by(model: type, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return those parameters that a class takes."""
    if not inspect.isclass(model):
        raise TypeError(f"model must be a class, such as VIMAETransformer. Got {model!r} instead.")
    taken = set(inspect.signature(model).parameters)
    if "divergence" not in taken:
        taken -= {"lam"}  # where a model weighs something else by it
    return {key: value for key, value in parameters.items() if key in taken}
