"""What tests of the engine share."""

import pytest

from skvim.engine.capture._accelerator import Accelerator


@pytest.fixture
def steps(monkeypatch):
    """The steps that were captured."""
    made = []
    whole = Accelerator._capture

    def keep(self, x):
        made.append(whole(self, x))
        return made[-1]

    monkeypatch.setattr(Accelerator, "_capture", keep)
    return made
