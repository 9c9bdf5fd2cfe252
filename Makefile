# Everything a fresh machine needs: Python 3.11 or newer with pip, and make.
#   make demo    watch it work, without a key
#   make test    the test suite
VENV ?= .venv
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && { echo $$p; break; }; done)
BIN := $(VENV)/bin
SEEDS ?= 10000
TIMES ?= 20
KILLS ?= 200
FILTERS ?= 500
OBJECT_KILLS ?= 50
PUBLICATIONS ?= 200
SEED ?= 1
VENDOR ?= voyage
PAIRS ?= 20
ARGS ?=
# Where Python may keep nothing that it has compiled, each of hundreds of processes compiles the whole program again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help demo test test-integrations fuzz coverage check lint format types contracts bench sim sim-two search-soak soak objects wheel lock clean

help:
	@echo "make demo     scan, submit, a kill -9, a restart, publish, search: on the bundled simulator, no key needed"
	@echo "make test     the test suite (sets up .venv first)"
	@echo "make fuzz     the property tests with TIMES=20 times as many examples, others each time"
	@echo "make test-integrations  test the retrievers with LangChain and LlamaIndex, which it installs"
	@echo "make coverage the branches that the suite takes in the parts everything rests on; fails below 95 %"
	@echo "make check    lint, format, types and import contracts"
	@echo "make bench    measure speed and memory, with ratios against the naive way (ARGS=--quick for a short run)"
	@echo "make search-soak  FILTERS=500 random filters against brute force, PUBLICATIONS=200 beside four reading processes"
	@echo "make sim      SEEDS=10000 seeded lifetimes with every fault, checked after every step (VENDOR=openai, openai-sync, all)"
	@echo "make sim-two  PAIRS=20 pairs of daemons with one account, each for 50 virtual hours of faults: 1,000 hours"
	@echo "make soak     KILLS=200 real kill -9 against the real stack"
	@echo "make objects  200 publications into object storage that fails, 50 kills (PUBLICATIONS, OBJECT_KILLS)"
	@echo "make wheel    build wheel and sdist into dist/"
	@echo "make lock     renew the lock files (needs uv)"

$(VENV)/run.ready: requirements.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "voyage-jobs needs Python 3.11 or newer: none was found. Name one: make PYTHON=/path/to/python3.11"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(VENV)/dev.ready: $(VENV)/run.ready requirements-dev.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@

$(VENV)/local.ready: $(VENV)/run.ready requirements-local.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-local.lock
	@touch $@

demo: $(VENV)/local.ready
	$(BIN)/voyage-jobs demo $(ARGS)

test: $(VENV)/dev.ready
	$(BIN)/python -m pytest -q -n 2 --dist worksteal $(ARGS)

fuzz: $(VENV)/dev.ready
	FUZZ=$(TIMES) $(BIN)/python -m pytest -q -n 2 --dist worksteal -m hypothesis --timeout 7200 $(ARGS)

# In an environment of their own: the frameworks bring a hundred packages, none of them among those that are locked.
test-integrations:
	test -x $(VENV)-integrations/bin/pytest || $(PYTHON) -m venv $(VENV)-integrations
	$(VENV)-integrations/bin/pip install --quiet --disable-pip-version-check -e . -r tests/integrations/requirements.txt
	$(VENV)-integrations/bin/python -m pytest -q tests/integrations $(ARGS)

coverage: $(VENV)/dev.ready
	$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest -q -n 2 --dist worksteal $(ARGS)
	$(BIN)/coverage combine --quiet
	$(BIN)/python -m tests.branches

check: lint types contracts

lint: $(VENV)/dev.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/dev.ready
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/dev.ready
	$(BIN)/mypy

contracts: $(VENV)/dev.ready
	$(BIN)/lint-imports

bench: $(VENV)/dev.ready
	$(BIN)/python -m benchmarks $(ARGS)

sim: $(VENV)/dev.ready
	$(BIN)/python -m tests.sim --seeds 0:$(SEEDS) --jobs 2 --vendor $(VENDOR)

sim-two: $(VENV)/dev.ready
	$(BIN)/python -m tests.sim --two 50 --seeds 0:$(PAIRS) --jobs 2 --vendor $(VENDOR)

soak: $(VENV)/dev.ready
	$(BIN)/python -m tests.crash --kills $(KILLS)

search-soak: $(VENV)/dev.ready
	FILTERS=$(FILTERS) PUBLICATIONS=$(PUBLICATIONS) SEED=$(SEED) $(BIN)/python -m pytest -q -s --timeout 7200 \
		tests/unit/test_random_filters.py tests/unit/test_readers_beside.py $(ARGS)

objects: $(VENV)/dev.ready
	$(BIN)/python -m tests.crash.object_kills --publications $(PUBLICATIONS) --kills $(OBJECT_KILLS)

wheel: $(VENV)/dev.ready
	rm -rf dist
	$(BIN)/python -m build --outdir dist .

lock:
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" -o requirements.lock pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" -o requirements-build.lock requirements-build.in
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --extra dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" --extra local -c requirements.lock -o requirements-local.lock pyproject.toml
	uv lock --quiet --no-config --default-index https://pypi.org/simple

clean:
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-data
