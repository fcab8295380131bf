# What can be done here: `make help`.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
PORT ?= 8000
BIN := .venv/bin
RUNNEL := $(BIN)/runnel
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

.PHONY: help
help: ## Print what can be done here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: .venv/installed ## Install, migrate and start the server on PORT (8000)
	@PORT=$(PORT) exec $(RUNNEL) serve

.PHONY: dev
dev: .venv/installed ## The same, starting anew whenever the code changes
	@PORT=$(PORT) exec $(RUNNEL) serve --reload

.PHONY: test
test: .venv/installed-dev ## Install the test tools too and run the whole suite
	$(BIN)/pytest --numprocesses 2

.PHONY: check
check: .venv/installed-dev ## Lint, types, and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

.PHONY: format
format: .venv/installed-dev ## Format the code
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format

.PHONY: install
install: .venv/installed ## Make .venv and install what requirements.lock names

.PHONY: migrate
migrate: .venv/installed ## Bring the database to the newest schema
	$(RUNNEL) migrate

.PHONY: lock
lock: ## Choose dependencies anew and write them down (needs uv)
	uv pip compile $(LOCK) pyproject.toml --group build --output-file requirements.lock
	uv pip compile $(LOCK) --constraint requirements.lock pyproject.toml \
		--group build --group test --group check --output-file requirements-dev.lock

LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --no-annotate

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Runnel needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "Python's venv is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv .venv

# The project itself is installed in place, so that `make dev` and the tests see every change.
.venv/installed: requirements.lock pyproject.toml | .venv/bin/python
	$(PIP) install --require-hashes --requirement requirements.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/installed-dev: requirements-dev.lock .venv/installed
	$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@
