"""What all tests share."""

import os
import sys

import pytest
import torch
from hypothesis import settings

# Read when matplotlib is first imported, here or in a process that a test starts.
os.environ["MPLBACKEND"] = "Agg"
# Machines differ in speed and load; a slow example is no failure.
settings.register_profile("skvim", deadline=None)
settings.load_profile("skvim")
# As many workers as cores run side by side, each with one thread.
torch.set_num_threads(1)


def pytest_collection_modifyitems(items):
    """Skip what needs a GPU where there is none."""
    if torch.cuda.is_available():
        return
    for item in items:
        if item.get_closest_marker("gpu") is not None:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True)
def _close_figures():
    """Leave no figure open: pyplot warns of more than twenty."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def pytest_make_parametrize_id(val):
    """Name functions and classes without their address, which differs between processes."""
    return getattr(val, "__name__", None) if callable(val) else None
