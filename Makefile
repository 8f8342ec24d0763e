# Every target works in a fresh clone: it creates the environment that it needs.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash
# uv installs sources only. If Python may not keep what it has compiled, each of the hundreds of processes in the tests
# compiles Beam and TensorFlow again: importing both then takes 18.0 seconds of processor time instead of 7.5.
unexport PYTHONDONTWRITEBYTECODE

PACKAGES := beam_pipeline models transforms runners
CHECKED := $(PACKAGES) flink/cluster flink/deployment tests benchmarks examples docs
ENVIRONMENT := .venv
BIN := $(ENVIRONMENT)/bin
INSTALLED := $(ENVIRONMENT)/installed
# The versions that CI, the images and this environment install; `make lock` resolves them again.
LOCK := requirements.lock.txt
UV := uv>=0.9,<1
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV_INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python
# The extras that are locked, of which `test` contains most others. PyTorch is not: see HEAVY_EXTRAS in the tests.
LOCKED := aws docs test
WANTED = --constraint $(LOCK) --editable '.[test,docs]'

# The Python of the environment: the given one, otherwise the one that is fully tested, otherwise any suitable one. Each
# is tried, because a name on PATH may not work (version managers put stand-ins there).
PYTHON ?=
IN_RANGE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
FIND_PYTHON := for python in $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python3.10 python); do \
	if "$$python" -c '$(IN_RANGE)' >/dev/null 2>&1; then echo "$$python"; break; fi; done

.PHONY: help demo test test-heavy lint bench kafka registry flink-up flink-down flink-job-server \
	fuzz campaign-routes campaign-guard deploy-flink upgrade-flink rollback-flink delete-flink kubernetes-up kubernetes-down \
	kubernetes-demo test-kubernetes test-pythons docs lock clean

help:
	@echo "make demo          score a stream with models that arrive while it runs (a minute; two the first time)"
	@echo "make test          run the linters and all tests, with a real Kafka broker and Prism"
	@echo "make test-heavy    run the tests with PyTorch, with Triton and of Dataflow's image (downloads 4 GB, once)"
	@echo "make lint          run ruff and mypy only"
	@echo "make bench         run the benchmarks"
	@echo "make fuzz          decode, score and assemble a million random records (SEED=N repeats a run)"
	@echo "make campaign-routes  change routes 1,000 times under load, with kills, and check every result (20 minutes; FLINK=1: on Flink)"
	@echo "make campaign-guard   send 100 bad and 100 good models against admission and the guard (5 minutes)"
	@echo "make kafka         run a real Kafka broker on port 9092 until Ctrl-C"
	@echo "make registry      run a real schema registry on port 8085 until Ctrl-C"
	@echo "make flink-up      start a real Flink cluster in the background, on port 8081 (make flink-down stops it)"
	@echo "make flink-job-server         build the jar that submits a pipeline to Flink (needs Maven)"
	@echo "make deploy-flink ENV=aws     deploy an overlay of flink/kubernetes to Kubernetes (needs kubectl)"
	@echo "make upgrade-flink ENV=aws    apply the changed overlay; the job restarts from a savepoint"
	@echo "make rollback-flink ENV=aws   restore the previous revision"
	@echo "make delete-flink ENV=aws     delete it; namespace, Secrets, topics and savepoints remain"
	@echo "make kubernetes-up       start a real single-node Kubernetes on this machine (with kind, k3d or minikube; else Linux, root, half an hour)"
	@echo "make kubernetes-demo     deploy to it, and score the demo's stream there"
	@echo "make kubernetes-down     end it and restore the machine"
	@echo "make test-kubernetes     run the tests on it"
	@echo "make test-pythons  install and try the package with every other Python on this machine (minutes each)"
	@echo "make docs          build the documentation into site/"
	@echo "make lock          resolve $(LOCK) again after changes to setup.py (UPGRADE=1: to the newest versions)"
	@echo "make clean         remove the environment and everything that was built"
	@echo
	@echo "PYTHON=python3.12 selects the interpreter (3.10 to 3.13). The environment is created in $(ENVIRONMENT)."

demo: $(INSTALLED)
	@$(BIN)/beam-serving demo

test: lint
	@$(BIN)/python -m runners.local.prism
	@$(BIN)/python -m runners.local.h2o_jars
	@$(BIN)/python -m runners.flink.jars
	@$(BIN)/python -m runners.flink.distribution
	@$(BIN)/python -m tests.browser
	@$(BIN)/python -m pytest

