"""Recorded steps and the graph optimiser: the same results, from fewer operations."""

import pytest
import torch
from torch import fx, nn

from skvim.engine.capture._interpreted import interpreted
from skvim.engine.capture._optimiser import optimise
from skvim.engine.capture._recorder import NotTraceableError, record
from skvim.engine.capture._training_step import trace_step
from skvim.objectives import Losses


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def optimised(function, persistent, *inputs):
    """Return the optimised program of a function of persistent tensors and inputs."""
    copies = [tensor.clone() for tensor in (*persistent, *inputs)]
    graph = record(lambda *tensors: list(function(*tensors)), copies)
    examples = [tensor.clone() for tensor in (*persistent, *inputs)]
    n_outputs = len(next(node for node in graph.graph.nodes if node.op == "output").args[0])
    return optimise(graph, persistent, examples, [None] * n_outputs)


EQUIVALENCES = {
    # Name: function of a weight and rows, and the operations that it takes.
    "identities": (lambda w, x: [x * 1 + 0, x.view(3, 4).detach()], 1),  # an output is a copy
    "common subexpressions": (lambda w, x: [(x + x) * (x + x)], 2),
    "products with weights": (lambda w, x: [x @ w.t(), w.t()[0] + 0], 4),
    "constants": (lambda w, x: [x * torch.ones(3, 4).sum()], 1),
    "filled tensors": (lambda w, x: [x * (2 * torch.ones_like(x))], 1),
    "transposed twice": (lambda w, x: [x.t().t() + 1], 1),
    "squares": (lambda w, x: [x**2, x * x + 1], 2),
    "sums over kept axes": (lambda w, x: [x.sum(0, keepdim=True).view(4)], 1),
    "sums in another shape": (lambda w, x: [x.sum(0, keepdim=True).view(2, 2)], 2),
    "dead code": (lambda w, x: [x.exp(), (x.sin(), x.cos())[1]], 2),
}


