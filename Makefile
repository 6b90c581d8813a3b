# On a fresh machine, start with `make tune` or `make test`. They need Python 3.11+ and a package index.
PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
INSTALLED_DEV := .venv/.installed-dev
INSTALLED_BENCH := .venv/.installed-bench
INSTALLED_DOCS := .venv/.installed-docs
INSTALLED_PEERS := .venv/.installed-peers

# Without its compiled modules, each of the many processes of a search or of the tests would compile Themo again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: tune test test-system fast check format bench bench-gpu peers docs lock clean

tune: $(INSTALLED)  ## search over the miniature and test the winner
	$(BIN)/python -m themo tune $(if $(NUM_SAMPLES),--num-samples $(NUM_SAMPLES))

test: fast  ## all tests except GPU tests and system tests
	$(BIN)/python -m pytest -m "slow and not system and not gpu" --numprocesses 3 --dist loadfile --no-loadscope-reorder --durations 20

test-system: $(INSTALLED_DEV)  ## system tests: searches under faults, several machines, real servers; one at a time
	$(BIN)/python -m pytest -m "system and not gpu" --durations 20

fast: $(INSTALLED_DEV)  ## the tests to run at every commit
	$(BIN)/python -m pytest -m "not slow and not gpu" --numprocesses logical --maxprocesses 8

check: $(INSTALLED_DEV)  ## format, lint, prose, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/codespell themo tune docs README.md CHANGELOG.md EXPERIMENTS.md
	$(BIN)/mypy

format: $(INSTALLED_DEV)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(INSTALLED_BENCH)  ## all figures of README and EXPERIMENTS; takes hours on two cores, most for time_to_target
	$(BIN)/python -m benchmarks

bench-gpu: $(INSTALLED_BENCH)  ## the figures that need a CUDA device
	$(BIN)/python -m benchmarks --gpu

peers: $(INSTALLED_PEERS)  ## install the searches that benchmarks/searches/peers compares with

docs: $(INSTALLED_DOCS)  ## the documentation as a static site in site/; a broken link or reference fails
	$(BIN)/zensical build --clean --strict

# All extras but the peers', which only benchmarks need and which are pinned in pyproject.toml.
LOCKED := $(foreach extra,approximate bench cluster dev docs export pictures,--extra $(extra))

lock: $(INSTALLED)  ## pin the newest versions that pyproject.toml allows
	$(BIN)/uv pip compile pyproject.toml $(LOCKED) --universal --python-version 3.11 --upgrade \
		--no-header --no-annotate --no-emit-index-url --quiet --output-file requirements.lock

.env:  ## create the secrets of the compose cluster
	umask 077 && while read -r line; do case $$line in \
		POSTGRES_PASSWORD=|RAY_AUTH_TOKEN=) \
			secret=$$($(PYTHON) -c 'import secrets; print(secrets.token_hex(32))') || exit 1; \
			echo "$$line$$secret";; \
		*) echo "$$line";; \
	esac; done < .env.example > $@.tmp && mv $@.tmp $@

$(BIN)/uv:
	$(PYTHON) -c 'import sys; sys.exit("Themo needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

# What a user needs; the targets below add the tools of tests, benchmarks and documentation.
INSTALL = $(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python --constraint requirements.lock --editable

$(INSTALLED): $(BIN)/uv pyproject.toml requirements.lock
	$(INSTALL) .
	@touch $@

$(INSTALLED_DEV): $(INSTALLED)
	$(INSTALL) '.[dev]'
	@touch $@

$(INSTALLED_BENCH): $(INSTALLED_DEV)
	$(INSTALL) '.[dev,bench]'
	@touch $@

PEERS := benchmarks/searches/peers
$(INSTALLED_PEERS): $(INSTALLED_DEV) $(PEERS)/overrides.txt
	$(INSTALL) '.[dev,peers]' neural-pipeline-search==0.17.0 --overrides $(PEERS)/overrides.txt
	@touch $@

$(INSTALLED_DOCS): $(INSTALLED_DEV)
	$(INSTALL) '.[dev,docs]'
	@touch $@

clean:  ## remove computed data; keep environment, logs and downloads
	rm -rf data/cache site .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis
