"""Convolutional networks for images: those of the reference code of Wasserstein autoencoders."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from numbers import Real
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn

from skvim.networks._architecture import Architecture, by_rows

__all__ = ["Convolutional"]

# Of every initial weight.
_STD = 0.01
_FIRST, _MOST = 128, 1024
_MIN_CHANNELS = 4
_BASES = range(4, 9)
# From here on the reference uses kernels of 5, on smaller images of 4.
_N_UPSAMPLINGS_OF_WIDE_KERNELS = 3
# Values of the largest activation that pass together in evaluation.
_PIECE_VALUES = 2**21


@final
@dataclass(frozen=True, eq=False)
class Convolutional(Architecture):
    """The networks of the Wasserstein autoencoder's reference code, for images.

    Parameters
    ----------
    width : float in (0, inf), default=1.0
        Multiplies every number of channels, which stays at least 4; 0.125 suits a CPU.

    Raises
    ------
    ValueError
        From ``check``, so from ``fit``: when rows are no images, or an image has no side of
        base · 2ⁿ pixels with a base from 4 to 8 and n ≥ 1, the same n for height and width. Of up
        to 64 pixels these sides are 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56 and 64.

    Notes
    -----
    Encoder: convolutions of stride 2 with 128, 256, 512 and 1024 channels, each followed by batch
    normalisation and ReLU, then a linear map. Sides below 20 get fewer of them and sides above 64
    more, of 1024 channels each, so that two to four pixels a side are left. Decoder: a linear map
    to base × base × 1024 and ReLU, n transposed convolutions of stride 2 with 512, 256 …
    channels, batch normalisation and ReLU, and a convolution of stride 1 to the image's channels.
    Kernels are 4 pixels wide, and 5 from n = 3 on; n is the least possible. For 28×28×1 and 64×64×3
    these are the reference's networks for MNIST and CelebA.

    Initial weights are N(0, 0.01²), in the encoder's convolutions truncated at two standard
    deviations; biases are 0. Where the reference ends in a sigmoid or tanh, the output here is
    linear, in the units of the data.

    References
    ----------
    I. Tolstikhin, O. Bousquet, S. Gelly and B. Schölkopf, *Wasserstein auto-encoders*, 2018,
    arXiv:1711.01558.

    Examples
    --------
    >>> import torch
    >>> from skvim.networks import Convolutional
    >>> generator = torch.Generator().manual_seed(0)
    >>> encoder = Convolutional(width=0.125).encoder((28, 28, 1), 8, generator)
    >>> encoder(torch.zeros(3, 784)).shape
    torch.Size([3, 8])
    """

    width: float = 1.0

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ``ValueError`` when the width is out of range or the networks do not suit."""
        width = self.width
        if not isinstance(width, Real) or isinstance(width, bool) or not 0 < width < math.inf:
            raise ValueError(
                f"The width of Convolutional must be a positive finite number. Got {width!r}."
            )
        if len(shape) != 3:
            raise ValueError(
                "A convolutional network needs images: pass image_shape=(height, width) or "
                "(height, width, channels), or X of shape (n_samples, height, width[, channels]). "
                f"Got rows of {math.prod(shape)} features."
            )
        _geometry(shape, width)

    def encoder(
        self, shape: tuple[int, ...], n_outputs: int, generator: torch.Generator
    ) -> nn.Module:
        """Return the encoder."""
        return _Encoder(_geometry(shape, self.width), n_outputs, generator)

    def decoder(
        self, n_components: int, shape: tuple[int, ...], generator: torch.Generator
    ) -> nn.Module:
        """Return the decoder."""
        return _Decoder(_geometry(shape, self.width), n_components, generator)

    @property
    def min_rows(self) -> int:
        """2: moments of a batch normalise it."""
        return 2


