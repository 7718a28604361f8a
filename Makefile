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

ROWS ?= 1000000
DISTINCT ?= 20000
LOCAL_TIER ?= off

LOCKS := layers/shared/requirements requirements requirements-dev \
	.ci/requirements-uv .ci/requirements-sam .ci/requirements-checkov

.PHONY: help setup demo bench-cold-start bench-intake bench-intake-gib bench-routing bench-local-tier notebook test simulate unit lint mistakes format build deploy lock clean ci FORCE

help: ## List the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 20

setup: $(VENV)/.dev-complete ## Install everything into .venv (PYTHON=python3.12 chooses the Python)

# What runs, which is all that `make demo` needs, and the rest: tests, linters, plots.
$(VENV)/.run-complete: requirements.txt pyproject.toml $(VENV)/.python
	@.ci/install $(VENV) --require-hashes -r $<
	@.ci/install $(VENV) --no-deps --no-build-isolation -e .
	@$(BIN)/search-router --help >/dev/null  # it starts; what it imports gets its bytecode
	@touch $@

$(VENV)/.dev-complete: requirements-dev.txt $(VENV)/.run-complete
	@.ci/install $(VENV) --require-hashes -r $<
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

bench-local-tier: setup ## Cross-validate the local tier beside its rivals (PROMPTS=file QUERY_LOG=file)
	@test -n "$(PROMPTS)" || { echo "PROMPTS= is needed: a file of labelled prompts" >&2; exit 1; }
	@$(BIN)/python -m benchmarks.local_tier --prompts "$(PROMPTS)" \
		$(if $(QUERY_LOG),--query-log "$(QUERY_LOG)")

bench-cold-start: setup ## Start the API cold as it is deployed, against a plain sam build and the limit
	@$(BIN)/python -m benchmarks.cold_start

bench-intake: setup ## Take in prompt files, against the obvious way and the limits
	@$(BIN)/python -m benchmarks.intake

bench-intake-gib: setup ## Take in 1 GiB in the CPU time and memory of a 512 MB Lambda (minutes)
	@$(BIN)/python -m benchmarks.intake --gib --out bench-results/intake-gib.json

bench-routing: setup ## Route a query log at the quota's speed, against the obvious ways (ROWS=n DISTINCT=n LOCAL_TIER=on)
	@$(BIN)/python -m benchmarks.routing --rows $(ROWS) --distinct $(DISTINCT) \
		--local-tier $(LOCAL_TIER)

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

build/%/.complete: .ci/requirements-%.txt $(VENV)/.python
	@rm -f build/$*/.python
	@.ci/venv build/$* $(BIN)/python
	@.ci/install build/$* --require-hashes -r $<
	@touch $@

lock: $(VENV)/.run-complete ## Compile the pinned and hashed requirements from the .in files
	@.ci/install $(VENV) --require-hashes -r .ci/requirements-uv.txt
	@for lock in $(LOCKS); do \
		$(BIN)/uv pip compile --universal --python-version 3.11 --generate-hashes --quiet \
			--no-emit-index-url --no-header --no-config $$lock.in -o $$lock.txt; done

clean: ## Remove what the other commands made, with their caches
	rm -rf $(VENV) build .aws-sam demo-output bench-results notebooks/figures
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf "$${XDG_CACHE_HOME:-$$HOME/.cache}/search-router" "$$HOME/Library/Caches/search-router"
	find . -name __pycache__ -not -path './.git/*' -prune -exec rm -rf {} +

ci: lint test ## What CI runs
