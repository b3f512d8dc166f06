"""Nets that train as one for a while: those that have not stopped yet, and what they share."""

from collections.abc import Iterable, Iterator, Sequence
from itertools import accumulate, groupby
from typing import NamedTuple, final

import torch
from torch import Tensor

from skvim.engine._batches import batch_bounds
from skvim.engine._graphs import Graphed, report_no_graph
from skvim.engine._modes import has_graphs
from skvim.engine._net import AutoencoderNet
from skvim.engine._placement import TrainingRows, held, place
from skvim.engine._schedules import begin_step
from skvim.engine._stack import Stack, at
from skvim.engine._stacked_losses import Losses, stacked_losses
from skvim.engine._stacked_step import StackedStep, stacked_step
from skvim.engine._stopping import Split
from skvim.engine._update import Update, make_update
from skvim.networks import Dropout

__all__ = ["Part", "Stage", "positions", "set_positions"]

# What takes a run's batch to losses and terms, and gradients.
Repeated = StackedStep | Graphed[tuple[Tensor, list[Tensor]]]

# Share of the models left at which a smaller stack is worth thinking of, and how many steps of one
# model it has to save: working it out takes as long, a few tenths of a second.
_FEW, _WORTHWHILE = 0.5, 1500


class Part(NamedTuple):
    """A set as it trains.

    Attributes
    ----------
    nets : list of AutoencoderNet
        Which have rows and seed in common, and so all random numbers.
    rows : Tensor of shape (n_samples, n_features)
        In main memory.
    split : Split or None
        Which of them train and which validate; None if all train.
    """

    nets: list[AutoencoderNet]
    rows: Tensor
    split: Split | None

    @property
    def n_train(self) -> int:
        """Rows to train on."""
        return len(self.rows if self.split is None else self.split.train)

    @property
    def n_valid(self) -> int:
        """Rows to validate on."""
        return 0 if self.split is None else len(self.split.valid)

    def training_rows(self, device: torch.device) -> TrainingRows:
        """Return the rows to train on, placed."""
        rows = place(self.rows, device)
        return rows if self.split is None else held(rows)[self.split.train]


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


class _Validation(NamedTuple):
    """Sets from ``start`` to ``stop``, which set the same number of rows aside.

    Attributes
    ----------
    bounds : list of (int, int)
        Batches of these rows.
    losses : list of callables
        What computes the losses of each.
    """

    start: int
    stop: int
    bounds: list[tuple[int, int]]
    losses: list[Losses]


