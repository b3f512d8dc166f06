"""Nets of one kind trained together, as one batched network."""

from collections.abc import Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

from skvim.engine._batches import Rows
from skvim.engine._net import AutoencoderNet, StopRequestedError
from skvim.engine._stage import Part, Stage, positions, set_positions
from skvim.engine._trace import NotTraceableError
from skvim.exceptions import SkvimWarning, TrainingDivergedError

__all__ = ["Trained", "TrainingSet", "stack_bytes", "train_together"]

# Copies of weights: theirs, gradients, an optimizer's two; and of what a row passes through. One
# more is that of the best weights so far.
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
    copies = _OF_WEIGHTS + (net.stopping is not None)
    held = copies * sum(weight.numel() for weight in weights)
    return 4 * (held + _OF_UNITS * n_rows * units + _OF_PAIRS * pairs)


@final
class _Training:
    """One training of many nets; sets come in the order of their numbers of rows."""

    def __init__(self, sets: Sequence[TrainingSet]) -> None:
        self.parts = [Part(s.nets, s.rows, s.nets[0].split(len(s.rows))) for s in sets]
        self.nets = [net for part in self.parts for net in part.nets]
        self.first = self.nets[0]
        self.device = self.first.streams_.noise.device
        self.stage: Stage
        self.narrows = True
        self.errors: dict[AutoencoderNet, TrainingDivergedError] = {}
        # Where the generators of nets were when these had trained to their end.
        self.positions: dict[AutoencoderNet, list[Tensor]] = {}

    def run(self) -> list[list[Trained]]:
        """Train."""
        for net in self.nets:
            net.notify("on_train_begin", X=None, y=None)
        for epoch in range(self.first.max_epochs):
            self._begin_epoch()
            if epoch == 0:
                self._set_up()
            with torch.no_grad():
                means, held_out = self.stage.epoch(epoch), self.stage.validate()
            self._end_epoch(means, held_out)
            live = self._live()
            if not live:
                break
            self._narrow(live, self.first.max_epochs - epoch - 1)
        for net in self._live():
            self._leave(net)
        for net, states in self.positions.items():
            set_positions(net, states)
        return [[self._finished(net, part) for net in part.nets] for part in self.parts]

    def _live(self) -> list[AutoencoderNet]:
        """Return the nets that still train."""
        return [net for net in self.nets if not (net in self.errors or net in self.positions)]

    def _narrow(self, live: list[AutoencoderNet], n_epochs: int) -> None:
        """Train on without those that have stopped, if that pays and can be done."""
        if self.narrows and self.stage.pays_to_narrow(live, n_epochs):
            try:
                self.stage = self.stage.narrowed(live)
            except NotTraceableError:
                # Weights on their way may be so large that checks of rounding fail. The stage is
                # as it was, and what has been trained is worth more than a smaller one.
                self.narrows = False

    def _begin_epoch(self) -> None:
        """Let the nets begin an epoch."""
        rows = {net: part.rows for part in self.parts for net in part.nets}
        for net in self._live():
            net.notify("on_epoch_begin", dataset_train=Rows(rows[net]), dataset_valid=None)

    def _set_up(self) -> None:
        """Stack the nets as they are when the first batch comes."""
        for part in self.parts:
            for net in part.nets:
                net._set_training(True)
                net.pretrain(part.training_rows(self.device))
        self.stage = Stage(self.parts, self.device)

    def _end_epoch(self, means: Tensor, held_out: Tensor | None) -> None:
        """Write the epoch into every net's history; let those go that have trained enough."""
        trained, validated = means.tolist(), None if held_out is None else held_out.tolist()
        lowest = []
        for net in self._live():
            i, j = self.stage.places[net]
            part = self.stage.parts[i]
            try:
                net.record_epoch("train", trained[i][j], part.n_train, self.stage.n_steps)
                if validated is not None:
                    n_batches = self.stage.n_validations[i]
                    net.record_epoch("valid", validated[i][j], part.n_valid, n_batches)
            except TrainingDivergedError as error:
                self.errors[net] = error
                continue
            if net.watch_ is not None and net.watch_.see(net.history[-1]["valid_loss"]):
                lowest.append((i, j))
        self.stage.keep(lowest)
        for net in self._live():
            try:
                net.notify("on_epoch_end", dataset_train=None, dataset_valid=None)
            except StopRequestedError:
                self._leave(net)

    def _leave(self, net: AutoencoderNet) -> None:
        """Give a net what it has become: no later step changes it."""
        self.stage.release(net)
        self.positions[net] = positions(self.stage.leader_of(net))
        net.n_steps_ = self.stage.n_taken

    def _finished(self, net: AutoencoderNet, part: Part) -> Trained:
        """Return a net after its training has ended."""
        net.noise_ = net.streams_.noise  # as after an epoch
        if net in self.errors:
            return Trained(net, [], self.errors[net])
        return Trained(net, net.finish(part.training_rows(self.device)), None)
