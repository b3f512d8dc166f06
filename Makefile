# Needs make and Python 3.11 or newer; everything else goes into $(VENV) on first use.

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
PRESET ?= cpu
PAPER_ARGS ?=
PYTEST_ARGS ?=

bin := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
# Two targets must not install into one environment at the same time.
.NOTPARALLEL:
.PHONY: help demo test oldest lint fmt types imports doctest docs check clean
.PHONY: paper paper-tiny paper-pages
.PHONY: bench bench-models bench-speed bench-resources bench-metrics bench-transductive
.PHONY: bench-lamda bench-paths

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-16s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/installed-plot  ## the robustness table and its pictures, into demo/
	MPLBACKEND=Agg $(bin)/python examples/robustness_digits.py --out $(OUT)

paper: $(VENV)/installed-test  ## the paper's tables and figures; PRESET, PAPER_ARGS="--data-home DIR"
	OMP_NUM_THREADS=1 $(bin)/python examples/reproduce_paper.py --all --preset $(PRESET) $(PAPER_ARGS)
	$(bin)/python examples/reproduce_paper.py --pages

paper-tiny: $(VENV)/installed-test  ## the same in two minutes on stand-ins, into demo/paper
	OMP_NUM_THREADS=1 $(bin)/python examples/reproduce_paper.py --all --preset tiny --out $(OUT)/paper

paper-pages: $(VENV)/installed-test  ## the pages of the paper again, from committed results
	$(bin)/python examples/reproduce_paper.py --pages

test: $(VENV)/installed-dev  ## all tests, on every core
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(PYTEST_ARGS)

oldest: $(VENV)-oldest/installed  ## the quick tests with the oldest supported versions
	OMP_NUM_THREADS=1 $(VENV)-oldest/bin/python -m pytest -n auto --maxprocesses 8 -m "not slow"

lint: $(VENV)/installed-dev  ## style, format and spelling
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/codespell

fmt: $(VENV)/installed-dev  ## rewrite the code in the project's format
	$(bin)/ruff check --fix
	$(bin)/ruff format

types: $(VENV)/installed-dev  ## mypy, strict
	$(bin)/mypy

imports: $(VENV)/installed-dev  ## the contracts between layers
	$(bin)/lint-imports --no-logo --no-cache

doctest: $(VENV)/installed-dev  ## the examples in docstrings and in the guide
	MPLBACKEND=Agg OMP_NUM_THREADS=1 $(bin)/python -m pytest --doctest-modules skvim docs/*.rst

docs: $(VENV)/installed-docs  ## the documentation, into docs/_build/html
	rm -rf docs/_build docs/generated
	$(bin)/python docs/models_table.py > /dev/null
	$(bin)/python -m sphinx --quiet --no-color --fail-on-warning --keep-going docs docs/_build/html

bench: bench-models bench-speed bench-resources bench-metrics bench-transductive bench-paths  ## all measurements; takes hours

bench-models: $(VENV)/installed-plot  ## every model and the measurements behind the defaults
	$(bin)/python benchmarks/defaults.py

bench-speed: $(VENV)/installed-plot $(VENV)-pythae/installed  ## training against other loops
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/speed.py --pythae $(VENV)-pythae/bin/python
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/limits.py

bench-resources: $(VENV)/installed-plot  ## time and memory: searches, import, use, growth
	$(bin)/python benchmarks/resources.py

bench-metrics: $(VENV)/installed-plot  ## time and memory of every measure
	$(bin)/python benchmarks/metrics.py

bench-transductive: $(VENV)/installed-plot  ## the transductive machine: errors, optima, growth
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/transductive.py --self-training --codes

bench-lamda: $(VENV)/installed-plot $(VENV)-lamda/installed  ## another library's machine; Python 3.11
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/transductive.py --only elsewhere \
		--lamda $(VENV)-lamda/bin/python

bench-paths: $(VENV)/installed-plot  ## searches over λ whose fits train as one network
	$(bin)/python benchmarks/paths.py

check: lint types imports doctest docs oldest demo paper-tiny test  ## all of the above that can fail

clean:  ## remove what was built; the environment stays
	rm -rf build dist *.egg-info demo docs/_build docs/generated
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find skvim tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamps make a second call start at once.
$(VENV)/created:
	@command -v $(PYTHON) > /dev/null \
		|| { echo "$(PYTHON) was not found; name a Python: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "skvim needs Python 3.11 or newer; $(PYTHON) is" \
			"$$($(PYTHON) --version 2>&1). Name another one: make PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2> /dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments: its modules venv and ensurepip" \
			"are missing (on Debian: apt install python3-venv)" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/installed-%: $(VENV)/created pyproject.toml constraints.txt
	@echo "Installing skvim[$*] into $(VENV) (minutes the first time)"
	$(bin)/python -m pip install --quiet --constraint constraints.txt --editable '.[$*]'
	@touch $@

$(VENV)-oldest/installed: $(VENV)/created pyproject.toml constraints-oldest.txt
	$(bin)/python -m venv $(VENV)-oldest
	@echo "Installing the oldest supported versions into $(VENV)-oldest (minutes the first time)"
	$(VENV)-oldest/bin/python -m pip install --quiet --constraint constraints-oldest.txt \
		--editable '.[test]'
	@touch $@

$(VENV)-pythae/installed: $(VENV)/created
	$(bin)/python -m venv $(VENV)-pythae
	@echo "Installing pythae into $(VENV)-pythae (minutes the first time)"
	$(VENV)-pythae/bin/python -m pip install --quiet 'torch==2.13.0' 'pythae==0.1.2'
	@touch $@

# Its newest release takes none of today's versions, and much that a machine of its needs not.
$(VENV)-lamda/installed: $(VENV)/created
	$(bin)/python -m venv $(VENV)-lamda
	@echo "Installing LAMDA-SSL into $(VENV)-lamda (minutes the first time)"
	$(VENV)-lamda/bin/python -m pip install --quiet --no-deps 'LAMDA-SSL==1.0.2' 'torch==2.13.0'
	$(VENV)-lamda/bin/python -m pip install --quiet 'numpy==1.23.5' 'scikit-learn==1.2.2' \
		'scipy==1.10.1' 'pandas==2.0.3' 'matplotlib==3.7.5' \
		filelock fsspec jinja2 networkx sympy typing_extensions setuptools
	@touch $@
