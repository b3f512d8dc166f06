"""CUDA graphs of training steps: the training of eager steps, and who owns which memory."""

import gc
import warnings
import weakref

import numpy as np
import pytest
import torch
from family import normal_rows
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from skvim import BetaVAETransformer, VAETransformer, VIMAETransformer
from skvim.engine.batched import _group as groups
from skvim.engine.capture import _accelerator as accelerator
from skvim.engine.capture import _graphs as graphs
from skvim.engine.capture._captured import CapturedStep
from skvim.engine.capture._update import Update
from skvim.exceptions import AccelerationWarning, BatchingWarning, SkvimWarning
from skvim.model_selection import BatchedSearchCV, lam_path

X = normal_rows(90, 6, 2, 0)
CUDA = torch.device("cuda")
OPTIONS = {"hidden_layer_sizes": (16,), "batch_size": 40, "random_state": 0, "max_epochs": 4}


@pytest.mark.parametrize("optimizer", [torch.optim.Adam, torch.optim.SGD])
def test_updates_are_made_once_inside_or_outside_of_a_graph(optimizer, monkeypatch):
    """With a function in the place of its graph."""
    monkeypatch.setattr(graphs, "Graphed", lambda function, x, generators: function)
    results = []
    for graphed in (False, True):
        weight = torch.nn.Parameter(torch.ones(3))
        moved = optimizer([weight], lr=0.1, fused=True)
        weight.grad = torch.ones(3)
        moved.step()
        update = Update(moved, [weight])
        step = CapturedStep(lambda x, w=weight: (w.sum().view(1), x - w.detach()), [], update)
        step = graphs.GraphedStep(step, torch.zeros(3)) if graphed else step
        with torch.no_grad():
            terms = [float(step(torch.full((3,), -1.0))) for _ in range(3)]
        results.append((terms, weight.tolist()))
    assert results[0] == results[1]


def test_a_graph_that_is_refused_is_warned_of_where_acceleration_was_asked_for():
    with pytest.warns(AccelerationWarning, match=r"without a CUDA graph: no graph here$"):
        graphs.warn_of_no_graph("capture", RuntimeError("no graph here\nand a trace"))
    with pytest.warns(AccelerationWarning, match=r"without a CUDA graph: RuntimeError$"):
        graphs.warn_of_no_graph("compile", RuntimeError())
    graphs.warn_of_no_graph("auto", RuntimeError("no graph here"))


# On a real device.


@pytest.mark.gpu
def test_a_graph_reads_the_batch_and_the_weights_of_now():
    weights = torch.ones(3, device=CUDA)
    product = lambda x: x @ weights
    product(torch.zeros(2, 3, device=CUDA))  # loads libraries
    graphed = graphs.Graphed(product, torch.zeros(2, 3, device=CUDA), [])
    weights.fill_(2.0)
    assert graphed(torch.ones(2, 3, device=CUDA)).tolist() == [6.0, 6.0]


@pytest.mark.gpu
def test_a_graph_keeps_what_its_kernels_read_and_leaves_with_its_last_reference():
    class Constant:
        def __init__(self):
            self.value = torch.ones(3, device=CUDA)

        def __call__(self, x):
            return x * self.value

    function, x = Constant(), torch.zeros(3, device=CUDA)
    function(x)
    owned = weakref.ref(function), weakref.ref(function.value)
    graphed = graphs.Graphed(function, x, [])
    del function
    gc.collect()
    assert all(reference() is not None for reference in owned)
    del graphed
    gc.collect()
    assert all(reference() is None for reference in owned)


@pytest.mark.gpu
def test_no_cycle_of_references_holds_the_graphs_of_a_training(monkeypatch):
    made, create = [], graphs.GraphedStep.__init__

    def init(self, *args):
        made.append(weakref.ref(self))
        create(self, *args)

    monkeypatch.setattr(graphs.GraphedStep, "__init__", init)
    gc.disable()
    try:
        VAETransformer(2, **OPTIONS, acceleration="capture", device="cuda").fit(X)
        assert [reference() for reference in made] == [None] * 2
    finally:
        gc.enable()


