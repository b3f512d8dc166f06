"""What the package costs before and while it is used."""

import json
import subprocess
import sys

import numpy as np
import pytest

from skvim import VAETransformer, VIMAETransformer

OPTIONAL = [
    "PIL",
    "matplotlib",
    "pandas",
    "pooch",
    "sympy",
    "torch._dynamo",
    "torch.fx.experimental",
    "torchmetrics",
]
CODE = """
import importlib, json, pkgutil, sys
import torch, sklearn, skorch
before = set(sys.modules)
import skvim
after = set(sys.modules)
for module in pkgutil.iter_modules(skvim.__path__, "skvim."):
    importlib.import_module(module.name)
print(json.dumps([sorted(after - before), sorted(set(sys.modules) - before)]))
"""


def test_imports_bring_nothing_that_their_libraries_do_not():
    answer = subprocess.run(
        [sys.executable, "-c", CODE], check=True, capture_output=True, text=True
    ).stdout
    by_skvim, by_all_its_packages = json.loads(answer)
    others = [name for name in by_skvim if name.partition(".")[0] != "skvim"]
    assert not [name for name in others for heavy in OPTIONAL if f"{name}.".startswith(f"{heavy}.")]
    # Optional libraries are imported when they are used.
    assert not {"PIL", "matplotlib", "pooch", "torchmetrics"} & {*by_all_its_packages}
    # Nothing but what Python itself brings, and parts of what skvim stands on.
    added = {name.partition(".")[0] for name in others} - set(sys.stdlib_module_names)
    assert added <= {
        "filelock",
        "joblib",
        "narwhals",
        "numpy",
        "scipy",
        "sklearn",
        "skorch",
        "threadpoolctl",
        "torch",
    }


@pytest.mark.parametrize("n", [1, 1023, 1024, 1025, 9000])
@pytest.mark.numerics
def test_chunks_give_what_one_pass_gives(n):
    X = np.random.default_rng(0).standard_normal((n, 300))
    model = VAETransformer(2, hidden_layer_sizes=(8,), max_epochs=1, random_state=0)
    model.fit(np.random.default_rng(1).standard_normal((50, 300)))
    codes = model.transform(X)
    assert codes.shape == (n, 2)
    chosen = [0, n // 2, n - 1]
    alone = [model.transform(X[i : i + 1])[0] for i in chosen]
    np.testing.assert_allclose(codes[chosen], alone, rtol=1e-12)


def test_means_alone_are_those_of_the_moments_and_samples_are_around_them():
    X = np.random.default_rng(0).standard_normal((4000, 6))
    model = VIMAETransformer(
        2, posterior="gaussian", hidden_layer_sizes=(8,), max_epochs=1, random_state=0
    ).fit(X)
    mean, std = model.posterior_moments(X)
    np.testing.assert_array_equal(model.transform(X), mean)
    drawn = (model.set_params(output="sample").transform(X) - mean) / std
    assert abs(drawn.mean()) < 4 / np.sqrt(drawn.size)
    assert drawn.var() == pytest.approx(1, abs=4 * np.sqrt(2 / drawn.size))
