"""Graphs of operations made short, and the operations that must not go."""

import pytest
import torch
from torch import nn
from torch.fx.experimental.proxy_tensor import make_fx

from skvim.engine._simplify import simplify
from skvim.engine._trace import NotTraceableError, trace
from skvim.objectives import Losses


def numbers(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shortened(function, persistent, *inputs):
    """Return the short program of a function of persistent tensors and inputs, and its steps."""
    copies = [tensor.clone() for tensor in (*persistent, *inputs)]
    traced = make_fx(lambda *args: list(function(*args)))(*copies)
    examples = [tensor.clone() for tensor in (*persistent, *inputs)]
    with torch.no_grad():
        n_outputs = len(function(*(tensor.clone() for tensor in examples)))
    program = simplify(traced, persistent, examples, [None] * n_outputs)
    nodes = program.graph.graph.nodes
    return program.function, [n for n in nodes if n.op == "call_function"]


@pytest.mark.parametrize(
    ("function", "n_steps"),
    [
        (lambda w, x: [x * 1 + 0, x.view(3, 4).detach()], 1),  # the second output is a copy
        (lambda w, x: [(x + x) * (x + x)], 2),
        (lambda w, x: [x @ w.t()], 1),
        (lambda w, x: [x * torch.ones(3, 4).sum()], 1),
        (lambda w, x: [x * (2 * torch.ones_like(x))], 1),
        (lambda w, x: [x.t().t() + 1], 1),
        (lambda w, x: [x.sum(0, keepdim=True).view(4)], 1),
        (lambda w, x: [x.sum(0, keepdim=True).view(2, 2)], 2),
        (lambda w, x: [x.exp(), x.sin() if False else x.cos()], 2),
    ],
    ids=["neutral", "equal", "views", "constants", "fills", "twice", "sum", "no-sum", "plain"],
)
@pytest.mark.numerics
def test_a_short_graph_computes_the_same(function, n_steps):
    w, x = numbers(4, 4), numbers(3, 4, seed=1)
    run, steps = shortened(function, [w], x)
    for seed in (1, 2):
        x = numbers(3, 4, seed=seed)
        for found, expected in zip(run(x), function(w, x), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=0)
    assert len(steps) == n_steps, steps


def test_numbers_that_only_look_alike_are_kept_apart():
    counts = torch.arange(3)
    run, _ = shortened(lambda n, x: [x * 1, x * 1.0, x * True, x * -0.0, x * 0.0], [counts], counts)
    found = run(counts)
    whole, real = torch.int64, torch.float32
    assert [value.dtype for value in found] == [whole, real, whole, real, real]
    assert torch.signbit(found[3]).all()
    assert not torch.signbit(found[4]).any()


def test_persistent_memory_is_read_when_the_program_runs():
    w, x = numbers(4, 4), numbers(3, 4)
    run, _ = shortened(lambda w, x: [x @ w.t()], [w], x)
    w.mul_(2)
    torch.testing.assert_close(run(x)[0], x @ w.t())


def test_writing_and_reading_keep_their_order():
    def count(total, x):
        before = total + 0
        total.add_(x.sum())
        middle = total * 1
        total.mul_(2)
        return before.clone(), middle.clone(), total.clone()

    total = torch.tensor(1.0)
    run, _ = shortened(count, [total], numbers(3))
    x = torch.ones(3)
    assert [float(value) for value in run(x)] == [1.0, 4.0, 8.0]
    assert [float(value) for value in run(x)] == [8.0, 11.0, 22.0]
    assert float(total) == 22.0


def test_a_view_of_written_memory_sees_what_was_written():
    def shift(state, x):
        row = state.view(2, 2)[0]
        state.add_(1)
        return (row + x,)

    state = torch.zeros(4)
    run, _ = shortened(shift, [state], numbers(2))
    assert run(torch.zeros(2))[0].tolist() == [1.0, 1.0]
    assert run(torch.zeros(2))[0].tolist() == [2.0, 2.0]


def test_outputs_are_nobody_elses_memory():
    w = numbers(3)
    run, _ = shortened(lambda w, x: [w, x + 1, (x + 1) * 1, torch.zeros(3)], [w], numbers(3))
    kept = w.clone()
    outputs = run(numbers(3))
    for output in outputs:
        output.fill_(7)
    assert torch.equal(w, kept)
    assert run(numbers(3))[3].tolist() == [0.0, 0.0, 0.0]


def test_outputs_take_the_layout_that_is_asked_for():
    w = numbers(2, 3, 4, 5).to(memory_format=torch.channels_last)
    traced = make_fx(lambda w: [w.contiguous() * 2])(w.clone())
    program = simplify(traced, [w], [w.clone()], [w])
    (output,) = program.function()
    assert output.stride() == w.stride()
    assert torch.equal(output, 2 * w)


def test_hidden_randomness_is_refused():
    traced = make_fx(lambda x: [torch.rand_like(x) + x])(numbers(3))
    with pytest.raises(NotTraceableError, match="draws without a generator"):
        simplify(traced, [], [numbers(3)], [None])


class _Step(nn.Module):
    """A step with a weight, a buffer and noise."""

    def __init__(self, generator):
        super().__init__()
        self.weight = nn.Parameter(numbers(3))
        self.unused = nn.Parameter(numbers(2))
        self.register_buffer("seen", torch.zeros(()))
        self.generator = generator

    def forward(self, x):
        self.seen.add_(1)
        noise = torch.empty_like(x).normal_(generator=self.generator)
        loss = ((x + noise + torch.rand(3, generator=self.generator)) @ self.weight).square().mean()
        return Losses(loss, (loss,))


def test_tracing_changes_neither_state_nor_generators():
    generator = torch.Generator().manual_seed(3)
    step = _Step(generator)
    before, weight = generator.get_state(), step.weight.detach().clone()
    traced = trace(step, numbers(5, 3))
    assert torch.equal(generator.get_state(), before)
    assert step.seen == 0
    assert torch.equal(step.weight, weight)
    assert step.weight.grad is None
    assert traced.trained == ("weight",)
    # The draws, made again, are those that a plain step would make.
    first, second = (draw() for draw in traced.draws)
    source = torch.Generator().manual_seed(3)
    assert torch.equal(first, torch.empty(5, 3).normal_(generator=source))
    assert torch.equal(second, torch.rand(3, generator=source))


class _DataDependent(_Step):
    """Draws with probabilities that are data."""

    def forward(self, x):
        loss = (torch.bernoulli(x.sigmoid(), generator=self.generator) @ self.weight).mean()
        return Losses(loss, (loss,))


def test_draws_that_depend_on_data_are_refused():
    with pytest.raises(NotTraceableError, match="bernoulli draws with tensors"):
        trace(_DataDependent(torch.Generator()), numbers(5, 3))
