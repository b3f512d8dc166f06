"""The random numbers of one training: explicit generators, one a purpose."""

from typing import Any, final

import numpy as np
import torch

__all__ = ["Streams", "child_seed"]


def child_seed(seed: int, purpose: str) -> int:
    """Return a seed for one purpose; different purposes give unrelated streams."""
    words = np.random.SeedSequence([seed, *purpose.encode()]).generate_state(2)
    return int(words[0]) << 31 ^ int(words[1])


@final
class Streams:
    """Generators for shuffling and for sampling on a device.

    Parameters
    ----------
    seed : int
        Where both start.
    device : torch.device
        Where they draw.
    """

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.shuffle = _generator(device, child_seed(seed, "shuffle"))
        self.noise = _generator(device, child_seed(seed, "noise"))

    def __getstate__(self) -> dict[str, Any]:
        generators = {"shuffle": self.shuffle, "noise": self.noise}
        states = {name: generator.get_state() for name, generator in generators.items()}
        return {"seed": self.seed, "device": str(self.shuffle.device), "states": states}

    def __setstate__(self, state: dict[str, Any]) -> None:
        device = torch.device(state["device"])
        if device.type == "cuda" and not torch.cuda.is_available():
            # A model trained on a GPU opens on a CPU; a stream cannot be continued across devices.
            self.__init__(state["seed"], torch.device("cpu"))
            return
        self.seed = state["seed"]
        self.shuffle = torch.Generator(device)
        self.noise = torch.Generator(device)
        self.shuffle.set_state(state["states"]["shuffle"])
        self.noise.set_state(state["states"]["noise"])


def _generator(device: torch.device, seed: int) -> torch.Generator:
    """Return a seeded generator on a device."""
    return torch.Generator(device).manual_seed(seed)
