# Every command a developer needs; `make help` lists them. CI runs `make ci`.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= $(shell .ci/find-python)
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
STAMP := $(VENV)/.complete

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

ROWS ?=
DISTINCT ?=
JSON ?=
BENCH_OPTIONS = $(if $(JSON),--json "$(JSON)")

.PHONY: help setup demo bench-cold-start bench-intake bench-intake-gib bench-routing bench-local-tier notebook test simulate unit lint mistakes format build deploy lock clean ci

help: ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 15

setup: $(STAMP) ## Make .venv with everything pinned and the search-router command

$(STAMP): requirements-dev.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it or set PYTHON=" >&2; exit 1; }
	@echo "setting up $(VENV) with $(PYTHON): about a minute, once"
	"$(PYTHON)" -m venv $(VENV)
	$(PIP) --require-hashes -r requirements-dev.txt
	$(PIP) --no-deps --no-build-isolation -e .
	@touch $@

demo: setup ## Run the main job on this machine (PROMPTS=file QUERY_LOG=file OUT=folder)
	@$(BIN)/search-router local demo --out "$(OUT)" \
		$(if $(PROMPTS),--prompts "$(PROMPTS)") $(if $(QUERY_LOG),--query-log "$(QUERY_LOG)")

notebook: setup ## Run the notebook; its figures are saved in notebooks/figures
	@cd notebooks && ../$(BIN)/python -c "import nbformat, nbclient; \
		nbclient.NotebookClient(nbformat.read('distil-and-route.ipynb', 4), timeout=400).execute()"
	@ls notebooks/figures

test: setup ## Pass all tests: unit, integration, simulated, end to end
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

simulate: setup ## Run simulated histories (SEEDS=500), or tell one of them (SEED=7)
	@$(BIN)/python -m tests.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS))

unit: setup ## Pass the unit tests only, in seconds
	$(BIN)/python -m pytest tests/unit

lint: setup build/checkov/.complete ## Check format, style, types and the template
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/cfn-lint template.yaml
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

bench-routing: setup ## Route a query log in 2 minutes; ROWS=1000000 DISTINCT=20000 takes 8 (JSON=file)
	@$(BIN)/python -m benchmarks.routing $(if $(ROWS),--rows $(ROWS)) \
		$(if $(DISTINCT),--distinct $(DISTINCT)) $(BENCH_OPTIONS)

mistakes: setup ## Show each planted misconfiguration and the check that finds it
	@$(BIN)/python -m pytest tests/unit/test_template.py -k planted_mistake_is_found -v --no-header \
		| sed -n 's/.*is_found\[\([^-]*\)-\([^-]*\)-\(.*\)\] PASSED.*/\2: found by \1 ("\3")/p; /^FAILED\|^=.* in /p'

format: setup ## Format the code and mend what ruff can mend
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

build: setup build/sam/.complete ## Build for Lambda (ARCH=arm64 or x86_64)
	@.ci/build $(SAM) $(BIN)/python $(ARCH)

deploy: ## Deploy what `make build` built, asking before it changes anything (STAGE=dev or prod)
	@test -f .aws-sam/build/template.yaml || { echo "nothing is built: make build" >&2; exit 1; }
	SAM_CLI_TELEMETRY=0 $(SAM) deploy --guided --config-env $(STAGE:dev=default)

build/%/.complete: .ci/requirements-%.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: install it or set PYTHON=" >&2; exit 1; }
	@echo "setting up build/$*: about a minute, once"
	@rm -rf build/$* && "$(PYTHON)" -m venv build/$*
	@build/$*/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	@touch $@

lock: ## Pin and hash all dependencies again (needs uv)
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-config -q layers/shared/requirements.in -o layers/shared/requirements.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-config -q requirements-dev.in -o requirements-dev.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-config -q .ci/requirements-sam.in -o .ci/requirements-sam.txt
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
		--no-header --no-config -q .ci/requirements-checkov.in -o .ci/requirements-checkov.txt

clean: ## Remove what the other commands made
	rm -rf notebooks/figures $(VENV) build .aws-sam demo-output .mypy_cache .pytest_cache .ruff_cache .hypothesis

ci: lint test ## What CI runs
