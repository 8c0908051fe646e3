# `make run` and `make test` set up everything they need. PYTHON picks the interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --quiet --disable-pip-version-check

# glibc gives the memory of every upload chunk back and faults it in again unless told otherwise;
# worth 1.3 to 1.7 times on ingest with glibc 2.36. Read once, when the process starts.
MALLOC := MALLOC_MMAP_THRESHOLD_=33554432 MALLOC_TRIM_THRESHOLD_=268435456 MALLOC_TOP_PAD_=67108864

.PHONY: run heif demo guide test clients fuzz torture docs site cli-picture client lint format check bench \
	migrate-million bench-peers page page-pictures lock lock-clients lock-page lock-peers upgrade clean

run: $(VENV)/.run
	$(MALLOC) exec $(BIN)/offload serve

demo: $(VENV)/.run
	$(MALLOC) $(BIN)/offload demo

# Threads, processes or asyncio, measured on this machine: guide.html and guide.json are left here.
guide: $(VENV)/.run
	$(BIN)/offload guide

# Reading HEIC, by a wheel whose licence is not that of the rest: see README.
heif: $(VENV)/.run
	$(PIP) install --require-hashes --no-build-isolation -r requirements/heif.txt

# Side by side, four on two cores too: much of a test is waiting, for a process, a server or a time
# that must pass, and none knows of another. Compiled tests
# are kept, whatever the environment says: each process would rewrite all their assertions anew.
test: $(VENV)/.dev clients .venv-moto/.done .venv-site/.done
	PYTHONDONTWRITEBYTECODE= $(BIN)/pytest --numprocesses 4 --dist worksteal

# Generators of clients, for the tests of the API's description. Without npm and Chromium those
# tests are skipped, and say so.
TYPESCRIPT := tests/clients/typescript
PAGE := tests/page
clients: .venv-clients/.done $(if $(shell command -v npm),$(TYPESCRIPT)/node_modules/.done \
	$(PAGE)/node_modules/.done)

# Every decoder against damaged and hostile input, for so many seconds each.
FUZZ_SECONDS ?= 60
fuzz: $(VENV)/.dev
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(BIN)/pytest tests/fuzz --timeout 0

# The proofs of many nodes on one database and one bucket: each says at the end what it counted. The
# seed is printed, and brings back one run's moments as far as threads let it.
TORTURE_SECONDS ?= 600
TORTURE_SEED ?=
torture: $(VENV)/.dev
	TORTURE=1 TORTURE_SECONDS=$(TORTURE_SECONDS) TORTURE_SEED=$(TORTURE_SEED) \
		$(BIN)/pytest tests/torture

lint: $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# What derives from the code; `make test` fails while a page is out of date.
docs: $(VENV)/.run
	$(BIN)/python docs/generate.py
	$(BIN)/python docs/site/api.py

# README.md and docs/ as a site in build/site, to be served, or read from there (without its search).
site: .venv-site/.done
	.venv-site/bin/python docs/site/build.py

# The picture of the command line in README: what the commands print, taken down.
cli-picture: $(VENV)/.dev
	$(BIN)/python docs/site/cli_picture.py

# The typed part of clients/python, and its half without await; `make test` compares these too.
client: $(VENV)/.dev
	$(BIN)/python clients/python/generate.py

check: lint test

bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# A folder with a million items to PostgreSQL and S3, killed on the way: some minutes, 3 GB of disk.
migrate-million: $(VENV)/.dev
	$(BIN)/python -m benchmarks --only migrate-million

# What the benchmarks hold the service against. Debian's packages need root: SUDO=sudo.
bench-peers: $(VENV)/.dev
	missing="$$($(BIN)/python -m benchmarks.peers)"; test -z "$$missing" || \
		{ $(SUDO) apt-get update && $(SUDO) apt-get install --yes $$missing; }
	$(MAKE) .venv-thumbor/.done benchmarks/peers/ipx/node_modules/.done

# `lock` takes in what has changed here and leaves the other pins; `upgrade` takes the newest of all.
upgrade: LOCK += --upgrade
upgrade: lock lock-clients lock-page lock-peers

lock: $(VENV)/.dev
	$(BIN)/uv pip compile $(LOCK) requirements/build.in -o requirements/build.txt
	$(BIN)/uv pip compile $(LOCK) pyproject.toml -o requirements/run.txt
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra heif -o requirements/heif.txt
	$(BIN)/uv pip compile $(LOCK) pyproject.toml --extra heif --group dev -o requirements/dev.txt
	$(BIN)/uv pip compile $(LOCK) requirements/moto.in -o requirements/moto.txt
	$(BIN)/uv pip compile $(LOCK) requirements/site.in -o requirements/site.txt
