#!/usr/bin/env bash
# torch 2.13.0: the source of every torch.fx.GraphModule stays in memory until the process ends.
#
# A GraphModule generates the source of its forward when it is built and in each recompile(). All these
# texts, equal ones too, are kept in a dictionary of torch.fx.graph_module and named in linecache, so
# that tracebacks can show them. Nothing removes them when the GraphModule is gone.
#
# Seen: 200 modules, built and deleted: 200 entries; 200 times recompile() of one module: 201 more.
# What follows: trace once and reuse the module; recompile() only when the graph has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/env"
"$folder/env/bin/python" -m pip install --quiet torch==2.13.0 numpy==2.4.6
"$folder/env/bin/python" - <<'PYTHON'
import gc
import linecache
import weakref

import torch
from torch.fx import graph_module, symbolic_trace


def count_sources():
    """Return the entries in torch's dictionary and in linecache."""
    gc.collect()
    sources = graph_module._loader.eval_cache
    return len(sources), len(sources.keys() & linecache.cache.keys())


model = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.ReLU())
references = [weakref.ref(symbolic_trace(model)) for _ in range(200)]
built = count_sources()
alive = sum(reference() is not None for reference in references)
print(f"{alive} of 200 modules are alive; sources in torch and in linecache: {built}")
traced = symbolic_trace(model)
for _ in range(200):
    traced.recompile()
recompiled = count_sources()
texts = len(set(graph_module._loader.eval_cache.values()))
print(f"after 200 times recompile(): {recompiled}, different texts among them: {texts}")
assert (alive, built, recompiled) == (0, (200, 200), (401, 401)), "the behaviour has changed"
PYTHON
