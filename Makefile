# Clarion. `make help` prints what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The tools that check and describe what ships Clarion, in deploy/tools.lock.
SHIP := $(VENV)-ship
PROTOS := $(wildcard protos/clarion/v1/*.proto protos/clarion/admin/v1/*.proto) protos/build.py protos/generate/raw_bodies.py
DESCRIPTORS := protos/clarion/v1/clarion.binpb
GENERATOR := $(wildcard protos/generate/*.py protos/generate/*.html) server/up/demo/campaigns.yaml pyproject.toml
# Made from the descriptors, the last only in part, and committed: a changed one is made again.
REFERENCE := docs/reference/admin-api.md docs/reference/errors.md docs/reference/grpc.md docs/reference/rest.md \
  docs/reference/roles.md
# The last that is written, so that make sees by it whether all is up to date.
BUILT := protos/clarion/v1/openapi.json
FOR_OPERATORS := protos/clarion/v1/admin-openapi.json protos/clarion/v1/admin-docs.html
# What the last release promised: a new contract must still read and write it.
RELEASED := protos/released/clarion.binpb
MIGRATIONS := $(wildcard server/store/schema/migrations/versions/*.sql)
ARGS ?=
# Bytecode is kept, also where the environment says otherwise: compiling the tests and the product again, in each
# worker and in each process that is started, takes a tenth of the time of all tests.
PYTEST := env -u PYTHONDONTWRITEBYTECODE $(BIN)/python -m pytest
WORKERS := -n 3 --dist loadgroup
# What linters read, as in [tool.mypy] files: not the scratch files that a user keeps at the top.
CODE := server gateway portal client lab tests tools protos pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev proto run test test-long test-pythons bare browser interop lint format bench faults machines lock wheel image image-root sbom dist clean

help: ## Print this
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/ready ## Make the virtual environment for running, from the hashed lock

setup-dev: $(VENV)/ready-dev ## The same with what tests and linters need

proto: $(BUILT) ## Build stubs, descriptors and the reference from protos/

run: setup proto ## Start everything with an embedded PostgreSQL, a demo project, and your clarion.toml if there is one
	@exec $(BIN)/clarion --config $(or $(wildcard clarion.toml),server/up/demo/clarion.toml) up --demo

test: setup-dev proto ## Run the tests against real Envoy, PostgreSQL and SMTP (about 5 minutes on two cores)
	$(PYTEST) $(WORKERS) -m "not long" $(ARGS)

test-long: setup-dev proto ## Run the tests of benchmarks, attacks, restarts and set-up that `make test` leaves out
	$(PYTEST) $(WORKERS) -m long $(ARGS)

test-pythons: setup-dev proto ## Run the tests on each other supported Python that is installed (ARGS go to pytest)
	@tools/test_pythons.sh $(WORKERS) $(ARGS)

bare: ## Run both README commands on bare Debian 12 and 13 (needs root and debootstrap; takes about 20 minutes a release)
	@tools/bare.sh $(ARGS)

browser: ## Install what the browser tests need (Chromium as root with apt; axe-core with npm)
	@tools/browser.sh

interop: setup-dev proto ## Run other makers' linters and generators of clients on the contract (needs npm; downloads 250 MB once)
	$(PYTEST) -rs tests/interop $(ARGS)

lint: setup-dev proto ## Check style, types, protos and the locks of migrations
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/mypy
	$(BIN)/python tools/check_words.py
	$(BIN)/squawk --config tools/squawk.toml $(MIGRATIONS)
	$(BIN)/buf lint $(DESCRIPTORS) --config protos/buf.yaml
	$(BIN)/buf breaking $(DESCRIPTORS) --against $(RELEASED) --config protos/buf.yaml
	$(BIN)/openapi-spec-validator $(BUILT) $(word 1,$(FOR_OPERATORS))

format: setup-dev ## Format the code
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

bench: setup-dev proto ## Measure triggers/s and CPU next to the ceiling (needs wrk; takes about 3 minutes)
	$(BIN)/python -m lab.bench $(ARGS)
	@echo "also: $(BIN)/python -m lab.bench.validation (what each check costs), -m lab.bench.overload (when twice too many call),"
	@echo "-m lab.bench.batch (batches compared with single calls and bare INSERTs),"
	@echo "and of delivery: -m lab.bench.delivery (speed, latency), -m lab.bench.claims (claims), -m lab.bench.history (100,000,000 old triggers), -m lab.bench.isolation (a provider hangs)"
	@echo "and of traces: -m lab.bench.traces (what they cost)"
	@echo "and of the Python client: -m lab.bench.client (what coalescing spares)"
	@echo "and of the portal: -m lab.bench.portal (pages with 2,000,000 deliveries), -m lab.bench.viewers (live tails)"
	@echo "and of upgrades: -m lab.bench.migrations (how long callers wait while 10,000,000 triggers are migrated)"

faults: setup-dev proto ## Break processes, databases and disks under load; upgrade; attack without a key (takes about 30 minutes)
	$(BIN)/python -m lab.faults $(ARGS)
	$(BIN)/python -m lab.faults.scenarios
	$(BIN)/python -m lab.faults.database
	$(BIN)/python -m lab.faults.full_disk
	$(BIN)/python -m lab.faults.restore
	$(BIN)/python -m lab.faults.upgrade
	$(BIN)/python -m lab.faults.night
	@echo "also: $(BIN)/python -m lab.faults.night --hold (an incident for a person to find; --seed, --incident)"
	$(BIN)/python -m lab.strangers

machines: setup-dev proto ## Run many machines in network namespaces; part them, kill the primary (as root; takes about 12 minutes)
	$(BIN)/python -m lab.machines $(ARGS)

lock: $(VENV)/ready-dev ## Choose newer versions within pyproject.toml and write the locks
	$(BIN)/uv pip compile pyproject.toml --extra build --extra otel --upgrade $(LOCK_OPTIONS) -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --extra build --extra otel --extra dev -c requirements.lock --upgrade $(LOCK_OPTIONS) -o requirements-dev.lock
	$(BIN)/uv pip compile deploy/tools.in --upgrade $(LOCK_OPTIONS) -o deploy/tools.lock

LOCK_OPTIONS := --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --quiet

wheel: setup proto ## Build the wheels of server and client into dist/
	$(BIN)/python -m hatchling build -t wheel
	cd client && ../$(BIN)/python -m hatchling build -t wheel -d ../dist

image: ## Build the container image of the last commit with podman, buildah or docker
	@tools/image.sh $(ARGS)

image-root: ## Build the image and run it in a chroot, as where no container can run (needs root, debootstrap and buildah)
	@tools/image_root.sh $(ARGS)

sbom: setup $(SHIP)/ready ## Write the software bill of materials of the locked packages to dist/clarion.cdx.json
	@$(BIN)/python tools/sbom.py dist/clarion.cdx.json

$(SHIP)/ready: deploy/tools.lock | $(VENV)/ready-dev
	@echo "installing the tools of deploy/tools.lock: about 500 MB of disk"
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(SHIP)
	@$(BIN)/uv pip install --quiet --python $(SHIP) --require-hashes --no-deps -r $<
	@touch $@

dist: setup proto $(SHIP)/ready ## Build wheels and sdists of server and client into dist/, and check them
	$(BIN)/python -m hatchling build -t sdist -t wheel
	cd client && ../$(BIN)/python -m hatchling build -t sdist -t wheel -d ../dist
	$(SHIP)/bin/twine check --strict dist/*.whl dist/*.tar.gz

clean: ## Remove the virtual environment and what was built (not .clarion/, which holds data)
	rm -rf $(VENV) $(VENV)-3.* $(SHIP) $(SHIP).lock $(VENV).lock dist .mypy_cache .ruff_cache .pytest_cache .hypothesis protos/buf protos/clarion/v1/*_pb2* protos/clarion/admin/v1/*_pb2* \
		$(DESCRIPTORS) $(BUILT) $(FOR_OPERATORS) protos/clarion/v1/docs.html

# Checked in each run: the script does nothing if all is up to date, and repairs what is not.
$(VENV)/ready: FORCE
	@$(PYTHON) tools/make_venv.py

$(VENV)/ready-dev: FORCE
	@$(PYTHON) tools/make_venv.py --dev

FORCE:

$(DESCRIPTORS): $(PROTOS) | $(VENV)/ready
	@echo "building the protos"
	@$(BIN)/python protos/build.py

$(BUILT): $(DESCRIPTORS) $(GENERATOR) $(REFERENCE)
	@echo "writing OpenAPI and the reference"
	@$(BIN)/python -m generate

$(REFERENCE):