@pytest.mark.parametrize("name", EQUIVALENCES)
@pytest.mark.numerics
def test_an_optimised_graph_computes_the_same_in_fewer_operations(name):
    function, n_operations = EQUIVALENCES[name]
    w, x = numbers(4, 4), numbers(3, 4, seed=1)
    program = optimised(function, [w], x)
    for seed in (1, 2):
        x = numbers(3, 4, seed=seed)
        w.mul_(seed)  # persistent memory is read when the program runs
        for found, expected in zip(program.function(x), function(w, x), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
    operations = [node for node in program.graph.nodes if node.op == "call_function"]
    assert len(operations) <= n_operations, operations


def test_numbers_that_only_look_alike_are_kept_apart():
    counts = torch.arange(3)
    products = lambda n, x: [x * 1, x * 1.0, x * True, x * -0.0, x * 0.0]
    found = optimised(products, [counts], counts).function(counts)
    whole, real = torch.int64, torch.float32
    assert [value.dtype for value in found] == [whole, real, whole, real, real]
    assert torch.signbit(found[3]).all()
    assert not torch.signbit(found[4]).any()


def test_writing_and_reading_keep_their_order():
    def count(total, x):
        before = total + 0
        total.add_(x.sum())
        middle = total * 1
        total.mul_(2)
        return before.clone(), middle.clone(), total.clone()

    total, x = torch.tensor(1.0), torch.ones(3)
    run = optimised(count, [total], numbers(3)).function
    assert [float(value) for value in run(x)] == [1.0, 4.0, 8.0]
    assert [float(value) for value in run(x)] == [8.0, 11.0, 22.0]
    assert float(total) == 22.0


def test_a_view_of_written_memory_sees_what_was_written():
    def shift(state, x):
        row = state.view(2, 2)[0]
        state.add_(1)
        return (row + x,)

    run = optimised(shift, [torch.zeros(4)], numbers(2)).function
    assert run(torch.zeros(2))[0].tolist() == [1.0, 1.0]
    assert run(torch.zeros(2))[0].tolist() == [2.0, 2.0]


def test_outputs_are_nobody_elses_memory():
    w = numbers(3)
    run = optimised(lambda w, x: [w, x + 1, (x + 1) * 1, torch.zeros(3)], [w], numbers(3)).function
    kept = w.clone()
    for output in run(numbers(3)):
        output.fill_(7)
    assert torch.equal(w, kept)
    assert run(numbers(3))[3].tolist() == [0.0, 0.0, 0.0]


def test_outputs_take_the_layout_that_is_asked_for():
    w = numbers(2, 3, 4, 5).to(memory_format=torch.channels_last)
    graph = record(lambda w: [w.contiguous() * 2], [w.clone()])
    (output,) = optimise(graph, [w], [w.clone()], [w]).function()
    assert output.stride() == w.stride()
    assert torch.equal(output, 2 * w)


def test_gradients_and_batched_code_are_recorded():
    def gradient(w, x):
        w = w.requires_grad_()
        losses = torch.func.vmap(lambda row: (row @ w).tanh().square().sum())(x)
        return torch.autograd.grad(losses.mean(), [w])

    w, x = numbers(4, 2), numbers(3, 4, seed=1)
    run = optimised(gradient, [w.clone()], x).function
    torch.testing.assert_close(run(x)[0], gradient(w, x)[0])


class Step(nn.Module):
    """A step with a weight, one that is not used, a buffer and noise."""

    def __init__(self, generator):
        super().__init__()
        self.weight = nn.Parameter(numbers(3))
        self.unused = nn.Parameter(numbers(2))
        self.register_buffer("seen", torch.zeros(()))
        self.generator = generator

    def tensors(self):
        return {**dict(self.named_parameters()), **dict(self.named_buffers())}

    def forward(self, x):
        self.seen.add_(1)
        noise = torch.empty_like(x).normal_(generator=self.generator)
        loss = ((x + noise + torch.rand(3, generator=self.generator)) @ self.weight).square().mean()
        return Losses(loss, (loss,))


def test_tracing_changes_neither_state_nor_generators():
    generator = torch.Generator().manual_seed(3)
    step = Step(generator)
    before, weight = generator.get_state(), step.weight.detach().clone()
    _, result = trace_step(step, numbers(5, 3))
    assert torch.equal(generator.get_state(), before)
    assert step.seen == 0
    assert torch.equal(step.weight, weight)
    assert step.weight.grad is None
    assert result.trained == ("weight",)
    # The draws, made again, are those that an eager step would make.
    first, second = (draw() for draw in result.draws)
    source = torch.Generator().manual_seed(3)
    assert torch.equal(first, torch.empty(5, 3).normal_(generator=source))
    assert torch.equal(second, torch.rand(3, generator=source))


def test_values_of_tensors_and_draws_without_a_generator_are_refused():
    with pytest.raises(NotTraceableError, match="reads the value"):
        record(lambda x: [x * float(x.sum())], [numbers(3)])
    with pytest.raises(NotTraceableError, match="draws without a generator"):
        optimised(lambda x: [torch.rand_like(x) + x], [], numbers(3))


# Torch's script interpreter, which runs the graphs on a CPU.

aten = torch.ops.aten
# Intermediate results that are used again, seen through views, returned, or lie otherwise in
# memory; and arguments of all kinds.
INTERPRETED = {
    "used again": lambda w, x: [(x + 1).exp() * (x + 1)],
    "seen through a view": lambda w, x: [(y := x + 1).exp(), y.t() + 1, y.sin()],
    "seen through a later view": lambda w, x: [
        (view := (y := x + 1).t()).exp() + y.sin().t(),
        view * 1,
    ],
    "returned": lambda w, x: [y := x + 1, y.exp()],
    "twice": lambda w, x: [(y := x + 1) * y],
    "broadcast": lambda w, x: [(x[0] + 1) * x, (x.sum(1, keepdim=True) + 1) - x],
    "other dtype": lambda w, x: [(x + 1) > 0, (x + 1).double() * 2],
    "transposed": lambda w, x: [(x.t() + 1) * x.t(), (x.t() + 1).contiguous().exp()],
    "lists": lambda w, x: [torch.cat([*(x + 1).split(2, 1), x], 1), torch.stack([x, x + 1])],
    "several results": lambda w, x: [(x + 1).sort(1)[0], *(x @ w).max(1)],
    "options": lambda w, x: [x.sum(1, keepdim=True), torch.add(x, x + 1, alpha=3), x.clamp(min=0)],
    "gradients": lambda w, x: [aten.threshold_backward(x + 1, y := x * 2, 0), y + 0],
}


@pytest.mark.parametrize("name", INTERPRETED)
@pytest.mark.numerics
def test_the_interpreter_computes_what_python_does_and_overwrites_nothing_else(name):
    w, x = numbers(4, 4), numbers(3, 4, seed=1)
    program = optimised(INTERPRETED[name], [w], x)
    assert program.function.func.__module__ == "skvim._torch_private"
    expected, before = INTERPRETED[name](w, x), (w.clone(), x.clone())
    for _ in range(2):
        for found, value in zip(program.function(x), expected, strict=True):
            assert found.dtype == value.dtype
            torch.testing.assert_close(found, value, rtol=0, atol=0)
        assert torch.equal(w, before[0])
        assert torch.equal(x, before[1])


def test_what_the_interpreter_does_not_know_is_left_to_python():
    graph = fx.Graph()
    x = graph.placeholder("x")
    graph.output((graph.call_function(torch.special.expit, (x,)),))
    assert interpreted(graph) is None


def test_the_interpreter_leaves_the_settings_of_the_caller():
    run = optimised(lambda x: [x + 1], [], numbers(3)).function
    for setting in (True, False):
        with torch.jit.optimized_execution(setting):
            run(numbers(3))
            assert torch._C._get_graph_executor_optimize() is setting
            with pytest.raises(RuntimeError):
                run(numbers(3), numbers(3))
            assert torch._C._get_graph_executor_optimize() is setting
