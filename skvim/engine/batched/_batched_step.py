"""Training step and validation losses of many models as one sequence of operations."""

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import Any, final

import torch
from torch import Tensor, fx
from torch.func import vmap

from skvim.engine._net import AutoencoderNet
from skvim.engine._schedules import full_progress
from skvim.engine.batched._stack import SHARED, Stack
from skvim.engine.capture._captured import require_close, require_close_terms, restored
from skvim.engine.capture._optimiser import optimise
from skvim.engine.capture._recorder import Draw, NotTraceableError, Trace, record
from skvim.engine.capture._training_step import StepResult, TrainingStep, run_step, trace_step

__all__ = ["BatchedStep", "Losses", "batched_losses", "batched_step"]

#: From batches of shape (n_sets, n_samples, n_features) to (n_sets, n_models, n_terms).
Losses = Callable[[Tensor], Tensor]

_aten = torch.ops.aten


@final
class _Axes:
    """Leading axes of stacked tensors; an axis of length 1 is left out in batched functions."""

    def __init__(self, lead: tuple[int, int]) -> None:
        self.lead = lead
        self.n_axes = 2 if min(lead) > 1 else 1
        self.one_set = lead[0] == 1 and lead[1] > 1

    def inputs(self, x: Tensor, drawn: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Return batches (n_sets, n, d), and the draws of each set, as the function takes them."""
        values = [x[0] if self.one_set else x]
        return values + [of[0] if self.one_set else torch.stack(list(of)) for of in drawn]

    def outputs(self, values: Iterable[Tensor]) -> list[Tensor]:
        """Return the function's outputs with both axes."""
        return [value.reshape(*self.lead, *value.shape[self.n_axes :]) for value in values]

    def vmapped(self, function: Callable[..., Any], shared: Sequence[bool], n_inputs: int) -> Any:
        """Return a function of one model's tensors and inputs as one of all models."""
        state: list[int | None] = [None if common else 0 for common in shared]
        if self.n_axes == 2 or self.one_set:  # models of a set share their rows
            function = vmap(function, in_dims=(*state, *([None] * n_inputs)))
        if not self.one_set:
            function = vmap(function, in_dims=(*state, *([0] * n_inputs)))
        return function


@final
@dataclass(frozen=True)
class BatchedStep:
    """Losses and gradients of some sets of models, for batches of one size."""

    function: Callable[..., Any]  # from batches and draws
    draws: Sequence[Sequence[Draw]]  # for every draw of a step that of each set
    axes: _Axes
    trained: tuple[str, ...]  # parameters that have gradients

    def __call__(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return losses and terms (*lead, n_terms), and gradients, for batches (n_sets, n, d)."""
        return self.compute(x, [[draw() for draw in draws] for draws in self.draws])

    def compute(self, x: Tensor, drawn: Sequence[Sequence[Tensor]]) -> tuple[Tensor, list[Tensor]]:
        """Compute with these random numbers: for every draw, those of each set."""
        terms, *gradients = self.axes.outputs(self.function(*self.axes.inputs(x, drawn)))
        return terms, gradients


def batched_step(stack: Stack, start: int, stop: int, x: Tensor) -> BatchedStep:
    """Trace the training step of some sets, with a batch for each; nothing is trained on it.

    NotTraceableError when the step is no fixed sequence of operations that torch can batch, or does
    not give what the models' own steps do.
    """
    axes = _Axes((stop - start, stack.lead[1]))
    steps = stack.steps[start * axes.lead[1] : stop * axes.lead[1]]
    results = [run_step(step, x[i // axes.lead[1]]) for i, step in enumerate(steps)]
    values = _values_of_sets(results, axes.lead[0])
    leaders = results[:: axes.lead[1]]
    draws = [list(of) for of in zip(*(leader.draws for leader in leaders), strict=True)]
    state, function, trained = _batched_function(stack, start, axes, x, values)
    step = BatchedStep(function, draws, axes, trained)
    with torch.no_grad(), restored(state):
        terms, gradients = step.compute(x, values)
        _require_same(results, [terms, *gradients])
        _require_same_state(stack, steps, results, start)
    return step


def batched_losses(stack: Stack, start: int, stop: int, batches: Sequence[Tensor]) -> list[Losses]:
    """Trace the validation losses of some sets, a function for each batch of a validation.

    Weights of terms are those at the end of the training, and random numbers are the same every
    time. NotTraceableError as in :func:`batched_step`.
    """
    axes = _Axes((stop - start, stack.lead[1]))
    nets = stack.nets[start * axes.lead[1] : stop * axes.lead[1]]
    noises = [leader.validation_noise() for leader in nets[:: axes.lead[1]]]
    functions: dict[int, Callable[..., Any]] = {}
    losses: list[Losses] = []
    with ExitStack() as modes, torch.no_grad():
        for net in nets:
            modes.callback(net.set_training, net.autoencoder.training)
            net.set_training(False)
            modes.enter_context(full_progress(net.objective))
        for x in batches:
            size = x.shape[1]
            is_new = size not in functions
            # Where the operations are known, the first net of a set draws for all.
            results = _evaluate(nets if is_new else nets[:: axes.lead[1]], noises, x)
            values = _values_of_sets(results, axes.lead[0])
            if is_new:
                found = _batched_function(stack, start, axes, x, values, gradients=False)
                functions[size] = found[1]
            losses.append(partial(_losses, axes, functions[size], axes.inputs(x, values)[1:]))
            if is_new:
                expected = torch.stack([result.outputs[0] for result in results])
                require_close_terms(losses[-1](x).flatten(0, 1), expected)
    return losses


def _losses(
    axes: _Axes, function: Callable[..., Any], drawn: Sequence[Tensor], x: Tensor
) -> Tensor:
    """Return losses and terms for a batch of every set."""
    (terms,) = axes.outputs(function(x[0] if axes.one_set else x, *drawn))
    return terms


def _evaluate(
    nets: Sequence[AutoencoderNet], noises: Sequence[torch.Generator], x: Tensor
) -> list[StepResult]:
    """Return the losses of nets one by one; nets of a set draw the same numbers."""
    n_models = len(nets) // len(noises)
    results = []
    for i, net in enumerate(nets):
        step = TrainingStep(net.autoencoder, net.objective, noises[i // n_models])
        results.append(run_step(step, x[i // n_models], gradients=False))
    for result in results[::n_models]:
        for draw in result.draws:
            draw()  # go on where the next batch draws
    return results


def _values_of_sets(results: Sequence[StepResult], n_sets: int) -> list[list[Tensor]]:
    """Return for every draw the numbers of each set; all models have to draw alike."""
    n_models, first = len(results) // n_sets, results[0]
    for i, one in enumerate(results):
        leader = results[i - i % n_models]
        alike = len(one.values) == len(first.values) and one.trained == first.trained
        same = alike and all(map(torch.equal, one.values, leader.values))
        if not same or [v.shape for v in one.values] != [v.shape for v in first.values]:
            raise NotTraceableError("the models do not draw the same random numbers.")
    leaders = results[::n_models]
    return [list(of) for of in zip(*(leader.values for leader in leaders), strict=True)]


def _batched_function(
    stack: Stack,
    start: int,
    axes: _Axes,
    x: Tensor,
    values: Sequence[Sequence[Tensor]],
    *,
    gradients: bool = True,
) -> tuple[list[Tensor], Callable[..., Any], tuple[str, ...]]:
    """Return stacked tensors, a function of batches and draws, and the trained parameters."""
    stop = start + axes.lead[0]
    template = stack.template()
    template.train(gradients)
    single, trace = trace_step(template, x[0], gradients=gradients)
    names, trained = list(template.tensors()), trace.trained
    with torch.no_grad():
        state = [stack.part(name, start, stop).detach() for name in names]
        if not gradients:
            at_end = torch.ones_like(stack.progress)
            state = [
                at_end if name == SHARED else tensor
                for name, tensor in zip(names, state, strict=True)
            ]
        layouts = [None, *(stack.part(name, start, stop) for name in trained)]
        inputs = [*state, *axes.inputs(x, values)]
        shared = [name == SHARED for name in names]
        graph = _batched_graph(single, shared, inputs, axes)
        examples = [tensor.clone() for tensor in inputs]
        function: Callable[..., Any] = optimise(graph, state, examples, layouts).function
    return state, function, trained


def _batched_graph(
    graph: Trace, shared: Sequence[bool], inputs: list[Tensor], axes: _Axes
) -> Trace:
    """Return a graph of one model's operations as one of all models, with ``shared`` tensors."""
    interpreter = _BatchableInterpreter(graph, garbage_collect_values=False)
    function = axes.vmapped(interpreter.run, shared, len(inputs) - len(shared))
    try:
        batched = record(function, [tensor.clone() for tensor in inputs])
    except (RuntimeError, ValueError) as error:
        raise NotTraceableError(f"torch cannot batch it: {str(error).strip()[:300]}") from error
    _fuse_addcmul(batched.graph)
    return batched


@final
class _BatchableInterpreter(fx.Interpreter):
    """Runs a graph with other operations in the place of some that ``vmap`` does not batch."""

    def run_node(self, node: Any) -> Any:
        """Run a node (torch's hook)."""
        if node.target is _aten.copy_.default:
            same = [node.args[0]]
            while same[-1].target is _aten.detach.default:
                same.append(same[-1].args[0])
            if same[-1].target in _EMPTY:
                # Memory for one model cannot hold the numbers of many.
                values = self.env[node.args[1]].clone()
                self.env.update(dict.fromkeys(same, values))
                return values
        return super().run_node(node)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an operation (torch's hook)."""
        return _BATCHABLE.get(target, target)(*args, **kwargs)


def _squared_error(x: Tensor, y: Tensor, reduction: int = 1) -> Tensor:
    """Replace mse_loss, which ``vmap`` batches for two batched arguments only."""
    if reduction:
        raise NotTraceableError("it averages squares in one operation.")
    difference = x - y
    return difference * difference


def _squared_error_backward(gradient: Tensor, x: Tensor, y: Tensor, reduction: int) -> Tensor:
    """Return the gradient of the above."""
    return gradient * (2 * (x - y))


_EMPTY = {_aten.empty.memory_format, _aten.empty_like.default, _aten.new_empty.default}
# What is copied here are numbers of a model, where a copy costs next to nothing.
_BATCHABLE: dict[Any, Callable[..., Tensor]] = {
    _aten.addcmul_.default: lambda x, a, b, value=1: x.add_(a * b, alpha=value),
    _aten.clamp_.Tensor: lambda x, *bounds: x.copy_(_aten.clamp.Tensor(x, *bounds)),
    _aten.lerp_.Scalar: lambda x, end, weight: x.copy_(_aten.lerp.Scalar(x, end, weight)),
    _aten.lerp_.Tensor: lambda x, end, weight: x.copy_(_aten.lerp.Tensor(x, end, weight)),
    _aten.mse_loss.default: _squared_error,
    _aten.mse_loss_backward.default: _squared_error_backward,
}


def _fuse_addcmul(graph: fx.Graph) -> None:
    """Write x.add_(a * b) as x.addcmul_(a, b): 7 % of the step of twelve models with an MMD."""
    for node in list(graph.nodes):
        product = node.args[1] if node.target is _aten.add_.Tensor else None
        if not isinstance(product, fx.Node) or product is not node.prev or len(product.users) > 1:
            continue
        if product.target is _aten.mul.Tensor and all(isinstance(a, fx.Node) for a in product.args):
            node.target, node.args = _aten.addcmul_.default, (node.args[0], *product.args)
            node.kwargs = {"value": node.kwargs.get("alpha", 1)}
            graph.erase_node(product)


def _require_same(results: Sequence[StepResult], outputs: Sequence[Tensor]) -> None:
    """Raise unless losses and gradients are those of the models' own steps."""
    flat = [tensor.flatten(0, 1) for tensor in outputs]
    require_close_terms(flat[0], torch.stack([result.outputs[0] for result in results]))
    for i, result in enumerate(results):
        # As one vector: some gradients, as of biases before a normalisation, are rounding alone.
        gradients = (tensor[i].flatten() for tensor in flat[1:])
        expected = (gradient.flatten() for gradient in result.outputs[1:])
        require_close("gradients", [torch.cat(list(gradients))], [torch.cat(list(expected))])


def _require_same_state(
    stack: Stack, steps: Sequence[TrainingStep], results: Sequence[StepResult], start: int
) -> None:
    """Raise unless buffers are what the models' own steps make of them."""
    for i, (step, result) in enumerate(zip(steps, results, strict=True)):
        of_set, of_model = divmod(i, stack.lead[1])
        tensors = [
            stack.tensors[name] if name == SHARED else stack.tensors[name][start + of_set, of_model]
            for name in step.tensors()
        ]
        require_close("buffers", tensors, result.state)
