"""Random numbers from explicit generators, also in modules that use torch's global generator.

torch's layers draw initial weights, and its dropout draws masks, from the global generator. A
function mode, which acts on one thread, passes such calls a generator of the model instead.
"""

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor, nn

from skvim._torch_modes import torch_defaults
from skvim.networks._function_mode import FunctionMode

__all__ = [
    "ForbidRandomness",
    "RandomStream",
    "RedirectRandomness",
    "check_seedable",
    "dropout",
    "generator_state",
    "set_generator_state",
    "streams_of",
]

# Names of torch's random functions and methods that take a generator.
_SEEDABLE = {"bernoulli", "bernoulli_", "binomial", "cauchy_", "exponential_", "geometric_"}
_SEEDABLE |= {"log_normal_", "multinomial", "normal", "normal_", "poisson", "rand", "randint"}
_SEEDABLE |= {"randn", "random_", "randperm", "uniform_", "_standard_gamma", "_sample_dirichlet"}
# Those of torch.nn.init: function modes see only some of them, which ones depends on the release.
_SEEDABLE |= {"kaiming_normal_", "kaiming_uniform_", "orthogonal_", "sparse_", "trunc_normal_"}
_SEEDABLE |= {"xavier_normal_", "xavier_uniform_"}
_LIKE: dict[str, Callable[..., Tensor]] = {
    "rand_like": Tensor.uniform_,
    "randn_like": Tensor.normal_,
}
# Dropout functions, and over how many last axes they drop values together.
_DROPOUT = {"dropout": 0, "dropout1d": 1, "dropout2d": 2, "dropout3d": 3}
# Layers that draw random numbers inside one call that takes no generator.
_UNSEEDABLE = (
    nn.AlphaDropout,
    nn.FeatureAlphaDropout,
    nn.FractionalMaxPool2d,
    nn.FractionalMaxPool3d,
    nn.RReLU,
)


@final
class RandomStream:
    """A seeded ``torch.Generator`` on whichever device it is used; it can be copied and pickled.

    Copies and pickles continue where the original stood. A move to another device starts again
    from the seed, since no generator continues on another kind of device.

    Parameters
    ----------
    seed : int
        Seed of the generator.
    """

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._generator: torch.Generator | None = None

    @classmethod
    def from_generator(cls, generator: torch.Generator) -> "RandomStream":
        """Return a stream whose seed is drawn from a generator on the CPU."""
        return cls(int(torch.randint(2**62, (), generator=generator, device="cpu")))

    def on(self, device: torch.device) -> torch.Generator:
        """Return the generator on a device."""
        generator = self._generator
        if generator is None or generator.device != device:
            generator = self._generator = torch.Generator(device).manual_seed(self.seed)
        return generator

    def __getstate__(self) -> dict[str, Any]:
        if self._generator is None:
            return {"seed": self.seed}
        state = generator_state(self._generator)
        return {"seed": self.seed, "device": str(self._generator.device), "state": state}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.seed = state["seed"]
        self._generator = None
        device = torch.device(state.get("device", "cpu"))
        # A model trained on a GPU may be loaded without one.
        if "state" in state and (device.type != "cuda" or torch.cuda.is_available()):
            set_generator_state(self.on(device), state["state"])


def generator_state(generator: torch.Generator) -> bytes:
    """Return the state of a generator, to be pickled.

    A pickled tensor would depend on the modes under which it is opened.
    """
    return generator.get_state().numpy().tobytes()


def set_generator_state(generator: torch.Generator, state: bytes) -> None:
    """Set the state of a generator."""
    with torch_defaults():
        generator.set_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))


def streams_of(module: nn.Module) -> list[RandomStream]:
    """Return the streams of a module and its submodules, in a fixed order."""
    values = [value for part in module.modules() for value in vars(part).values()]
    return [value for value in values if isinstance(value, RandomStream)]


