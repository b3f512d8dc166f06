# Requires make and Python 3.11 or newer; all else is installed into $(VENV) on first use.

PYTHON ?= python3
VENV ?= .venv
OUT ?= demo
PRESET ?= cpu
PAPER_ARGS ?=
TABLES ?=
TABLES_ARGS ?=
PYTEST_ARGS ?=
TORCH_NEXT ?= 2.14.1

# Other kernels of torch and of OpenBLAS, for processors of the x86 family.
KERNELS := default-Haswell avx2-$(if $(shell grep -m1 avx512f /proc/cpuinfo 2>/dev/null),SkylakeX,Zen)

bin := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
# Two targets must not install into one environment concurrently.
.NOTPARALLEL:
.PHONY: help demo test numerics trust oldest torch-next lint fmt types imports doctest docs check clean
.PHONY: paper paper-tiny paper-pages
.PHONY: bench bench-models bench-speed bench-gpu bench-resources bench-metrics bench-transductive
.PHONY: bench-lamda bench-paths bench-scores bench-stopping bench-tables

help:  ## list all targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-20s%s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/installed-plot  ## robustness table and figures on digits, into demo/
	MPLBACKEND=Agg $(bin)/python examples/robustness_digits.py --out $(OUT)

paper: $(VENV)/installed-test  ## reproduce the paper; PRESET, PAPER_ARGS="--data-home DIR"
	OMP_NUM_THREADS=1 $(bin)/python examples/reproduce_paper.py --all --preset $(PRESET) $(PAPER_ARGS)
	$(bin)/python examples/reproduce_paper.py --pages

paper-tiny: $(VENV)/installed-test  ## the same in two minutes on small substitute data, into demo/paper
	OMP_NUM_THREADS=1 $(bin)/python examples/reproduce_paper.py --all --preset tiny --out $(OUT)/paper

paper-pages: $(VENV)/installed-test  ## rewrite the pages of the paper from committed results
	$(bin)/python examples/reproduce_paper.py --pages

test: $(VENV)/installed-dev  ## all tests, in parallel
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -n auto --maxprocesses 8 --dist worksteal $(PYTEST_ARGS)

