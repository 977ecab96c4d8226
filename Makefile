# Each target creates the environment it needs; only Python and make must be installed. PYTHON=python3.12 make test uses
# another interpreter.
PYTHON ?= python3
VENV ?= .venv
LOWEST ?= .venv-lowest
BIN = $(VENV)/bin
# on the small matrices of the tests, one process per core with one BLAS thread is faster than one process with all cores
TEST = OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

.PHONY: demo test lint types doctest examples docs look test-lowest check clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

.PRECIOUS: $(VENV)/.%
$(VENV)/.package: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.%: $(BIN)/python pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	touch $@

demo: $(VENV)/.package  ## install into a new environment and run the first example
	$(BIN)/python examples/quickstart.py

test: $(VENV)/.test  ## the whole test suite, with branch coverage
	$(TEST) $(BIN)/python -m pytest --numprocesses auto --cov --cov-report term

lint: $(VENV)/.lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.lint
	$(BIN)/mypy

doctest: $(VENV)/.test
	$(TEST) $(BIN)/python -m pytest --doctest-modules sknatgrad --doctest-glob '*.md' README.md docs/*.md

# figures are not shown, and the warning of matplotlib about that is ignored
examples: $(VENV)/.examples
	for example in examples/*.py; do echo "== $$example"; \
		$(TEST) MPLBACKEND=agg $(BIN)/python -W error -W 'ignore:FigureCanvasAgg is non-interactive' $$example || exit 1; done

docs: $(VENV)/.docs  ## build the site in docs/_build/html and run every example; warnings and broken links are errors
	$(TEST) $(BIN)/python -m sphinx -W --keep-going -q docs docs/_build/html
	$(BIN)/python docs/look.py --links

look: $(VENV)/.docs $(VENV)/.look docs  ## open every page in Chromium, at two widths, light and dark
	$(BIN)/python docs/look.py --browser

test-lowest:  ## the test suite with the lowest versions that pyproject.toml allows
	$(PYTHON) -m venv $(LOWEST)
	$(LOWEST)/bin/python .ci/lowest.py > $(LOWEST)/constraints.txt
	$(LOWEST)/bin/python -m pip install --quiet --disable-pip-version-check --editable '.[test]' \
		--constraint $(LOWEST)/constraints.txt
	$(TEST) $(LOWEST)/bin/python -m pytest --numprocesses auto

check: test lint types doctest docs test-lowest

clean:
	rm -rf $(VENV) $(LOWEST) docs/_build docs/auto_examples docs/generated
