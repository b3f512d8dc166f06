"""What all tests share."""

import json
import os
import sys
from pathlib import Path

import pytest
from hypothesis import settings

# Read when matplotlib is first imported, here or in a process that a test starts.
os.environ["MPLBACKEND"] = "Agg"
# Machines differ in speed and load; a slow example is no failure.
settings.register_profile("skvim", deadline=None)
settings.load_profile("skvim")


def pytest_addoption(parser):
    """Add the options of ``make trust``."""
    parser.addoption("--trust", action="store_true", help="repeat as often as make trust does")
    parser.addoption("--trust-report", metavar="PATH", help="write counts of passed tests as JSON")


@pytest.fixture
def amount(request, record_property):
    """Return how often to do something: few times in ``make test``, many in ``make trust``.

    ``what`` names it in the report, in the plural: "files mutated".
    """

    def choose(what, *, quick, full):
        number = full if request.config.getoption("--trust") else quick
        record_property("amount", [what, number])
        return number

    return choose


@pytest.fixture(autouse=True)
def _promise(request, record_property):
    """Record the promise that a test's marker ``trust`` states."""
    marker = request.node.get_closest_marker("trust")
    if marker is not None:
        (promise,) = marker.args
        record_property("promise", promise)


_REPORTS = {}  # by test: promise and amounts if it passed


def pytest_runtest_logreport(report):
    """Collect promises and counts of tests that passed, also from workers."""
    properties = dict(report.user_properties)
    if report.when in {"setup", "call"} and report.outcome != "passed":
        _REPORTS[report.nodeid] = None
    elif report.when == "teardown":
        amounts = [value for name, value in report.user_properties if name == "amount"]
        _REPORTS.setdefault(report.nodeid, (properties.get("promise"), amounts))


def pytest_sessionfinish(session):
    """Write the report, from the process that starts the workers."""
    path = session.config.getoption("--trust-report")
    if path is None or hasattr(session.config, "workerinput"):
        return
    passed = {test: kept for test, kept in sorted(_REPORTS.items()) if kept is not None}
    promises = {}
    for test, (promise, amounts) in passed.items():
        if promise is not None:
            entry = promises.setdefault(promise, {"tests": [], "counts": {}})
            entry["tests"].append(test)
            for what, number in amounts:
                entry["counts"][what] = entry["counts"].get(what, 0) + number
    report = {"n_passed": len(passed), "promises": promises}
    Path(path).write_text(json.dumps(report, indent=1) + "\n")


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none, and run slow tests first."""
    # Imported by workers alone: the process that starts them would wait for it.
    import torch

    # As many workers as cores run side by side, each with one thread.
    torch.set_num_threads(1)
    if not torch.cuda.is_available():
        for item in items:
            if item.get_closest_marker("gpu") is not None:
                item.add_marker(pytest.mark.skip(reason="no CUDA device"))
    # No worker is left with a slow test when the others have ended.
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


@pytest.fixture
def serve(monkeypatch):
    """Return what starts a mirror of files; all are stopped after the test."""
    from mirror import Mirror

    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    mirrors = []

    def serve(files):
        mirrors.append(Mirror(files))
        return mirrors[-1]

    yield serve
    for mirror in mirrors:
        mirror.close()


@pytest.fixture(autouse=True)
def _close_figures():
    """Leave no figure open: pyplot warns of more than twenty."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def pytest_make_parametrize_id(val):
    """Name functions and classes without their address, which differs between processes."""
    return getattr(val, "__name__", None) if callable(val) else None
