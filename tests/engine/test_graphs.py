"""Steps as CUDA graphs: what a graph repeats, and where it reads and writes.

Without a GPU the graph is a recording of torch's operations, which repeats them on the very tensors
that it saw, as a graph's kernels do with memory. Unlike a graph it keeps these tensors alive: what
a graph has to keep is tested by itself.
"""

import gc
import warnings
import weakref
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from family import normal_rows
from sklearn.base import clone
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from skvim import AETransformer, BetaVAETransformer, VAETransformer, VIMAETransformer
from skvim.engine import _accelerate as accelerate
from skvim.engine import _graphs as graphs
from skvim.engine import _stage as stages
from skvim.engine import _update as update
from skvim.exceptions import AccelerationWarning, BatchingWarning, SkvimWarning
from skvim.model_selection import BatchedSearchCV, lam_path

X = normal_rows(90, 6, 2, 0)
SMALL = {"hidden_layer_sizes": (16,), "batch_size": 40, "random_state": 0}
OPTIONS = {**SMALL, "max_epochs": 4}


class _Recording:
    """Stands for ``torch.cuda.CUDAGraph``."""

    def __init__(self):
        self.calls, self.sources, self.n_replays = [], set(), 0

    def register_generator_state(self, generator):
        self.sources.add(generator)

    def knows(self, source):
        """Whether a registered one is where this one is: torch wraps it anew at every call."""
        return any(torch.equal(source.get_state(), own.get_state()) for own in self.sources)

    def replay(self):
        self.n_replays += 1
        with torch.no_grad():
            self._repeat()

    def _repeat(self):
        for function, args, kwargs, known in self.calls:
            found = function(*args, **kwargs)
            for old, new in zip(tree_leaves(known), tree_leaves(found), strict=True):
                if isinstance(old, torch.Tensor) and old.data_ptr() != new.data_ptr():
                    old.copy_(new)


class _Capture(TorchDispatchMode):
    """Records operations."""

    def __init__(self, graph):
        super().__init__()
        self.graph, self.before = graph, []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        source = kwargs.get("generator")
        assert source is None or self.graph.knows(source), "would draw the same numbers each time"
        tensors = [t for t in tree_leaves((args, kwargs)) if isinstance(t, torch.Tensor)]
        before = [(tensor, tensor.detach().clone()) for tensor in tensors]
        found = function(*args, **kwargs)
        # Whatever its schema says: normalisation moves running means.
        self.before += [(now, value) for now, value in before if not torch.equal(now, value)]
        self.graph.calls.append((function, args, kwargs, found))
        return found


@contextmanager
def _captured(graph, device):
    """Stands for a capture, in which nothing is computed."""
    states = [(source, source.get_state()) for source in graph.sources]
    mode = _Capture(graph)
    with mode:
        yield
    for tensor, value in reversed(mode.before):
        tensor.detach().copy_(value)
    for source, state in states:
        source.set_state(state)


@pytest.fixture
def recordings(monkeypatch):
    """The graphs that a test makes."""
    made = []

    def create():
        made.append(_Recording())
        return made[-1]

    monkeypatch.setattr(torch.cuda, "CUDAGraph", create)
    monkeypatch.setattr(graphs, "_captured", _captured)
    for module in (accelerate, stages, update):
        monkeypatch.setattr(module, "has_graphs", lambda device: True)
    return made


def without_graphs(monkeypatch):
    for module in (accelerate, stages, update):
        monkeypatch.setattr(module, "has_graphs", lambda device: False)


def fitted(model, **options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkvimWarning)
        warnings.simplefilter("error", AccelerationWarning)
        return clone(model).set_params(**OPTIONS, acceleration="capture", **options).fit(X)


MODELS = [
    VAETransformer(2),
    VIMAETransformer(2, prior="logistic"),
    AETransformer(2, dropout=0.2, normalization="batch"),
    VAETransformer(2, warmup=0.5, lr=0.02, lr_schedule="cosine"),
    VAETransformer(2, optimizer="sgd", lr=1e-3, lr_schedule="cosine"),
]
NAMES = ["vae", "vimae", "normalised", "schedule", "outside"]


