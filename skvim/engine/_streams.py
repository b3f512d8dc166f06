"""Random generators of one training, seeded by their purpose."""

from typing import Any, final

import numpy as np
import torch

from skvim.networks._random import generator_state, set_generator_state

__all__ = ["Streams", "child_seed"]


def child_seed(seed: int, purpose: str) -> int:
    """Return a seed for one purpose; different purposes give unrelated streams."""
    words = np.random.SeedSequence([seed, *purpose.encode()]).generate_state(2)
    return int(words[0]) << 31 ^ int(words[1])


@final
class Streams:
    """Generators of shuffling and of sampling noise, on the training device."""

    def __init__(self, seed: int, device: torch.device) -> None:
        self.seed = seed
        self.shuffle = torch.Generator(device).manual_seed(child_seed(seed, "shuffle"))
        self.noise = torch.Generator(device).manual_seed(child_seed(seed, "noise"))

    def __getstate__(self) -> dict[str, Any]:
        states = {name: generator_state(getattr(self, name)) for name in ("shuffle", "noise")}
        return {"seed": self.seed, "device": str(self.shuffle.device), "states": states}

    def __setstate__(self, state: dict[str, Any]) -> None:
        device = torch.device(state["device"])
        # A model trained on a GPU opens on a CPU, where its streams cannot be continued.
        is_lost = device.type == "cuda" and not torch.cuda.is_available()
        self.__init__(state["seed"], torch.device("cpu") if is_lost else device)
        for name, values in ({} if is_lost else state["states"]).items():
            set_generator_state(getattr(self, name), values)
