"""A group of nets whose training steps are one batched step."""

from collections.abc import Callable, Sequence
from itertools import groupby
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from skvim.engine._batches import batch_bounds
from skvim.engine._net import AutoencoderNet
from skvim.engine._schedules import begin_step
from skvim.engine._training_state import load_optimizer, load_tensors, optimizer_state
from skvim.engine.batched._batched_step import BatchedStep, Losses, batched_losses, batched_step
from skvim.engine.batched._rows import PooledRows, SameSizeSets, TrainingSet, group_by_bounds
from skvim.engine.batched._stack import Place, Stack, as_index
from skvim.engine.capture._graphs import Graphed, warn_of_no_graph
from skvim.engine.capture._update import Update
from skvim.networks._random import streams_of

__all__ = ["Group", "generator_states", "set_generator_states"]

# Called with the number of an epoch's steps that were taken, and the sums of their losses.
AfterStep = Callable[[int, Tensor], None]
Step = BatchedStep | Graphed[tuple[Tensor, list[Tensor]]]

# Share of the models left at which a smaller group is considered, and how many steps of one model
# it has to save: tracing it takes as long, a few tenths of a second.
_FEW, _WORTHWHILE = 0.5, 1500


class _Validation(NamedTuple):
    """Sets from ``start`` to ``stop``, with bounds and losses of their validation batches."""

    start: int
    stop: int
    bounds: list[tuple[int, int]]
    losses: list[Losses]