@pytest.mark.parametrize("model", MODELS, ids=NAMES)
def test_a_graph_repeats_a_step(model, recordings, monkeypatch):
    graphed = fitted(model)
    n_replays = [recording.n_replays for recording in recordings]
    assert len(n_replays) == 2  # 40 rows, and the 10 that are left
    assert sum(n_replays) >= OPTIONS["max_epochs"] * 3 - 4
    monkeypatch.undo()
    np.testing.assert_allclose(graphed.loss_curve_, fitted(model).loss_curve_, rtol=1e-6)


PATHS = [
    (VIMAETransformer(2), "lam", [0.1, 10.0], None),
    (VIMAETransformer(2), "lam", [0.1, 10.0], [0, 1]),
    (VAETransformer(2, dropout=0.2), "random_state", [0, 1, 2], None),
    (BetaVAETransformer(2, warmup=0.5, lr_schedule="cosine"), "beta", [0.1, 1.0, 4.0], [0, 1]),
    (
        VAETransformer(2, normalization="batch", optimizer="sgd", lr=1e-3),
        "random_state",
        [0, 1],
        None,
    ),
]


def path(model, param, values, seeds, **options):
    model = clone(model).set_params(**{**OPTIONS, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkvimWarning)
        warnings.simplefilter("error", BatchingWarning)
        found = lam_path(model, X, values, param=param, random_states=seeds)
    return [one for of_value in found for one in (of_value if seeds else [of_value])]


@pytest.mark.parametrize("case", PATHS, ids=lambda case: type(case[0]).__name__)
@pytest.mark.parametrize("stops", [False, True], ids=["", "early"])
def test_graphs_repeat_the_steps_of_many_models(case, stops, recordings, monkeypatch):
    options = {}
    if stops:
        monkeypatch.setattr(stages, "_FEW", 0.99)
        monkeypatch.setattr(stages, "_WORTHWHILE", 0)
        options = {"early_stopping": True, "n_iter_no_change": 1, "max_epochs": 12}
    graphed = path(*case, **options)
    assert sum(recording.n_replays for recording in recordings) >= 2 * 3
    without_graphs(monkeypatch)
    for one, other in zip(graphed, path(*case, **options), strict=True):
        np.testing.assert_allclose(one.loss_curve_, other.loss_curve_, rtol=1e-6)
        np.testing.assert_allclose(one.transform(X), other.transform(X), atol=1e-5)


def test_graphs_of_a_smaller_stack_go_on_where_the_others_were(recordings, monkeypatch):
    stacks = []
    whole = stages.Stage.narrowed
    monkeypatch.setattr(stages, "_FEW", 0.99)
    monkeypatch.setattr(stages, "_WORTHWHILE", 0)
    monkeypatch.setattr(
        stages.Stage, "narrowed", lambda self, live: stacks.append(live) or whole(self, live)
    )
    case = (BetaVAETransformer(2, lr=0.05), "beta", [0.01, 1.0, 20.0], [0, 1, 2])
    options = {"early_stopping": True, "n_iter_no_change": 1, "max_epochs": 30}
    graphed = path(*case, **options)
    assert len(stacks) > 0
    for one in graphed:
        alone = clone(one).fit(X)
        np.testing.assert_allclose(one.loss_curve_, alone.loss_curve_, rtol=1e-3)


def test_folds_of_other_sizes_have_graphs_of_their_own(recordings, monkeypatch):
    def final_loss(model, X, y=None):
        return model.loss_curve_[-1]

    model = VIMAETransformer(2, **OPTIONS)
    search = BatchedSearchCV(model, {"lam": [0.1, 10.0]}, cv=4, scoring=final_loss, refit=False)
    found = [clone(search).fit(X)]
    assert len(recordings) == 3  # 40 rows of all; 27 and 28 that are left
    without_graphs(monkeypatch)
    found.append(clone(search).fit(X))
    scores = [one.cv_results_["mean_test_score"] for one in found]
    np.testing.assert_allclose(*scores, rtol=1e-6)


def test_a_graph_holds_what_its_kernels_read_and_no_more(recordings):
    class Constant:
        def __init__(self):
            self.value = torch.ones(3)

        def __call__(self, x):
            return x * self.value

    function, x = Constant(), torch.zeros(3)
    seen = weakref.ref(function), weakref.ref(function.value)
    graphed = graphs.Graphed(function, x, [])
    recordings[0].calls.clear()  # a graph does not know tensors
    del function
    gc.collect()
    assert all(reference() is not None for reference in seen)
    del graphed
    gc.collect()
    assert all(reference() is None for reference in seen)


def test_a_step_as_a_graph_leaves_the_device_with_its_last_reference(recordings):
    made = []
    create = graphs.GraphedStep.__init__
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            graphs.GraphedStep,
            "__init__",
            lambda self, *args: (made.append(weakref.ref(self)), create(self, *args))[1],
        )
        gc.disable()
        try:
            model = fitted(VAETransformer(2))
            assert [reference() for reference in made] == [None] * 2
        finally:
            gc.enable()
    assert model.n_iter_ == OPTIONS["max_epochs"]


