"""What tests of the engine share."""

import pytest

from skvim.engine.capture._accelerator import Accelerator


@pytest.fixture
def steps(monkeypatch):
    """The steps that were captured."""
    made = []
    whole = Accelerator._add

    def keep(self, capture, x):
        whole(self, capture, x)
        made.append(self._steps[tuple(x.shape)])

    monkeypatch.setattr(Accelerator, "_add", keep)
    return made
