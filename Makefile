# Every command a developer needs; `make help` lists them. CI runs `make ci`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
# Without bytecode each command would compile all that it imports, again and again.
unexport PYTHONDONTWRITEBYTECODE

# A name, a path or a version; when it differs from the Python in .venv, .venv is made again.
PYTHON ?=
VENV := .venv
BIN := $(VENV)/bin

# Tools that would quarrel with the project's own pins have environments of their own.
SAM := build/sam/bin/sam
CHECKOV := build/checkov

PROMPTS ?=
QUERY_LOG ?=
OUT ?= demo-output
SEEDS ?= 500
SEED ?=
ARCH ?= arm64
STAGE ?= dev
SHUFFLED ?=

# One file at a time for each process, since tests of a file share what is slow to make.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder
# Without bytecode every process of the tests would compile all of it again.
unexport PYTHONDONTWRITEBYTECODE

ROWS ?=
DISTINCT ?=
JSON ?=
BENCH_OPTIONS = $(if $(JSON),--json "$(JSON)")

LOCKS := layers/shared/requirements requirements requirements-dev \
	.ci/requirements-uv .ci/requirements-sam .ci/requirements-checkov .ci/requirements-mutants

.PHONY: help setup demo bench-cold-start bench-intake bench-intake-gib bench-routing bench-local-tier bench-search notebook test test-all simulate unit lint mistakes mutants format openapi build deploy lock clean ci FORCE

help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

setup: $(VENV)/.dev-complete ## Install everything into .venv (PYTHON=python3.12 chooses the Python)

# What runs, which is all that `make demo` needs, and the rest: tests, linters, plots.
# The locks are complete, and one pin in them is not the one that ministack asks for: no dependencies.
$(VENV)/.run-complete: requirements.txt pyproject.toml $(VENV)/.python
	@.ci/install $(VENV) --no-deps --require-hashes -r $<
	@.ci/install $(VENV) --no-deps --no-build-isolation -e .
	@$(BIN)/search-router --help >/dev/null  # it starts; what it imports gets its bytecode
	@touch $@

$(VENV)/.dev-complete: requirements-dev.txt $(VENV)/.run-complete
	@.ci/install $(VENV) --no-deps --require-hashes -r $<
	@touch $@

# Checked each time: a Python that was upgraded or removed leaves a broken .venv behind.
$(VENV)/.python: FORCE
	@.ci/venv $(VENV) "$(PYTHON)"

demo: $(VENV)/.run-complete ## Run the main job on this machine (PROMPTS=file QUERY_LOG=file OUT=folder)
	@$(BIN)/search-router local demo --out "$(OUT)" \
		$(if $(PROMPTS),--prompts "$(PROMPTS)") $(if $(QUERY_LOG),--query-log "$(QUERY_LOG)")

notebook: setup ## Run the notebook and save its figures in notebooks/figures
	@cd notebooks && IPYTHONDIR=../build/ipython ../$(BIN)/python -c "import nbformat, nbclient; \
		nbclient.NotebookClient(nbformat.read('distil-and-route.ipynb', 4), timeout=400).execute()"
	@ls notebooks/figures

test: setup ## Pass the tests: unit, integration, simulated, end to end
	$(PYTEST) -m "not sweep"

test-all: setup ## Pass all tests, also the exhaustive sweeps (SHUFFLED=yes or a seed)
	$(PYTEST) $(if $(SHUFFLED),-p randomly $(if $(SHUFFLED:yes=),--randomly-seed=$(SHUFFLED)))

simulate: setup ## Run simulated histories (SEEDS=500), or tell one of them (SEED=7)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

unit: setup ## Pass the unit tests only
	$(PYTEST) -m "not sweep" tests/unit

lint: setup build/checkov/.complete ## Check format, style, types and the template
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/cfn-lint template.yaml monitoring.yaml
	@.ci/scan $(BIN)/python $(CHECKOV)

bench-local-tier: setup ## Measure the local tier in 3 minutes (PROMPTS=file QUERY_LOG=file JSON=file)
	@$(BIN)/python -m benchmarks.local_tier $(if $(PROMPTS),--prompts "$(PROMPTS)") \
		$(if $(QUERY_LOG),--query-log "$(QUERY_LOG)") $(BENCH_OPTIONS)

bench-cold-start: setup ## Measure a cold start of the API in 1 minute (JSON=file)
	@$(BIN)/python -m benchmarks.cold_start $(BENCH_OPTIONS)

bench-intake: setup ## Measure the intake of prompt files in 2 minutes (JSON=file)
	@$(BIN)/python -m benchmarks.intake $(BENCH_OPTIONS)

bench-intake-gib: setup ## Take in 1 GiB within the memory of a 512 MB Lambda in 10 minutes (JSON=file)
	@$(BIN)/python -m benchmarks.intake --gib $(BENCH_OPTIONS)

bench-search: setup ## Measure search and indexing in 3 minutes (JSON=file)
	@$(BIN)/python -m benchmarks.search $(BENCH_OPTIONS)

bench-routing: setup ## Route a query log in 2 minutes; ROWS=1000000 DISTINCT=20000 takes 8 (JSON=file)
	@$(BIN)/python -m benchmarks.routing $(if $(ROWS),--rows $(ROWS)) \
		$(if $(DISTINCT),--distinct $(DISTINCT)) $(BENCH_OPTIONS)

mistakes: setup ## Show each planted misconfiguration and the check that finds it
	@$(BIN)/python -m pytest tests/unit/test_template.py -k planted_mistake_is_found -v --no-header \
		| sed -n 's/.*is_found\[\([^-]*\)-\([^-]*\)-\(.*\)\] PASSED.*/\2: found by \1 ("\3")/p; /^FAILED\|^=.* in /p'

mutants: setup build/mutants/.complete ## Change 150 operators of the layer, one at a time, and count those that tests find (minutes)
	@nice -n 10 build/mutants/bin/python tests/mutants.py

format: setup ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

openapi: setup ## Write docs/openapi.json from the code of the HTTP API
	@$(BIN)/python -m router_cli.openapi docs/openapi.json

build: setup build/sam/.complete ## Build for Lambda (ARCH=arm64 or x86_64)
	@.ci/build $(SAM) $(BIN)/python $(ARCH)

deploy: $(VENV)/.run-complete ## Deploy what `make build` built, after a confirmation (STAGE=dev GUIDED=1 CI=1)
	@CI="$(CI)" GUIDED="$(GUIDED)" TAGS="$(TAGS)" .ci/deploy $(SAM) $(BIN)/search-router "$(STAGE)"

build/%/.complete: .ci/requirements-%.txt $(VENV)/.python
	@rm -f build/$*/.python
	@.ci/venv build/$* $(BIN)/python
	@.ci/install build/$* --require-hashes -r $<
	@touch $@

lock: $(VENV)/.run-complete ## Compile the pinned and hashed requirements from the .in files
	@.ci/install $(VENV) --require-hashes -r .ci/requirements-uv.txt
	@for lock in $(LOCKS); do \
		case $$lock in .ci/*) config=--no-config ;; *) config="--config-file .ci/uv.toml" ;; esac; \
		$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
			--no-emit-index-url --no-header $$config $$lock.in -o $$lock.txt; done

clean: ## Remove what the other commands made, with their caches
	rm -rf $(VENV) build .aws-sam demo-output bench-results notebooks/figures
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/search-router" "$$HOME/Library/Caches/search-router"
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

ci: lint test ## What CI runs