def test_a_graph_reads_the_batch_and_the_weights_of_now(recordings):
    weights = torch.ones(3)
    product = graphs.Graphed(lambda x: x @ weights, torch.zeros(2, 3), [])
    weights.fill_(2.0)
    assert product(torch.ones(2, 3)).tolist() == [6.0, 6.0]


@pytest.mark.parametrize("kind", ["one", "many"])
@pytest.mark.parametrize(
    ("error", "reason"),
    [(RuntimeError("no graph here\nand a trace"), "no graph here"), (RuntimeError(), "Runtime")],
    ids=["message", "none"],
)
def test_a_device_that_refuses_graphs_is_done_without(kind, error, reason, recordings, monkeypatch):
    def refuse():
        raise error

    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)
    model = VIMAETransformer(
        2, **SMALL, acceleration="capture", lr=0.05, lr_schedule="cosine", max_epochs=8
    )
    with pytest.warns(AccelerationWarning, match=f"without a CUDA graph: {reason}"):
        found = model.fit(X) if kind == "one" else lam_path(model, X, [1.0, 10.0])[0]
    monkeypatch.undo()
    wanted = clone(model).set_params(lam=found.lam).fit(X)
    assert found.loss_curve_ == pytest.approx(wanted.loss_curve_, rel=1e-4)


def test_one_that_asks_is_told_whoever_else_is_in_the_stack(recordings, monkeypatch):
    def refuse():
        raise RuntimeError("no graph here")

    monkeypatch.setattr(torch.cuda, "CUDAGraph", refuse)
    model = VIMAETransformer(2, **OPTIONS)
    with pytest.warns(AccelerationWarning, match="no graph here"):
        lam_path(model, X, ["auto", "capture"], param="acceleration")


@pytest.mark.gpu
@pytest.mark.parametrize("case", PATHS, ids=lambda case: type(case[0]).__name__)
@pytest.mark.parametrize("stops", [False, True], ids=["", "early"])
def test_a_path_on_a_gpu_is_of_the_models_trained_alone(case, stops, monkeypatch):
    made = []
    create = graphs.Graphed.__init__
    monkeypatch.setattr(
        graphs.Graphed, "__init__", lambda self, *args: (made.append(self), create(self, *args))[1]
    )
    options = {"early_stopping": stops, "n_iter_no_change": 2} if stops else {}
    found = path(*case, device="cuda", **options)
    assert made
    for one in found:
        alone = clone(one).fit(X)
        np.testing.assert_allclose(one.loss_curve_, alone.loss_curve_, rtol=1e-4)
