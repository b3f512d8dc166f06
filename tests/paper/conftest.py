"""Results as the paper's experiments write them."""

import pytest

from vimae_paper.results import Results, append

MACHINE = dict.fromkeys(("machine", "gpu", "python", "torch", "sklearn", "skvim"), "none")


@pytest.fixture
def cell_of():
    """Return what makes a cell as a run writes it."""

    def make(data_set, model, seed, accuracies=None, *, settings="s", parts=None, **features):
        robustness = {"mean": accuracies, "labelled rows": 1000, "seconds": 2.0, **features}
        own = {"source": "official", "validation": False, "model": settings}
        return {
            "data set": data_set,
            "model": model,
            "seed": seed,
            "preset": "cpu",
            "settings": own,
            "fit": {"seconds": 1.0},
            "parts": {"robustness": robustness} if parts is None else parts,
            "measured on": MACHINE | {"cores": 1},
        }

    return make


@pytest.fixture
def stored(tmp_path):
    """Return what writes cells and reads them as results."""

    def write(*cells):
        path = tmp_path / "cpu.jsonl"
        for content in cells:
            append(path, content)
        return Results(path)

    return write