numerics: $(VENV)/installed-dev  ## tests that depend on rounding, under other kernels
	for pair in $(KERNELS); do \
		ATEN_CPU_CAPABILITY=$${pair%-*} OPENBLAS_CORETYPE=$${pair#*-} OMP_NUM_THREADS=1 \
		$(bin)/python -m pytest -n auto --maxprocesses 8 --dist worksteal -m numerics -q \
		|| exit 1; done

# torch.compile keeps compiled headers of one kind of kernels for the others: a cache for each.
trust: $(VENV)/installed-dev  ## all promises with high counts, all tests under all kernels; an hour
	rm -rf $(OUT)/trust && mkdir -p $(OUT)/trust
	OMP_NUM_THREADS=1 $(bin)/python -m pytest -n auto --maxprocesses 8 --dist worksteal \
		--trust -m trust --trust-report $(OUT)/trust/promises.json
	for pair in native-native $(KERNELS); do \
		unset ATEN_CPU_CAPABILITY OPENBLAS_CORETYPE; \
		[ $${pair%-*} = native ] || export ATEN_CPU_CAPABILITY=$${pair%-*}; \
		[ $${pair#*-} = native ] || export OPENBLAS_CORETYPE=$${pair#*-}; \
		OMP_NUM_THREADS=1 TORCHINDUCTOR_CACHE_DIR=$(CURDIR)/$(OUT)/trust/$$pair \
		$(bin)/python -m pytest -n auto --maxprocesses 8 --dist worksteal \
		--trust-report $(OUT)/trust/$$pair.json || exit 1; done
	$(bin)/python docs/trust_table.py $(OUT)/trust

oldest: $(VENV)-oldest/installed  ## quick tests with the oldest supported dependencies
	OMP_NUM_THREADS=1 $(VENV)-oldest/bin/python -m pytest -n auto --maxprocesses 8 --dist worksteal \
		-m "not slow"

torch-next: $(VENV)-torch-next/installed  ## quick tests with a newer torch, TORCH_NEXT
	OMP_NUM_THREADS=1 $(VENV)-torch-next/bin/python -m pytest -n auto --maxprocesses 8 -m "not slow"

lint: $(VENV)/installed-dev  ## ruff (style, format) and codespell
	$(bin)/ruff check
	$(bin)/ruff format --check
	$(bin)/codespell

fmt: $(VENV)/installed-dev  ## reformat the code
	$(bin)/ruff check --fix
	$(bin)/ruff format

types: $(VENV)/installed-dev  ## mypy in strict mode
	$(bin)/mypy

imports: $(VENV)/installed-dev  ## import-linter: layers and dependencies
	$(bin)/lint-imports --no-logo --no-cache

doctest: $(VENV)/installed-dev  ## examples in docstrings and documentation
	MPLBACKEND=Agg OMP_NUM_THREADS=1 $(bin)/python -m pytest --doctest-modules skvim docs/*.rst

docs: $(VENV)/installed-docs  ## build the documentation into docs/_build/html
	rm -rf docs/_build docs/generated
	$(bin)/python docs/models_table.py > /dev/null
	$(bin)/python -m sphinx --quiet --no-color --fail-on-warning --keep-going docs docs/_build/html

bench: bench-models bench-speed bench-resources bench-metrics bench-transductive bench-paths bench-stopping  ## all benchmarks; takes hours

bench-models: $(VENV)/installed-plot  ## all models, and the defaults varied one at a time
	$(bin)/python benchmarks/defaults.py

bench-speed: $(VENV)/installed-plot $(VENV)-pythae/installed $(VENV)-jax/installed  ## training time against other implementations
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/speed.py --pythae $(VENV)-pythae/bin/python \
		--jax $(VENV)-jax/bin/python
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/short_fits.py
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/limits.py

bench-gpu: $(VENV)/installed-test  ## on a machine with a GPU: its tests and training times; 8 minutes
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/gpu.py

bench-resources: $(VENV)/installed-plot  ## time and memory of searches, import, inference, scaling
	$(bin)/python benchmarks/resources.py

bench-metrics: $(VENV)/installed-plot  ## time and memory of each metric
	$(bin)/python benchmarks/metrics.py

bench-transductive: $(VENV)/installed-plot  ## transductive SVM: errors, local minima, scaling; TABLES=DIR
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/transductive.py --self-training --codes
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/few_labels.py $(if $(TABLES),--tables $(TABLES))
	$(if $(TABLES),OMP_NUM_THREADS=1 $(bin)/python benchmarks/s4vm.py --tables $(TABLES))

bench-lamda: $(VENV)/installed-plot $(VENV)-lamda/installed  ## transductive SVM of LAMDA-SSL; needs Python 3.11
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/transductive.py --only elsewhere \
		--lamda $(VENV)-lamda/bin/python

bench-paths: $(VENV)/installed-plot  ## batched searches over λ against GridSearchCV
	$(bin)/python benchmarks/paths.py

bench-scores: $(VENV)/installed-plot  ## log-likelihoods of rows: time, errors; TABLES=DIR
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/scores.py $(if $(TABLES),--tables $(TABLES))

bench-tables: $(VENV)/installed-plot $(VENV)-mixed/installed  ## mixed tables; TABLES=DIR, TABLES_ARGS="--quick"
	@test -d "$(TABLES)" || { echo "name the folder of the tables:" \
		"make bench-tables TABLES=DIR" >&2; exit 1; }
	PYTHONPATH=benchmarks OMP_NUM_THREADS=1 $(bin)/python -m mixed_tables --tables $(TABLES) \
		--elsewhere $(VENV)-mixed/bin/python $(TABLES_ARGS)

bench-stopping: $(VENV)/installed-plot  ## early stopping against longer training
	OMP_NUM_THREADS=1 $(bin)/python benchmarks/early_stopping.py

check: lint types imports doctest docs oldest demo paper-tiny numerics test  ## all checks that a change has to pass

clean:  ## remove build products and caches, keep the environment
	rm -rf build dist *.egg-info demo docs/_build docs/generated
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find skvim tests examples benchmarks docs -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamp files: later calls skip the installation.
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

$(VENV)-torch-next/installed: $(VENV)/created pyproject.toml constraints.txt
	$(bin)/python -m venv $(VENV)-torch-next
	@echo "Installing torch $(TORCH_NEXT) into $(VENV)-torch-next (minutes the first time)"
	sed 's/^torch==.*/torch==$(TORCH_NEXT)/' constraints.txt > $(VENV)-torch-next/constraints.txt
	$(VENV)-torch-next/bin/python -m pip install --quiet \
		--constraint $(VENV)-torch-next/constraints.txt --editable '.[test]'
	@touch $@

$(VENV)-pythae/installed: $(VENV)/created
	$(bin)/python -m venv $(VENV)-pythae
	@echo "Installing pythae into $(VENV)-pythae (minutes the first time)"
	$(VENV)-pythae/bin/python -m pip install --quiet 'torch==2.13.0' 'pythae==0.1.2'
	@touch $@

$(VENV)-jax/installed: $(VENV)/created
	$(bin)/python -m venv $(VENV)-jax
	@echo "Installing JAX into $(VENV)-jax (minutes the first time)"
	$(VENV)-jax/bin/python -m pip install --quiet 'jax==0.10.2'
	@touch $@

# miceforest fails with newer lightgbm, ctgan and sdmetrics need an older pandas. MIWAE does not need
# most of what hyperimpute requires.
$(VENV)-mixed/installed: $(VENV)/created
	$(bin)/python -m venv $(VENV)-mixed
	@echo "Installing packages for tables into $(VENV)-mixed (minutes the first time)"
	$(VENV)-mixed/bin/python -m pip install --quiet 'torch==2.13.0' 'pandas==2.3.3' \
		'skrub==0.11.0' 'sdmetrics==0.32.0' 'miceforest==6.0.5' 'lightgbm==4.6.0' 'ctgan==0.12.1' \
		'mostlyai-engine==2.7.3' loguru optuna
	$(VENV)-mixed/bin/python -m pip install --quiet --no-deps 'hyperimpute==0.1.17'
	@touch $@

# Its newest release requires old versions, and packages that its SVM does not need.
$(VENV)-lamda/installed: $(VENV)/created
	$(bin)/python -m venv $(VENV)-lamda
	@echo "Installing LAMDA-SSL into $(VENV)-lamda (minutes the first time)"
	$(VENV)-lamda/bin/python -m pip install --quiet --no-deps 'LAMDA-SSL==1.0.2' 'torch==2.13.0'
	$(VENV)-lamda/bin/python -m pip install --quiet 'numpy==1.23.5' 'scikit-learn==1.2.2' \
		'scipy==1.10.1' 'pandas==2.0.3' 'matplotlib==3.7.5' \
		filelock fsspec jinja2 networkx sympy typing_extensions setuptools
	@touch $@
