"""The likelihood of rows with mixed columns and missing cells: a product over their parts."""

import math
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import NamedTuple, final

import torch
from torch import Tensor

from skvim.objectives._intervals import (
    interval_information,
    interval_log_probability,
    interval_mean_square,
    log_probability_by_size,
)
from skvim.objectives._likelihood import DataStatistics, Likelihood
from skvim.objectives._parts import Categorical, Continuous, Interval, Part, Value

__all__ = ["CellLayout", "Cells"]

# Memory of running variances, in batches all of whose cells are observed.
_MEMORY = 20
# Least variance, of values whose variance over the rows is about 1.
_FLOOR = 1e-4
# The logit of values that are there to fill a block only.
_NEVER = -1e9
# Standard deviations among which the best one for intervals is searched, and how often.
_LOG_SCALES, _N_HALVINGS = (math.log(1e-2), math.log(10.0)), 40


class _Values(NamedTuple):
    """Stored numbers of rows by kind of part, of shape (..., number of parts)."""

    y: Tensor
    log_derivative: Tensor
    middle: Tensor
    low: Tensor
    high: Tensor
    position: Tensor
    value: Tensor


@final
class CellLayout:
    """Positions of parts among the stored numbers, the decoder's outputs and the encoder's inputs.

    Categorical parts stand in blocks of those with as many values, rounded up to a power of 2, so
    that a block is one tensor. Values that only fill a block have probability 0.

    Parameters
    ----------
    parts : sequence of Part
        Of a row, in any order.

    Attributes
    ----------
    continuous, interval, categorical, value : list of int
        Positions of the parts of each kind in their order within rows.
    blocks : list of (int, int)
        Number of categorical parts of a block, and of the values of each.
    seen : list of bool
        Whether the encoder sees the parts of a block.
    """

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = list(parts)
        self.continuous = [i for i, part in enumerate(parts) if isinstance(part, Continuous)]
        self.interval = [i for i, part in enumerate(parts) if isinstance(part, Interval)]
        self.value = [i for i, part in enumerate(parts) if isinstance(part, Value)]
        by_size: dict[tuple[int, bool], list[int]] = {}
        for i, part in enumerate(parts):
            if isinstance(part, Categorical):
                size = 1 << (part.n_outputs - 1).bit_length()
                by_size.setdefault((size, part.seen), []).append(i)
        self.blocks = [(len(by_size[size, seen]), size) for size, seen in sorted(by_size)]
        self.seen = [seen for _, seen in sorted(by_size)]
        self.categorical = [i for key in sorted(by_size) for i in by_size[key]]
        replaced = {parts[i].column for i in self.value}
        #: Positions among continuous and interval parts of those whose y the encoder sees.
        self.shown = [
            j
            for j, i in enumerate((*self.continuous, *self.interval))
            if parts[i].column not in replaced
        ]

    @property
    def n_normal(self) -> int:
        """Number of parts that have a variance."""
        return len(self.continuous) + len(self.interval)

    @property
    def n_stored(self) -> int:
        """Numbers by which a row is stored."""
        normal = 2 * len(self.continuous) + 3 * len(self.interval)
        return normal + len(self.categorical) + len(self.value)

    @property
    def n_outputs(self) -> int:
        """Parameters that the decoder gives for a row."""
        return self.n_normal + sum(count * size for count, size in self.blocks)

    @property
    def n_inputs(self) -> int:
        """Numbers that the encoder sees of a row."""
        return len(self.columns_of_inputs())

    @property
    def order(self) -> list[int]:
        """Positions of all parts in the order within rows."""
        return [*self.continuous, *self.interval, *self.categorical]

    def stored(self) -> list[list[int]]:
        """Return for every part the positions of its stored numbers."""
        n, m = len(self.continuous), len(self.interval)
        places: list[list[int]] = [[] for _ in self.parts]
        for j, i in enumerate(self.continuous):
            places[i] = [j, n + j]
        for j, i in enumerate(self.interval):
            places[i] = [2 * n + k * m + j for k in range(3)]
        for j, i in enumerate((*self.categorical, *self.value)):
            places[i] = [2 * n + 3 * m + j]
        return places

    def outputs(self) -> list[slice]:
        """Return for every part the positions of its outputs."""
        places = [slice(0, 0)] * len(self.parts)
        for j, i in enumerate(self.order[: self.n_normal]):
            places[i] = slice(j, j + 1)
        sizes = [size for count, size in self.blocks for _ in range(count)]
        starts = accumulate(sizes, initial=self.n_normal)
        for start, i in zip(starts, self.categorical, strict=False):
            places[i] = slice(start, start + self.parts[i].n_outputs)
        return places

    def columns_of_inputs(self) -> list[int]:
        """Return for every number that the encoder sees the column that it belongs to."""
        normal = (*self.continuous, *self.interval)
        numbers = [*(normal[j] for j in self.shown), *self.value]
        ones: list[int] = []
        start = 0
        for (count, size), seen in zip(self.blocks, self.seen, strict=True):
            parts = self.categorical[start : start + count]
            ones += [i for i in parts for _ in range(size)] if seen else []
            start += count
        return [self.parts[i].column for i in (*numbers, *numbers, *ones)]

    def split(self, x: Tensor) -> _Values:
        """Return stored rows (..., n_stored) by kind."""
        n, m, c = len(self.continuous), len(self.interval), len(self.categorical)
        return _Values(*torch.split(x, [n, n, m, m, m, c, len(self.value)], -1))

    def in_blocks(self, values: Tensor) -> list[Tensor]:
        """Return values (..., parts · size of all blocks) as one (..., parts, size) a block."""
        tensors = torch.split(values, [count * size for count, size in self.blocks], -1)
        return [
            torch.unflatten(tensor, -1, block)
            for tensor, block in zip(tensors, self.blocks, strict=True)
        ]

    def one_hot(self, index: Tensor) -> list[Tensor]:
        """Return indices (..., categorical parts) as ones and zeros, all 0 where missing."""
        parts = torch.split(index, [count for count, _ in self.blocks], -1)
        return [
            (part.unsqueeze(-1) == torch.arange(size, device=index.device)).to(index.dtype)
            for part, (_, size) in zip(parts, self.blocks, strict=True)
        ]