@final
class Stage:
    """One stack of nets, its rows and its optimizer.

    Parameters
    ----------
    parts : sequence of Part
        Sets of one size, in the order of their numbers of rows. A net may stand twice in one, to
        fill it up.
    device : torch.device
        Where they train.

    Attributes
    ----------
    places : dict of AutoencoderNet to tuple (i_set, i_model)
        Where each net is.
    n_steps : int
        Steps of an epoch.
    n_validations : list of int
        Batches of each set's validation.
    n_taken : int
        Steps taken, earlier stages included.
    """

    def __init__(self, parts: Sequence[Part], device: torch.device) -> None:
        self.parts = parts
        self.device = device
        self.places: dict[AutoencoderNet, tuple[int, int]] = {}
        for i, part in enumerate(parts):
            for j, net in enumerate(part.nets):
                self.places.setdefault(net, (i, j))
        first = self.first = parts[0].nets[0]
        self.rows = _Pool(parts, device)
        min_rows = max(first.objective.min_rows, first.min_rows)
        bounds = [batch_bounds(part.n_train, first.batch_size, min_rows) for part in parts]
        self.n_steps = len(bounds[0])
        self.runs = [_runs([of_set[i] for of_set in bounds]) for i in range(self.n_steps)]
        self.stack = Stack([part.nets for part in parts])
        self.optimizer = self.stack.optimizer()
        self.best: dict[str, Tensor] = {}
        self.n_taken = self.n_moves = 0
        self.steps: dict[tuple[int, int, int], Repeated] = {}
        for run in (run for runs in self.runs for run in runs):
            if run.key not in self.steps:
                self.steps[run.key] = self._step(run)
        self.validations = self._validations()
        self.n_validations = [len(v.bounds) for v in self.validations for _ in range(*v[:2])]

    def epoch(self, epoch: int) -> Tensor:
        """Take an epoch's steps; return the means of losses and terms, (*lead, n_terms)."""
        totals = self._zeros()
        sources = [part.nets[0].streams_.shuffle for part in self.parts]
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
        sizes = totals.new_tensor([part.n_train for part in self.parts])
        return totals / sizes.view(-1, 1, 1)

    def validate(self) -> Tensor | None:
        """Return means of losses and terms over the rows set aside, (*lead, n_terms), if any."""
        if not self.validations:
            return None
        totals = self._zeros()
        for start, stop, bounds, losses in self.validations:
            batches = self.rows.set_aside(start, stop, bounds)
            for (low, high), x, function in zip(bounds, batches, losses, strict=True):
                totals[start:stop] += function(x) * (high - low)
        sizes = totals.new_tensor([part.n_valid for part in self.parts])
        return totals / sizes.view(-1, 1, 1)

    def keep(self, places: Sequence[tuple[int, int]]) -> None:
        """Remember the models at these places as they are."""
        if not places:
            return
        now = self.stack.changing()
        if not self.best:
            self.best = {name: tensor.detach().clone() for name, tensor in now.items()}
            return
        mask = torch.zeros(self.stack.lead, dtype=torch.bool)
        mask[tuple(zip(*places, strict=True))] = True
        mask = mask.to(self.device)
        for name, tensor in now.items():
            chosen = mask.view(*mask.shape, *[1] * (tensor.dim() - 2))
            self.best[name] = torch.where(chosen, tensor.detach(), self.best[name])

    def release(self, net: AutoencoderNet) -> None:
        """Give a net its tensors as they were remembered last, or as they are."""
        self.stack.release(self.places[net], self.best or self.stack.tensors, self.optimizer)

    def leader_of(self, net: AutoencoderNet) -> AutoencoderNet:
        """Return the net whose generators draw for a net."""
        return self.parts[self.places[net][0]].nets[0]

    def pays_to_narrow(self, live: Sequence[AutoencoderNet], n_epochs: int) -> bool:
        """Whether to train on without those that have stopped, for so many epochs at most."""
        watches = [net.watch_ for net in live if net.watch_ is not None]
        n_slots = self.stack.lead[0] * self.stack.lead[1]
        if not watches or len(live) > _FEW * n_slots:
            return False
        places = self._places_of(live)
        n_left = len(places) * len(places[0])
        # What is sure to come: more than that nobody knows.
        n_sure = min(n_epochs, max(watch.n_to_wait for watch in watches))
        saved = (n_slots - n_left) * n_sure * self.n_steps
        return n_left <= _FEW * n_slots and saved > _WORTHWHILE

    def narrowed(self, live: Sequence[AutoencoderNet]) -> "Stage":
        """Return a stage of these nets alone, which goes on where this one is."""
        for net in live:
            self.stack.release(self.places[net], self.stack.tensors, self.optimizer)
            set_positions(net, positions(self.leader_of(net)))
        places = self._places_of(live)
        parts = []
        for of_set in places:
            part = self.parts[of_set[0][0]]
            parts.append(part._replace(nets=[part.nets[j] for _, j in of_set]))
        stage = Stage(parts, self.device)
        self.stack.hand_over(self.optimizer, places, stage.stack, stage.optimizer)
        index = at(places)
        stage.best = {name: tensor[index] for name, tensor in self.best.items()}
        stage.n_taken = self.n_taken
        return stage

    def _places_of(self, nets: Sequence[AutoencoderNet]) -> list[list[tuple[int, int]]]:
        """Return where nets are, by set; the first of a set stands in for what it lacks."""
        taken = sorted(self.places[net] for net in nets)
        found = [list(of_set) for _, of_set in groupby(taken, lambda place: place[0])]
        width = max(map(len, found))
        return [of_set + [of_set[0]] * (width - len(of_set)) for of_set in found]

    def _step(self, run: _Run) -> Repeated:
        """Work out the step of a run, on a GPU as a CUDA graph if it can be one."""
        x = self.rows.first(run)
        step = stacked_step(self.stack, run.start, run.stop, x)
        self.trained = step.trained
        if not has_graphs(self.device):
            return step
        generators = [draw.generator for draws in step.draws for draw in draws]
        try:
            return Graphed(step, x, generators)
        except RuntimeError as error:
            # One that asks for acceleration wants to know.
            modes = (net.acceleration for net in self.places)
            report_no_graph(next((mode for mode in modes if mode != "auto"), "auto"), error)
            return step

    def _validations(self) -> list[_Validation]:
        """Work out how the rows set aside are validated on."""
        found, start = [], 0
        for n_valid, same in groupby(part.n_valid for part in self.parts):
            stop = start + len(list(same))
            if n_valid:
                first = self.first
                bounds = batch_bounds(n_valid, first.batch_size, first.objective.min_rows)
                batches = list(self.rows.set_aside(start, stop, bounds))
                losses = stacked_losses(self.stack, start, stop, batches)
                found.append(_Validation(start, stop, bounds, losses))
            start = stop
        return found

    def _zeros(self) -> Tensor:
        """Return sums to add losses and terms to, (*lead, n_terms)."""
        n_terms = len(self.first.objective.names)
        return self.first.autoencoder.mean.new_zeros(*self.stack.lead, n_terms)

    def _move(self, found: list[list[Tensor]]) -> None:
        """Move all parameters by the gradients of the parts of the stack."""
        self.n_moves += 1
        if self.n_moves <= 2:  # the optimizer makes its state in its first step
            parameters = [self.stack.parameters[name] for name in self.trained]
            self.update: Update = make_update(self.optimizer, parameters)
        whole = found[0] if len(found) == 1 else list(map(torch.cat, zip(*found, strict=True)))
        self.update.follow()
        self.update(whole)


