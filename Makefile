# `make` needs Python 3.11 or later with pip and venv; everything else comes from the locked requirements.
VENV ?= .venv
# What $(VENV) gets: requirements/$(LOCK).txt, which is dev (everything), test-fast (unit and contract tests) or demo (the runtime).
LOCK ?= dev
DEMO_VENV ?= .venv-demo
PYTHON ?= $(shell for p in python3.13 python3.12 python3.11 python3; do command -v $$p >/dev/null 2>&1 && $$p -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && { echo $$p; break; }; done)
BIN = $(VENV)/bin
PIP = $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
PYTEST_ARGS ?=
LOCK_ARGS ?=
WHEEL ?=
# Side by side run tests that mostly wait. Other integration tests keep time, so they are alone; of the end-to-end tests faults run side by
# side by themselves, and what builds images takes all cores.
WORKERS ?= 3
E2E_WORKERS ?= 2
# A folder in which each call of pytest leaves a report as JUnit XML; $(call pytest,NAME) names it.
RESULTS ?=
pytest = $(BIN)/pytest --durations=10 $(if $(RESULTS),--junitxml=$(RESULTS)/$(1).xml) $(PYTEST_ARGS)
NEEDS_RAY = tests/unit/cluster/test_ray_nodes.py
MODEL_EXAMPLES ?= 3000
MODEL_SECONDS ?=
MUTANTS ?= 400
SEED ?= 1
MINUTES ?= 60
STAMP = $(VENV)/.ready$(if $(WHEEL),-wheel)

# Tests start hundreds of processes, and each would compile its modules anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help env servers test test-fast test-waiting test-alone model model-ci mutants test-e2e test-nightly e2e-programs demo lint format types contracts wheel \
	bench bench-cluster bench-compare bench-peers lock clean
.DEFAULT_GOAL := help
.NOTPARALLEL:

help:  ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' Makefile | sed -E 's/^([a-z0-9-]+):.*## (.*)/  make \1\t\2/' | expand -t 22

env: $(STAMP)  ## Make the environment .venv with all that tests and tools need; .venv/bin/wasp is the command
	@:

