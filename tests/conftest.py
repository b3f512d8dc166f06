"""What all tests share."""

import os
import sys

import pytest
from hypothesis import settings

# Read when matplotlib is first imported, here or in a process that a test starts.
os.environ["MPLBACKEND"] = "Agg"
# Machines differ in speed and load; a slow example is no failure.
settings.register_profile("skvim", deadline=None)
settings.load_profile("skvim")


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


@pytest.fixture(autouse=True)
def _close_figures():
    """Leave no figure open: pyplot warns of more than twenty."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


def pytest_make_parametrize_id(val):
    """Name functions and classes without their address, which differs between processes."""
    return getattr(val, "__name__", None) if callable(val) else None
