"""Corruptions at five severities, as in ImageNet-C."""

import math
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from skvim._plain_numbers import plain
from skvim.noise._base_noise import BaseNoise
from skvim.noise._corruptions import check_range
from skvim.noise._image_corruptions import complete_image_shape
from skvim.noise._image_transformers import (
    BlurNoise,
    BrightnessNoise,
    ContrastNoise,
    OcclusionNoise,
)
from skvim.noise._transformers import (
    GaussianNoise,
    MaskingNoise,
    MissingFeaturesNoise,
    SaltPepperNoise,
    SwapNoise,
)

__all__ = ["severities"]

Range: TypeAlias = tuple[float, float]
Shape: TypeAlias = Sequence[int] | None
Levels: TypeAlias = list[tuple[float, dict[str, Any]]]

# ImageNet-C, as in its authors' code; their contrast is what is left, here what is taken away.
_GAUSSIAN = (0.08, 0.12, 0.18, 0.26, 0.38)
_IMPULSE = (0.03, 0.06, 0.09, 0.17, 0.27)
_BRIGHTNESS = (0.1, 0.2, 0.3, 0.4, 0.5)
_CONTRAST = (0.6, 0.7, 0.8, 0.9, 0.95)
# Sigmas in pixels, and the shorter side up to which they apply: CIFAR-10-C (32 pixels),
# Tiny-ImageNet-C (64) and ImageNet-C (224). Bounds are about half-way on a logarithmic scale.
_BLUR = (
    (45, (0.4, 0.6, 0.7, 0.8, 1.0)),
    (120, (0.5, 0.75, 1.0, 1.25, 1.5)),
    (math.inf, (1.0, 2.0, 3.0, 4.0, 6.0)),
)
# Shares of lost values or features, of which no benchmark has levels.
_LOST = (0.1, 0.2, 0.3, 0.4, 0.5)
# Sides as shares of the shorter side; the fourth covers a quarter of a square image.
_OCCLUSION = (1 / 8, 2 / 8, 3 / 8, 4 / 8, 5 / 8)


def severities(
    corruption: str,
    *,
    value_range: Range = (0.0, 1.0),
    image_shape: Shape = None,
    **parameters: Any,
) -> list[BaseNoise]:
    """Return a corruption at five severities, for :func:`skvim.metrics.robustness_curve`.

    Parameters
    ----------
    corruption : str
        "gaussian", "masking", "swap", "salt_pepper", "occlusion", "blur", "brightness", "contrast"
        or "missing_features": the name of the class without "Noise".
    value_range : pair of float, default=(0.0, 1.0)
        (low, high) of the data: its width multiplies scales and shifts, its ends are pepper and
        salt, and its lower end covers squares. For standardised features ``(-0.5, 0.5)`` makes one
        standard deviation the unit.
    image_shape : tuple (height, width[, channels]) or None, default=None
        Shape of the image in a row. "occlusion" and "blur" need it: their levels depend on it.
    **parameters : object
        Further parameters of the transformer, such as ``per_row=True`` for "missing_features";
        they override those above.

    Returns
    -------
    list of 5 transformers
        Severity 1 to 5.

    Raises
    ------
    ValueError
        For an unknown corruption, an invalid range or shape, or a missing shape.

    Notes
    -----
    ================  =====================================  ======================================
    corruption        level                                  severities 1 to 5
    ================  =====================================  ======================================
    gaussian          scale / width of the range             0.08, 0.12, 0.18, 0.26, 0.38
    salt_pepper       rate                                   0.03, 0.06, 0.09, 0.17, 0.27
    brightness        shift / width of the range             0.1, 0.2, 0.3, 0.4, 0.5
    contrast          reduction                              0.6, 0.7, 0.8, 0.9, 0.95
    blur              sigma, shorter side up to 45 pixels    0.4, 0.6, 0.7, 0.8, 1
    blur              sigma, up to 120 pixels                0.5, 0.75, 1, 1.25, 1.5
    blur              sigma, beyond                          1, 2, 3, 4, 6
    occlusion         size / shorter side, at least 1 pixel  1/8, 2/8, 3/8, 4/8, 5/8
    masking           rate                                   0.1, 0.2, 0.3, 0.4, 0.5
    swap              rate                                   0.1, 0.2, 0.3, 0.4, 0.5
    missing_features  rate                                   0.1, 0.2, 0.3, 0.4, 0.5
    ================  =====================================  ======================================

    Levels are published ones where there are any, for comparison with other results: the first
    four are those of ImageNet-C [1]_, in units that do not depend on the resolution. The sigma of a
    blur does, and is that of the benchmark with images of the nearest size: CIFAR-10-C,
    Tiny-ImageNet-C or ImageNet-C, all by the authors of [1]_. The last four are skvim's own,
    evenly spaced. Gaussian noise is not clipped to the range, unlike there. Corruptions are not
    equally hard at one severity: compare models within each, or by
    :func:`skvim.metrics.mean_corruption_error`.

    References
    ----------
    .. [1] D. Hendrycks and T. Dietterich (2019). Benchmarking neural network robustness to common
       corruptions and perturbations. International Conference on Learning Representations.

    Examples
    --------
    >>> from skvim.noise import severities
    >>> [noise.level for noise in severities("masking")]
    [0.1, 0.2, 0.3, 0.4, 0.5]
    >>> [noise.size for noise in severities("occlusion", image_shape=(28, 28))]
    [4, 7, 11, 14, 18]
    """
    if corruption not in _CORRUPTIONS:
        raise ValueError(
            f"corruption must be one of {sorted(_CORRUPTIONS)}. Got {corruption!r} instead."
        )
    transformer, levels = _CORRUPTIONS[corruption]
    settings = levels(check_range(value_range), plain(image_shape))
    return [transformer(level, **{**options, **parameters}) for level, options in settings]


