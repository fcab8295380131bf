# What can be done here: `make help`.
SHELL := /bin/sh
.DEFAULT_GOAL := help

PYTHON ?= python3
BIN := .venv/bin
RUNNEL := $(BIN)/runnel
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
# Where what npm installs is run from, and the page that it checks.
NPM_BIN := $(CURDIR)/tests/js/node_modules/.bin
PAGE_DIR := src/runnel/edge/page
# The tests with readers from npm are left out where there is no npm. (The redirection has make ask
# a shell: only a shell knows `command`.)
NPM_INSTALLED := $(if $(shell command -v npm 2>/dev/null),tests/js/node_modules/.installed)
# The same with the WebSocket test suite, which runs under Python 2.7 only. (pyenv gives its 2.7 when
# asked by name.)
PYTHON2 ?= env PYENV_VERSION=2.7 python2.7
AUTOBAHN_INSTALLED := $(if $(shell $(PYTHON2) -m pip --version 2>/dev/null),.venv/autobahn/.installed)

.PHONY: help
help: ## Print what can be done here
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: run
run: .venv/installed ## Install, migrate and start the server (PORT=8001 for another port)
	@exec $(RUNNEL) serve

.PHONY: dev
dev: .venv/installed ## The same, starting anew whenever the code changes
	@exec $(RUNNEL) serve --reload

.PHONY: test
test: .venv/installed-dev $(NPM_INSTALLED) $(AUTOBAHN_INSTALLED) ## Install the test tools too and run the whole suite
	$(BIN)/pytest --numprocesses 2

.PHONY: test-postgres
test-postgres: .venv/installed-dev $(NPM_INSTALLED) ## The same with every server on Postgres (some tests look into the SQLite file, and fail)
	RUNNEL_TEST_DATABASE=postgres $(BIN)/pytest --numprocesses 2

.PHONY: test-long
test-long: .venv/installed-dev ## Cut streams, race abort against the end, break what instances stand on: thousands of times
	RUNNEL_CUTS=10000 RUNNEL_RACES=1000 $(BIN)/pytest \
		tests/http/test_cuts.py tests/http/test_races.py -s --timeout 3600
	RUNNEL_FRAMES=10000 RUNNEL_SOCKETS=1000 RUNNEL_VISITS=1000 $(BIN)/pytest \
		tests/ws/test_random_frames.py tests/ws/test_many_sockets.py tests/ws/test_socket_leaks.py \
		-s --timeout 3600
	RUNNEL_CHAOS=50 $(BIN)/pytest tests/many/test_chaos.py

.PHONY: bench
bench: .venv/installed-dev ## Measure the speed beside others' and write bench/README.md's figures (QUICK=1: three minutes, writes none)
	PYTHONPATH=tests $(BIN)/python -m bench.speed $(if $(QUICK),--quick)

.PHONY: bench-peers
bench-peers: .venv/peers/.installed ## Install LiteLLM's proxy, in a venv of its own, for `make bench` to measure too

.PHONY: lock-peers
lock-peers: ## Choose what bench-peers installs anew and write it down (needs uv)
	uv pip compile $(LOCK) bench/peers.in --output-file bench/peers.lock

.PHONY: check
check: .venv/installed-dev check-page ## Lint, types, and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright
	$(BIN)/lint-imports

# The page and its client are JavaScript as browsers read it; their types stand in comments.
.PHONY: check-page
ifneq ($(NPM_INSTALLED),)
check-page: $(NPM_INSTALLED)
	$(NPM_BIN)/tsc --project $(PAGE_DIR)/jsconfig.json
	cd $(PAGE_DIR) && $(NPM_BIN)/prettier --log-level warn --check .
else
check-page:
	@echo "npm is missing: the page's JavaScript is not checked." >&2; test "$(CI)" != true
endif

.PHONY: screenshots
screenshots: .venv/installed-dev ## Make the README's pictures of the page anew (needs chromium)
	$(BIN)/pytest --quiet tests/browser/screenshots.py

.PHONY: format
format: .venv/installed-dev $(NPM_INSTALLED) ## Format the code
	$(BIN)/ruff check --fix --exit-zero --quiet
	$(BIN)/ruff format
	$(if $(NPM_INSTALLED),cd $(PAGE_DIR) && $(NPM_BIN)/prettier --log-level warn --write .)

.PHONY: install
install: .venv/installed ## Make .venv and install what requirements.lock names

.PHONY: image
image: ## Build the container image `runnel` (needs Docker); deploy/README.md says how to run it
	docker build --tag runnel .

.PHONY: migrate
migrate: .venv/installed ## Bring the database to the newest schema
	$(RUNNEL) migrate

.PHONY: lock
lock: ## Choose dependencies anew and write them down (needs uv)
	uv pip compile $(LOCK) pyproject.toml --group build --output-file requirements.lock
	uv pip compile $(LOCK) --constraint requirements.lock pyproject.toml \
		--all-extras --group build --group test --group check --output-file requirements-dev.lock

LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-header --no-annotate

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || \
		{ echo "Runnel needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || \
		{ echo "Python's venv is missing; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

# The project itself is installed in place, so that `make dev` and the tests see every change.
.venv/installed: requirements.lock pyproject.toml | .venv/bin/python
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv --clear .venv
	@echo "Installing into .venv; this takes about a minute, once."
	@$(PIP) install --require-hashes --requirement requirements.lock
	@$(PIP) install --no-deps --no-build-isolation --editable .
	@touch $@

.venv/installed-dev: requirements-dev.lock .venv/installed
	@echo "Installing the test tools into .venv."
	@$(PIP) install --require-hashes --requirement requirements-dev.lock
	@touch $@

.venv/peers/.installed: bench/peers.lock | .venv/bin/python
	@echo "Installing LiteLLM's proxy into $(@D); this takes about a minute, and 750 MB."
	@$(BIN)/python -m venv --clear $(@D)
	@$(@D)/bin/python -m pip --disable-pip-version-check --quiet install --require-hashes \
		--requirement $<
	@touch $@

tests/js/node_modules/.installed: tests/js/package-lock.json tests/js/package.json
	@echo "Installing what the tests and checks use from npm."
	@cd tests/js && npm ci --no-audit --no-fund --loglevel error --progress false
	@touch $@

.venv/autobahn/.installed: tests/ws/autobahn.txt | .venv/bin/python
	@echo "Installing Autobahn|Testsuite for Python 2.7."
	@rm -rf $(@D)
	@PYTHONUSERBASE=$(CURDIR)/$(@D) $(PYTHON2) -m pip --disable-pip-version-check --quiet install \
		--user --ignore-installed --requirement tests/ws/autobahn.txt 2>/dev/null && touch $@ || \
		{ rm -rf $(@D); echo "It cannot be had here: its test will be skipped."; }

# /docs and /redoc are served from $(DOCS_DIR) and load nothing from elsewhere. To upgrade: change
# a version here, run `make vendor-docs`, look at both pages, commit.
DOCS_DIR := $(PAGE_DIR)/docs
SWAGGER_UI_VERSION := 5.35.0
REDOC_VERSION := 2.5.4
# Only whole `//# sourceMappingURL=name.map` and `/*# ... */` comments: the maps are not vendored,
# so a browser's developer tools would fetch a 404 for each of them.
STRIP_SOURCE_MAPS := sed -E -e 's,/\*\# sourceMappingURL=[A-Za-z0-9._-]+\.map ?\*/,,g' \
	-e 's,//\# sourceMappingURL=[A-Za-z0-9._-]+\.map,,g'

.PHONY: vendor-docs
vendor-docs: ## Fetch the pages behind /docs and /redoc anew (needs npm)
	set -eu; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	npm pack --silent --pack-destination "$$tmp" \
		swagger-ui-dist@$(SWAGGER_UI_VERSION) redoc@$(REDOC_VERSION) >/dev/null; \
	mkdir "$$tmp/swagger" "$$tmp/redoc"; \
	tar -xzf "$$tmp/swagger-ui-dist-$(SWAGGER_UI_VERSION).tgz" -C "$$tmp/swagger" --strip-components=1; \
	tar -xzf "$$tmp/redoc-$(REDOC_VERSION).tgz" -C "$$tmp/redoc" --strip-components=1; \
	for file in swagger/swagger-ui-bundle.js swagger/swagger-ui.css redoc/bundles/redoc.standalone.js; do \
		$(STRIP_SOURCE_MAPS) "$$tmp/$$file" >"$(DOCS_DIR)/$$(basename "$$file")"; \
	done; \
	cat "$$tmp"/swagger/LICENSE "$$tmp"/swagger/NOTICE \
		"$$tmp"/swagger/swagger-ui-bundle.js.LICENSE.txt >"$(DOCS_DIR)/swagger-ui.LICENSE"; \
	cat "$$tmp"/redoc/LICENSE "$$tmp"/redoc/bundles/redoc.standalone.js.LICENSE.txt \
		"$$tmp"/redoc/bundles/*.worker.js.LICENSE.txt >"$(DOCS_DIR)/redoc.LICENSE"; \
	printf '%s\n' 'swagger-ui-dist $(SWAGGER_UI_VERSION) Apache-2.0' \
		'redoc $(REDOC_VERSION) MIT' >"$(DOCS_DIR)/VERSIONS.txt"

# The page makes Markdown into HTML with these two. To upgrade: as with the docs.
PAGE_VENDOR_DIR := $(PAGE_DIR)/vendor
MARKED_VERSION := 18.2.1
DOMPURIFY_VERSION := 3.5.0

.PHONY: vendor-page
vendor-page: ## Fetch what the page needs from npm anew (needs npm)
	set -eu; tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; \
	npm pack --silent --pack-destination "$$tmp" \
		marked@$(MARKED_VERSION) dompurify@$(DOMPURIFY_VERSION) >/dev/null; \
	mkdir "$$tmp/marked" "$$tmp/purify"; \
	tar -xzf "$$tmp/marked-$(MARKED_VERSION).tgz" -C "$$tmp/marked" --strip-components=1; \
	tar -xzf "$$tmp/dompurify-$(DOMPURIFY_VERSION).tgz" -C "$$tmp/purify" --strip-components=1; \
	$(STRIP_SOURCE_MAPS) "$$tmp/marked/lib/marked.esm.js" >"$(PAGE_VENDOR_DIR)/marked.js"; \
	$(STRIP_SOURCE_MAPS) "$$tmp/purify/dist/purify.es.mjs" >"$(PAGE_VENDOR_DIR)/purify.js"; \
	cp "$$tmp/marked/lib/marked.d.ts" "$(PAGE_VENDOR_DIR)/marked.d.ts"; \
	cp "$$tmp/purify/dist/purify.es.d.mts" "$(PAGE_VENDOR_DIR)/purify.d.ts"; \
	cp "$$tmp/marked/LICENSE" "$(PAGE_VENDOR_DIR)/marked.LICENSE"; \
	cp "$$tmp/purify/LICENSE" "$(PAGE_VENDOR_DIR)/purify.LICENSE"; \
	printf '%s\n' 'marked $(MARKED_VERSION) MIT' \
		'dompurify $(DOMPURIFY_VERSION) Apache-2.0 (or MPL-2.0)' >"$(PAGE_VENDOR_DIR)/VERSIONS.txt"
