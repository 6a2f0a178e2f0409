# Set-up on a fresh machine needs Python 3.10 or newer, git and make. Each target makes .venv itself.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= auto # processes of the tests, each with one thread: as many as there are cores, at most 4
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.PHONY: demo test test-all lint type bench clean

demo: $(VENV)/.installed ## the whole way on built-in data
	$(BIN)/galatune demo

test: $(VENV)/.installed-test lint type ## what CI runs
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4

test-all: $(VENV)/.installed-test $(VENV)/.installed-frameworks lint type ## with faults, processes, the browser, the MLflow server and frameworks
	$(BIN)/python -m pytest -n $(WORKERS) --maxprocesses 4 -m ""

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.installed-test
	$(BIN)/mypy --num-workers 2

bench: $(VENV)/.installed ## one task of docs/benchmarks.md
	$(BIN)/galatune bench compare --tasks digits-cnn --seeds 5 --invariance

clean:
	rm -rf $(VENV) galatune-demo bench-results build dist .pytest_cache .mypy_cache .ruff_cache

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
	  { echo "Python 3.10 or newer is needed; say which with: make PYTHON=python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml constraints.txt
	$(PIP_INSTALL) -e .
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP_INSTALL) -e '.[test]'
	@touch $@

# timm without torchvision: the one on PyPI does not import beside torch's CPU build, and with it neither do
# Lightning and skorch. The tests need timm's optimizers alone.
$(VENV)/.installed-frameworks: $(VENV)/.installed-test
	$(PIP_INSTALL) -e '.[test,frameworks]'
	$(PIP_INSTALL) --no-deps timm
	@touch $@