class _Geometry(NamedTuple):
    """Sizes of both networks.

    Attributes
    ----------
    image : (int, int, int)
        Height, width and channels.
    kernel : int
        Side of every kernel.
    encoded : tuple of int
        Channels of the encoder's convolutions.
    base : (int, int)
        Height and width that the decoder starts from.
    decoded : tuple of int
        Channels at the decoder's start and after each of its upsamplings.
    """

    image: tuple[int, int, int]
    kernel: int
    encoded: tuple[int, ...]
    base: tuple[int, int]
    decoded: tuple[int, ...]


def _geometry(shape: tuple[int, ...], width: float) -> _Geometry:
    """Return the sizes for images (height, width, channels); ``ValueError`` if there are none."""
    height, breadth, channels = shape
    n = _n_upsamplings(height, breadth)
    # Down to two to four pixels a side, in four steps where four are possible.
    n_steps, side = 0, max(height, breadth)
    while side > 2 and (n_steps < 4 or side > 4):
        n_steps, side = n_steps + 1, -(-side // 2)
    return _Geometry(
        image=(height, breadth, channels),
        kernel=5 if n >= _N_UPSAMPLINGS_OF_WIDE_KERNELS else 4,
        encoded=tuple(_channels(min(_MOST, _FIRST * 2**i), width) for i in range(n_steps)),
        base=(height >> n, breadth >> n),
        decoded=tuple(_channels(_MOST // 2**i, width) for i in range(n + 1)),
    )


def _n_upsamplings(height: int, breadth: int) -> int:
    """Return how often the decoder doubles the sides."""
    for n in range(1, max(height, breadth).bit_length()):
        if all(side % 2**n == 0 and side >> n in _BASES for side in (height, breadth)):
            return n
    raise ValueError(
        "A convolutional network takes images whose height and width are base * 2**n pixels with "
        "bases from 4 to 8 and the same n >= 1: 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64 "
        f"and so on. Got an image_shape of {height} x {breadth}. Crop or pad the images."
    )


def _channels(number: int, width: float) -> int:
    """Return a number of channels, multiplied."""
    return max(_MIN_CHANNELS, round(number * width))


@final
class _Encoder(nn.Module):
    """Images as flat rows to (n, n_outputs)."""

    def __init__(self, geometry: _Geometry, n_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        height, breadth, fan_in = self.image = geometry.image
        layers: list[nn.Module] = []
        for channels in geometry.encoded:
            sides = height, breadth
            layers += _convolution(fan_in, channels, geometry.kernel, sides, generator)
            layers += [_batch_norm(channels), nn.ReLU()]
            height, breadth, fan_in = -(-height // 2), -(-breadth // 2), channels
        self.layers = nn.Sequential(*layers)
        # Maps shrink faster than channels grow, and in the decoder the other way round.
        self.largest = math.prod(geometry.image[:2]) // 4 * geometry.encoded[0]
        n_features = height * breadth * fan_in
        self.output = _layer(nn.Linear, n_features, n_outputs, generator=generator)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (..., height * width * channels) to (..., n_outputs)."""
        return _in_pieces(self, self._encode, x, self.largest)

    def _encode(self, x: Tensor) -> Tensor:
        height, breadth, channels = self.image
        images = x.reshape(-1, height, breadth, channels).permute(0, 3, 1, 2)
        output: Tensor = self.output(self.layers(images).permute(0, 2, 3, 1).flatten(1))
        return output


@final
class _Decoder(nn.Module):
    """Codes to images as flat rows."""

    def __init__(self, geometry: _Geometry, n_components: int, generator: torch.Generator) -> None:
        super().__init__()
        height, breadth = geometry.base
        self.start = (height, breadth, geometry.decoded[0])
        n_features = math.prod(self.start)
        self.input = _layer(nn.Linear, n_components, n_features, generator=generator)
        layers: list[nn.Module] = [nn.ReLU()]
        for fan_in, channels in pairwise(geometry.decoded):
            upsampling = _upsampling(fan_in, channels, geometry.kernel, generator)
            layers += [upsampling, _batch_norm(channels), nn.ReLU()]
        *self.sides, channels = geometry.image
        self.largest = math.prod(self.sides) * geometry.decoded[-1]
        sizes = geometry.decoded[-1], channels, geometry.kernel
        padding = geometry.kernel // 2
        last = _layer(nn.Conv2d, *sizes, padding=padding, generator=generator)
        self.layers = nn.Sequential(*layers, last)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, z: Tensor) -> Tensor:
        """Map codes (..., n_components) to rows (..., height * width * channels)."""
        return _in_pieces(self, self._decode, z, self.largest)

    def _decode(self, z: Tensor) -> Tensor:
        images = self.input(z).reshape(-1, *self.start).permute(0, 3, 1, 2)
        height, breadth = self.sides
        # An even kernel gives one place too many, which costs less than padding its input.
        rows: Tensor = self.layers(images)[..., :height, :breadth].permute(0, 2, 3, 1).flatten(1)
        return rows


def _in_pieces(
    network: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor, largest: int
) -> Tensor:
    """Apply a function of a matrix, in evaluation to so few rows at once that memory is bounded.

    Callers may bring thousands of rows, or draws of a row; training needs its batch together.
    """
    n_rows = max(1, _PIECE_VALUES // largest)

    def apply(rows: Tensor) -> Tensor:
        if network.training or len(rows) <= n_rows:
            return function(rows)
        return torch.cat([function(piece) for piece in torch.split(rows, n_rows)])

    return by_rows(apply, x)


def _convolution(
    fan_in: int, channels: int, kernel: int, sides: tuple[int, int], generator: torch.Generator
) -> list[nn.Module]:
    """Return layers that halve the sides, rounded up.

    Odd totals put the larger part of the padding after the image, as in the reference.
    """
    (top, bottom), (left, right) = (_padding(side, kernel) for side in sides)
    inside = (top, left) == (bottom, right)
    options: dict[str, Any] = {
        "stride": 2,
        "padding": (top, left) if inside else 0,
        "truncated": True,
    }
    layer = _layer(nn.Conv2d, fan_in, channels, kernel, generator=generator, **options)
    return [layer] if inside else [nn.ZeroPad2d((left, right, top, bottom)), layer]


def _padding(side: int, kernel: int) -> tuple[int, int]:
    """Return the zeros before and after a side that make half as many places, rounded up."""
    total = max(0, (-(-side // 2) - 1) * 2 + kernel - side)
    return total // 2, total - total // 2


def _upsampling(fan_in: int, channels: int, kernel: int, generator: torch.Generator) -> nn.Module:
    """Return a transposed convolution that doubles both sides."""
    padding = (kernel - 1) // 2
    options: dict[str, Any] = {
        "stride": 2,
        "padding": padding,
        "output_padding": 2 + 2 * padding - kernel,
    }
    return _layer(nn.ConvTranspose2d, fan_in, channels, kernel, generator=generator, **options)


def _layer(
    kind: type[nn.Module],
    *sizes: int,
    generator: torch.Generator,
    truncated: bool = False,
    **options: Any,
) -> nn.Module:
    """Return a layer with weights from N(0, 0.01²), truncated if asked to, and biases 0."""
    layer: nn.Module = nn.utils.skip_init(  # type: ignore[no-untyped-call]
        kind, *sizes, dtype=torch.float32, **options
    )
    weight, bias = layer.get_parameter("weight"), layer.get_parameter("bias")
    if truncated:
        nn.init.trunc_normal_(weight, std=_STD, a=-2 * _STD, b=2 * _STD, generator=generator)
    else:
        nn.init.normal_(weight, std=_STD, generator=generator)
    nn.init.zeros_(bias)
    return layer


def _batch_norm(channels: int) -> nn.BatchNorm2d:
    """Return batch normalisation with the reference's settings, which are torch's."""
    return nn.BatchNorm2d(channels, eps=1e-5, momentum=0.1, dtype=torch.float32)
