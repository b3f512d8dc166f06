"""The training step of many models as one sequence of operations."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, final

import torch
from torch import Tensor, fx
from torch.func import vmap

from skvim.engine._capture import TrainingStep, compare
from skvim.engine._record import record
from skvim.engine._simplify import simplify
from skvim.engine._stack import SHARED, Stack
from skvim.engine._trace import (
    Draw,
    Eager,
    NotTraceableError,
    run_eagerly,
    trace,
)

__all__ = ["Axes", "StackedStep", "batched", "stacked_step"]

_aten = torch.ops.aten


@final
class Axes:
    """Where sets and models are in tensors of a stack, whose parts leave axes of length 1 out.

    Parameters
    ----------
    lead : tuple (n_sets, n_models)
        Number of sets, and of the models of each.
    """

    def __init__(self, lead: tuple[int, int]) -> None:
        self.lead = lead
        self.n_axes = 2 if min(lead) > 1 else 1
        self.one_set = lead[0] == 1 and lead[1] > 1

    def inputs(self, x: Tensor, drawn: Sequence[Sequence[Tensor]]) -> list[Tensor]:
        """Return batches and draws of all sets as a batched function takes them."""
        values = [x[0] if self.one_set else x]
        return values + [of[0] if self.one_set else torch.stack(list(of)) for of in drawn]

    def led(self, values: Iterable[Tensor]) -> list[Tensor]:
        """Return results of such a function with both axes."""
        return [value.reshape(*self.lead, *value.shape[self.n_axes :]) for value in values]


@final
class StackedStep:
    """Losses and gradients of some sets of models, for batches of one size.

    Parameters
    ----------
    function : callable
        From a batch and draws to losses and terms, and gradients.
    draws : sequence of sequences of Draw
        For every draw of a step one of each set.
    lead : tuple (n_sets, n_models)
        Number of sets, and of the models of each.
    trained : tuple of str
        Parameters that have gradients.
    """

    def __init__(
        self,
        function: Callable[..., Any],
        draws: Sequence[Sequence[Draw]],
        lead: tuple[int, int],
        trained: tuple[str, ...],
    ) -> None:
        self.function = function
        self.draws = draws
        self.axes = Axes(lead)
        self.trained = trained

    def __call__(self, x: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Compute without autograd; numbers are drawn from every set's own generators.

        Parameters
        ----------
        x : Tensor of shape (n_sets, n_samples, n_features)
            A batch for each set.

        Returns
        -------
        terms : Tensor of shape (n_sets, n_models, n_terms)
            Loss and terms.
        gradients : list of Tensor of shape (n_sets, n_models, ...)
            Those of ``trained``.
        """
        return self.compute(x, [[draw() for draw in draws] for draws in self.draws])

    def compute(self, x: Tensor, drawn: Sequence[Sequence[Tensor]]) -> tuple[Tensor, list[Tensor]]:
        """Compute with numbers that are there already, of every draw those of each set."""
        terms, *gradients = self.axes.led(self.function(*self.axes.inputs(x, drawn)))
        return terms, gradients


