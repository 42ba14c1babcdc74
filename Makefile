# Candlekeep: the menu. `make` alone prints it.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MEMBERS := $(sort $(wildcard libs/* services/* tools/*))
STAMP := $(VENV)/.installed
# Every test run starts hundreds of Python processes. Without cached bytecode, each would compile this code again.
unexport PYTHONDONTWRITEBYTECODE
# Root on Debian installs the system packages that a target lacks; others are told which to install.
PACKAGES_FOR := $(BIN)/python -m local_stack.system_packages

.PHONY: help
help: ## Print this menu
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Use it
.PHONY: setup
setup: $(STAMP) ## Install everything into .venv

$(STAMP): requirements.lock pyproject.toml $(wildcard libs/*/pyproject.toml services/*/pyproject.toml tools/*/pyproject.toml)
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else f"Candlekeep needs Python 3.11 to 3.13, but $(PYTHON) is {v.major}.{v.minor}: call make with PYTHON=python3.12, for example")'
	@echo "setup: creating $(VENV) and installing the locked packages (about a minute the first time)"
	@test -x $(BIN)/pip || { PYTHONPATH=tools/local-stack/src $(PYTHON) -m local_stack.system_packages venv && $(PYTHON) -m venv $(VENV); }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@echo "setup: linking Candlekeep's own packages"
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation $(addprefix -e ./,$(MEMBERS))
	@touch $@

.PHONY: demo dashboard migrate
demo: $(STAMP) ## Run everything here until Ctrl-C: PORT=8001 for another port, LIVE=1 for the real exchanges
	@$(PACKAGES_FOR) demo
	@$(BIN)/python -m local_stack demo --port $(or $(PORT),8000) $(if $(LIVE),--live)

dashboard: $(STAMP) ## Build the dashboard if it has changed, with this machine's Node or one from a Python wheel
	@$(BIN)/python -m local_stack dashboard

migrate: $(STAMP) ## Bring the database of DATABASE_URL up to this release
	@$(BIN)/python -m store upgrade

##@ Check it
# Tests of timeouts and failovers wait most of their time, so four workers keep two cores busy.
WORKERS ?= 4
.PHONY: test test-deep test-deploy test-operations test-fast faults nemesis guards
test: $(STAMP) ## Every test, on a Kafka and a Postgres of their own; says which Kafka at the end; WORKERS=4
	@$(PACKAGES_FOR) test
	@$(BIN)/pytest -n $(WORKERS) --dist worksteal -m "not faults or faults_short" --ignore=tests/deploy

test-deep: $(STAMP) ## The tests with random or many inputs again, with many more of them: about 20 minutes
	@$(PACKAGES_FOR) test
	@TEST_DEPTH=deep $(BIN)/pytest -n $(WORKERS) --dist worksteal -m deep --ignore=tests/deploy

test-deploy: $(STAMP) ## Build every image, start compose with the simulator, and test both; needs Docker, or root to start it
	@$(PACKAGES_FOR) test-deploy
	@$(BIN)/pytest -o timeout=900 tests/deploy --ignore=tests/deploy/test_operations.py

test-operations: $(STAMP) ## Scale, back up, restore and rebuild a compose stack; like test-deploy, and as long again
	@$(PACKAGES_FOR) test-deploy
	@$(BIN)/pytest -o timeout=1800 tests/deploy/test_operations.py

faults: $(STAMP) ## Break the whole system in every way we know and judge what it holds afterwards
	@$(PACKAGES_FOR) faults
	@$(BIN)/pytest -n 2 -m faults tests/faults

nemesis: $(STAMP) ## Break it at random, two or three ways at once: SEED="1 2 3" MINUTES=10, a report at the end
	@$(PACKAGES_FOR) nemesis
	@PYTHONPATH=tests $(BIN)/python -m support.faults.nemesis $(foreach seed,$(SEED),--seed $(seed)) --minutes $(or $(MINUTES),10)

guards: $(STAMP) ## Take one guard away at a time, in a copy: the fault test that is there for it must notice. ONLY="outbox"
	@$(PACKAGES_FOR) guards
	@PYTHONPATH=tests $(BIN)/python -m support.faults.guards $(ONLY)

test-fast: $(STAMP) ## Only the tests that need neither Kafka nor Postgres
	@$(BIN)/pytest -n 2 tests/contracts tests/unit

.PHONY: lint
lint: $(STAMP) ## ruff, mypy, import-linter; style and types of the dashboard
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(wildcard libs/*/src services/*/src tools/*/src) libs/contracts/generate.py tests/support tests/faults benchmarks release
	@$(BIN)/lint-imports
	@$(BIN)/python -m local_stack dashboard-lint

