"""The losses of rows set aside, of many models as one sequence of operations."""

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor

from skvim.engine._capture import TrainingStep, compare
from skvim.engine._net import AutoencoderNet, final_weights
from skvim.engine._record import record
from skvim.engine._simplify import simplify
from skvim.engine._stack import SHARED, Stack
from skvim.engine._stacked_step import Axes, batched
from skvim.engine._trace import NotTraceableError, evaluate, trace_losses

__all__ = ["Losses", "stacked_losses"]

#: From batches of shape (n_sets, n_samples, n_features) to (n_sets, n_models, n_terms).
Losses = Callable[[Tensor], Tensor]


def stacked_losses(stack: Stack, start: int, stop: int, batches: Sequence[Tensor]) -> list[Losses]:
    """Work out losses and terms of the sets from ``start`` to ``stop``, in evaluation mode.

    They come as they are when training is done, and with the numbers that a validation draws, the
    same every time.

    Parameters
    ----------
    stack : Stack
        Whose tensors are read, now and later.
    start, stop : int
        Which sets.
    batches : sequence of Tensor of shape (stop - start, n_samples, n_features)
        All that a validation goes through.

    Returns
    -------
    list of callables
        One for every batch.

    Raises
    ------
    NotTraceableError
        When losses are no fixed sequence of operations that torch can batch, or not those of
        single models.
    """
    axes = Axes((stop - start, stack.lead[1]))
    first, last = start * axes.lead[1], stop * axes.lead[1]
    nets = stack.nets[first:last]
    noises = [leader.validation_noise() for leader in nets[:: axes.lead[1]]]
    functions: dict[int, Callable[..., Any]] = {}
    found: list[Losses] = []
    with ExitStack() as modes, torch.no_grad():
        for net in nets:
            modes.callback(net._set_training, net.autoencoder.training)
            net._set_training(False)
            modes.enter_context(final_weights(net.objective))
        for x in batches:
            new = x.shape[1] not in functions
            # Where the operations are known, the leaders of sets draw for all.
            terms, drawn = _one_by_one(nets if new else nets[:: axes.lead[1]], noises, x)
            inputs = axes.inputs(x, drawn)
            if new:
                functions[x.shape[1]] = _function(stack, start, axes, inputs, x[0], drawn)
            losses = partial(_losses, axes, functions[x.shape[1]], inputs[1:])
            if new:
                compare("validation losses", [losses(x).flatten(0, 1)], [terms])
            found.append(losses)
    return found


def _losses(axes: Axes, function: Callable[..., Any], drawn: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return losses and terms for a batch of every set."""
    (terms,) = axes.led(function(x[0] if axes.one_set else x, *drawn))
    return terms


def _one_by_one(
    nets: Sequence[AutoencoderNet], noises: Sequence[torch.Generator], x: Tensor
) -> tuple[Tensor, list[list[Tensor]]]:
    """Return losses and terms of nets, (n_nets, n_terms), and for every draw those of each set."""
    n_models = len(nets) // len(noises)
    found, drawn = [], []
    for i, noise in enumerate(noises):
        before, position = [], noise.get_state()
        for net in nets[i * n_models : (i + 1) * n_models]:
            noise.set_state(position)
            terms, values = evaluate(TrainingStep(net.autoencoder, net.objective, noise), x[i])
            found.append(terms)
            before.append(values)
        if not all(
            len(v) == len(before[0]) and all(map(torch.equal, v, before[0])) for v in before
        ):
            raise NotTraceableError("the models do not draw the same random numbers.")
        drawn.append(before[0])
    if len({tuple(value.shape for value in values) for values in drawn}) > 1:
        raise NotTraceableError("the models do not draw the same random numbers.")
    return torch.stack(found), [list(of) for of in zip(*drawn, strict=True)]


def _function(
    stack: Stack,
    start: int,
    axes: Axes,
    inputs: Sequence[Tensor],
    x: Tensor,
    drawn: Sequence[Sequence[Tensor]],
) -> Callable[..., Any]:
    """Return what computes losses and terms from batches and draws like these of all sets.

    ``x`` is the first set's batch.
    """
    template = stack.template().eval()
    graph, names = trace_losses(template, x, [of[0] for of in drawn], record)
    stop = start + axes.lead[0]
    done = torch.ones_like(stack.progress)
    state = [done if n == SHARED else stack.part(n, start, stop).detach() for n in names]
    shared = [name == SHARED for name in names]
    many = batched(graph, shared, [*state, *inputs], axes)
    examples = [tensor.clone() for tensor in (*state, *inputs)]
    function: Callable[..., Any] = simplify(many, state, examples, [None]).function
    return function
