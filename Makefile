# `make` lists the targets; each is one line that calls the command line.
SHELL := bash
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin
# More options for the runner: make bench-cub ARGS="--seeds 0 --dry-run"
ARGS ?=

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python --compile-bytecode -c constraints.txt -e '.[dev]'
	@touch $@

.PHONY: setup
setup: $(VENV)/.ready ## Build .venv: about a minute, 7 GB
	@true

.PHONY: bench
bench: setup ## Train and evaluate the smoke suite on miniature data: no data, no GPU needed
	$(BIN)/retrieval-bench run smoke $(ARGS)

.PHONY: bench-cub bench-cars196 bench-sop bench-inshop
bench-cub: ## All methods on CUB-200-2011
bench-cars196: ## All methods on Cars196
bench-sop: ## All methods on Stanford Online Products
bench-inshop: ## All methods on In-shop Clothes Retrieval
bench-cub bench-cars196 bench-sop bench-inshop: bench-%: setup
	$(BIN)/retrieval-bench run $* $(ARGS)

.PHONY: saliency
saliency: setup ## Find the saliency boxes of CUB's pictures that bench-cub-hash crops to
	$(BIN)/retrieval-bench saliency cub --output data/saliency --alpha 0.2 0.3 0.4 0.5 0.6

.PHONY: bench-cub-hash bench-dogs
bench-cub-hash: saliency ## Binary codes on CUB-200-2011
	$(BIN)/retrieval-bench run cub_hash $(ARGS)
bench-dogs: setup ## Binary codes on Stanford Dogs
	$(BIN)/retrieval-bench run dogs_hash $(ARGS)

.PHONY: bench-oxford
bench-oxford: setup ## All methods on the Oxford Buildings, old and revisited; whitening needs Paris, too
	$(BIN)/retrieval-bench run oxford5k $(ARGS)
	$(BIN)/retrieval-bench run roxford5k $(ARGS)

.PHONY: bench-paris
bench-paris: setup ## All methods on Paris, old and revisited; whitening needs the Oxford Buildings, too
	$(BIN)/retrieval-bench run paris6k $(ARGS)
	$(BIN)/retrieval-bench run rparis6k $(ARGS)

.PHONY: leaderboard
leaderboard: setup ## Print the leaderboards of all results
	$(BIN)/retrieval-bench leaderboard $(ARGS)

.PHONY: regress
regress: setup ## Run the smoke suite and compare it with its baseline
	rm -rf results/runs/smoke # what is done is skipped, and would be compared although the code has changed
	$(BIN)/retrieval-bench run smoke
	$(BIN)/retrieval-bench regress smoke

.PHONY: test
test: setup ## Run the tests
	$(BIN)/python -m pytest -m "not slow" -n auto --maxprocesses 8 --dist worksteal $(ARGS)

.PHONY: test-slow
test-slow: setup ## Run the tests that take longer
	$(BIN)/python -m pytest -m slow $(ARGS)

.PHONY: check
check: setup ## Lint, format, types, import directions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: speed
speed: setup ## Run the speed benchmarks, quickly
	for file in benchmarks/speed/[a-z]*.py; do $(BIN)/python $$file --quick || exit 1; done

.PHONY: docs
docs: setup ## Build the documentation into site/; every warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

.PHONY: constraints
constraints: setup ## Refresh the pinned versions
	$(BIN)/uv pip compile --universal --python-version 3.11 --all-extras --no-annotate --no-header pyproject.toml -o constraints.txt

.PHONY: clean
clean: ## Remove .venv, caches, shared first phases and the results of the smoke suite
	rm -rf $(VENV) .cache .hypothesis results/runs/smoke results/first_phases