@final
class _Pool:
    """The rows of all sets in one place; those that sets share are there once."""

    def __init__(self, parts: Sequence[Part], device: torch.device) -> None:
        distinct = {id(part.rows): part.rows for part in parts}
        starts = dict(zip(distinct, _starts(distinct.values()), strict=True))
        rows = list(distinct.values())
        self.held = held(place(rows[0] if len(rows) == 1 else torch.cat(rows), device))
        self.device = device
        self.offsets = [starts[id(part.rows)] for part in parts]
        self.sizes = [part.n_train for part in parts]
        splits = [part.split for part in parts]
        self.train = [None if split is None else split.train.to(device) for split in splits]
        self.valid = [
            (split.valid + offset).to(device)
            for split, offset in zip(splits, self.offsets, strict=True)
            if split is not None
        ]

    def first(self, run: "_Run") -> Tensor:
        """Return a batch of a run, of each set's first rows: (n_sets, n_samples, n_features)."""
        size = run.high - run.low
        sets = range(run.start, run.stop)
        index = torch.cat([self._numbers(i, torch.arange(size)) for i in sets])
        (x,) = self.held.batches(index, [(0, len(index))])
        return x.view(-1, size, x.shape[1])

    def batches(
        self, runs: Sequence[Sequence["_Run"]], sources: Sequence[torch.Generator]
    ) -> Iterator[Tensor]:
        """Yield the batches of an epoch, run after run, in the order that sources give each set."""
        orders = [
            self._numbers(i, torch.randperm(size, generator=source, device=self.device))
            for i, (size, source) in enumerate(zip(self.sizes, sources, strict=True))
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

    def set_aside(
        self, start: int, stop: int, bounds: Sequence[tuple[int, int]]
    ) -> Iterator[Tensor]:
        """Yield batches of the rows that sets from ``start`` to ``stop`` validate on."""
        n_sets, own = stop - start, self.valid[start:stop]
        index = torch.cat([of_set[low:high] for low, high in bounds for of_set in own])
        flat = [(n_sets * low, n_sets * high) for low, high in bounds]
        for (low, high), x in zip(bounds, self.held.batches(index, flat), strict=True):
            yield x.view(n_sets, high - low, x.shape[1])

    def _numbers(self, i: int, order: Tensor) -> Tensor:
        """Return where rows that a set trains on, by their numbers among these, are here."""
        own, order = self.train[i], order.to(self.device)
        return (order if own is None else own[order]) + self.offsets[i]


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


def positions(net: AutoencoderNet) -> list[Tensor]:
    """Return where the generators are that a net draws from in training."""
    return [generator.get_state() for generator in _generators(net)]


def set_positions(net: AutoencoderNet, states: Sequence[Tensor]) -> None:
    """Bring the generators of a net to where those of another are, or were."""
    for generator, state in zip(_generators(net), states, strict=True):
        generator.set_state(state)


def _generators(net: AutoencoderNet) -> list[torch.Generator]:
    """Return those of shuffling, of sampling and of every layer that drops units."""
    device = net.streams_.noise.device
    layers = [m.stream.on(device) for m in net.autoencoder.modules() if isinstance(m, Dropout)]
    return [net.streams_.shuffle, net.streams_.noise, *layers]
