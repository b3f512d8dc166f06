"""Nets of one kind trained together, as one batched network."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from typing import NamedTuple, final

import torch
from torch import Tensor

from skvim.engine._batches import Rows, batch_bounds
from skvim.engine._net import AutoencoderNet
from skvim.engine._placement import HeldRows, place
from skvim.engine._schedules import begin_step
from skvim.engine._stack import Stack
from skvim.engine._stacked_step import StackedStep, stacked_step
from skvim.engine._update import Update, make_update
from skvim.exceptions import SkvimWarning, TrainingDivergedError
from skvim.networks import Dropout

__all__ = ["Trained", "TrainingSet", "stack_bytes", "train_together"]

# Copies of weights: theirs, gradients, an optimizer's two; and of what a row passes through.
_OF_WEIGHTS, _OF_UNITS, _OF_PAIRS = 5, 12, 12


class TrainingSet(NamedTuple):
    """Nets that have rows and seed in common, and so all random numbers.

    Attributes
    ----------
    nets : list of AutoencoderNet
        Prepared, and alike but for values.
    rows : Tensor of shape (n_samples, n_features)
        What they train on, in main memory.
    """

    nets: list[AutoencoderNet]
    rows: Tensor


class Trained(NamedTuple):
    """A net after training.

    Attributes
    ----------
    net : AutoencoderNet
        As ``train`` would leave it, unless it diverged.
    warnings : list of SkvimWarning
        What there is to say of it.
    error : TrainingDivergedError or None
        Why it did not train to the end.
    """

    net: AutoencoderNet
    warnings: list[SkvimWarning]
    error: TrainingDivergedError | None


class _Run(NamedTuple):
    """Sets that take a step together: from ``start`` to ``stop``, batches of so many rows."""

    start: int
    stop: int
    low: int
    high: int

    @property
    def key(self) -> tuple[int, int, int]:
        """What its step is made for."""
        return self.start, self.stop, self.high - self.low


def train_together(sets: Sequence[TrainingSet]) -> list[list[Trained]]:
    """Train nets to the end of their epochs, each as it would train by itself.

    Parameters
    ----------
    sets : sequence of TrainingSet
        Sets of one size, whose rows make batches of the same number.

    Returns
    -------
    list of lists of Trained
        As the sets have them.

    Raises
    ------
    NotTraceableError
        When the nets cannot train together; nothing has been trained, but generators may have
        moved, so that nets to train one by one have to be made anew.
    """
    order = sorted(range(len(sets)), key=lambda i: len(sets[i].rows))
    training = _Training([sets[i] for i in order])
    done = training.run()
    found: list[list[Trained]] = [[] for _ in sets]
    for i, of_set in zip(order, done, strict=True):
        found[i] = of_set
    return found


def stack_bytes(net: AutoencoderNet, n_rows: int) -> int:
    """Return about how much memory a net takes in such a training.

    Parameters
    ----------
    net : AutoencoderNet
        Prepared.
    n_rows : int
        Rows of a batch.
    """
    weights = list(net.autoencoder.parameters())
    units = sum(len(weight) for weight in weights if weight.dim() == 1)
    pairs = n_rows**2 if net.objective.min_rows > 1 else 0
    held = _OF_WEIGHTS * sum(weight.numel() for weight in weights)
    return 4 * (held + _OF_UNITS * n_rows * units + _OF_PAIRS * pairs)


@final
class _Training:
    """One training of many nets; sets come in the order of their numbers of rows."""

    def __init__(self, sets: Sequence[TrainingSet]) -> None:
        self.sets = sets
        self.nets = [net for of_set in sets for net in of_set.nets]
        first = self.first = self.nets[0]
        self.device = first.streams_.noise.device
        self.rows = _Pool([of_set.rows for of_set in sets], self.device)
        min_rows = max(first.objective.min_rows, first.min_rows)
        bounds = [batch_bounds(len(s.rows), first.batch_size, min_rows) for s in sets]
        self.n_steps = len(bounds[0])
        self.runs = [_runs([of_set[i] for of_set in bounds]) for i in range(self.n_steps)]
        self.errors: dict[AutoencoderNet, TrainingDivergedError] = {}
        self.steps: dict[tuple[int, int, int], StackedStep] = {}
        self.n_taken = 0

    def run(self) -> list[list[Trained]]:
        """Train."""
        for net in self.nets:
            net.notify("on_train_begin", X=None, y=None)
        for epoch in range(self.first.max_epochs):
            self._begin_epoch()
            if epoch == 0:
                self._set_up()
            with torch.no_grad():
                means = self._epoch(epoch)
            self._end_epoch(means)
            if len(self.errors) == len(self.nets):
                break
        self.stack.release(self.optimizer)
        for of_set in self.sets:
            _share_generators(of_set.nets, self.device)
        return [[self._finished(net, s.rows) for net in s.nets] for s in self.sets]

    def _begin_epoch(self) -> None:
        """Let the nets begin an epoch."""
        for of_set in self.sets:
            for net in of_set.nets:
                if net not in self.errors:
                    data = Rows(of_set.rows)
                    net.notify("on_epoch_begin", dataset_train=data, dataset_valid=None)

    def _set_up(self) -> None:
        """Stack the nets as they are when the first batch comes."""
        for of_set in self.sets:
            for net in of_set.nets:
                net._set_training(True)
                net.pretrain(place(of_set.rows, self.device))
        self.stack = Stack([of_set.nets for of_set in self.sets])
        self.optimizer = self.stack.optimizer()
        for run in (run for runs in self.runs for run in runs):
            if run.key not in self.steps:
                x = self.rows.first(run)
                self.steps[run.key] = stacked_step(self.stack, run.start, run.stop, x)

    def _epoch(self, epoch: int) -> Tensor:
        """Take an epoch's steps; return the means of losses and terms, (*lead, n_terms)."""
        n_terms = len(self.first.objective.names)
        totals = self.first.autoencoder.mean.new_zeros(*self.stack.lead, n_terms)
        sources = [of_set.nets[0].streams_.shuffle for of_set in self.sets]
        batches = self.rows.batches(self.runs, sources)
        for i, runs in enumerate(self.runs):
            self.n_taken += 1
            share = (epoch + i / self.n_steps) / self.first.max_epochs
            progress, schedule = self.stack.progress, self.first.schedule
            begin_step(self.n_taken, share, progress, self.optimizer, schedule)
            found = []
            for run in runs:
                terms, gradients = self.steps[run.key](next(batches))
                totals[run.start : run.stop] += terms * (run.high - run.low)
                found.append(gradients)
            self._move(found)
        sizes = totals.new_tensor([len(of_set.rows) for of_set in self.sets])
        return totals / sizes.view(-1, 1, 1)

    def _move(self, found: list[list[Tensor]]) -> None:
        """Move all parameters by the gradients of the parts of the stack."""
        if self.n_taken <= 2:  # the optimizer makes its state in its first step
            trained = next(iter(self.steps.values())).trained
            parameters = [self.stack.parameters[name] for name in trained]
            self.update: Update = make_update(self.optimizer, parameters)
        whole = found[0] if len(found) == 1 else list(map(torch.cat, zip(*found, strict=True)))
        self.update(whole)

    def _end_epoch(self, means: Tensor) -> None:
        """Write the epoch into every net's history."""
        values = means.flatten(0, 1).tolist()
        sizes = [len(of_set.rows) for of_set in self.sets for _ in of_set.nets]
        for net, own, n_rows in zip(self.nets, values, sizes, strict=True):
            if net in self.errors:
                continue
            try:
                net.record_epoch("train", own, n_rows, self.n_steps)
            except TrainingDivergedError as error:
                self.errors[net] = error
                continue
            net.notify("on_epoch_end", dataset_train=None, dataset_valid=None)

    def _finished(self, net: AutoencoderNet, rows: Tensor) -> Trained:
        """Return a net after its training has ended."""
        net.n_steps_ = self.n_taken
        net.noise_ = net.streams_.noise  # as after an epoch
        if net in self.errors:
            return Trained(net, [], self.errors[net])
        return Trained(net, net.finish(place(rows, self.device)), None)