LOCK := --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
	--no-annotate --no-header --no-emit-package offload-client

# The page's libraries, from what npm has locked; `make test` compares them.
page: $(VENV)/.dev $(PAGE)/node_modules/.done
	$(BIN)/python $(PAGE)/vendored.py

page-pictures: $(VENV)/.dev $(PAGE)/node_modules/.done
	$(BIN)/python -m tests.page.pictures

lock-page: $(VENV)/.dev
	cd $(PAGE) && npm install --package-lock-only --ignore-scripts
	$(BIN)/python -m benchmarks.peers.bare_lock $(PAGE)/package-lock.json

lock-clients: $(VENV)/.dev
	$(BIN)/uv pip compile $(LOCK) tests/clients/python/requirements.in \
		-o tests/clients/python/requirements.txt
	cd $(TYPESCRIPT) && npm install --package-lock-only --ignore-scripts
	$(BIN)/python -m benchmarks.peers.bare_lock $(TYPESCRIPT)/package-lock.json

lock-peers: $(VENV)/.dev
	$(BIN)/uv pip compile $(LOCK) benchmarks/peers/thumbor/requirements.in \
		-o benchmarks/peers/thumbor/requirements.txt
	cd benchmarks/peers/ipx && npm install --package-lock-only --ignore-scripts
	$(BIN)/python -m benchmarks.peers.bare_lock benchmarks/peers/ipx/package-lock.json

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
	rm -rf build .venv-moto .venv-site .venv-clients $(TYPESCRIPT)/node_modules $(PAGE)/node_modules
	rm -rf .venv-thumbor benchmarks/peers/ipx/node_modules

$(VENV)/.python:
	$(PYTHON) -m venv $(VENV)
	touch $@

# The dev environment is the run environment and more; a .dev stamp therefore serves .run too.
$(VENV)/.run: $(VENV)/.python requirements/build.txt requirements/run.txt pyproject.toml \
		clients/python/pyproject.toml
	$(PIP) install --require-hashes --only-binary :all: -r requirements/build.txt
	$(PIP) install --require-hashes --no-build-isolation -r requirements/run.txt
	$(PIP) install --no-deps --no-build-isolation --editable .
	$(PIP) install --no-deps --no-build-isolation --editable clients/python
	touch $@

$(VENV)/.dev: $(VENV)/.run requirements/dev.txt
	$(PIP) install --require-hashes -r requirements/dev.txt
	touch $@

# An S3 server of another make; apart, as it wants other versions than the service.
.venv-moto/.done: requirements/moto.txt
	$(PYTHON) -m venv --clear .venv-moto
	.venv-moto/bin/pip --quiet --disable-pip-version-check install --require-hashes \
		--only-binary :all: -r requirements/moto.txt
	touch $@

# What makes the site; apart, as it is nothing of the service's.
.venv-site/.done: requirements/site.txt
	$(PYTHON) -m venv --clear .venv-site
	.venv-site/bin/pip --quiet --disable-pip-version-check install --require-hashes \
		--only-binary :all: -r requirements/site.txt
	touch $@

.venv-clients/.done: tests/clients/python/requirements.txt
	$(PYTHON) -m venv --clear .venv-clients
	.venv-clients/bin/pip --quiet --disable-pip-version-check install --require-hashes \
		--only-binary :all: -r tests/clients/python/requirements.txt
	touch $@

$(TYPESCRIPT)/node_modules/.done: $(TYPESCRIPT)/package-lock.json
	cd $(TYPESCRIPT) && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

$(PAGE)/node_modules/.done: $(PAGE)/package-lock.json
	cd $(PAGE) && npm ci --ignore-scripts --no-audit --no-fund
	touch $@

.venv-thumbor/.done: benchmarks/peers/thumbor/requirements.txt requirements/build.txt
	$(PYTHON) -m venv --clear .venv-thumbor
	.venv-thumbor/bin/pip --quiet install --require-hashes -r requirements/build.txt
	.venv-thumbor/bin/pip --quiet install --require-hashes --no-build-isolation \
		-r benchmarks/peers/thumbor/requirements.txt
	touch $@

benchmarks/peers/ipx/node_modules/.done: benchmarks/peers/ipx/package-lock.json
	cd benchmarks/peers/ipx && npm ci --ignore-scripts
	touch $@
