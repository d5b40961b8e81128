# Everything runs with .venv, which `make setup` makes; no target needs it to be activated.
# Another interpreter than the newest that fits: make setup PYTHON=python3.12
SHELL := /bin/bash
RUN := .venv/bin/python
export PYTHON
# The port of `make ui`: make ui PORT=5001
PORT := 5000
SHORT := not cluster and not stock and not ui and not long
PARALLEL := -n 2 --dist loadfile --no-loadscope-reorder
# A small environment beside .venv, .venv-NAME with the pins of constraints/NAME.txt: $(call environment,NAME,PYTHON)
environment = test "$$(cat .venv-$(1)/.stamp 2>/dev/null)" = "$$(sha256sum < constraints/$(1).txt)" || { \
	.venv/bin/uv venv --quiet --clear --seed --no-python-downloads --python $(2) .venv-$(1) && \
	.venv-$(1)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r constraints/$(1).txt && \
	sha256sum < constraints/$(1).txt > .venv-$(1)/.stamp; }
RUNTIMES := $(patsubst constraints/dbr-%-ml.txt,%,$(wildcard constraints/dbr-*-ml.txt))

.DEFAULT_GOAL := help
.PHONY: help setup dev lock demo test test-unit test-all test-dbr test-notebooks notebooks test-stock test-cluster test-ui coverage dist release docs wheelhouse chaos-ingest chaos-ingest-s3 chaos-train bench-ingest bench-train bench-score ui lint format clean distclean

help:
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## make .venv with everything in it, Horovod and if need be Java included
	@tools/setup.sh

dev: ## the same, and what the tests and linters need
	@tools/setup.sh --dev

lock: setup ## resolve the newest versions that fit, and write constraints.txt and constraints/*.txt
	@tools/lock.sh

demo: setup ## ingest, train on two ranks, evaluate and score the embedded digits, in ./work
	@$(RUN) tools/demo.py

test: dev ## what a newcomer runs: each job once, ranks as processes, and everything that is quick (some 5 minutes)
	@$(RUN) -m pytest $(PARALLEL) -m "$(SHORT)"

test-unit: dev ## the tests that need neither Spark nor whole jobs nor trainings
	@$(RUN) -m pytest $(PARALLEL) -m "not spark and not e2e and not train and $(SHORT)"

test-all: dev ## all tests but those on a cluster, in a browser and with stock Petastorm (half an hour)
	@failed=0; for part in "not (spark or e2e)" "spark or e2e"; do \
		$(RUN) -m pytest $(PARALLEL) -m "($$part) and not cluster and not stock and not ui" || failed=$$?; \
	done; exit $$failed

test-dbr: ## the tests of `make test` with the versions of a Databricks ML runtime, in their own environment: make test-dbr RUNTIME=17.3
	@test -f "constraints/dbr-$(RUNTIME)-ml.txt" || { echo "error: RUNTIME is '$(RUNTIME)'; expected one of $(RUNTIMES); type: make test-dbr RUNTIME=17.3" >&2; exit 2; }
	@tools/setup.sh ".venv-dbr-$(RUNTIME)" "constraints/dbr-$(RUNTIME)-ml.txt"
	@".venv-dbr-$(RUNTIME)/bin/python" -m pytest $(PARALLEL) -m "$(SHORT)"

test-notebooks: dev ## execute all notebooks from top to bottom (10 minutes)
	@$(RUN) -m pytest -m "" tests/notebooks

notebooks: dev ## execute all notebooks and write them with their outputs, or one: make notebooks NAME=1-cnn-from-images-to-scores
	@$(RUN) tools/notebooks.py $(if $(NAME),"notebooks/$(NAME).ipynb")

test-stock: dev ## Petastorm 0.12 without Convoy, in .venv-stock, reads what Convoy writes, and the other way round
	@$(call environment,stock,3.11)
	@$(RUN) -m pytest -m stock

test-cluster: dev dist wheelhouse ## all jobs on a Spark cluster of its own, by spark-submit with the archive (half an hour)
	@$(RUN) -m pytest -m cluster

# Playwright takes 165 MB, with a Node.js of its own, so it is not part of the setup; the browser is the system's.
test-ui: dev ## what MLflow's pages show of real runs, in headless Chromium (4 minutes); pictures: SCREENSHOTS=folder
	@$(RUN) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r constraints/ui.txt
	@SCREENSHOTS="$(SCREENSHOTS)" $(RUN) -m pytest -m ui tests/ui

