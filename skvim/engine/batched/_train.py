"""Training loop of nets that train as one batched network."""

from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from skvim.engine._checkpoints import CheckpointFile
from skvim.engine._net import AutoencoderNet
from skvim.engine._training_state import (
    load_optimizer,
    load_stopper,
    load_tensors,
    optimizer_state,
    stopper_state,
)
from skvim.engine.batched._group import Group, generator_states, set_generator_states
from skvim.engine.batched._rows import TrainingSet
from skvim.engine.capture._recorder import NotTraceableError
from skvim.exceptions import SkvimWarning, StopTraining, TrainingDivergedError

__all__ = ["TrainedNet", "stack_bytes", "train_batched"]

# Copies in memory: of weights, with gradients and an optimizer's moments (one more for the best
# weights so far), of what a row passes through, and of matrices of pairs of rows.
_OF_WEIGHTS, _OF_UNITS, _OF_PAIRS = 5, 12, 12


class TrainedNet(NamedTuple):
    """A net after training, as ``train`` would leave it unless it diverged."""

    net: AutoencoderNet
    warnings: list[SkvimWarning]
    error: TrainingDivergedError | None  # why it did not train to the end


def train_batched(
    sets: Sequence[TrainingSet],
    checkpoint: CheckpointFile | None = None,
    state: dict[str, Any] | None = None,
) -> list[list[TrainedNet]]:
    """Train nets as one batched network, each as it would train by itself.

    Sets have one size, and rows that make the same number of batches; results come in their order.
    ``state``, which ``checkpoint`` held, is that of an earlier training to go on from.
    NotTraceableError when the nets cannot train together: nothing has been trained then, but
    generators may have moved, so that nets to be trained one by one have to be made anew.
    """
    order = sorted(range(len(sets)), key=lambda i: len(sets[i].rows))
    training = _Training([sets[i] for i in order], checkpoint)
    training.seeds = [net.seed for part in sets for net in part.nets]
    trained = training.run(state)
    return [of_set for _, of_set in sorted(zip(order, trained, strict=True), key=lambda t: t[0])]


def stack_bytes(net: AutoencoderNet, n_rows: int) -> int:
    """Return about how many bytes a prepared net takes in such a training, at this batch size."""
    weights = list(net.autoencoder.parameters())
    units = sum(len(weight) for weight in weights if weight.dim() == 1)
    pairs = n_rows**2 if net.objective.min_rows > 1 else 0
    copies = _OF_WEIGHTS + (net.stopping is not None)
    n_weights = sum(weight.numel() for weight in weights)
    return 4 * (copies * n_weights + _OF_UNITS * n_rows * units + _OF_PAIRS * pairs)


