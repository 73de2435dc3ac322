# Everything that people and CI run here. `make help` lists it.
#
# Variables: PYTHON=python3.12 picks the interpreter of .venv, args="…" goes to the wrapped command,
# file=… names a backup, email=… answers create-admin's question beforehand.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
COMPOSE ?= docker compose
ASSETS := src/aieye/ui/assets
NODE_SDK := tests/node/node_modules/.package-lock.json
CLIENTS := $(VENV)-clients

.DEFAULT_GOAL := help
.PHONY: help install run test lint up down logs psql backup restore create-admin bench soak assets lock clean
.PHONY: node-sdk chromium python-clients named-file compose-there
.DELETE_ON_ERROR:

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## make .venv with the exact versions of constraints.txt
	@:

run: install ## install, then start on http://127.0.0.1:8000
	@trap : INT; $(BIN)/aieye serve $(args); code=$$?; [ $$code -eq 130 ] || exit $$code

test: $(VENV)/.installed-test node-sdk python-clients chromium ## run every test, on real servers
	@$(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder $(args)

lint: $(VENV)/.installed-dev ## check style, types and the direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

up: compose-there ## build and start app and PostgreSQL in containers
	$(COMPOSE) up --build --detach --wait

down: compose-there ## stop the containers; the data stays
	$(COMPOSE) down

logs: compose-there ## follow what the containers log
	$(COMPOSE) logs --follow --tail 200

psql: compose-there ## a prompt on the containers' database
	$(COMPOSE) exec db psql --username aieye aieye

# The next three work on the containers' data where there are containers, else on this clone's own.
# Files go through the data volume: the image's user may not read what is its owner's alone.

CONTAINERS = $$($(COMPOSE) ps --all --quiet app 2>/dev/null)
ASKING = $$([ -t 0 ] || echo -T)

backup: ## write a backup under backups/
	@if [ -z "$(CONTAINERS)" ]; then \
	$(MAKE) --no-print-directory install || exit; exec $(BIN)/aieye backup $(args); fi; \
	umask 077; mkdir -p backups; file=backups/aieye-$$(date -u +%Y%m%d-%H%M%S).zip; \
	if $(COMPOSE) run --rm -T app sh -c \
	'file=$$(aieye backup --directory /data/backups) && cat "$$file" && rm "$$file"' >"$$file"; \
	then echo "$$file"; else rm -f "$$file"; exit 3; fi

restore: named-file ## bring back a backup: make restore file=backups/…
	@if [ -z "$(CONTAINERS)" ]; then \
	$(MAKE) --no-print-directory install || exit; exec $(BIN)/aieye restore "$$file" $(args); fi; \
	$(COMPOSE) run --rm -T app sh -c 'umask 077; cat >/data/restore.zip' <"$$file" || exit 3; \
	$(COMPOSE) stop app; \
	$(COMPOSE) run --rm $(ASKING) app sh -c \
	'aieye restore /data/restore.zip $(args); code=$$?; rm -f /data/restore.zip; exit $$code'; \
	code=$$?; $(COMPOSE) start app; exit $$code

create-admin: ## make an administrator; asks for the e-mail
	@if [ -z "$$email" ]; then printf 'E-mail: '; read -r email; fi; \
	if [ -n "$(CONTAINERS)" ]; \
	then exec $(COMPOSE) run --rm $(ASKING) app aieye admin create --email "$$email" $(args); fi; \
	$(MAKE) --no-print-directory install && $(BIN)/aieye admin create --email "$$email" $(args)

bench: $(VENV)/.installed-test ## measure speed against the floors of the same machine
	@$(BIN)/python -m bench $(args)

soak: $(VENV)/.installed-test ## call for minutes, then check memory, sockets and money: args="--minutes 60"
	@$(BIN)/python -m tests.soak $(args)

assets: $(ASSETS)/node_modules/.package-lock.json ## build src/aieye/ui/static from its sources; needs Node
	node $(ASSETS)/build.mjs

lock: ## resolve the dependencies anew and write constraints.txt
	rm -rf $(VENV)-lock
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip install --editable '.[test,dev]'
	$(VENV)-lock/bin/python -m pip freeze --exclude-editable > $(VENV)-lock/constraints.txt
	mv $(VENV)-lock/constraints.txt constraints.txt
	rm -rf $(VENV)-lock

clean: ## remove what was built and installed, never data or backups
	rm -rf $(VENV) $(VENV)-lock $(CLIENTS) build dist tests/node/node_modules $(ASSETS)/node_modules
	rm -rf bench/.work
	rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -path ./data -prune -o -path ./.git -prune -o -type d -name __pycache__ -prune -exec rm -rf {} +

# A stamp a set of extras: what is installed is installed again only when a requirement changes.

$(VENV)/.created:
	@command -v $(PYTHON) >/dev/null || \
	{ echo "$(PYTHON) is not there: install Python 3.11 or newer, or name it: make PYTHON=…" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	{ echo "AI-Eye needs Python 3.11 or newer and $(PYTHON) is $$($(PYTHON) -V 2>&1):" \
	"name a newer one: make PYTHON=python3.12 …" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

INSTALL = $(BIN)/python -m pip install --disable-pip-version-check --constraint constraints.txt

$(VENV)/.installed: pyproject.toml constraints.txt | $(VENV)/.created
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-test: pyproject.toml constraints.txt | $(VENV)/.created
	$(INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/.created
	$(INSTALL) --editable '.[test,dev]'
	@touch $@ $(VENV)/.installed $(VENV)/.installed-test

# OpenAI's SDK for Node, a generator of clients in TypeScript, and axe-core, for the tests that need them;
# and a generator of clients in Python, in an environment of its own. Where one cannot be had, the tests
# with it are listed as not run; in CI they must run.

$(NODE_SDK): tests/node/package.json tests/node/package-lock.json
	npm ci --prefix tests/node --no-audit --no-fund
	@touch $@

$(ASSETS)/node_modules/.package-lock.json: $(ASSETS)/package.json $(ASSETS)/package-lock.json
	npm ci --prefix $(ASSETS) --no-audit --no-fund
	@touch $@

node-sdk:
	@if ! { command -v node && command -v npm; } >/dev/null; then reason='node or npm is not installed'; \
	elif ! $(MAKE) --no-print-directory $(NODE_SDK); then reason='npm could not fetch the SDK'; fi; \
	if [ -n "$$reason" ]; then echo "NOT RUN: the tests with OpenAI's Node SDK and axe ($$reason)" >&2; \
	test -z "$$CI"; fi

# The browser of tests/browser: the system's, installed where that can be done without a question.

chromium:
	@if [ -n "$$CHROMIUM" ] || command -v chromium || command -v chromium-browser || \
	command -v google-chrome; then exit 0; fi >/dev/null; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	echo "Installing chromium for the tests of the pages …"; \
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y \
	--no-install-recommends chromium fonts-dejavu-core; } >/dev/null && exit 0; fi; \
	echo "NOT RUN: the tests of the pages in a browser (apt-get install chromium)" >&2; test -z "$$CI"

$(CLIENTS)/.installed: tests/clients/requirements.txt | $(VENV)/.created
	rm -rf $(CLIENTS)
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python -m pip install --disable-pip-version-check --quiet --requirement $<
	@touch $@

python-clients:
	@$(MAKE) --no-print-directory $(CLIENTS)/.installed || { \
	echo "NOT RUN: the test with a generated Python client (pip could not fetch the generator)" >&2; \
	rm -rf $(CLIENTS); test -z "$$CI"; }

compose-there:
	@$(COMPOSE) version >/dev/null 2>&1 || \
	{ echo "'$(COMPOSE)' does not work here: install Docker with its compose plugin, or name what" \
	"does: make COMPOSE=…" >&2; exit 2; }

named-file:
	@test -n "$$file" || \
	{ echo "Which backup? Name it: make restore file=backups/…" >&2; exit 2; }
