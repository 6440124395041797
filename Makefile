# Smart Fitness. `make` alone lists what there is.
PYTHON ?= python3
BIN := .venv/bin
NAME ?= all
export SMARTFIT_DATA ?= $(wildcard $(abspath ../shared/data))

.DEFAULT_GOAL := help
# The web clients are looked at in a real browser, with letters for Korean.
CHROMIUM := /usr/bin/chromium

.PHONY: help setup run demo-learning test test-web lint fmt bench faults report check-infra audit-dependencies clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.installed ## make .venv with everything, at the locked versions

.venv/.installed: setup.cfg infra/constraints.txt infra/setup_environment.py
	$(PYTHON) infra/setup_environment.py
	@touch $@

run: setup ## start the platform and walk real people through the gate
	$(BIN)/smartfit up
	$(BIN)/smartfit demo gate

demo-learning: setup ## a judge that learns from 100 corrections by itself; JSON into build/demo
	$(BIN)/smartfit demo learning --json build/demo/learning.json

test: setup ## all tests (photographs: SMARTFIT_DATA)
	$(BIN)/pytest

test-web: setup $(CHROMIUM) ## the web clients in Chromium (installed where it is missing, as root); pictures into build/web
	$(BIN)/pytest -n0 tests/web --override-ini=addopts="--import-mode=importlib -ra --strict-markers"

$(CHROMIUM):
	apt-get update -q
	DEBIAN_FRONTEND=noninteractive apt-get install -q -y --no-install-recommends chromium fonts-nanum

lint: setup ## ruff, mypy, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup ## format and mend what can be mended
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup ## benchmarks; NAME=gate for one; JSON into build/bench
	SMARTFIT_PROOF_SIZE=full $(BIN)/python -m tests.benchmarks $(NAME)

faults: setup ## damage done on purpose; NAME=events for one; JSON into build/faults
	SMARTFIT_PROOF_SIZE=full $(BIN)/pytest -m faults --override-ini=addopts="--import-mode=importlib -ra" tests/faults$(if $(filter all,$(NAME)),,/$(NAME))

report: setup ## tests/benchmarks/RESULTS.md and its plots, out of what bench and faults left in build
	$(BIN)/python -m tests.report

check-infra: setup ## what operations rest on, rendered, linted and validated
	$(BIN)/python -m infra.checks

audit-dependencies: setup ## known vulnerabilities of what is locked (asks PyPI or OSV); says so where neither answers
	$(BIN)/python -m infra.dependencies

clean: ## remove what was built (the platform's state stays)
	rm -rf build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
