"""Convolutional networks for images, as in the Wasserstein autoencoder's reference code."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from skvim._plain_numbers import is_real
from skvim.networks._architecture import Architecture, batch_apply
from skvim.networks._empty import empty_layer

__all__ = ["Convolutional"]

# Standard deviation of all initial weights.
_STD = 0.01
_FIRST_CHANNELS, _MAX_CHANNELS = 128, 1024
_MIN_CHANNELS = 4
_BASE_SIDES = range(4, 9)
# From this number of upsamplings on, the reference uses kernels of 5, else of 4.
_N_UPSAMPLINGS_OF_WIDE_KERNELS = 3
# Values of the largest activation that evaluation computes at once.
_MAX_CHUNK_VALUES = 2**21


@final
@dataclass(frozen=True, eq=False)
class Convolutional(Architecture):
    """Convolutional networks for images, as in the Wasserstein autoencoder's reference code.

    Parameters
    ----------
    width : float in (0, inf), default=1.0
        Multiplies every number of channels, which is at least 4; 0.125 is fast on a CPU.

    Raises
    ------
    ValueError
        From ``check``, so from ``fit``: when rows are no images, or height and width are not
        base · 2ⁿ pixels with bases from 4 to 8 and the same n ≥ 1. Up to 64 pixels these sides are
        8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56 and 64.

    Notes
    -----
    Encoder: convolutions of stride 2 with 128, 256, 512 and 1024 channels, each followed by batch
    normalisation and ReLU, then a linear map. Sides below 20 have fewer convolutions and sides
    above 64 more, of 1024 channels each, so that two to four pixels a side are left. Decoder: a
    linear map to base × base × 1024 and ReLU, n transposed convolutions of stride 2 with 512, 256 …
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
        """Raise ``ValueError`` for a width out of range or an unsupported image shape."""
        width = self.width
        if not is_real(width) or not 0 < width < math.inf:
            raise ValueError(
                f"The width of Convolutional must be a positive finite number. Got {width!r}."
            )
        if len(shape) != 3:
            raise ValueError(
                "A convolutional network needs images: pass image_shape=(height, width) or "
                "(height, width, channels), or X of shape (n_samples, height, width[, channels]). "
                f"Got rows of {math.prod(shape)} features."
            )
        _geometry(shape, float(width))

    def encoder(
        self, shape: tuple[int, ...], n_outputs: int, generator: torch.Generator
    ) -> nn.Module:
        """Return the encoder."""
        return _Encoder(_geometry(shape, float(self.width)), n_outputs, generator)

    def decoder(
        self, n_components: int, shape: tuple[int, ...], generator: torch.Generator
    ) -> nn.Module:
        """Return the decoder."""
        return _Decoder(_geometry(shape, float(self.width)), n_components, generator)

    @property
    def min_rows(self) -> int:
        """2, for batch normalisation."""
        return 2


class _Geometry(NamedTuple):
    """Sizes of both networks.

    Attributes
    ----------
    image_shape : (int, int, int)
        Height, width and channels.
    kernel_size : int
        Side of every kernel.
    encoder_channels : tuple of int
        Channels of the encoder's convolutions.
    base_sides : (int, int)
        Height and width of the decoder's first feature map.
    decoder_channels : tuple of int
        Channels of the decoder's first feature map and after each upsampling.
    """

    image_shape: tuple[int, int, int]
    kernel_size: int
    encoder_channels: tuple[int, ...]
    base_sides: tuple[int, int]
    decoder_channels: tuple[int, ...]


