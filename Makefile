# Everything from a fresh clone: each target makes the environment that it needs.
.DEFAULT_GOAL := help
.NOTPARALLEL:
SHELL := /bin/bash

PACKAGES := beam_pipeline models transforms runners
CHECKED := $(PACKAGES) flink/deployment tests benchmarks examples docs
ENVIRONMENT := .venv
BIN := $(ENVIRONMENT)/bin
INSTALLED := $(ENVIRONMENT)/installed
# The versions that CI, the images and this environment install; `make lock` resolves them anew.
LOCK := requirements.lock.txt
UV := uv>=0.9,<1
PIP_INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check
UV_INSTALL = $(BIN)/uv pip install --quiet --python $(BIN)/python
WANTED = --constraint $(LOCK) --editable '.[test,docs]'

# The Python to build with: the one that was named, else the one that is tested in full, else any that will do. A name
# on PATH need not work (version managers put stand-ins there), so each is tried.
PYTHON ?=
IN_RANGE := import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))
FIND_PYTHON := for python in $(or $(PYTHON),python3.11 python3 python3.12 python3.13 python3.10 python); do \
	if "$$python" -c '$(IN_RANGE)' >/dev/null 2>&1; then echo "$$python"; break; fi; done

.PHONY: help demo test lint bench kafka registry flink-up flink-down flink-job-server \
	deploy-flink upgrade-flink rollback-flink test-pythons docs lock clean

help:
	@echo "make demo          score a stream with models that arrive while it runs (about a minute; the first time two)"
	@echo "make test          lint, types and all tests, against a real Kafka broker and Prism"
	@echo "make lint          ruff and mypy only"
	@echo "make bench         the benchmarks"
	@echo "make kafka         a real local Kafka broker on port 9092, until Ctrl-C"
	@echo "make registry      a real local schema registry on port 8085, until Ctrl-C"
	@echo "make flink-up      a real local Flink cluster in the background, on port 8081 (make flink-down ends it)"
	@echo "make flink-job-server   build the jar that carries a pipeline to Flink (needs Maven)"
	@echo "make deploy-flink ENV=aws     deploy to Kubernetes, as the overlay of flink/kubernetes says (needs kubectl)"
	@echo "make upgrade-flink ENV=aws    bring the changed overlay there: savepoint, stop, start from it"
	@echo "make rollback-flink ENV=aws   bring what was there before back"
	@echo "make test-pythons  install and try the package with each other Python of this machine (minutes each)"
	@echo "make docs          build the documentation's site into site/"
	@echo "make lock          resolve $(LOCK) again after setup.py has changed (UPGRADE=1: to the newest versions)"
	@echo "make clean         remove what was made here"
	@echo
	@echo "PYTHON=python3.12 chooses the interpreter (3.10 to 3.13). The environment is made in $(ENVIRONMENT)."

demo: $(INSTALLED)
	@$(BIN)/beam-serving demo

test: lint
	@$(BIN)/python -m runners.local.prism
	@$(BIN)/python -m runners.flink.jars
	@$(BIN)/python -m runners.flink.distribution
	@$(BIN)/python -m pytest

lint: $(INSTALLED)
	@$(BIN)/ruff check $(CHECKED)
	@$(BIN)/ruff format --check $(CHECKED)
	@$(BIN)/mypy $(CHECKED)

bench: $(INSTALLED)
	@$(BIN)/python -m benchmarks

kafka: $(INSTALLED)
	@$(BIN)/python -m runners.local.kafka_broker --port 9092

# On another port than Flink's web interface, which is on 8081, too.
registry: $(INSTALLED)
	@$(BIN)/python -m runners.local.schema_registry --port 8085

# FLINK="--task-managers 2 --slots 4" gives it more.
flink-up: $(INSTALLED)
	@$(BIN)/python -m runners.flink.cluster up $(FLINK)

flink-down: $(INSTALLED)
	@$(BIN)/python -m runners.flink.cluster down

flink-job-server: $(INSTALLED)
	@$(BIN)/python -m runners.flink.jars

deploy-flink upgrade-flink rollback-flink: $(INSTALLED)
	@$(BIN)/python -m flink.deployment $(@:-flink=) $(ENV)

test-pythons: $(INSTALLED)
	@$(BIN)/python tests/smoke_pythons.py

docs: $(INSTALLED)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@echo "Built: site/index.html"

# No address of a registry may stand in the file: everyone has their own.
lock: $(INSTALLED)
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(BIN)/uv pip compile --quiet --universal --python-version 3.10 \
	  --no-emit-index-url --no-emit-find-links --annotation-style line --all-extras \
	  $(if $(UPGRADE),--upgrade) --output-file $(LOCK) setup.py

clean:
	rm -rf $(ENVIRONMENT) build dist site *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find $(CHECKED) -name __pycache__ -type d -prune -exec rm -rf {} +

# Recreated when what is installed changes; the sources themselves are used where they are (an editable install). uv
# takes seconds where pip takes minutes, but pip installs too where uv is missing or cannot use the index of pip's settings.
$(INSTALLED): setup.py pyproject.toml $(LOCK)
	@python="$$($(FIND_PYTHON))"; \
	if [ -z "$$python" ]; then \
	  echo "No usable Python found$(if $(PYTHON), at $(PYTHON)): install Python 3.10 to 3.13, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; \
	fi; \
	if ! "$$python" -c 'import ensurepip, venv' >/dev/null 2>&1; then \
	  echo "$$python cannot make virtual environments: install its venv package (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; \
	fi; \
	version='import sys; print(sys.version_info[:2])'; \
	if [ "$$($(BIN)/python -c "$$version" 2>/dev/null)" != "$$("$$python" -c "$$version")" ]; then rm -rf $(ENVIRONMENT); fi; \
	echo "Installing into $(ENVIRONMENT) with $$("$$python" --version): about a minute, once"; \
	"$$python" -m venv $(ENVIRONMENT)
	@$(PIP_INSTALL) '$(UV)' || echo "uv cannot be installed here; going on with pip" >&2
	@$(UV_INSTALL) $(WANTED) || { \
	  echo "Installing with pip instead of uv: some minutes" >&2; $(PIP_INSTALL) $(WANTED); }
	@touch $@
