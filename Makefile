# Everything runs with .venv, which `make setup` makes; no target needs it to be activated.
SHELL := /bin/bash
PYTHON := .venv/bin/python
# The port of `make ui`: make ui PORT=5001
PORT := 5000
SHORT := not cluster and not stock and not ui and not long
EACH_CORE := -n logical --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-unit test-long test-dbr15 test-stock test-cluster test-ui dist wheelhouse chaos-ingest chaos-train bench-ingest bench-train bench-score ui lint format clean distclean

help:
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv with everything in it, Horovod and if need be Java included
	@tools/setup.sh

demo: setup ## ingest, train on two ranks, evaluate and score the embedded digits, in ./work
	@$(PYTHON) tools/demo.py

test: setup ## all tests but the long ones and those on a cluster
	@failed=0; \
	$(PYTHON) -m pytest $(EACH_CORE) -m "not spark and not e2e and $(SHORT)" || failed=$$?; \
	$(PYTHON) -m pytest -m "(spark or e2e) and $(SHORT)" || failed=$$?; \
	exit $$failed

test-unit: setup ## the tests that need neither Spark nor whole jobs nor trainings
	@$(PYTHON) -m pytest $(EACH_CORE) -m "not spark and not e2e and not train and $(SHORT)"

test-long: setup ## variants and repetitions of what `make test` shows: more ranks, all architectures, more kills
	@$(PYTHON) -m pytest -m "long and not cluster and not stock and not ui"

test-dbr15: ## the same tests with the versions of Databricks Runtime 15.4 LTS ML, in .venv-dbr15, which it makes
	@tools/setup.sh .venv-dbr15 constraints/dbr-15.4-ml.txt
	@.venv-dbr15/bin/python -m pytest

test-stock: setup ## Petastorm 0.12 without Convoy, in .venv-stock, reads what Convoy writes, and the other way round
	@test -e .venv-stock/bin/petastorm-copy-dataset.py || { \
		python3.11 -m venv .venv-stock && .venv-stock/bin/python -m pip install --quiet --no-deps -r constraints/stock-petastorm.txt; }
	@$(PYTHON) -m pytest -m stock

test-cluster: dist wheelhouse ## all jobs on a Spark cluster of its own, by spark-submit with the archive (half an hour)
	@$(PYTHON) -m pytest -m cluster

# Playwright takes 165 MB, with a Node.js of its own, so it is not part of the setup; the browser is the system's.
test-ui: setup ## what MLflow's pages show of real runs, in headless Chromium (4 minutes); pictures: SCREENSHOTS=folder
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps $$(grep -E '^(playwright|greenlet)==' constraints.txt)
	@SCREENSHOTS="$(SCREENSHOTS)" $(PYTHON) -m pytest -m ui tests/ui

wheelhouse: setup ## what later Databricks runtimes lack, for an init script, in ./dist/wheelhouse: make wheelhouse FOR=python3.12 TENSORFLOW=2.18.1
	@$(PYTHON) tools/wheelhouse.py $(if $(FOR),--python "$(FOR)") $(if $(TENSORFLOW),--tensorflow "$(TENSORFLOW)")

dist: setup ## the wheel, and an archive of the environment for spark-submit --archives, in ./dist
	@$(PYTHON) tools/dist.py

chaos-ingest: setup ## kill an ingest's driver at 50 random moments (10 minutes); the result is docs/chaos.md
	@$(PYTHON) tools/chaos_ingest.py --output docs/chaos.md

chaos-train: setup ## take a rank, an executor, the driver, the disk, the server from a training; into docs/chaos-train.md
	@$(PYTHON) tools/chaos_train.py --output docs/chaos-train.md

bench-ingest: setup ## time ingest beside its peers, into docs/benchmarks.md (25 minutes): make bench-ingest MNIST=~/mnist
	@$(PYTHON) benchmarks/ingest.py $(if $(MNIST),--mnist "$(MNIST)")

bench-train: setup ## time training beside its peers, into docs/benchmarks.md (over an hour): make bench-train MNIST=~/mnist
	@$(PYTHON) benchmarks/training.py --mnist "$(or $(MNIST),$(error MNIST is not given; type: make bench-train MNIST=~/mnist))"

bench-score: setup ## time scoring beside its peers, into docs/benchmarks.md (40 minutes): make bench-score MNIST=~/mnist
	@$(PYTHON) benchmarks/score.py --mnist "$(or $(MNIST),$(error MNIST is not given; type: make bench-score MNIST=~/mnist))"

ui: setup ## serve MLflow's pages of the demo's runs, on http://127.0.0.1:5000 (another port: PORT=5001)
	@test -e work/mlflow.db || { echo "error: there are no runs yet in work/mlflow.db; type: make demo" >&2; exit 2; }
	@echo "open http://127.0.0.1:$(PORT)/#/experiments?workflowType=machine_learning"
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true .venv/bin/mlflow ui --workers 1 --backend-store-uri sqlite:///work/mlflow.db --host 127.0.0.1 --port $(PORT)

lint: setup ## ruff, mypy, import-linter
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports

format: setup ## let ruff format the code, and mend what it can
	@.venv/bin/ruff check --fix-only
	@.venv/bin/ruff format

clean: ## remove ./work, what was built, and caches
	@rm -rf work build dist src/*.egg-info artifacts derby.log metastore_db spark-warehouse
	@rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find conf docs jobs src tests tools benchmarks setup.py -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## remove .venv, .venv-dbr15 and .venv-stock too
	@rm -rf .venv-stock .venv .venv-setup.log .venv-dbr15 .venv-dbr15-setup.log
