"""Results as the paper's experiments write them."""

import pytest

from vimae_paper.results import Results, append

MACHINE = dict.fromkeys(("machine", "gpu", "python", "torch", "sklearn", "skvim"), "none")


@pytest.fixture
def cell_of():
    """Return what makes a cell as a run writes it: of accuracies, or of other parts."""

    def make(data_set, model, seed, accuracies=None, *, settings="s", parts=None, **features):
        robustness = {"mean": accuracies, "labelled rows": 1000, "seconds": 2.0, **features}
        own = {"source": "official", "validation": False, "model": settings}
        content = {"data set": data_set, "model": model, "seed": seed, "preset": "cpu"}
        content |= {"settings": own, "fit": {"seconds": 1.0}, "measured on": MACHINE | {"cores": 1}}
        return content | {"parts": {"robustness": robustness} if parts is None else parts}

    return make


@pytest.fixture
def stored(tmp_path):
    """Return what writes cells and reads them as results."""

    def write(*cells):
        for content in cells:
            append(tmp_path / "cpu.jsonl", content)
        return Results(tmp_path / "cpu.jsonl")

    return write