# What needs packages of gigabytes: they go into the cache outside of the tree, once.
test-heavy: $(INSTALLED)
	@$(BIN)/python -m pytest tests/heavy

lint: $(INSTALLED)
	@$(BIN)/ruff check $(CHECKED)
	@$(BIN)/ruff format --check $(CHECKED)
	@$(BIN)/mypy $(CHECKED)

bench: $(INSTALLED)
	@$(BIN)/python -m benchmarks

fuzz: $(INSTALLED)
	@$(BIN)/python -m tests.fuzz --records $(or $(RECORDS),1000000) $(if $(SEED),--seed $(SEED))

campaign-routes: $(INSTALLED)
	@$(BIN)/python -m tests.campaigns --changes $(or $(CHANGES),1000) $(if $(SEED),--seed $(SEED)) $(if $(FLINK),--flink)

campaign-guard: $(INSTALLED)
	@$(BIN)/python -m tests.campaigns guard $(if $(SEED),--seed $(SEED))

kafka: $(INSTALLED)
	@$(BIN)/python -m runners.local.kafka_broker --port 9092

# Not the registry's usual port 8081: Flink's web interface has that one, too.
registry: $(INSTALLED)
	@$(BIN)/python -m runners.local.schema_registry --port 8085

# FLINK passes options, for example FLINK="--task-managers 2 --slots 4".
flink-up: $(INSTALLED)
	@$(BIN)/python -m runners.flink up $(FLINK)

flink-down: $(INSTALLED)
	@$(BIN)/python -m runners.flink down

flink-job-server: $(INSTALLED)
	@$(BIN)/python -m runners.flink.jars

deploy-flink upgrade-flink rollback-flink delete-flink: $(INSTALLED)
	@$(BIN)/python -m flink.deployment $(@:-flink=) $(ENV)

# KUBERNETES=kind, k3d, minikube or packages chooses what runs the cluster; OPTIONS="--image IMAGE" passes options to it.
kubernetes-up kubernetes-down kubernetes-demo: $(INSTALLED)
	@$(BIN)/python -m flink.cluster $(@:kubernetes-%=%) $(if $(KUBERNETES),--with $(KUBERNETES)) $(if $(OPTIONS),--options='$(OPTIONS)')

test-kubernetes: $(INSTALLED)
	@$(BIN)/python -m pytest tests/cluster

test-pythons: $(INSTALLED)
	@$(BIN)/python -m tests.smoke_pythons

docs: $(INSTALLED)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Built: site/index.html"

# The file must not contain the URL of a package index, because everyone may use a different one.
lock: $(INSTALLED)
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.10 \
	  --no-emit-index-url --no-emit-find-links --annotation-style line $(addprefix --extra ,$(LOCKED)) \
	  $(if $(UPGRADE),--upgrade) --output-file $(LOCK) setup.py

clean:
	rm -rf $(ENVIRONMENT) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +

# Recreated when the requirements change; changed sources take effect at once, because the install is editable. uv takes
# seconds where pip takes minutes; pip is used if uv is missing or cannot use the index in pip's settings.
$(INSTALLED): setup.py pyproject.toml $(LOCK)
	@python="$$($(FIND_PYTHON))"; \
	if [ -z "$$python" ]; then \
	  echo "No usable Python found$(if $(PYTHON), at $(PYTHON)): install Python 3.10 to 3.13, or choose one with make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	  echo "$$python cannot create virtual environments: install its venv package (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; \
	fi; \
	version='import sys; print(sys.version_info[:2])'; \
	if [ "$$($(BIN)/python -c "$$version" 2>/dev/null)" != "$$("$$python" -c "$$version")" ]; then rm -rf $(ENVIRONMENT); fi; \
	echo "Installing into $(ENVIRONMENT) with $$("$$python" --version) (about a minute, only once)"; \
	"$$python" -m venv $(ENVIRONMENT)
	@$(PIP_INSTALL) '$(UV)' || echo "uv cannot be installed here; using pip instead" >&2
	@$(UV_INSTALL) $(WANTED) || { \
	  echo "Installing with pip instead of uv (some minutes)" >&2; $(PIP_INSTALL) $(WANTED); }
	@touch $@