coverage: dev ## which lines of src/convoy the tests of `make test` run, also in jobs, ranks and Spark's workers (half an hour)
	@rm -rf build/coverage && mkdir -p build/coverage/conf
	@cp .venv/lib/python3.*/site-packages/pyspark/conf/* build/coverage/conf/
	@echo spark.python.daemon.module coverage_daemon > build/coverage/conf/spark-defaults.conf
	@failed=0; PYTHONPATH="$(CURDIR)/tools" SPARK_CONF_DIR="$(CURDIR)/build/coverage/conf" \
		.venv/bin/coverage run -m pytest $(PARALLEL) -m "$(SHORT)" || failed=$$?; \
	.venv/bin/coverage combine -q && .venv/bin/coverage report; exit $$failed

wheelhouse: setup ## what a Databricks runtime lacks, for an init script, in ./dist/wheelhouse: make wheelhouse RUNTIME=17.3 FOR=python3.12
	@$(RUN) tools/wheelhouse.py $(if $(RUNTIME),--runtime "$(RUNTIME)") $(if $(FOR),--python "$(FOR)")

dist: setup ## the wheel, and an archive of the environment for spark-submit --archives, in ./dist
	@$(RUN) tools/dist.py

release: setup ## build the sdist and the wheel in ./dist/release, check them, and run a pipeline from each in a new environment
	@$(call environment,release,$(RUN))
	@.venv-release/bin/python tools/release.py

docs: setup ## check docs/, its links and its code blocks, and build it as a site in ./site, with search and the API
	@$(call environment,docs,$(RUN))
	@TF_CPP_MIN_LOG_LEVEL=3 $(RUN) tools/check_docs.py
	@NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build
	@echo "open site/index.html"

chaos-ingest: setup ## kill an ingest's driver at 50 random moments (10 minutes); the result is docs/chaos.md
	@$(RUN) tools/chaos_ingest.py --output docs/chaos.md

chaos-ingest-s3: setup ## the same with the datasets in an S3 server that is started for it (15 minutes)
	@$(RUN) tools/chaos_ingest.py --moto

chaos-train: setup ## take a rank, an executor, the driver, the disk, the server from a training; into docs/chaos-train.md
	@$(RUN) tools/chaos_train.py --output docs/chaos-train.md

bench-ingest: setup ## time ingest beside its peers, into docs/benchmarks.md (25 minutes): make bench-ingest MNIST=~/mnist
	@$(RUN) benchmarks/ingest.py $(if $(MNIST),--mnist "$(MNIST)")

bench-train: setup ## time training beside its peers, into docs/benchmarks.md (over an hour): make bench-train MNIST=~/mnist
	@$(RUN) benchmarks/training.py --mnist "$(or $(MNIST),$(error MNIST is not given; type: make bench-train MNIST=~/mnist))"

bench-score: setup ## time scoring beside its peers, into docs/benchmarks.md (40 minutes): make bench-score MNIST=~/mnist
	@$(RUN) benchmarks/score.py --mnist "$(or $(MNIST),$(error MNIST is not given; type: make bench-score MNIST=~/mnist))"

ui: setup ## serve MLflow's pages of the demo's runs, on http://127.0.0.1:5000 (another port: PORT=5001)
	@test -e work/mlflow.db || { echo "error: there are no runs yet in work/mlflow.db; type: make demo" >&2; exit 2; }
	@echo "open http://127.0.0.1:$(PORT)/#/experiments?workflowType=machine_learning"
	@MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false MLFLOW_DISABLE_TELEMETRY=true .venv/bin/mlflow ui --workers 1 --backend-store-uri sqlite:///work/mlflow.db --host 127.0.0.1 --port $(PORT)

lint: dev ## ruff, mypy, import-linter, codespell, and phrases to avoid
	@.venv/bin/ruff check
	@.venv/bin/ruff format --check
	@.venv/bin/mypy
	@.venv/bin/lint-imports
	@.venv/bin/codespell $$(git ls-files -- ':!tests' ':!*.png' ':!*.txt' ':!*.ipynb')
	@$(RUN) tools/check_english.py

format: dev ## let ruff format the code, and fix what it can
	@.venv/bin/ruff check --fix-only
	@.venv/bin/ruff format

clean: ## remove ./work, what was built, and caches
	@rm -rf work notebooks/work build dist site src/*.egg-info artifacts derby.log metastore_db spark-warehouse
	@rm -rf .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	@find conf docs jobs src tests tools benchmarks setup.py -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

distclean: clean ## remove .venv and the environments of runtimes too
	@rm -rf .venv .venv-*
