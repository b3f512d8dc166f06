"""How many threads training uses, and that nobody else notices."""

import math
import threading

import joblib
import numpy as np
import pytest
import torch
from family import SMALL

from skvim import UncertaintyAETransformer, VAETransformer
from skvim.engine._threads import bounded_threads, pass_work
from skvim.exceptions import TrainingDivergedError

X = np.random.default_rng(0).standard_normal((90, 12)).astype(np.float32)


class Witness(torch.nn.Module):
    """A layer that notes the number of threads at every pass."""

    seen: list[int] = []  # noqa: RUF012

    def __init__(self, n_in, n_out):
        super().__init__()
        self.linear = torch.nn.Linear(n_in, n_out)

    def forward(self, x):
        Witness.seen.append(torch.get_num_threads())
        return self.linear(x)


@pytest.fixture
def threads(monkeypatch):
    """Give this thread a number of its own, and the environment none."""
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    Witness.seen = []
    yield 3
    torch.set_num_threads(before)


def number_of_a_new_thread():
    found = []
    thread = threading.Thread(target=lambda: found.append(torch.get_num_threads()))
    thread.start()
    thread.join()
    return found[0]


def fit(**options):
    return VAETransformer(2, network=(Witness, Witness), **{**SMALL, **options}).fit(X)


def in_worker():
    with bounded_threads(math.inf):
        return torch.get_num_threads()


def test_a_small_network_trains_in_one_thread_and_the_caller_keeps_the_others(threads):
    fit()
    assert 1 in Witness.seen
    assert torch.get_num_threads() == threads == number_of_a_new_thread()


def test_a_failed_fit_gives_the_threads_back(threads):
    with pytest.raises(TrainingDivergedError):
        fit(lr=1e30, optimizer="sgd", max_epochs=20)
    assert min(Witness.seen) == 1
    assert torch.get_num_threads() == threads == number_of_a_new_thread()


@pytest.mark.parametrize("share", [0.2, 1.9, 2, 3.5, math.inf])
def test_every_thread_has_work_and_none_is_added(threads, share):
    with bounded_threads(share * 2**24):
        inside = torch.get_num_threads()
        assert 1 <= inside <= threads
        assert inside == 1 or inside * 2**24 <= share * 2**24
        assert inside == threads or (inside + 1) > share
    assert torch.get_num_threads() == threads


def test_threads_beside_and_born_within_do_not_see_the_bound(threads):
    """Two overlap, the one that began first ends first; both are restored."""
    begun, ended = threading.Event(), threading.Event()
    found = []

    def beside():
        before = torch.get_num_threads()
        with bounded_threads(0):
            torch.ones(2**18).exp()  # sets up the thread
            found.append(torch.get_num_threads())
            begun.set()
            ended.wait(10)
        found.extend([before, torch.get_num_threads()])

    thread = threading.Thread(target=beside)
    with bounded_threads(0):
        thread.start()
        begun.wait(10)
    assert torch.get_num_threads() == threads
    ended.set()
    thread.join()
    assert found == [1, threads, threads]
    assert number_of_a_new_thread() == threads


def test_products_obey_the_bound_though_mkl_was_told_otherwise(threads):
    """MKL has a number of its own in each thread once torch's was set."""
    torch_says = lambda: [
        int(line.rpartition(":")[2])
        for line in torch.__config__.parallel_info().splitlines()
        if "mkl_get_max_threads" in line
    ]
    if not torch_says():
        pytest.skip("torch without MKL")
    with bounded_threads(0):
        assert torch_says() == [1]
    assert torch_says() == [threads]


@pytest.mark.parametrize("backend", ["threading", "sequential", "alone"])
def test_workers_that_are_threads_have_one_each_and_one_alone_has_all(threads, backend):
    n_jobs, used = (1, "loky") if backend == "alone" else (2, backend)
    with joblib.parallel_config(used):
        found = joblib.Parallel(n_jobs=n_jobs)(joblib.delayed(in_worker)() for _ in range(4))
    assert set(found) == ({1} if backend == "threading" else {threads})


@pytest.mark.slow
def test_workers_that_are_processes_have_the_share_that_joblib_gives(threads):
    with joblib.parallel_config("loky", inner_max_num_threads=2):
        found = joblib.Parallel(n_jobs=2)(joblib.delayed(in_worker)() for _ in range(4))
    assert set(found) == {2}


def test_transform_in_a_worker_uses_one_thread(threads):
    model = fit()
    Witness.seen = []
    with joblib.parallel_config("threading"):
        joblib.Parallel(n_jobs=2)(joblib.delayed(model.transform)(X) for _ in range(2))
    assert set(Witness.seen) == {1}


def test_nothing_happens_for_convolutions_and_where_the_environment_decides(threads, monkeypatch):
    assert pass_work(torch.nn.Conv2d(1, 1, 2), 1) == math.inf
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    with bounded_threads(0):
        assert torch.get_num_threads() == threads
    fit()
    assert set(Witness.seen) == {threads}


@pytest.mark.parametrize("n_samples", [1, 10, 130])
def test_samples_of_a_chain_do_not_depend_on_the_number_of_threads(n_samples):
    rows = np.random.default_rng(0).normal(size=(40, 300))
    model = UncertaintyAETransformer(8, hidden_layer_sizes=(256,), max_epochs=1, random_state=0)
    model.fit(rows)

    def compute():
        drawn = model.sample(n_samples, burn_in=10, random_state=0)
        return [drawn, model.transform(drawn), model.reconstruct(drawn)]

    before = torch.get_num_threads()
    results = []
    try:
        for number in (1, 2, 3, 4):
            torch.set_num_threads(number)
            results.append(compute())
    finally:
        torch.set_num_threads(before)
    for other in results[1:]:
        for expected, result in zip(results[0], other, strict=True):
            assert np.array_equal(expected, result)