# A lock file is complete, so pip need not resolve it (--no-deps); compiling takes longer than installing and is done by all cores. The demo
# compiles what it imports, in its first run.
$(VENV)/.locked-$(LOCK): requirements/$(LOCK).txt
	@test -n "$(PYTHON)" || { echo "make: expected Python 3.11 or later with venv and pip, found none; on Debian: apt install python3-venv python3-pip"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --no-compile --require-hashes -r requirements/$(LOCK).txt
	$(if $(filter demo,$(LOCK)),,@$(BIN)/python -m compileall -qq -j 0 $(VENV)/lib || true)
	@touch $@

$(VENV)/.ready: $(VENV)/.locked-$(LOCK) pyproject.toml
	$(PIP) --no-build-isolation -e .
	@touch $@

$(VENV)/.ready-wheel: $(VENV)/.locked-$(LOCK) $(WHEEL)
	$(PIP) --force-reinstall $(WHEEL)
	@touch $@

servers: $(STAMP)  ## Build Loki and Prometheus for the integration tests (needs Go 1.26 or later; takes minutes once, then is cached)
	@PYTHONPATH=tests $(BIN)/python -m support.programs

test: test-fast servers test-waiting test-alone  ## Run all tests that one machine can run without Kubernetes

test-fast: $(STAMP)  ## Run the unit and contract tests
	$(call pytest,fast) -n $(WORKERS) --dist load tests/unit tests/contract $(if $(filter test-fast,$(LOCK)),--ignore $(NEEDS_RAY))

# The two halves of tests/integration.
test-waiting: $(STAMP)
	$(call pytest,waiting) -n $(WORKERS) --dist loadgroup -m waits tests/integration

test-alone: $(STAMP)
	$(call pytest,alone) -m "not waits" tests/integration

model: $(STAMP)  ## Compare runs with what their own calls wrote down: pinned scenarios, then MODEL_EXAMPLES random ones or MODEL_SECONDS of them
	WASP_MODEL_EXAMPLES=$(MODEL_EXAMPLES) WASP_MODEL_SECONDS=$(MODEL_SECONDS) $(call pytest,model) -n $(WORKERS) --dist worksteal -p no:cacheprovider tests/model

# What CI runs: the pinned scenarios and three minutes of random ones, which the commit seeds.
model-ci:
	@$(MAKE) --no-print-directory model MODEL_EXAMPLES= MODEL_SECONDS=180

# No part of CI. ONLY=wasp_ray/stats takes mutants of one package or file.
mutants: $(STAMP)  ## Break the engine in MUTANTS places, one at a time, and list what no test notices (within MINUTES; SEED draws others)
	@PYTHONPATH=tests nice -n 10 $(BIN)/python -m mutants --mutants $(MUTANTS) --seed $(SEED) --minutes $(MINUTES) --only "$(ONLY)"

e2e-programs: $(STAMP)
	$(BIN)/python -m tests.e2e.harness build

# Starts a cluster for the commands that follow it in the same shell, and stops it after them.
CLUSTER = if [ -z "$$WASP_E2E_KUBECONFIG" ]; then trap '$(BIN)/python -m tests.e2e.harness down' EXIT; $(BIN)/python -m tests.e2e.harness up; fi

test-e2e: e2e-programs  ## Run the tests that need a real Kubernetes: one built, started and removed here (as root), or WASP_E2E_KUBECONFIG's
	@$(CLUSTER); \
	$(call pytest,e2e-faults) -m "not nightly" tests/e2e/test_cluster_faults.py && \
	$(call pytest,e2e-builds) -m "builds and not nightly" tests/e2e && \
	$(call pytest,e2e) -n $(E2E_WORKERS) --dist loadfile -m "not builds and not nightly" tests/e2e --ignore=tests/e2e/test_cluster_faults.py

test-nightly: e2e-programs  ## Run the tests of the end-to-end harness itself, and every set of values with Helm 3
	@$(CLUSTER); $(call pytest,nightly) -m nightly tests/e2e

demo:  ## Run a load test against a server of its own, with the runtime alone in .venv-demo (20 s of load)
	@$(MAKE) --no-print-directory env VENV=$(DEMO_VENV) LOCK=demo WHEEL=
	@$(DEMO_VENV)/bin/python examples/run_demo.py

lint: $(STAMP)  ## Check style and formatting with ruff
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(STAMP)  ## Format, and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(STAMP)  ## Check types with mypy, strictly
	$(BIN)/mypy

contracts: $(STAMP)  ## Check which module may import which with import-linter
	$(BIN)/lint-imports importlinter.ini

wheel: $(VENV)/.locked-$(LOCK)  ## Build the wheel into dist/
	rm -rf dist
	$(BIN)/python -m build --no-isolation --wheel --outdir dist . >/dev/null
	@ls dist

bench: $(STAMP)  ## Measure the engine; print ratios and write bench-results/
	$(BIN)/python -m benchmarks

bench-cluster: $(STAMP)  ## Measure cluster mode on a real Kubernetes and with up to 1,000 simulated pods (as root)
	$(BIN)/python -m tests.e2e.harness build
	$(BIN)/python -m benchmarks cluster-start cluster-scale
	$(BIN)/python -m benchmarks.cluster_chart

bench-compare: $(STAMP)  ## Calibrate the comparison of runs on simulated ones: wrong and right answers beside a bootstrap of single calls
	$(BIN)/python -m benchmarks.compare

bench-peers: $(STAMP)  ## Measure our HTTP client beside wrk, vegeta, k6, Locust and molotov (as root, with Go: it installs and builds them)
	$(BIN)/python -m benchmarks.peers
	$(BIN)/python -m benchmarks.peers_chart

lock:  ## Renew the lock files of requirements/ (needs uv); LOCK_ARGS=--upgrade takes newer versions
	$(PYTHON) requirements/lock.py $(LOCK_ARGS)

clean:  ## Remove all that make made
	rm -rf $(VENV) $(DEMO_VENV) dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache bench-results ci-results