@final
class Cells(Likelihood):
    """Product of normal, interval and categorical densities over the observed parts of a row.

    Rows are stored as ``layout`` says, with NaN for all numbers of a part that is missing.
    The encoder sees of each continuous or interval part its y, or of its column the
    :class:`Value` if there is one, 0 where missing, and whether it is observed; and of each
    categorical part ones and zeros, all 0 where missing. Every continuous and
    interval part has a variance of its own, at its maximum-likelihood value over observed cells: in
    training a running mean over about 20 batches of observed cells, or one epoch if that is
    shorter, and after it the optimum for the rows of a last pass. None is below 1e-4.

    Parameters
    ----------
    parts : sequence of Part
        What rows consist of; see :class:`Continuous`, :class:`Interval` and :class:`Categorical`.

    Notes
    -----
    log p(x|z) = Σ_observed log p_j(x_j|z) in nats, densities for continuous parts in the units of
    the table, probabilities for the others. An expectation–maximisation step gives the variance of
    intervals in training.
    """

    takes_missing = True

    # State by part with a variance, of shape (n_normal,): running sums, per row, of squares and of
    # observed cells.
    squares: Tensor
    observed: Tensor
    n_rows: Tensor | float

    def __init__(self, parts: Sequence[Part]) -> None:
        self.parts = parts

    @cached_property
    def layout(self) -> CellLayout:
        """Positions of the parts in rows and outputs."""
        return CellLayout(self.parts)

    def check(self) -> None:
        """Raise ``ValueError`` or ``TypeError`` when a part is wrong, or there is none."""
        if not self.parts:
            raise ValueError("Cells must have at least one part. Got none.")
        for part in self.parts:
            if not isinstance(part, Continuous | Interval | Categorical | Value):
                raise TypeError(
                    "The parts of Cells must be Continuous, Interval, Categorical or Value. "
                    f"Got {part!r} instead."
                )
            part.check()

    def input_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (n_inputs,)."""
        return (self.layout.n_inputs,)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        """Return (n_outputs,)."""
        return (self.layout.n_outputs,)

    def input_affine(self, data: DataStatistics) -> tuple[Tensor, float]:
        """Return 0 and 1: stored values are of unit size."""
        return data.mean.new_zeros(self.layout.n_inputs), 1.0

    def output_affine(self, data: DataStatistics) -> tuple[Tensor, float]:
        """Return 0 for means and the logarithms of given probabilities, and 1."""
        offset = data.mean.new_full((self.layout.n_outputs,), _NEVER)
        offset[: self.layout.n_normal] = 0
        for part, place in zip(self.parts, self.layout.outputs(), strict=True):
            if isinstance(part, Categorical):
                offset[place] = offset.new_tensor(part.probabilities).log()
        return offset, 1.0

    def inputs(self, x: Tensor) -> Tensor:
        """Return what the encoder sees of stored rows: shape (..., n_inputs)."""
        layout, values = self.layout, self.layout.split(x)
        y = torch.cat([values.y, values.middle], -1)
        if len(layout.shown) < layout.n_normal:
            y = torch.cat([y[..., j : j + 1] for j in layout.shown] or [y[..., :0]], -1)
        y = torch.cat([y, values.value], -1)
        blocks = zip(layout.one_hot(values.position), layout.seen, strict=True)
        ones = [block.flatten(-2) for block, seen in blocks if seen]
        return torch.cat([y.nan_to_num(), y.isfinite().to(x.dtype), *ones], -1)

    @property
    def learns(self) -> bool:
        """Whether there are variances."""
        return self.layout.n_normal > 0

    @property
    def least_observed(self) -> float:
        """Share of rows in which the part that is missing most is observed."""
        return float(self.observed.min()) if self.learns else 1.0

    @property
    def variance(self) -> Tensor:
        """σ² of every continuous and interval part, of shape (n_normal,)."""
        return (self.squares / self.observed).clamp(min=_FLOOR)

    def start(self, data: DataStatistics) -> dict[str, Tensor]:
        """Return sums for variances of 1 and the observed shares of the rows."""
        n, m = len(self.layout.continuous), len(self.layout.interval)
        shares = torch.ones_like(data.mean) if data.observed is None else data.observed
        observed = torch.cat([shares[:n], shares[2 * n : 2 * n + m]])
        return {"squares": observed.clone(), "observed": observed}

    def error(self, x: Tensor, output: Tensor) -> Tensor:
        """Return what the log-density depends on, beside one another: see ``_split_error``."""
        layout, values = self.layout, self.layout.split(x)
        n, m = len(layout.continuous), len(layout.interval)
        mean, between, logits = torch.split(output, [n, m, layout.n_outputs - n - m], -1)
        seen, known = values.y.isfinite(), values.middle.isfinite()
        residual = torch.where(seen, values.y - mean, 0.0)
        low = torch.where(known, values.low - between, -1.0)
        high = torch.where(known, values.high - between, 1.0)
        costs = [
            -(block.log_softmax(-1) * ones).sum(-1)
            for block, ones in zip(
                layout.in_blocks(logits), layout.one_hot(values.position), strict=True
            )
        ]
        given = [torch.where(seen, values.log_derivative, 0.0), seen, known]
        lead = output.shape[:-1]
        same = [part.to(output.dtype).expand(*lead, part.shape[-1]) for part in given]
        return torch.cat([residual, *same, low, high, *costs], -1)

    def _split_error(self, error: Tensor) -> tuple[Tensor, ...]:
        """Return residuals, log-derivatives, masks of both kinds, ends of intervals and costs."""
        n, m = len(self.layout.continuous), len(self.layout.interval)
        return torch.split(error, [n, n, n, m, m, m, len(self.layout.categorical)], -1)

    def part_log_density(self, error: Tensor) -> Tensor:
        """Return the log-density of every part, in the layout's order, 0 where it is missing."""
        residual, log_derivative, seen, known, low, high, costs = self._split_error(error)
        n = residual.shape[-1]
        variance = self.variance  # a new tensor: sums are updated in place
        first, scale = variance[..., :n], variance[..., n:].sqrt()
        normal = -0.5 * (residual.square() / first + (2 * math.pi * first).log()) + log_derivative
        interval = interval_log_probability(low / scale, high / scale)
        return torch.cat([normal * seen, torch.where(known > 0, interval, 0.0), -costs], -1)

    def log_density(self, error: Tensor, n_features: int) -> Tensor:
        """Return the log-density of the observed parts of every row."""
        return self.part_log_density(error).sum(-1)

    def evaluate(self, x: Tensor, output: Tensor) -> Tensor:
        """Return the log-density of the observed parts, without what training keeps of them."""
        layout, values = self.layout, self.layout.split(x)
        n, m = len(layout.continuous), layout.n_normal
        variance = self.variance
        first, roots = variance[:n], variance[n:].rsqrt()
        seen, known = values.y.isfinite(), values.middle.isfinite()
        constant = values.log_derivative - 0.5 * (2 * math.pi * first).log()
        total = torch.where(seen, constant, 0.0).sum(-1)
        if n > 0:
            residual = torch.where(seen, values.y - output[..., :n], 0.0)
            total = total - residual.square() @ (0.5 / first)
        if m > n:
            between = output[..., n:m] * roots
            low = torch.where(known, values.low, -math.inf) * roots - between
            high = torch.where(known, values.high, math.inf) * roots - between
            total = total + log_probability_by_size(low, high) @ torch.ones_like(roots)
        of_blocks = zip(
            layout.in_blocks(output[..., m:]), layout.one_hot(values.position), strict=True
        )
        for logits, ones in of_blocks:
            given = (logits * ones).sum((-2, -1))
            total = total + given - (logits.logsumexp(-1) * ones.sum(-1)).sum(-1)
        return total

    def _sums(self, error: Tensor) -> tuple[Tensor, Tensor]:
        """Return means over rows of squared residuals, or of their expectations, and of masks."""
        residual, _, seen, known, low, high, _ = self._split_error(error)
        scale = self.variance[..., residual.shape[-1] :].sqrt()
        expected = scale.square() * interval_mean_square(low / scale, high / scale)
        squares = torch.cat([residual.square(), torch.where(known > 0, expected, 0.0)], -1)
        return squares.mean(0), torch.cat([seen, known], -1).mean(0)

    def observe(self, error: Tensor, n_features: int) -> None:
        """Move the variances towards those of the batch's observed cells."""
        if not self.learns:
            return
        squares, observed = self._sums(error)
        share = torch.as_tensor(len(error) / self.n_rows, dtype=error.dtype, device=error.device)
        weight = torch.maximum(share, self.observed / _MEMORY).clamp(max=1.0)
        self.squares.lerp_(squares, weight)
        self.observed.lerp_(observed, weight)

    def settle(self, error: Tensor, n_features: int) -> None:
        """Set the variances to their optimum for these rows; those without a cell stay."""
        if not self.learns:
            return
        squares, observed = self._sums(error)
        _, _, _, known, low, high, _ = self._split_error(error)
        n = len(self.layout.continuous)
        squares[n:] = observed[n:] * _best_scale(low, high, known).square()
        seen = observed > 0
        self.squares.copy_(torch.where(seen, squares, self.squares))
        self.observed.copy_(torch.where(seen, observed, self.observed))

    def mean(self, output: Tensor) -> Tensor:
        """Return means of y, and probabilities of values: shape (..., n_outputs)."""
        n = self.layout.n_normal
        first, logits = torch.split(output, [n, output.shape[-1] - n], -1)
        blocks = [block.softmax(-1).flatten(-2) for block in self.layout.in_blocks(logits)]
        return torch.cat([first, *blocks], -1)

    def precision(self, output: Tensor) -> Tensor:
        """Return the Fisher information of each output where all parts are observed."""
        probability = self.mean(output)[..., self.layout.n_normal :]
        normal = (1 / self.variance).expand(*output.shape[:-1], -1)
        return torch.cat([normal, probability * (1 - probability)], -1)

    def information(self, x: Tensor, output: Tensor, jacobian: Tensor) -> tuple[Tensor, Tensor]:
        """Return J times a factor A of the information F = A Aᵀ of the observed parts, and ones.

        F is diag(p) − p pᵀ for the logits of a categorical part, which A = diag(√p) − p √pᵀ gives.
        """
        layout, values = self.layout, self.layout.split(x)
        n, m = len(layout.continuous), layout.n_normal
        roots = self.variance.rsqrt()
        seen, known = values.y.isfinite(), values.middle.isfinite()
        low = torch.where(known, values.low - output[..., n:m], -1.0) * roots[n:]
        high = torch.where(known, values.high - output[..., n:m], 1.0) * roots[n:]
        share = torch.cat([seen.to(x.dtype), interval_information(low, high) * known], -1)
        normal = jacobian[..., :m] * (roots * share.sqrt()).unsqueeze(-2)
        factors = [normal]
        of_blocks = zip(
            layout.in_blocks(output[..., m:]),
            layout.in_blocks(jacobian[..., m:]),
            layout.one_hot(values.position),
            strict=True,
        )
        for logits, slopes, ones in of_blocks:
            p = logits.softmax(-1).unsqueeze(-3)  # (..., 1, parts, size)
            centred = slopes - (slopes * p).sum(-1, keepdim=True)
            factor = centred * p.sqrt() * ones.sum(-1, keepdim=True).unsqueeze(-3)
            factors.append(factor.flatten(-2))
        return torch.cat(factors, -1), torch.ones_like(output)

    def draw(self, output: Tensor, generator: torch.Generator) -> Tensor:
        """Draw rows in their stored form, of shape (..., n_stored).

        Of a continuous part y is drawn, with a log-derivative of 0, and of an interval part y, as
        both ends too. A part is missing where another value of its column was drawn, and a
        :class:`Value` always.
        """
        layout = self.layout
        n, m = len(layout.continuous), layout.n_normal
        noise = torch.empty_like(output[..., :m]).normal_(generator=generator)
        y = output[..., :m] + self.variance.sqrt() * noise
        indices = [_draw_index(block, generator) for block in layout.in_blocks(output[..., m:])]
        index = torch.cat([y[..., :0], *indices], -1)
        rest = {
            layout.parts[i].column: index[..., j] == layout.parts[i].n_outputs - 1
            for j, i in enumerate(layout.categorical)
        }
        for j, i in enumerate(layout.order[:m]):
            reached = rest.get(layout.parts[i].column)
            if reached is not None:
                y[..., j] = y[..., j].masked_fill(~reached, math.nan)
        first, last = y[..., :n], y[..., n:]
        slope = torch.where(first.isnan(), first, 0.0)
        nothing = y.new_full((*y.shape[:-1], len(layout.value)), math.nan)
        return torch.cat([first, slope, last, last, last, index, nothing], -1)


def _draw_index(logits: Tensor, generator: torch.Generator) -> Tensor:
    """Draw from the categorical distributions of the last axis."""
    uniform = torch.empty_like(logits).uniform_(generator=generator)
    smallest = torch.finfo(logits.dtype).tiny
    gumbel = -(-uniform.clamp(min=smallest).log()).clamp(min=smallest).log()
    return (logits + gumbel).argmax(-1).to(logits.dtype)


def _best_scale(low: Tensor, high: Tensor, known: Tensor) -> Tensor:
    """Return the standard deviation under which intervals (n, m) are most probable: (m,)."""
    ratio = (math.sqrt(5) - 1) / 2  # golden-section search in the logarithm
    left, right = (low.new_full(low.shape[1:], end) for end in _LOG_SCALES)

    def total(log_scale: Tensor) -> Tensor:
        scale = log_scale.exp()
        values = interval_log_probability(low / scale, high / scale)
        return torch.where(known > 0, values, 0.0).sum(0)

    for _ in range(_N_HALVINGS):
        step = ratio * (right - left)
        inner, outer = right - step, left + step
        better = total(inner) > total(outer)
        left, right = torch.where(better, left, inner), torch.where(better, outer, right)
    return (0.5 * (left + right)).exp()
