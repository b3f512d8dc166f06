"""Private names of torch and scikit-learn: those in use exist, and stand in one module each."""

import ast
import importlib
from pathlib import Path

import pytest
import torch

import skvim
from skvim import _sklearn_private, _torch_private

PACKAGE = Path(skvim.__file__).parent
LIBRARIES = ("torch", "sklearn", "skorch", "joblib")
# Attributes that instances alone have.
EXAMPLES = {
    "torch.fx.Graph": torch.fx.Graph,
    "torch.nn.Module": lambda: torch.nn.Linear(1, 1),
    "torch.nn.Parameter": lambda: torch.nn.Parameter(torch.ones(1)),
    "torch.optim.Adam": lambda: torch.optim.Adam([torch.nn.Parameter(torch.ones(1))]),
    "torch.distributions.AffineTransform": lambda: torch.distributions.AffineTransform(
        0.0, 1.0, cache_size=1
    ),
    "torch.distributions.Categorical": lambda: torch.distributions.Categorical(torch.ones(2)),
}


def missing_part(name):
    """Return the first part of a dotted name that does not exist, "" where all do.

    Where there is an example, attributes are looked for on the instance.
    """
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        prefix = ".".join(parts[:i])
        if prefix in EXAMPLES:
            found = EXAMPLES[prefix]()
            break
        try:
            found = importlib.import_module(prefix)
            break
        except ModuleNotFoundError:
            continue
    for part in parts[i:]:
        if not hasattr(found, part):
            return part
        found = getattr(found, part)
    return ""


@pytest.mark.parametrize("name", [*_torch_private.USED, *_sklearn_private.USED])
def test_private_names_in_use_exist(name):
    assert missing_part(name) == ""


def test_a_missing_name_is_noticed():
    assert missing_part("torch.nn._no_such_name.x") == "_no_such_name"


def private_uses(path):
    """Return private names that a module takes from the libraries, with their lines."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in LIBRARIES:
            names = [*node.module.split("."), *(alias.name for alias in node.names)]
            found += [(node.lineno, name) for name in names if name.startswith("_")]
        if isinstance(node, ast.Attribute) and node.attr.startswith("_"):
            root = ast.unparse(node.value).split(".")[0]
            if root in LIBRARIES and not node.attr.startswith("__"):
                found.append((node.lineno, ast.unparse(node)))
    return found


def test_they_stand_in_one_module_a_library():
    uses = {
        path.name: private_uses(path)
        for path in PACKAGE.rglob("*.py")
        if path.name not in {"_torch_private.py", "_sklearn_private.py"}
    }
    assert {name: found for name, found in uses.items() if found} == {}
