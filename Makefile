# make demo   installs the core alone and runs a selection on text that Python itself brings
# make test   installs every extra and runs all checks and tests
# make test-contract  runs the whole contract of the steps: every way with every word of an option
# make docs   builds the documentation site into build/site; a warning is an error
# make format puts the code into the form that `make test` asks for
# make clean  removes what these made
#
# Everything is installed into .venv, in the versions of constraints.txt. The files .venv/.core and
# .venv/.dev say what was installed last, so that a second call does not install again.

PYTHON ?= python3
BIN := .venv/bin
# An environment for development holds the core too: then the demo uses it as it is.
CORE := $(if $(wildcard .venv/.dev),.venv/.dev,.venv/.core)
SOURCES := $(shell find src -name '*.py')

.PHONY: demo test test-contract lint kernels docs format clean

# Tests start many processes, which would otherwise compile the sources again each time.
export PYTHONDONTWRITEBYTECODE :=

demo: $(CORE)
	$(BIN)/python examples/demo.py

test: .venv/.dev
	$(MAKE) --jobs 2 lint kernels
	$(BIN)/pytest -n auto --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

test-contract: .venv/.dev
	$(BIN)/pytest tests/contract -m 'not alone' -n auto $(PYTEST_ARGS)

lint: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

kernels: .venv/.dev
	$(BIN)/python tools/compile_kernels.py

docs: .venv/.docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: .venv/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv demo-out build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis

.venv/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "dataworth needs Python 3.11 or newer: make PYTHON=python3.11 ...")'
	$(PYTHON) -m venv .venv

.venv/.core: pyproject.toml constraints.txt $(SOURCES) | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check . -c constraints.txt
	touch $@

.venv/.docs: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]' -c constraints.txt
	touch $@

.venv/.dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[all,dev]' -c constraints.txt
	touch $@