@final
class _Pool:
    """The rows of all sets in one place; those that sets share are there once."""

    def __init__(self, rows: Sequence[Tensor], device: torch.device) -> None:
        distinct = {id(own): own for own in rows}
        starts = dict(zip(distinct, _starts(distinct.values()), strict=True))
        parts = list(distinct.values())
        placed = place(parts[0] if len(parts) == 1 else torch.cat(parts), device)
        self.held = placed if isinstance(placed, HeldRows) else HeldRows(placed, device)
        self.device = device
        self.offsets = [starts[id(own)] for own in rows]
        self.sizes = [len(own) for own in rows]

    def first(self, run: "_Run") -> Tensor:
        """Return a batch of a run, of each set's first rows: (n_sets, n_samples, n_features)."""
        size = run.high - run.low
        sets = range(run.start, run.stop)
        index = torch.cat([torch.arange(size) + self.offsets[i] for i in sets])
        (x,) = self.held.batches(index.to(self.device), [(0, len(index))])
        return x.view(-1, size, x.shape[1])

    def batches(
        self, runs: Sequence[Sequence["_Run"]], sources: Sequence[torch.Generator]
    ) -> Iterator[Tensor]:
        """Yield the batches of an epoch, run after run, in the order that sources give each set."""
        orders = [
            torch.randperm(size, generator=source, device=self.device).add_(offset)
            for size, source, offset in zip(self.sizes, sources, self.offsets, strict=True)
        ]
        flat = [run for of_step in runs for run in of_step]
        parts = [
            torch.cat([orders[i][run.low : run.high] for i in range(run.start, run.stop)])
            for run in flat
        ]
        stops = list(accumulate(len(part) for part in parts))
        bounds = list(zip([0, *stops[:-1]], stops, strict=True))
        for run, x in zip(flat, self.held.batches(torch.cat(parts), bounds), strict=True):
            yield x.view(run.stop - run.start, run.high - run.low, x.shape[1])


def _runs(bounds: Sequence[tuple[int, int]]) -> list[_Run]:
    """Return which sets take a step together, from the bounds of each set's batch."""
    found, start = [], 0
    for (low, high), same in groupby(bounds):
        stop = start + len(list(same))
        found.append(_Run(start, stop, low, high))
        start = stop
    return found


def _starts(parts: Iterable[Tensor]) -> list[int]:
    """Return where each part starts when they follow one another."""
    return [0, *accumulate(map(len, parts))][:-1]


def _share_generators(nets: Sequence[AutoencoderNet], device: torch.device) -> None:
    """Bring the generators of a set to where those of its first net are, which drew for all."""
    leader, *others = nets
    for net in others:
        for name in ("shuffle", "noise"):
            getattr(net.streams_, name).set_state(getattr(leader.streams_, name).get_state())
        modules = zip(net.autoencoder.modules(), leader.autoencoder.modules(), strict=True)
        for own, first in modules:
            if isinstance(own, Dropout) and isinstance(first, Dropout):
                own.stream.on(device).set_state(first.stream.on(device).get_state())