def _geometry(image_shape: tuple[int, ...], multiplier: float) -> _Geometry:
    """Return the sizes for images; ``ValueError`` for an unsupported shape."""
    height, width, channels = image_shape
    n = _n_upsamplings(height, width)
    # Down to two to four pixels a side, in four convolutions where four are possible.
    n_convolutions, side = 0, max(height, width)
    while side > 2 and (n_convolutions < 4 or side > 4):
        n_convolutions, side = n_convolutions + 1, -(-side // 2)
    encoder_channels = (min(_MAX_CHANNELS, _FIRST_CHANNELS * 2**i) for i in range(n_convolutions))
    decoder_channels = (_MAX_CHANNELS // 2**i for i in range(n + 1))
    return _Geometry(
        image_shape=(height, width, channels),
        kernel_size=5 if n >= _N_UPSAMPLINGS_OF_WIDE_KERNELS else 4,
        encoder_channels=tuple(_multiplied(number, multiplier) for number in encoder_channels),
        base_sides=(height >> n, width >> n),
        decoder_channels=tuple(_multiplied(number, multiplier) for number in decoder_channels),
    )


def _n_upsamplings(height: int, width: int) -> int:
    """Return how often the decoder doubles the sides."""
    for n in range(1, max(height, width).bit_length()):
        if all(side % 2**n == 0 and side >> n in _BASE_SIDES for side in (height, width)):
            return n
    raise ValueError(
        "A convolutional network takes images whose height and width are base * 2**n pixels with "
        "bases from 4 to 8 and the same n >= 1: 8, 10, 12, 14, 16, 20, 24, 28, 32, 40, 48, 56, 64 "
        f"and so on. Got an image_shape of {height} x {width}. Crop or pad the images."
    )


def _multiplied(n_channels: int, multiplier: float) -> int:
    """Return a number of channels times the multiplier, at least 4."""
    return max(_MIN_CHANNELS, round(n_channels * multiplier))


@final
class _Encoder(nn.Module):
    """Convolutional encoder of images in flat rows."""

    def __init__(self, geometry: _Geometry, n_outputs: int, generator: torch.Generator) -> None:
        super().__init__()
        height, width, fan_in = self.image_shape = geometry.image_shape
        layers: list[nn.Module] = []
        for channels in geometry.encoder_channels:
            sides = height, width
            layers += _convolution(fan_in, channels, geometry.kernel_size, sides, generator)
            layers += [_batch_norm(channels), nn.ReLU()]
            height, width, fan_in = -(-height // 2), -(-width // 2), channels
        self.layers = nn.Sequential(*layers)
        # The first activation is the largest: feature maps shrink faster than channels grow.
        self.max_activation_size = (
            math.prod(geometry.image_shape[:2]) // 4 * geometry.encoder_channels[0]
        )
        n_features = height * width * fan_in
        self.output = _layer(nn.Linear, n_features, n_outputs, generator=generator)
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, x: Tensor) -> Tensor:
        """Map rows (..., height * width * channels) to (..., n_outputs)."""
        return _apply_in_chunks(self, self._encode, x, self.max_activation_size)

    def _encode(self, x: Tensor) -> Tensor:
        height, width, channels = self.image_shape
        images = x.reshape(-1, height, width, channels).permute(0, 3, 1, 2)
        output: Tensor = self.output(self.layers(images).permute(0, 2, 3, 1).flatten(1))
        return output


@final
class _Decoder(nn.Module):
    """Convolutional decoder to images in flat rows."""

    def __init__(self, geometry: _Geometry, n_components: int, generator: torch.Generator) -> None:
        super().__init__()
        self.base_shape = (*geometry.base_sides, geometry.decoder_channels[0])
        n_features = math.prod(self.base_shape)
        self.input = _layer(nn.Linear, n_components, n_features, generator=generator)
        layers: list[nn.Module] = [nn.ReLU()]
        for fan_in, channels in pairwise(geometry.decoder_channels):
            upsampling = _Upsampling(fan_in, channels, geometry.kernel_size, generator)
            layers += [upsampling, _batch_norm(channels), nn.ReLU()]
        height, width, channels = geometry.image_shape
        # The last activation is the largest.
        self.max_activation_size = height * width * geometry.decoder_channels[-1]
        sizes = geometry.decoder_channels[-1], channels, geometry.kernel_size
        self.layers = nn.Sequential(*layers, _OutputConvolution(*sizes, generator))
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, z: Tensor) -> Tensor:
        """Map codes (..., n_components) to rows (..., height * width * channels)."""
        return _apply_in_chunks(self, self._decode, z, self.max_activation_size)

    def _decode(self, z: Tensor) -> Tensor:
        images = self.input(z).reshape(-1, *self.base_shape).permute(0, 3, 1, 2)
        rows: Tensor = self.layers(images).permute(0, 2, 3, 1).flatten(1)
        return rows


@final
class _Upsampling(nn.Module):
    """Transposed convolution that doubles both sides.

    Parameters
    ----------
    n_inputs, n_outputs, kernel_size : int
        Channels, and side of the kernel.
    generator : torch.Generator
        Draws the weights.
    """

    def __init__(
        self, n_inputs: int, n_outputs: int, kernel_size: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        sizes = n_inputs, n_outputs, kernel_size
        layer = _layer(nn.ConvTranspose2d, *sizes, generator=generator)
        self.weight, self.bias = layer.get_parameter("weight"), layer.get_parameter("bias")
        self.padding = (kernel_size - 1) // 2
        self.output_padding = 2 + 2 * self.padding - kernel_size

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, channels, height, width) to twice as high and wide ones."""
        # On a CPU oneDNN takes long for the gradient of the bias: up to half of the backward pass.
        apart = images.device.type == "cpu"
        output = functional.conv_transpose2d(
            images,
            self.weight,
            None if apart else self.bias,
            stride=2,
            padding=self.padding,
            output_padding=self.output_padding,
        )
        return output + self.bias.to(output.dtype)[:, None, None] if apart else output


@final
class _OutputConvolution(nn.Module):
    """Convolution of stride 1 to images of the same size, for few output channels.

    Parameters
    ----------
    n_inputs, n_outputs, kernel_size : int
        Channels, and side of the kernel.
    generator : torch.Generator
        Draws the weights.
    """

    def __init__(
        self, n_inputs: int, n_outputs: int, kernel_size: int, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.padding = kernel_size // 2
        layer = _layer(nn.Conv2d, n_inputs, n_outputs, kernel_size, generator=generator)
        self.weight, self.bias = layer.get_parameter("weight"), layer.get_parameter("bias")

    def forward(self, images: Tensor) -> Tensor:
        """Map images (n, channels, height, width) of even sides to as large ones."""
        if images.device.type == "cpu":
            return self._in_blocks(images)
        height, width = images.shape[-2:]
        # An even kernel gives one pixel too many, which is cheaper to cut than padding is.
        output = functional.conv2d(images, self.weight, self.bias, padding=self.padding)
        return output[..., :height, :width]

    def _in_blocks(self, images: Tensor) -> Tensor:
        """Compute 2×2 pixels as channels of one, as a CPU computes 16 channels at once.

        Their kernels are one pixel wider and have the weights in one corner each.
        """
        n, _, height, width = images.shape
        corners = [(left, 1 - left, top, 1 - top) for top in (0, 1) for left in (0, 1)]
        weight = torch.cat([functional.pad(self.weight, corner) for corner in corners])
        bias = self.bias.repeat(len(corners))
        blocks = functional.conv2d(images, weight, bias, stride=2, padding=self.padding)
        blocks = blocks.permute(0, 2, 3, 1).reshape(n, height // 2, width // 2, 2, 2, -1)
        return blocks.transpose(2, 3).reshape(n, height, width, -1).permute(0, 3, 1, 2)


def _apply_in_chunks(
    network: nn.Module, function: Callable[[Tensor], Tensor], x: Tensor, max_activation_size: int
) -> Tensor:
    """Apply a function of a matrix, in evaluation to chunks of rows that bound the memory in use.

    Callers may pass thousands of rows, or of draws for one row; batch normalisation in training
    needs the whole batch.
    """
    n_rows = max(1, _MAX_CHUNK_VALUES // max_activation_size)

    def apply(rows: Tensor) -> Tensor:
        if network.training or len(rows) <= n_rows:
            return function(rows)
        return torch.cat([function(chunk) for chunk in torch.split(rows, n_rows)])

    return batch_apply(apply, x)


def _convolution(
    fan_in: int, channels: int, kernel_size: int, sides: tuple[int, int], generator: torch.Generator
) -> list[nn.Module]:
    """Return a convolution of stride 2 with "same" padding: sides are halved, rounded up.

    Of an odd total the larger part of the padding comes after the image, as in the reference.
    """
    (top, bottom), (left, right) = (_padding(side, kernel_size) for side in sides)
    symmetric = (top, left) == (bottom, right)
    options: dict[str, Any] = {
        "stride": 2,
        "padding": (top, left) if symmetric else 0,
        "truncated": True,
    }
    layer = _layer(nn.Conv2d, fan_in, channels, kernel_size, generator=generator, **options)
    return [layer] if symmetric else [nn.ZeroPad2d((left, right, top, bottom)), layer]


def _padding(side: int, kernel_size: int) -> tuple[int, int]:
    """Return the "same" padding before and after a side at stride 2."""
    total = max(0, (-(-side // 2) - 1) * 2 + kernel_size - side)
    return total // 2, total - total // 2


def _layer(
    kind: type[nn.Module],
    *sizes: int,
    generator: torch.Generator,
    truncated: bool = False,
    **options: Any,
) -> nn.Module:
    """Return a layer with weights from N(0, 0.01²), truncated on request, and biases 0."""
    layer = empty_layer(kind, *sizes, **options)
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