def _fixed(levels: Sequence[float]) -> Callable[[Range, Shape], Levels]:
    """Return a function that gives the levels for any range and shape."""
    return lambda value_range, image_shape: [(level, {}) for level in levels]


def _gaussian(value_range: Range, image_shape: Shape) -> Levels:
    width = value_range[1] - value_range[0]
    return [(level * width, {}) for level in _GAUSSIAN]


def _salt_pepper(value_range: Range, image_shape: Shape) -> Levels:
    return [(level, {"value_range": value_range}) for level in _IMPULSE]


def _brightness(value_range: Range, image_shape: Shape) -> Levels:
    width = value_range[1] - value_range[0]
    return [(level * width, {"value_range": value_range}) for level in _BRIGHTNESS]


def _contrast(value_range: Range, image_shape: Shape) -> Levels:
    return [(level, {"image_shape": image_shape}) for level in _CONTRAST]


def _blur(value_range: Range, image_shape: Shape) -> Levels:
    side = _shorter_side("blur", image_shape)
    levels = next(levels for bound, levels in _BLUR if side <= bound)
    return [(level, {"image_shape": image_shape}) for level in levels]


def _occlusion(value_range: Range, image_shape: Shape) -> Levels:
    side = _shorter_side("occlusion", image_shape)
    options = {"image_shape": image_shape, "value": value_range[0]}
    return [(max(math.floor(share * side + 0.5), 1), options) for share in _OCCLUSION]


def _shorter_side(corruption: str, image_shape: Shape) -> int:
    """Return the shorter side in pixels; of a line of pixels, its length."""
    if image_shape is None:
        raise ValueError(
            f"The severities of {corruption!r} depend on the size of the images. Pass image_shape, "
            "(height, width[, channels]); of a signal, (1, length)."
        )
    height, width, _ = complete_image_shape((math.prod(image_shape),), image_shape)
    return min(height, width) if min(height, width) > 1 else max(height, width)


_CORRUPTIONS: dict[str, tuple[Callable[..., BaseNoise], Callable[[Range, Shape], Levels]]] = {
    "gaussian": (GaussianNoise, _gaussian),
    "masking": (MaskingNoise, _fixed(_LOST)),
    "swap": (SwapNoise, _fixed(_LOST)),
    "salt_pepper": (SaltPepperNoise, _salt_pepper),
    "occlusion": (OcclusionNoise, _occlusion),
    "blur": (BlurNoise, _blur),
    "brightness": (BrightnessNoise, _brightness),
    "contrast": (ContrastNoise, _contrast),
    "missing_features": (MissingFeaturesNoise, _fixed(_LOST)),
}
