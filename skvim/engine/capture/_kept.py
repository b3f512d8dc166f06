"""Programs of training steps that are kept for later fits of the same structure."""

import os
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from threading import Lock
from typing import Any, Self, final

import torch
from torch import Tensor

from skvim.engine.capture._optimiser import Program
from skvim.engine.capture._recorder import Draw

__all__ = ["STORE", "KeptProgram", "Store"]

# Bytes of programs that a process keeps, and those of a program beside its constants for each input
# and operation: by so much fits of 300 structures make a process grow. Functions of Python take a
# sixth of it.
_MOST_BYTES, _BYTES_OF_PART = 2**26, 4096


@final
@dataclass(frozen=True)
class _Place:
    """Where a known tensor of a program lies: in a persistent tensor, or in memory of constants.

    ``offset`` counts from the first element of a persistent tensor.
    """

    owner: int  # constants come after the persistent tensors
    dtype: torch.dtype
    size: tuple[int, ...]
    stride: tuple[int, ...]
    offset: int


@final
@dataclass(frozen=True)
class KeptProgram:
    """A program without the tensors and generators of the fit that it was made for."""

    function: Callable[..., Any]  # of known tensors, batch and draws
    places: tuple[_Place, ...]  # of the known tensors
    constants: tuple[Tensor, ...]  # copies of their memory, as bytes
    draws: tuple[tuple[Draw, int], ...]  # with the place of each one's generator
    trained: tuple[str, ...]
    n_bytes: int  # of all of it, about

    @classmethod
    def of(
        cls,
        program: Program,
        persistent: Sequence[Tensor],
        draws: Sequence[Draw],
        generators: Sequence[torch.Generator],
        trained: tuple[str, ...],
    ) -> Self | None:
        """Return a program to keep, made before its first run; None if it has inputs of its own."""
        sources = [id(generator) for generator in generators]
        if any(id(draw.generator) not in sources for draw in draws):
            return None
        owners = {_address(t): i for i, t in reversed(list(enumerate(persistent))) if t.numel()}
        memory: dict[int, Tensor] = {}
        places = []
        for tensor in program.known:
            address = _address(tensor)
            if address not in owners:
                owners[address] = len(persistent) + len(memory)
                memory[address] = _memory(tensor)
            owner = owners[address]
            start = int(persistent[owner].storage_offset()) if owner < len(persistent) else 0
            offset = int(tensor.storage_offset()) - start
            size, stride = tuple(tensor.shape), tensor.stride()
            places.append(_Place(owner, tensor.dtype, size, stride, offset))
            if owner < len(persistent) and persistent[owner].dtype != tensor.dtype:
                return None
        kept = tuple((draw.alone(), sources.index(id(draw.generator))) for draw in draws)
        constants = tuple(of.clone() for of in memory.values())
        templates = [draw.template for draw, _ in kept if draw.template is not None]
        n_bytes = sum(tensor.untyped_storage().nbytes() for tensor in (*constants, *templates))
        n_bytes += _BYTES_OF_PART * (len(program.graph.nodes) + len(places))
        return cls(program.function.func, tuple(places), constants, kept, trained, n_bytes)

    @torch.no_grad()
    def bound(
        self, tensors: Iterable[Tensor], generators: Sequence[torch.Generator]
    ) -> tuple[Callable[..., Any], list[Draw]]:
        """Return function and draws for tensors and generators; constants are copied."""
        persistent = list(tensors)
        memory = [constant.clone().untyped_storage() for constant in self.constants]
        known = []
        for place in self.places:
            if place.owner < len(persistent):
                known.append(_part(persistent[place.owner], place))
                continue
            storage = memory[place.owner - len(persistent)]
            whole = torch.empty(0, dtype=place.dtype, device=storage.device)
            known.append(whole.set_(storage, place.offset, place.size, place.stride))
        draws = [draw.drawn_from(generators[i]) for draw, i in self.draws]
        return partial(self.function, *known), draws


@final
class Store:
    """Programs by the structure of their step, the least recently used of which are dropped.

    Parameters
    ----------
    most_bytes : int
        Bytes that they may take; a program that takes more alone is not kept.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.clear()

    def clear(self) -> None:
        """Drop all programs, and the lock, which another thread may hold in a forked process."""
        self._lock = Lock()
        self._programs: OrderedDict[Hashable, KeptProgram] = OrderedDict()

    @property
    def n_bytes(self) -> int:
        """Bytes of all programs; counted anew, so that Ctrl-C at any moment leaves them right."""
        return sum(program.n_bytes for program in self._programs.values())

    def __len__(self) -> int:
        return len(self._programs)

    def get(self, key: Hashable) -> KeptProgram | None:
        """Return the program of a structure, or None."""
        with self._lock:
            found = self._programs.get(key)
            if found is not None:
                self._programs.move_to_end(key)
            return found

    def put(self, key: Hashable, program: KeptProgram) -> None:
        """Keep a program, in the place of an earlier one of the same structure."""
        with self._lock:
            self._programs.pop(key, None)
            if program.n_bytes > self.most_bytes:
                return
            self._programs[key] = program
            while self.n_bytes > self.most_bytes:
                self._programs.popitem(last=False)

    def drop(self, key: Hashable) -> None:
        """Drop the program of a structure, if there is one."""
        with self._lock:
            self._programs.pop(key, None)


#: The programs of this process; a forked one starts without any.
STORE = Store(_MOST_BYTES)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=STORE.clear)


def _address(tensor: Tensor) -> int:
    """Return what tells the memory of a tensor from that of others while they live."""
    address = tensor.untyped_storage().data_ptr()
    return address if tensor.numel() and address else -1 - id(tensor)


def _memory(tensor: Tensor) -> Tensor:
    """Return all memory of a tensor as bytes."""
    return torch.empty(0, dtype=torch.uint8, device=tensor.device).set_(tensor.untyped_storage())


def _part(owner: Tensor, place: _Place) -> Tensor:
    """Return a tensor at a place in the memory of an owner, itself if it is all of it."""
    if place.offset == 0 and (owner.shape, owner.stride()) == (place.size, place.stride):
        return owner
    offset = owner.storage_offset() + place.offset
    return owner.as_strided(place.size, place.stride, offset)
