"""Rows of models that train as one: sets of nets, pooled rows and their batches."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from typing import NamedTuple, final

import torch
from torch import Tensor

from skvim.engine._net import AutoencoderNet
from skvim.engine._placement import Rows, place
from skvim.engine._stopping import Split

__all__ = ["PooledRows", "SameSizeSets", "TrainingSet", "group_by_bounds"]


class TrainingSet(NamedTuple):
    """Nets that have rows and seed, and therefore all random numbers, in common."""

    nets: list[AutoencoderNet]  # prepared, and equal but for values
    rows: Tensor  # (n_samples, n_features) in main memory
    split: Split | None = None  # None if all rows train

    @property
    def n_train(self) -> int:
        """Number of training rows."""
        return len(self.rows if self.split is None else self.split.train)

    @property
    def n_valid(self) -> int:
        """Number of validation rows."""
        return 0 if self.split is None else len(self.split.valid)

    def training_rows(self, device: torch.device) -> Rows:
        """Return the training rows, placed."""
        rows = place(self.rows, device)
        return rows if self.split is None else rows.select(self.split.train)


class SameSizeSets(NamedTuple):
    """Sets from ``start`` to ``stop``, whose batch has the rows from ``low`` to ``high``."""

    start: int
    stop: int
    low: int
    high: int

    @property
    def key(self) -> tuple[int, int, int]:
        """Sets and number of rows: what a batched step is traced for."""
        return self.start, self.stop, self.high - self.low


def group_by_bounds(bounds: Sequence[tuple[int, int]]) -> list[SameSizeSets]:
    """Group neighbouring sets whose batches have the same bounds."""
    groups, start = [], 0
    for (low, high), same in groupby(bounds):
        stop = start + len(list(same))
        groups.append(SameSizeSets(start, stop, low, high))
        start = stop
    return groups


@final
class PooledRows:
    """The rows of all sets in one tensor; rows that sets share are there once."""

    def __init__(self, sets: Sequence[TrainingSet], device: torch.device) -> None:
        distinct = {id(part.rows): part.rows for part in sets}
        starts = dict(zip(distinct, _starts(distinct.values()), strict=True))
        rows = list(distinct.values())
        self.rows = place(rows[0] if len(rows) == 1 else torch.cat(rows), device)
        self.device = device
        self.offsets = [starts[id(part.rows)] for part in sets]
        self.sizes = [part.n_train for part in sets]
        splits = [part.split for part in sets]
        self.train = [None if split is None else split.train.to(device) for split in splits]
        self.valid = [
            (split.valid + offset).to(device)
            for split, offset in zip(splits, self.offsets, strict=True)
            if split is not None
        ]

    def first_batch(self, sets: SameSizeSets) -> Tensor:
        """Return the first training rows of each set: (n_sets, n_samples, n_features)."""
        size = sets.high - sets.low
        numbers = range(sets.start, sets.stop)
        index = torch.cat([self._positions(i, torch.arange(size)) for i in numbers])
        (x,) = self.rows.batches(index, [(0, len(index))])
        return x.view(-1, size, x.shape[1])

    def batches(
        self,
        steps: Sequence[Sequence[SameSizeSets]],
        generators: Sequence[torch.Generator],
        first: int = 0,
    ) -> Iterator[Tensor]:
        """Yield an epoch's batches (n_sets, n_samples, n_features) for the sets of every step.

        Steps before ``first`` are left out.
        """
        orders = [
            self._positions(i, torch.randperm(size, generator=generator, device=self.device))
            for i, (size, generator) in enumerate(zip(self.sizes, generators, strict=True))
        ]
        groups = [group for of_step in steps[first:] for group in of_step]
        parts = [
            torch.cat([orders[i][g.low : g.high] for i in range(g.start, g.stop)]) for g in groups
        ]
        stops = list(accumulate(len(part) for part in parts))
        bounds = list(zip([0, *stops[:-1]], stops, strict=True))
        for group, x in zip(groups, self.rows.batches(torch.cat(parts), bounds), strict=True):
            yield x.view(group.stop - group.start, group.high - group.low, x.shape[1])

    def validation_batches(
        self, start: int, stop: int, bounds: Sequence[tuple[int, int]]
    ) -> Iterator[Tensor]:
        """Yield batches of the validation rows of the sets from ``start`` to ``stop``."""
        n_sets, own = stop - start, self.valid[start:stop]
        index = torch.cat([of_set[low:high] for low, high in bounds for of_set in own])
        flat = [(n_sets * low, n_sets * high) for low, high in bounds]
        for (low, high), x in zip(bounds, self.rows.batches(index, flat), strict=True):
            yield x.view(n_sets, high - low, x.shape[1])

    def _positions(self, i: int, order: Tensor) -> Tensor:
        """Return the positions of a set's training rows, numbered among themselves, in the pool."""
        own, order = self.train[i], order.to(self.device)
        return (order if own is None else own[order]) + self.offsets[i]


def _starts(parts: Iterable[Tensor]) -> list[int]:
    """Return where each part starts when they follow one another."""
    return [0, *accumulate(map(len, parts))][:-1]