.PHONY: bench
bench: $(STAMP) ## Compare with the baselines and print one table, about 15 minutes: QUICK=1 for a short trial
	@$(BIN)/python -m benchmarks.run $(if $(QUICK),--quick) $(ONLY)

##@ Deploy it
.PHONY: images
images: ## The container images of all services: IMAGE_PREFIX, IMAGE_TAG, PYTHON_IMAGE, BUILD_OPTIONS; see deploy/build-images
	@deploy/build-images $(ONLY)

COMPOSE ?= docker compose
COMPOSED := $(COMPOSE) -f deploy/compose.yaml $(foreach overlay,$(WITH),-f deploy/compose.$(overlay).yaml)
.PHONY: up down logs backup restore rebuild-kafka has-compose
has-compose:
	@$(COMPOSE) version >/dev/null 2>&1 || { echo "there is no \`$(COMPOSE)\`: install Docker's plugin for compose 2, or call make with COMPOSE=/path/to/docker-compose"; exit 1; }

up: has-compose ## Start the images with compose and wait until all are healthy: WITH="simulator scale" adds overlays
	@deploy/make-secrets
	@$(COMPOSED) up --detach --wait

down: has-compose ## Stop them, with the same WITH. The data stays; DATA=delete removes it
	@$(COMPOSED) down --remove-orphans $(if $(filter delete,$(DATA)),--volumes)

logs: has-compose ## Follow their logs: ONLY="collector scheduler"
	@$(COMPOSED) logs --follow --tail 100 $(ONLY)

backup: has-compose ## Write a backup of the database while everything runs: FILE=backups/NAME.dump
	@COMPOSED="$(COMPOSED)" deploy/backup $(FILE)

restore: has-compose ## Bring a backup back and start everything: FILE=..., the same WITH as for up; REPLACE=yes deletes what is there
	@COMPOSED="$(COMPOSED)" REPLACE="$(REPLACE)" deploy/restore $(FILE)

rebuild-kafka: has-compose ## Replace Kafka by an empty one and fill it from the database, with the same WITH as for up
	@COMPOSED="$(COMPOSED)" deploy/rebuild-kafka

##@ Release it
.PHONY: version release
version: $(STAMP) ## Print the version; VERSION=0.2.0 writes it to every place that has it
	@$(BIN)/python -m release.version $(VERSION)

release: $(STAMP) ## Wheels, images, SBOMs, licences, chart and checksums in dist/: TRIAL=1 skips the conditions, IMAGES=none the images
	@$(BIN)/python -m release.build $(if $(TRIAL),--trial) $(if $(filter none,$(IMAGES)),--without-images)

##@ Keep it
.PHONY: format generate lock screenshots
format: $(STAMP) ## Format and apply safe fixes
	@$(BIN)/ruff check --fix --quiet . || true
	@$(BIN)/ruff format .

generate: $(STAMP) ## Rewrite what is generated: the client of the dashboard, schemas, docs/events.md, docs/asyncapi.json, the exchange catalogue, the places of candle lists, docs/exchanges.md, .env.example, files of the Helm chart
	@$(BIN)/python libs/contracts/generate.py
	@$(BIN)/python -m collector.exchange.catalogue.generate
	@$(BIN)/python -m collector.exchange.catalogue.page
	@PYTHONPATH=tests $(BIN)/python -m support.exchange_scan
	@$(BIN)/python services/collector/generate_candle_lists.py
	@$(BIN)/python -m admin_api openapi > services/admin-api/openapi.json
	@$(BIN)/python -m local_stack dashboard-client
	@$(BIN)/python -m local_stack.env_example
	@$(BIN)/python -m local_stack.asyncapi_document
	@$(BIN)/python deploy/helm/generate.py

screenshots: $(STAMP) ## Take docs/images/ from a running `make demo`: PORT=8001 if the demo has another port
	@$(PACKAGES_FOR) screenshots
	@PYTHONPATH=tests $(BIN)/python -m support.screenshots --port $(or $(PORT),8000) --folder $(or $(DEMO_DIR),.demo)

lock: ## Resolve again and rewrite requirements.lock and each service's own lock
	@$(BIN)/uv lock --quiet
	@$(BIN)/uv export --quiet --all-packages --all-groups --no-emit-workspace --no-annotate --no-header > requirements.lock
	@for s in admin-api scheduler collector log-writer candle-writer backfiller; do \
	  $(BIN)/uv export --quiet --package candlekeep-$$s --no-dev --no-emit-workspace --no-annotate --no-header > services/$$s/requirements.lock; done
	@$(BIN)/uv export --quiet --package candlekeep-exchange-simulator --no-dev --no-emit-workspace --no-annotate --no-header > tools/exchange-simulator/requirements.lock