@final
class Group:
    """Nets in one stack, with their rows and one optimizer.

    Sets have one size and come in the order of their numbers of rows. A net may occur twice in one,
    to fill it up; ``places`` has the position (i_set, i_model) of each.
    """

    def __init__(self, sets: Sequence[TrainingSet], device: torch.device) -> None:
        self.sets = sets
        self.device = device
        self.places: dict[AutoencoderNet, Place] = {}
        for i, part in enumerate(sets):
            for j, net in enumerate(part.nets):
                self.places.setdefault(net, (i, j))
        first = self.first = sets[0].nets[0]
        self.rows = PooledRows(sets, device)
        min_rows = max(first.objective.min_rows, first.min_rows)
        bounds = [batch_bounds(part.n_train, first.batch_size, min_rows) for part in sets]
        self.n_steps = len(bounds[0])
        self.plan = [group_by_bounds([of_set[i] for of_set in bounds]) for i in range(self.n_steps)]
        self.stack = Stack([part.nets for part in sets])
        self.optimizer = self.stack.make_optimizer()
        self.best: dict[str, Tensor] = {}
        self.n_taken = self._n_moves = 0
        self._left: tuple[int, Tensor] | None = None  # steps of an epoch that were taken, and sums
        self._steps: dict[tuple[int, int, int], Step] = {}
        for same in (same for of_step in self.plan for same in of_step):
            if same.key not in self._steps:
                self._steps[same.key] = self._make_step(same)
        self._validations = self._make_validations()
        self.n_validations = [len(v.bounds) for v in self._validations for _ in range(*v[:2])]

    def epoch(self, epoch: int, after_step: AfterStep) -> Tensor:
        """Take an epoch's steps; return the means of losses and terms, (*lead, n_terms).

        ``after_step`` is called after each but the last with their number and the sums so far.
        """
        (first, totals), self._left = self._left or (0, self._zeros()), None
        generators = [part.nets[0].streams_.shuffle for part in self.sets]
        self._order = [generator.get_state() for generator in generators]
        batches = self.rows.batches(self.plan, generators, first)
        for i, groups in enumerate(self.plan[first:], start=first):
            self.n_taken += 1
            share = (epoch + i / self.n_steps) / self.first.max_epochs
            progress, schedule = self.stack.progress, self.first.schedule
            begin_step(self.n_taken, share, progress, self.optimizer, schedule)
            gradients = []
            for same in groups:
                terms, of_sets = self._steps[same.key](next(batches))
                totals[same.start : same.stop] += terms * (same.high - same.low)
                gradients.append(of_sets)
            self._move(gradients)
            if i + 1 < self.n_steps:
                after_step(i + 1, totals)
        sizes = totals.new_tensor([part.n_train for part in self.sets])
        return totals / sizes.view(-1, 1, 1)

    def validate(self) -> Tensor | None:
        """Return means of losses and terms over the validation rows, (*lead, n_terms), if any."""
        if not self._validations:
            return None
        totals = self._zeros()
        for start, stop, bounds, losses in self._validations:
            batches = self.rows.validation_batches(start, stop, bounds)
            for (low, high), x, function in zip(bounds, batches, losses, strict=True):
                totals[start:stop] += function(x) * (high - low)
        sizes = totals.new_tensor([part.n_valid for part in self.sets])
        return totals / sizes.view(-1, 1, 1)

    def keep(self, places: Sequence[Place]) -> None:
        """Keep the present values of the models at these places as the best ones."""
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
        """Copy a net's best tensors to it, or those of now where none were kept."""
        self.stack.release(self.places[net], self.best or self.stack.tensors, self.optimizer)

    def state(self, n_steps: int = 0, totals: Tensor | None = None) -> dict[str, Any]:
        """Return the state of the group after some steps of an epoch, as values for a checkpoint.

        ``totals`` are the sums of their losses and terms.
        """
        generators = [generator_states(part.nets[0]) for part in self.sets]
        if n_steps:  # shuffling goes back to the beginning of the epoch
            generators = [
                [order, *of_set[1:]] for order, of_set in zip(self._order, generators, strict=True)
            ]
        parameters = list(self.stack.parameters.values())
        return {
            "left": (n_steps, totals) if n_steps else None,
            "tensors": self.stack.values(),
            "best": self.best,
            "optimizer": optimizer_state(self.optimizer, parameters),
            "generators": generators,
            "n_taken": self.n_taken,
        }

    def resume(self, state: dict[str, Any]) -> None:
        """Set the state of the group, which :meth:`state` of an equal one returned."""
        if state["left"] is not None:
            n_steps, totals = state["left"]
            self._left = (n_steps, totals.to(self.device))
        load_tensors(self.stack.values(), state["tensors"])
        self.best = {name: tensor.to(self.device) for name, tensor in state["best"].items()}
        parameters = list(self.stack.parameters.values())
        load_optimizer(self.optimizer, parameters, state["optimizer"])
        for part, states in zip(self.sets, state["generators"], strict=True):
            set_generator_states(part.nets[0], states)
        self.n_taken, self._n_moves = state["n_taken"], 1

    def leader_of(self, net: AutoencoderNet) -> AutoencoderNet:
        """Return the net whose generators draw for a net."""
        return self.sets[self.places[net][0]].nets[0]

    def pays_to_narrow(self, live: Sequence[AutoencoderNet], n_epochs: int) -> bool:
        """Tell whether to go on without the nets that have stopped, for at most so many epochs."""
        stoppers = [net.stopper_ for net in live if net.stopper_ is not None]
        n_slots = self.stack.lead[0] * self.stack.lead[1]
        if not stoppers or len(live) > _FEW * n_slots:
            return False
        places = self._places_of(live)
        n_left = len(places) * len(places[0])
        # Epochs that come unless the validation losses rise.
        n_expected = min(n_epochs, max(stopper.n_to_wait for stopper in stoppers))
        saved = (n_slots - n_left) * n_expected * self.n_steps
        return n_left <= _FEW * n_slots and saved > _WORTHWHILE

    def narrowed(self, live: Sequence[AutoencoderNet]) -> "Group":
        """Return a group of these nets alone, which goes on where this one is."""
        for net in live:
            self.stack.release(self.places[net], self.stack.tensors, self.optimizer)
            set_generator_states(net, generator_states(self.leader_of(net)))
        places = self._places_of(live)
        sets = []
        for of_set in places:
            part = self.sets[of_set[0][0]]
            sets.append(part._replace(nets=[part.nets[j] for _, j in of_set]))
        group = Group(sets, self.device)
        self.stack.hand_over(self.optimizer, places, group.stack, group.optimizer)
        index = as_index(places)
        group.best = {name: tensor[index] for name, tensor in self.best.items()}
        group.n_taken = self.n_taken
        return group

    def _places_of(self, nets: Sequence[AutoencoderNet]) -> list[list[Place]]:
        """Return the places of nets by set; the first of a set fills it up to the common size."""
        taken = sorted(self.places[net] for net in nets)
        places = [list(of_set) for _, of_set in groupby(taken, lambda place: place[0])]
        width = max(map(len, places))
        return [of_set + [of_set[0]] * (width - len(of_set)) for of_set in places]

    def _make_step(self, same: SameSizeSets) -> Step:
        """Trace the step of some sets, on a GPU as a CUDA graph where possible."""
        x = self.rows.first_batch(same)
        step = batched_step(self.stack, same.start, same.stop, x)
        self._trained = step.trained
        if self.device.type != "cuda":
            return step
        generators = [draw.generator for draws in step.draws for draw in draws]
        try:
            return Graphed(step, x, generators)
        except RuntimeError as error:
            # One net that asks for acceleration suffices for a warning.
            modes = (net.acceleration for net in self.places)
            warn_of_no_graph(next((mode for mode in modes if mode != "auto"), "auto"), error)
            return step

    def _make_validations(self) -> list[_Validation]:
        """Trace the validation losses of sets with the same number of validation rows."""
        validations, start = [], 0
        for n_valid, same in groupby(part.n_valid for part in self.sets):
            stop = start + len(list(same))
            if n_valid:
                first = self.first
                bounds = batch_bounds(n_valid, first.batch_size, first.objective.min_rows)
                batches = list(self.rows.validation_batches(start, stop, bounds))
                losses = batched_losses(self.stack, start, stop, batches)
                validations.append(_Validation(start, stop, bounds, losses))
            start = stop
        return validations

    def _zeros(self) -> Tensor:
        """Return sums of losses and terms, (*lead, n_terms), to add to."""
        n_terms = len(self.first.objective.names)
        return self.first.autoencoder.mean.new_zeros(*self.stack.lead, n_terms)

    def _move(self, gradients: list[list[Tensor]]) -> None:
        """Move all parameters by the gradients of consecutive sets."""
        self._n_moves += 1
        if self._n_moves <= 2:  # the optimizer makes its state in its first step
            parameters = [self.stack.parameters[name] for name in self._trained]
            self._update: Update = Update(self.optimizer, parameters)
        one = len(gradients) == 1
        whole = gradients[0] if one else list(map(torch.cat, zip(*gradients, strict=True)))
        self._update.sync_settings()
        self._update(whole)


def generator_states(net: AutoencoderNet) -> list[Tensor]:
    """Return the states of the generators that a net draws from in training."""
    return [generator.get_state() for generator in _generators(net)]


def set_generator_states(net: AutoencoderNet, states: Sequence[Tensor]) -> None:
    """Set the generators of a net to the states of another's."""
    for generator, state in zip(_generators(net), states, strict=True):
        generator.set_state(state)


def _generators(net: AutoencoderNet) -> list[torch.Generator]:
    """Return the generators of shuffling, of sampling and of every dropout layer."""
    device = net.streams_.noise.device
    layers = [stream.on(device) for stream in streams_of(net.autoencoder)]
    return [net.streams_.shuffle, net.streams_.noise, *layers]
