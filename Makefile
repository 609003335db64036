# `make` needs Python 3.11 or later with pip and venv; everything else comes from the locked requirements.
VENV ?= .venv
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN = $(VENV)/bin
PYTEST_ARGS ?=
WHEEL ?=
# Side by side run tests that mostly wait. Other integration tests keep time, so they are alone; of the end-to-end tests faults run side by
# side by themselves, and what builds images takes all cores.
WORKERS ?= 3
E2E_WORKERS ?= 2
STAMP = $(VENV)/.ready$(if $(WHEEL),-wheel)

.PHONY: help env servers test test-fast test-e2e demo lint format types contracts wheel bench bench-cluster bench-peers lock clean
.DEFAULT_GOAL := help

help:  ## This list
	@grep -E '^[a-z-]+:.*##' Makefile | sed -E 's/^([a-z-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

env: $(STAMP)  ## Make the environment; $(VENV)/bin/wasp is there then

$(VENV)/.locked: requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "make: expected Python 3.11 or later with venv and pip, found none; on Debian: apt install python3-venv python3-pip"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

$(VENV)/.ready: $(VENV)/.locked pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-wheel: $(VENV)/.locked $(WHEEL)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --force-reinstall $(WHEEL)
	@touch $@

servers: $(STAMP)  ## Build Loki and Prometheus for the integration tests (Go 1.26 or later; minutes once, then cached)
	@PYTHONPATH=tests $(BIN)/python -m support.programs

test: test-fast servers  ## Run all tests that one machine can run
	$(BIN)/pytest --durations=10 -n $(WORKERS) --dist loadfile -m waits $(PYTEST_ARGS) tests/integration
	$(BIN)/pytest --durations=10 -m "not waits" $(PYTEST_ARGS) tests/integration

test-fast: $(STAMP)  ## Run those that need no servers: unit and contract tests
	$(BIN)/pytest --durations=10 -n $(WORKERS) --dist load $(PYTEST_ARGS) tests/unit tests/contract

test-e2e: $(STAMP)  ## Run the tests that need a real Kubernetes: built, started and removed here (root), or WASP_E2E_KUBECONFIG
	$(BIN)/python -m tests.e2e.harness build
	@if [ -z "$$WASP_E2E_KUBECONFIG" ]; then trap '$(BIN)/python -m tests.e2e.harness down' EXIT; $(BIN)/python -m tests.e2e.harness up; fi; \
	$(BIN)/pytest --durations=10 $(PYTEST_ARGS) tests/e2e/test_cluster_faults.py && \
	$(BIN)/pytest --durations=10 $(PYTEST_ARGS) -m builds tests/e2e && \
	$(BIN)/pytest --durations=10 -n $(E2E_WORKERS) --dist loadfile $(PYTEST_ARGS) -m "not builds" tests/e2e --ignore=tests/e2e/test_cluster_faults.py

demo: $(STAMP)  ## A target, a rate Generator and CPU-heavy users: 25 s of load
	@$(BIN)/python examples/run_demo.py

lint: $(STAMP)  ## ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## Let ruff format and fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## mypy, strict
	$(BIN)/mypy

contracts: $(STAMP)  ## import-linter
	$(BIN)/lint-imports importlinter.ini

wheel: $(VENV)/.locked  ## Build the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation --wheel --outdir dist . >/dev/null
	@ls dist

bench: $(STAMP)  ## Measure; prints ratios and writes bench-results/
	$(BIN)/python -m benchmarks

bench-cluster: $(STAMP)  ## Measure cluster mode on a real Kubernetes and with up to 1,000 simulated pods (root)
	$(BIN)/python -m tests.e2e.harness build
	$(BIN)/python -m benchmarks cluster-start cluster-scale
	$(BIN)/python -m benchmarks.cluster_chart

bench-peers: $(STAMP)  ## Our HTTP client beside wrk, vegeta, k6, Locust and molotov (root and Go: it installs and builds them)
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.peers_chart

lock: $(STAMP)  ## Renew requirements/dev.txt (needs uv)
	$(BIN)/python requirements/runtime_from_pyproject.py
	uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --no-header --no-annotate -q requirements/runtime.in requirements/dev.in -o requirements/dev.txt

clean:  ## Remove what make made
	rm -rf $(VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis bench-results