def dropout(x: Tensor, rate: float, generator: torch.Generator, n_shared_axes: int = 0) -> Tensor:
    """Dropout: set entries to 0 with probability ``rate``, and divide the others by 1 − rate.

    Parameters
    ----------
    x : Tensor
        Of any shape.
    rate : float in [0, 1]
        Probability of dropping an entry.
    generator : torch.Generator
        Draws the mask, on the device of ``x``.
    n_shared_axes : int, default=0
        Number of last axes along which entries are dropped together, as in ``dropout2d``.

    Returns
    -------
    Tensor
        Of the shape and the expectation of ``x``.
    """
    if rate == 1:
        return x * 0
    n_own = max(1, x.dim() - n_shared_axes) if n_shared_axes else x.dim()
    if n_own == x.dim():
        mask = torch.empty_like(x)
    else:
        mask = x.new_empty(*x.shape[:n_own], *(1 for _ in x.shape[n_own:]))
    with torch.no_grad():
        mask.bernoulli_(1 - rate, generator=generator).div_(1 - rate)
    return x * mask


@final
class RedirectRandomness(FunctionMode):
    """Context manager: draw from a stream whatever would come from torch's global generator.

    It acts on the thread that entered it. Calls that pass a generator keep theirs.

    Parameters
    ----------
    stream : RandomStream
        Source of the random numbers.
    """

    def __init__(self, stream: RandomStream) -> None:
        super().__init__()
        self.stream = stream

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call a function of torch, with a generator if it is random."""
        name = getattr(func, "__name__", "")
        if name in _SEEDABLE and options.get("generator") is None:
            generator = self.stream.on(_device(args, options))
            return func(*args, **{**options, "generator": generator})
        if name in _LIKE and options.get("generator") is None:
            values = torch.empty_like(*args, **options)
            with torch.no_grad():
                return _LIKE[name](values, generator=self.stream.on(values.device))
        if name in _DROPOUT:
            return self._dropout(_DROPOUT[name], *args, **options)
        return func(*args, **options)

    def _dropout(
        self,
        n_shared_axes: int,
        x: Tensor,
        p: float = 0.5,
        training: bool = True,
        inplace: bool = False,
    ) -> Tensor:
        """Replace torch's dropout functions."""
        if not training or p == 0:
            return x
        if not 0 <= p <= 1:
            raise ValueError(f"A dropout probability must be in [0, 1]. Got {p!r} instead.")
        dropped = dropout(x, p, self.stream.on(x.device), n_shared_axes)
        return x.copy_(dropped) if inplace else dropped


@final
class ForbidRandomness(FunctionMode):
    """Context manager: raise ``ValueError`` on random numbers from torch's global generator."""

    def call(self, func: Callable[..., Any], args: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Call a function of torch unless it is random."""
        name = getattr(func, "__name__", "")
        active = name in _DROPOUT and options.get("training", len(args) < 3 or args[2])
        if active or ((name in _SEEDABLE or name in _LIKE) and options.get("generator") is None):
            raise ValueError(
                f"it draws random numbers in evaluation mode, by {name!r}. Draw only where "
                "self.training is true; functional dropout takes training=self.training."
            )
        return func(*args, **options)


def check_seedable(module: nn.Module) -> None:
    """Raise ``ValueError`` when a layer draws random numbers without taking a generator."""
    for name, layer in module.named_modules():
        rate = getattr(layer, "dropout", 0)
        inside = isinstance(layer, nn.RNNBase | nn.MultiheadAttention) and rate > 0
        if inside or isinstance(layer, _UNSEEDABLE):
            raise ValueError(
                f"its layer {name or type(layer).__name__!r} ({layer}) draws from torch's global "
                "generator, out of random_state's reach. Use nn.Dropout beside it instead."
            )


def _device(args: tuple[Any, ...], options: dict[str, Any]) -> torch.device:
    """Return the device on which a call creates its result."""
    for value in (*args, *options.values()):
        if isinstance(value, Tensor):
            return value.device
    device = options.get("device")
    return torch.device(device) if device is not None else torch.get_default_device()
