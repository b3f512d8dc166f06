"""Modules of the user's own as encoder and decoder."""

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeAlias, final

import torch
from torch import Tensor, nn

from skvim._torch_private import DropoutLayer
from skvim.networks._architecture import Architecture, batch_apply
from skvim.networks._random import (
    ForbidRandomness,
    RandomStream,
    RedirectRandomness,
    check_seedable,
)

__all__ = ["Modules"]

_Source: TypeAlias = nn.Module | Callable[[int, int], nn.Module]
# Rows of the forward pass that checks the shape of the output.
_N_TEST_ROWS = 2


@final
class Modules(Architecture):
    """Encoder and decoder as torch modules of the user's own.

    Each is a module, or a class or function that returns one, called as ``encoder(n_features,
    n_outputs)`` and ``decoder(n_components, n_features)`` with positional integers. ``n_outputs``
    is ``n_components`` times the number of parameters per dimension of the posterior: 2, location
    and log standard deviation, where the encoder gives its spread, else 1.

    Parameters
    ----------
    encoder : Module, class or callable
        Maps (n, n_features) to (n, n_outputs). Also images come as flat rows, channels last.
    decoder : Module, class or callable
        Maps (n, n_components) to (n, n_features).

    Raises
    ------
    ValueError
        From ``check``, ``encoder`` and ``decoder``, so from ``fit``: when one of the two is no
        module and returns none, has outputs of another shape, or draws random numbers that cannot
        be seeded.

    Notes
    -----
    A module given as an instance is copied, in float32, and trained from its present weights; the
    original is not changed. The two are copied separately: weights shared between them are no
    longer shared. Initial weights that classes and functions draw come from the model's generator
    in place of torch's global one. In training, so do random numbers of ``torch.nn.Dropout``, its
    functional form and calls like ``torch.randn``. Layers that draw inside a single call of torch
    raise an error: dropout inside recurrent layers and attention, ``AlphaDropout``, ``RReLU``.
    Random numbers of scripted or compiled code cannot be redirected.

    ``score_samples`` takes the decoder's derivatives by codes from quotients of differences.

    Examples
    --------
    >>> import torch
    >>> from skvim.networks import Modules
    >>> modules = Modules(torch.nn.Linear, torch.nn.Linear)
    >>> generator = torch.Generator().manual_seed(0)
    >>> modules.encoder((6,), 2, generator)(torch.zeros(3, 6)).shape
    torch.Size([3, 2])
    """

    def __init__(self, encoder: _Source, decoder: _Source) -> None:
        self._encoder = encoder
        self._decoder = decoder

    def check(self, shape: tuple[int, ...]) -> None:
        """Raise ``ValueError`` unless both are modules or callable; every shape is supported."""
        for role, source in (("encoder", self._encoder), ("decoder", self._decoder)):
            if not callable(source) or _is_architecture_class(source):
                raise ValueError(
                    f"The {role} must be a torch.nn.Module, a class of such or a function that "
                    f"returns one. Got {source!r} instead; an architecture of skvim.networks is "
                    "passed as an object."
                )

    def encoder(
        self, shape: tuple[int, ...], n_outputs: int, generator: torch.Generator
    ) -> nn.Module:
        """Return the encoder, or a copy of it."""
        return _build("encoder", self._encoder, math.prod(shape), n_outputs, generator)

    def decoder(
        self, n_components: int, shape: tuple[int, ...], generator: torch.Generator
    ) -> nn.Module:
        """Return the decoder, or a copy of it."""
        return _build("decoder", self._decoder, n_components, math.prod(shape), generator)

    def __repr__(self) -> str:
        """Show both."""
        return f"Modules(encoder={self._encoder!r}, decoder={self._decoder!r})"


def _build(
    role: str, source: _Source, n_in: int, n_out: int, generator: torch.Generator
) -> nn.Module:
    """Return a new encoder or decoder, whose random numbers and output shape are checked."""
    if isinstance(source, nn.Module):
        module = copy.deepcopy(source)
    else:
        with RedirectRandomness(RandomStream.from_generator(generator)):
            module = source(n_in, n_out)
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"The {role} {source!r} must return a torch.nn.Module when called with ({n_in}, "
            f"{n_out}). Got {module!r} instead."
        )
    module.to(device="cpu", dtype=torch.float32)
    try:
        check_seedable(module)
        _check_output_shape(module, n_in, n_out)
    except ValueError as error:
        raise ValueError(f"The {role} does not suit: {error}") from error
    return _UserModule(module, RandomStream.from_generator(generator))


@final
class _UserModule(nn.Module):
    """A user's module, called with matrices only; in training it draws from its own stream."""

    def __init__(self, module: nn.Module, stream: RandomStream) -> None:
        super().__init__()
        self.module = module
        self.stream = stream
        # The mode costs a few microseconds a call: not used for torch's layers without dropout.
        self.may_draw = not all(map(_never_draws, module.modules()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_out)."""
        redirect = self.training and self.may_draw
        with RedirectRandomness(self.stream) if redirect else nullcontext():
            return batch_apply(self.module, x)


def _is_architecture_class(source: object) -> bool:
    """Whether the source is a class of architectures, of which an object is expected."""
    return isinstance(source, type) and issubclass(source, Architecture)


def _never_draws(layer: nn.Module) -> bool:
    """Whether a layer is known to draw no random numbers: one of torch's own but dropout."""
    own = type(layer).__module__.startswith("torch.nn.modules.")
    return own and not isinstance(layer, DropoutLayer)


def _check_output_shape(module: nn.Module, n_in: int, n_out: int) -> None:
    """Raise ``ValueError`` unless the module maps (n, n_in) to (n, n_out) in evaluation mode."""
    n = _N_TEST_ROWS
    rows = torch.zeros(n, n_in, dtype=torch.float32)
    expected = f"it must map rows of shape ({n}, {n_in}) to ({n}, {n_out})."
    module.eval()
    try:
        with torch.no_grad(), ForbidRandomness():
            output = module(rows)
    except (RuntimeError, IndexError, TypeError) as error:
        raise ValueError(
            f"{expected} It raised {type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error
    shape = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if shape != (n, n_out):
        raise ValueError(f"{expected} Got {shape} instead.")
    module.train()