@pytest.fixture
def refused(monkeypatch):
    """A device that refuses graphs."""

    def refuse(*args, **kwargs):
        raise RuntimeError("no graph here")

    monkeypatch.setattr(accelerator, "GraphedStep", refuse)
    monkeypatch.setattr(groups, "Graphed", refuse)


FITS = {
    "one": lambda model: model.fit(X),
    "many": lambda model: lam_path(model, X, [1.0, 10.0])[0],
    # One model that asks for acceleration suffices.
    "others": lambda model: lam_path(model, X, ["auto", "capture"], param="acceleration")[0],
}


@pytest.mark.gpu
@pytest.mark.parametrize("kind", FITS)
def test_a_device_that_refuses_graphs_is_done_without(kind, refused, monkeypatch):
    options = {**OPTIONS, "lr": 0.05, "lr_schedule": "cosine", "device": "cuda"}
    model = VIMAETransformer(2, **options, acceleration="capture")
    with pytest.warns(AccelerationWarning, match="without a CUDA graph: no graph here"):
        found = FITS[kind](model)
    monkeypatch.undo()
    wanted = clone(found).fit(X)
    assert found.loss_curve_ == pytest.approx(wanted.loss_curve_, rel=1e-4)


PATHS = {
    "lam": (VIMAETransformer(2), "lam", [0.1, 10.0], None),
    "lam and seeds": (VIMAETransformer(2), "lam", [0.1, 10.0], [0, 1]),
    "seeds": (VAETransformer(2, dropout=0.2), "random_state", [0, 1, 2], None),
    "schedule": (
        BetaVAETransformer(2, warmup=0.5, lr_schedule="cosine"),
        "beta",
        [0.1, 1.0, 4.0],
        [0, 1],
    ),
    "outside": (
        VAETransformer(2, normalization="batch", optimizer="sgd", lr=1e-3),
        "random_state",
        [0, 1],
        None,
    ),
}


@pytest.mark.gpu
@pytest.mark.parametrize("name", PATHS)
@pytest.mark.parametrize("stops", [False, True], ids=["", "early"])
def test_a_path_on_a_gpu_is_of_the_models_trained_alone(name, stops, monkeypatch):
    made, create = [], graphs.Graphed.__init__
    monkeypatch.setattr(
        graphs.Graphed, "__init__", lambda self, *args: (made.append(1), create(self, *args))[1]
    )
    model, param, values, seeds = PATHS[name]
    options = {"device": "cuda"}
    if stops:  # in ever smaller groups
        monkeypatch.setattr(groups, "_FEW", 0.99)
        monkeypatch.setattr(groups, "_WORTHWHILE", 0)
        options |= {"early_stopping": True, "n_iter_no_change": 2, "max_epochs": 12}
        options["n_steps_no_change"] = 0
    model = clone(model).set_params(**{**OPTIONS, **options})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SkvimWarning)
        warnings.simplefilter("error", BatchingWarning)
        path = lam_path(model, X, values, param=param, random_states=seeds)
    assert made
    for one in np.ravel(np.array(path, dtype=object)):
        alone = clone(one).fit(X)
        np.testing.assert_allclose(one.loss_curve_, alone.loss_curve_, rtol=1e-4)


@pytest.mark.gpu
def test_a_search_on_a_gpu_over_folds_of_several_sizes_is_that_of_single_fits():
    model, grid = VIMAETransformer(2, **OPTIONS, device="cuda"), {"lam": [0.1, 10.0]}
    batched = BatchedSearchCV(model, grid, cv=4, refit=False).fit(X)
    single = GridSearchCV(model, grid, cv=4, refit=False).fit(X)
    scores = [search.cv_results_["mean_test_score"] for search in (batched, single)]
    np.testing.assert_allclose(*scores, rtol=1e-3)