@final
class _Training:
    """One training of many nets; sets come in the order of their numbers of rows."""

    def __init__(self, sets: Sequence[TrainingSet], checkpoint: CheckpointFile | None) -> None:
        self.sets = [part._replace(split=part.nets[0].split(len(part.rows))) for part in sets]
        self.nets = [net for part in self.sets for net in part.nets]
        self.first = self.nets[0]
        self.device = self.first.streams_.noise.device
        self.checkpoint = checkpoint
        self.seeds: list[int] = []  # in the order of the fits
        self.group: Group
        self.may_narrow = True
        self.errors: dict[AutoencoderNet, TrainingDivergedError] = {}
        # States of the generators of nets at the end of their training.
        self.states: dict[AutoencoderNet, list[Tensor]] = {}

    def run(self, state: dict[str, Any] | None) -> list[list[TrainedNet]]:
        """Train, from the beginning or from a state."""
        for net in self.nets:
            net.notify("on_train_begin", X=None, y=None)
            net.set_training(True)
        if state is not None:
            self._resume(state)
        for epoch in range(state["n_epochs"] if state else 0, self.first.max_epochs):
            self._begin_epoch()
            if epoch == 0 and state is None:
                self._set_up()
            with torch.no_grad():
                means = self.group.epoch(epoch, partial(self._write_checkpoint, epoch))
                validated = self.group.validate()
            self._end_epoch(means, validated)
            live = self._live()
            if not live:
                break
            self._narrow(live, self.first.max_epochs - epoch - 1)
            self._write_checkpoint(epoch + 1)
        for net in self._live():
            self._leave(net)
        for net, states in self.states.items():
            set_generator_states(net, states)
        return [[self._finished(net, part) for net in part.nets] for part in self.sets]

    def _live(self) -> list[AutoencoderNet]:
        """Return the nets that still train."""
        return [net for net in self.nets if not (net in self.errors or net in self.states)]

    def _narrow(self, live: list[AutoencoderNet], n_epochs: int) -> None:
        """Go on without the nets that have stopped, if that pays and is possible."""
        if self.may_narrow and self.group.pays_to_narrow(live, n_epochs):
            try:
                self.group = self.group.narrowed(live)
            except NotTraceableError:
                # Large weights can fail the checks of a new trace; the present group goes on.
                self.may_narrow = False

    def _begin_epoch(self) -> None:
        """Notify the nets."""
        for net in self._live():
            net.notify("on_epoch_begin", dataset_train=None, dataset_valid=None)

    def _set_up(self) -> None:
        """Pretrain and stack the nets, as they are when the first batch comes."""
        for part in self.sets:
            for net in part.nets:
                net.pretrain(part.training_rows(self.device))
        self.group = Group(self.sets, self.device)

    def _end_epoch(self, means: Tensor, validated: Tensor | None) -> None:
        """Record the epoch in every net's history; release nets that stop."""
        trained, valid = means.tolist(), None if validated is None else validated.tolist()
        lowest = []
        for net in self._live():
            i, j = self.group.places[net]
            part = self.group.sets[i]
            try:
                net.record_epoch("train", trained[i][j], part.n_train, self.group.n_steps)
                if valid is not None:
                    n_batches = self.group.n_validations[i]
                    net.record_epoch("valid", valid[i][j], part.n_valid, n_batches)
            except TrainingDivergedError as error:
                self.errors[net] = error
                continue
            last, stopper = net.history[-1], net.stopper_
            if stopper is not None and stopper.update(last["valid_loss"], self.group.n_steps):
                lowest.append((i, j))
        self.group.keep(lowest)
        for net in self._live():
            try:
                net.notify("on_epoch_end", dataset_train=None, dataset_valid=None)
            except StopTraining:
                self._leave(net)

    def _leave(self, net: AutoencoderNet) -> None:
        """Give a net its final values; no later step changes it."""
        self.group.release(net)
        self.states[net] = generator_states(self.group.leader_of(net))

    def _finished(self, net: AutoencoderNet, part: TrainingSet) -> TrainedNet:
        """Return a net after its training has ended."""
        if net in self.errors:
            return TrainedNet(net, [], self.errors[net])
        try:
            return TrainedNet(net, net.finish(part.training_rows(self.device)), None)
        except TrainingDivergedError as error:
            return TrainedNet(net, [], error)

    def _write_checkpoint(
        self, n_epochs: int, n_steps: int = 0, totals: Tensor | None = None
    ) -> None:
        """Write a checkpoint if one is due after some epochs, and some steps of the next."""
        file = self.checkpoint
        if file is None or not file.is_due(0 if n_steps else n_epochs):
            return
        index = {net: i for i, net in enumerate(self.nets)}
        places = {net: i for i, part in enumerate(self.sets) for net in part.nets}
        sets = [(places[p.nets[0]], [index[net] for net in p.nets]) for p in self.group.sets]
        live = set(self._live())
        nets = [self._net_state(net, n_epochs if net in live else None) for net in self.nets]
        file.write(
            {
                "seeds": self.seeds,
                "n_epochs": n_epochs,
                "sets": sets,
                "group": self.group.state(n_steps, totals),
                "may_narrow": self.may_narrow,
                "nets": nets,
            }
        )

    def _net_state(self, net: AutoencoderNet, n_epochs: int | None) -> dict[str, Any]:
        """Return what is known of a net, with the history of some or all epochs."""
        step = net.step()
        ended = None
        if net in self.states:
            ended = {
                "tensors": step.tensors(),
                "optimizer": optimizer_state(net.optimizer_, list(step.parameters())),
                "generators": self.states[net],
            }
        return {
            "history": [dict(epoch) for epoch in net.history[:n_epochs]],
            "stopper": stopper_state(net.stopper_),
            "pretraining_curve": net.pretraining_curve_,
            "error": str(self.errors[net]) if net in self.errors else None,
            "ended": ended,
        }

    def _resume(self, state: dict[str, Any]) -> None:
        """Set the state of the training."""
        sets = [
            self.sets[i]._replace(nets=[self.nets[j] for j in members])
            for i, members in state["sets"]
        ]
        self.group = Group(sets, self.device)
        self.group.resume(state["group"])
        self.may_narrow = state["may_narrow"]
        for net, known in zip(self.nets, state["nets"], strict=True):
            net.history.extend(known["history"])
            load_stopper(net.stopper_, known["stopper"])
            net.pretraining_curve_ = known["pretraining_curve"]
            if known["error"] is not None:
                self.errors[net] = TrainingDivergedError(known["error"])
            if known["ended"] is not None:
                step, ended = net.step(), known["ended"]
                load_tensors(step.tensors(), ended["tensors"])
                load_optimizer(net.optimizer_, list(step.parameters()), ended["optimizer"])
                self.states[net] = ended["generators"]
