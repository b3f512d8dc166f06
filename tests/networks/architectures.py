"""Architectures to compare, also in processes that import neither pytest nor the models."""

import dataclasses

import joblib
from torch import nn

from skvim.networks import MLP, Architecture, Convolutional, Modules, Paired, Perceptrons


class Recurrent(nn.Module):
    """Tensors in lists and twice, settings as text, a buffer."""

    def __init__(self, width: int = 3) -> None:
        super().__init__()
        self.name = "name"
        self.rnn = nn.GRU(2, width, num_layers=2)
        self.norm = nn.BatchNorm1d(width)
        self.last = self.first = nn.Linear(width, width)
        for number, tensor in enumerate(self.state_dict().values()):
            tensor.fill_(number)


def linear(n_in: int, n_out: int) -> nn.Module:
    return nn.Linear(n_in, n_out)


class Own(Architecture):
    """A user's architecture that holds modules in a dict."""

    def __init__(self, width: int) -> None:
        self.layers = {"recurrent": Recurrent(width)}

    def check(self, shape): ...

    def encoder(self, shape, n_outputs, generator):
        return MLP(shape[0], (), n_outputs, activation="relu", generator=generator)

    def decoder(self, n_components, shape, generator):
        return MLP(n_components, (), shape[0], activation="relu", generator=generator)


@dataclasses.dataclass(slots=True, eq=False)
class Slotted(Own):
    width: int


# Two makers of different architectures each.
MAKERS = {
    "perceptrons": (lambda: Perceptrons([8], "tanh"), lambda: Perceptrons([8], "tanh", "batch")),
    "convolutional": (lambda: Convolutional(0.5), lambda: Convolutional(0.25)),
    "classes": (lambda: Modules(nn.Linear, linear), lambda: Modules(nn.Linear, nn.Linear)),
    "modules": (lambda: Modules(Recurrent(), linear), lambda: Modules(Recurrent(4), linear)),
    "pair": (
        lambda: Paired(Convolutional(0.5), Modules(linear, Recurrent())),
        lambda: Paired(Convolutional(0.5), Modules(linear, linear)),
    ),
    "own": (lambda: Own(3), lambda: Own(4)),
    "slots": (lambda: Slotted(3), lambda: Slotted(4)),
}


def hashes() -> list[str]:
    """Return a hash of each that processes can compare."""
    return [joblib.hash(make()) for makers in MAKERS.values() for make in makers]
