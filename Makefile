# Each target makes what it needs, from Python and make alone. PYTHON=python3.12 make test picks another interpreter.
PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
BIN = $(VENV)/bin
# two test processes with one BLAS thread each are faster than one with all cores, on matrices of this size
TEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: demo test lint types doctest examples test-lowest check clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

.PRECIOUS: $(VENV)/.%
$(VENV)/.package: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.%: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@

demo: $(VENV)/.package  ## install into an environment of its own and run the main job
	$(BIN)/python examples/quickstart.py

test: $(VENV)/.test  ## the whole test suite, with branch coverage
	$(TEST) $(BIN)/python -m pytest --numprocesses auto --cov --cov-report term

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.lint
	$(BIN)/mypy

doctest: $(VENV)/.test
	$(TEST) $(BIN)/python -m pytest --doctest-modules sknatgrad --doctest-glob '*.md' README.md docs

examples: $(VENV)/.examples
	for example in examples/*.py; do echo "== $$example"; $(TEST) $(BIN)/python -W error $$example || exit 1; done

test-lowest:  ## the test suite at the lowest versions that pyproject.toml admits
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python .ci/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' \
		--constraint $(LOWEST)/constraints.txt
	$(TEST) $(LOWEST)/bin/python -m pytest --numprocesses auto

check: test lint types doctest examples test-lowest

clean:
	rm -rf $(VENV) $(LOWEST)
