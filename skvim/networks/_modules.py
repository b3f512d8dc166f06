"""Networks that the user brings."""

import copy
import math
from collections.abc import Callable
from contextlib import nullcontext
from typing import TypeAlias, final

import torch
from torch import Tensor, nn

from skvim.networks._architecture import Architecture, by_rows
from skvim.networks._random import Forbidden, Redirected, Stream, refuse_own_randomness

__all__ = ["Modules"]

_Source: TypeAlias = nn.Module | Callable[[int, int], nn.Module]
# Rows of the pass that shows whether a module fits.
_N_ROWS = 2


@final
class Modules(Architecture):
    """An encoder and a decoder of the user's.

    Each is a class or a function that returns a module, called as ``encoder(n_features,
    n_outputs)`` and ``decoder(n_components, n_features)`` with positional integers, or a module
    that exists already. ``n_outputs`` is ``n_components`` times the numbers that the posterior
    needs for a dimension: 2, location and log standard deviation, where it has a spread that the
    encoder gives, else 1.

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
        module and makes none, returns another shape, or draws random numbers out of reach.

    Notes
    -----
    A module given as an instance is copied, in float32, and trained from the weights it has: the
    original stays as it was. The two are copied one by one, so that weights they share are shared
    no more. Classes and functions draw initial weights as they always do, but from the model's
    generator in place of torch's global one. In training, ``torch.nn.Dropout``, its functional form
    and calls like ``torch.randn`` draw from a generator of the model's too. Layers that draw inside
    a single call of torch are refused: dropout inside recurrent layers and attention,
    ``AlphaDropout``, ``RReLU``. What scripted or compiled code draws cannot be redirected.

    ``score_samples`` runs the decoder under ``torch.func.vmap``, which code that branches on the
    values of tensors does not support.

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
        """Raise ``ValueError`` unless both are modules or can be called; any shape will do."""
        for role, source in (("encoder", self._encoder), ("decoder", self._decoder)):
            if not callable(source) or _is_recipe(source):
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
    """Return the encoder or decoder, checked."""
    if isinstance(source, nn.Module):
        module = copy.deepcopy(source)
    else:
        with Redirected(Stream.drawn(generator)):
            module = source(n_in, n_out)
    if not isinstance(module, nn.Module):
        raise ValueError(
            f"The {role} {source!r} must return a torch.nn.Module when called with ({n_in}, "
            f"{n_out}). Got {module!r} instead."
        )
    module.to(device="cpu", dtype=torch.float32)
    try:
        refuse_own_randomness(module)
        _check_shape(module, n_in, n_out)
    except ValueError as error:
        raise ValueError(f"The {role} does not suit: {error}") from error
    return _Rows(module, Stream.drawn(generator))


@final
class _Rows(nn.Module):
    """A user's module that meets matrices only, and draws from a stream of its own in training."""

    def __init__(self, module: nn.Module, stream: Stream) -> None:
        super().__init__()
        self.module = module
        self.stream = stream
        # The mode costs a few microseconds a call, which layers of torch without dropout spare.
        self.redirects = not all(map(_draws_nothing, module.modules()))

    def forward(self, x: Tensor) -> Tensor:
        """Map (..., n_in) to (..., n_out)."""
        redirected = self.training and self.redirects
        with Redirected(self.stream) if redirected else nullcontext():
            return by_rows(self.module, x)


def _is_recipe(source: object) -> bool:
    """Whether a class of architectures stands where an object of it should."""
    return isinstance(source, type) and issubclass(source, Architecture)


def _draws_nothing(layer: nn.Module) -> bool:
    """Whether a layer is known to draw no random numbers: torch's own but dropout."""
    own = type(layer).__module__.startswith("torch.nn.modules.")
    return own and not isinstance(layer, nn.modules.dropout._DropoutNd)


def _check_shape(module: nn.Module, n_in: int, n_out: int) -> None:
    """Raise ``ValueError`` unless the module maps (n, n_in) to (n, n_out) in evaluation mode."""
    rows = torch.zeros(_N_ROWS, n_in, dtype=torch.float32)
    module.eval()
    try:
        with torch.no_grad(), Forbidden():
            output = module(rows)
    except (RuntimeError, IndexError, TypeError) as error:
        raise ValueError(
            f"it must map rows of shape ({_N_ROWS}, {n_in}) to ({_N_ROWS}, {n_out}). It raised "
            f"{type(error).__name__}: {str(error).splitlines()[0]}"
        ) from error
    found = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
    if found != (_N_ROWS, n_out):
        raise ValueError(
            f"it must map rows of shape ({_N_ROWS}, {n_in}) to ({_N_ROWS}, {n_out}). "
            f"Got {found} instead."
        )
    module.train()