def stacked_step(stack: Stack, start: int, stop: int, x: Tensor) -> StackedStep:
    """Work out the step of the sets from ``start`` to ``stop``.

    Parameters
    ----------
    stack : Stack
        Whose tensors are read and, where they are buffers, written, now and later.
    start, stop : int
        Which sets.
    x : Tensor of shape (stop - start, n_samples, n_features)
        A batch for each; nothing is trained on it.

    Raises
    ------
    NotTraceableError
        When the step is no fixed sequence of operations that torch can batch, or does not give
        what single steps of the models do.
    """
    lead = (stop - start, stack.lead[1])
    steps = stack.steps[start * lead[1] : stop * lead[1]]
    eager = [run_eagerly(step, x[i // lead[1]]) for i, step in enumerate(steps)]
    leaders = eager[:: lead[1]]
    _check_draws(eager, lead[1])
    with torch.no_grad():
        traced = trace(stack.template(), x[0], record)
        state = [stack.part(name, start, stop).detach() for name in traced.names]
        layouts = [None, *(stack.part(name, start, stop) for name in traced.trained)]
    drawn = [[one.values[i] for one in leaders] for i in range(len(traced.draws))]
    draws = [[one.draws[i] for one in leaders] for i in range(len(traced.draws))]
    step = StackedStep(_untraced, draws, lead, traced.trained)
    inputs = step.axes.inputs(x, drawn)
    shared = [name == SHARED for name in traced.names]
    graph = batched(traced.graph, shared, [*state, *inputs], step.axes)
    examples = [tensor.clone() for tensor in (*state, *inputs)]
    step.function = simplify(graph, state, examples, layouts).function
    with torch.no_grad(), _kept(state):
        terms, gradients = step.compute(x, drawn)
        _check(eager, [terms, *gradients])
        _check_state(stack, steps, eager, start)
    return step


def _untraced(*inputs: Tensor) -> None:
    """Stand for a function that is yet to come."""
    raise NotTraceableError("the step has not been worked out.")


def batched(
    graph: fx.GraphModule, shared: Sequence[bool], inputs: list[Tensor], axes: Axes
) -> fx.GraphModule:
    """Return a graph of one model's operations as one of many.

    Parameters
    ----------
    graph : GraphModule
        From the tensors of a model, a batch and draws.
    shared : sequence of bool
        Which of those tensors all models have in common.
    inputs : list of Tensor
        Tensors, batch and draws of many.
    axes : Axes
        How these lie.

    Raises
    ------
    NotTraceableError
        When torch cannot batch one of the operations.
    """
    function: Callable[..., Any] = _Batchable(graph, garbage_collect_values=False).run
    n_inputs = len(inputs) - len(shared)
    state: list[int | None] = [None if common else 0 for common in shared]
    if axes.n_axes == 2 or axes.one_set:  # models of a set have their rows in common
        function = vmap(function, in_dims=(*state, *([None] * n_inputs)))
    if not axes.one_set:
        function = vmap(function, in_dims=(*state, *([0] * n_inputs)))
    try:
        found = record(function, [tensor.clone() for tensor in inputs])
    except (RuntimeError, ValueError) as error:
        raise NotTraceableError(f"torch cannot batch it: {str(error).strip()[:300]}") from error
    _fuse(found.graph)
    found.recompile()
    return found


@final
class _Batchable(fx.Interpreter):
    """Runs a graph, with operations that torch batches in place of some that it does not."""

    def run_node(self, node: Any) -> Any:
        """Run a node (torch's hook)."""
        if node.target is _aten.copy_.default:
            same = [node.args[0]]
            while same[-1].target is _aten.detach.default:
                same.append(same[-1].args[0])
            if same[-1].target in _EMPTY:
                # Memory for one model does not take the numbers of many.
                values = self.env[node.args[1]].clone()
                self.env.update(dict.fromkeys(same, values))
                return values
        return super().run_node(node)

    def call_function(self, target: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Call an operation (torch's hook)."""
        return _BATCHABLE.get(target, target)(*args, **kwargs)


def _squares(x: Tensor, y: Tensor, reduction: int = 1) -> Tensor:
    """Stand for mse_loss, which torch batches for two batched arguments only."""
    if reduction:
        raise NotTraceableError("it averages squares in one operation.")
    difference = x - y
    return difference * difference


def _squares_backward(gradient: Tensor, x: Tensor, y: Tensor, reduction: int) -> Tensor:
    """Return the gradient of the above."""
    return gradient * (2 * (x - y))


_EMPTY = {_aten.empty.memory_format, _aten.empty_like.default, _aten.new_empty.default}
# What is copied are numbers of a model, where a copy costs next to nothing.
_BATCHABLE: dict[Any, Callable[..., Tensor]] = {
    _aten.addcmul_.default: lambda x, a, b, value=1: x.add_(a * b, alpha=value),
    _aten.clamp_.Tensor: lambda x, *bounds: x.copy_(_aten.clamp.Tensor(x, *bounds)),
    _aten.lerp_.Scalar: lambda x, end, weight: x.copy_(_aten.lerp.Scalar(x, end, weight)),
    _aten.lerp_.Tensor: lambda x, end, weight: x.copy_(_aten.lerp.Tensor(x, end, weight)),
    _aten.mse_loss.default: _squares,
    _aten.mse_loss_backward.default: _squares_backward,
}


def _fuse(graph: fx.Graph) -> None:
    """Make one operation of products that are only added to something in place."""
    for node in list(graph.nodes):
        product = node.args[1] if node.target is _aten.add_.Tensor else None
        if not isinstance(product, fx.Node) or product is not node.prev or len(product.users) > 1:
            continue
        if product.target is _aten.mul.Tensor and all(isinstance(a, fx.Node) for a in product.args):
            value = node.kwargs.get("alpha", 1)
            node.target, node.args = _aten.addcmul_.default, (node.args[0], *product.args)
            node.kwargs = {"value": value}
            graph.erase_node(product)


def _check_draws(eager: Sequence[Eager], n_models: int) -> None:
    """Raise unless all models draw alike, and those of a set the same numbers."""
    for i, one in enumerate(eager):
        leader = eager[i - i % n_models]
        alike = len(one.values) == len(eager[0].values) and one.trained == eager[0].trained
        same = alike and all(map(torch.equal, one.values, leader.values))
        shapes = [value.shape for value in one.values] == [v.shape for v in eager[0].values]
        if not (same and shapes):
            raise NotTraceableError("the models do not draw the same random numbers.")


def _check(eager: Sequence[Eager], found: Sequence[Tensor]) -> None:
    """Raise unless losses and gradients are those of the models' own steps."""
    flat = [tensor.flatten(0, 1) for tensor in found]
    for i, one in enumerate(eager):
        terms, *gradients = (tensor[i] for tensor in flat)
        compare("losses", [terms], one.outputs[:1])
        compare("gradients", [_joined(gradients)], [_joined(one.outputs[1:])])


def _joined(gradients: Sequence[Tensor]) -> Tensor:
    """Return gradients as one vector: some, as of biases before a normalisation, are rounding."""
    return torch.cat([gradient.flatten() for gradient in gradients])


def _check_state(
    stack: Stack, steps: Sequence[TrainingStep], eager: Sequence[Eager], start: int
) -> None:
    """Raise unless buffers are what the models' own steps make of them."""
    for i, (step, one) in enumerate(zip(steps, eager, strict=True)):
        of_set, of_model = divmod(i, stack.lead[1])
        names = list(step.tensors())
        found = [
            stack.tensors[n] if n == SHARED else stack.tensors[n][start + of_set, of_model]
            for n in names
        ]
        compare("state", found, one.state)


@contextmanager
def _kept(tensors: Sequence[Tensor]) -> Iterator[None]:
    """Put tensors back to where they were."""
    before = [tensor.clone() for tensor in tensors]
    try:
        yield
    finally:
        for tensor, value in zip(tensors, before, strict=True):
            tensor.copy_(value)
