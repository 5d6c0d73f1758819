# Every target works on a fresh clone; what it needs is installed into .venv first. `make` or `make help` lists them.
#
# A GPU machine that brings its own torch (>= 2.11) keeps it: `pip install -e .` leaves a torch that fits pyproject.toml
# alone, and `pip install --no-deps --no-build-isolation -e .` needs no network. `python -m ddpm STAGE` then runs a stage
# from this folder, `dvc repro` all of them; no make, no .venv.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.PHONY: help quick test browser check lint types layers audit bench docs ui lock clean runtime dev

BIN := .venv/bin
PORT ?= 5000
STARTED := $(shell date +%s)

# Stages and tools find the environment's python first, also through a bare `python` in dvc.yaml. No tool phones home.
export PATH := $(CURDIR)/$(BIN):$(PATH)
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := true
export MLFLOW_DISABLE_TELEMETRY := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' Makefile | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

quick: runtime  ## install what the study needs and run all of dvc.yaml: prepare ... figures
	@if git rev-parse --git-dir >/dev/null 2>&1; then \
	if grep -qs no_scm .dvc/config.local; then python -m dvc config --local --unset core.no_scm; fi; \
	else python -m dvc config --local core.no_scm true; fi
	@python -m dvc repro
	@python -m ddpm report
	@spent=$$(( $$(date +%s) - $(STARTED) )); \
	echo; echo "Done in $$(( spent / 60 )) min $$(( spent % 60 )) s."; \
	echo "  results/report.html    all of it on one page: open it in a browser"; \
	echo "  results/metrics.json   the numbers"; \
	echo "  results/figures/       the pictures"; \
	echo "  make ui                curves and experiments in the MLflow UI"; \
	echo "Next: change a number in params.yaml and run 'make quick' again: only what depends on it runs."; \
	if ! git rev-parse --verify --quiet HEAD >/dev/null 2>&1; then \
	echo "Experiments (dvc exp run) need git and one commit: git init && git add . && git commit -m start"; \
	elif ! git -c user.useConfigOnly=true var GIT_COMMITTER_IDENT >/dev/null 2>&1; then \
	echo "Experiments (dvc exp run) need a git identity: git config user.name NAME && git config user.email MAIL"; fi

test: dev  ## install what the tests need and run them, one process a core
	@python -m pytest --numprocesses auto --maxprocesses 8 --dist worksteal

browser:  ## install chromium where apt-get can: some tests open the report in it, and are skipped without it
	@command -v chromium >/dev/null || command -v google-chrome >/dev/null || { \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium >/dev/null; \
	else echo "make browser: install chromium by your package manager"; fi; }

check: lint types layers audit  ## ruff, mypy, import-linter, and dvc.yaml against the imports

lint: dev
	python -m ruff check
	python -m ruff format --check

types: dev
	python -m mypy

layers: dev
	lint-imports --no-logo

audit: dev
	python -m pipeline.audit

bench: dev  ## measure this CPU, twenty minutes: training beside others, sizes, parts, features, sampling, data
	python -m benchmarks.train --recipe cifar10 --batch 16 --device cpu
	python -m benchmarks.scaling --recipe cifar10 --batches 4,8,16,32 --sizes 16,32,64 --batch 16 --device cpu
	python -m benchmarks.parts --recipe quick --recipe cifar10:16 --device cpu
	python -m benchmarks.features --device cpu
	python -m benchmarks.sampling --recipe cifar10 --device cpu
	python -m benchmarks.data --memory 10000 --memory 100000

docs: dev  ## build the documentation into site/, a warning is an error, and run the examples in its pages
	NO_MKDOCS_2_WARNING=1 python -m mkdocs build --strict --config-file docs/mkdocs.yml
	python -W error docs/hooks/doctests.py
	@echo "site/index.html; with search: python -m http.server --bind 127.0.0.1 --directory site"

ui: runtime  ## MLflow UI on 127.0.0.1 (PORT=5000)
	@store="$${MLFLOW_TRACKING_URI:-sqlite:///mlflow.db}"; \
	case "$$store" in http*) echo "MLFLOW_TRACKING_URI is a server: open $$store"; exit 0;; esac; \
	python -m mlflow ui --workers 1 --host 127.0.0.1 --port $(PORT) --backend-store-uri "$$store"

# Needs uv. Pins stay as they are unless pyproject.toml or constraints.txt asks otherwise; UPGRADE=--upgrade renews all.
UPGRADE ?=
COMPILE = uv pip compile pyproject.toml --constraint constraints.txt --universal --generate-hashes --no-emit-index-url \
	--no-annotate --no-header --quiet $(UPGRADE)
lock:  ## make requirements.lock and requirements-dev.lock again from pyproject.toml (needs uv)
	@command -v uv >/dev/null || { echo "make lock: uv is missing; install it with: pip install uv"; exit 1; }
	$(COMPILE) --output-file requirements.lock
	$(COMPILE) --extra dev --constraint requirements.lock --output-file requirements-dev.lock

clean:  ## delete caches of tools; keeps .venv, data, results and experiments
	rm -rf .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis build *.egg-info
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

# What is installed is recorded as a copy of its lock inside .venv: no network and no pip while the lock stays the same.
INSTALL := python -m pip install --no-input --no-deps
define install_lock
	@cmp -s $(1) .venv/$(1) || { \
	echo "Installing $(1) into .venv (5.5 GB and some minutes the first time)"; \
	$(INSTALL) --require-hashes -r $(1) | { grep -v 'already satisfied' || true; }; cp $(1) $(2) .venv/; }
	@cmp -s pyproject.toml .venv/pyproject.toml || { \
	$(INSTALL) --quiet --no-build-isolation -e . && cp pyproject.toml .venv/; }
endef

runtime: $(BIN)/pip
	$(call install_lock,requirements.lock)

dev: $(BIN)/pip  # the dev lock contains the runtime lock, so one installation serves both
	$(call install_lock,requirements-dev.lock,requirements.lock)

$(BIN)/pip:
	@for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	if $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	$$python -m venv .venv && exit 0; fi; done; \
	echo "make: no Python >= 3.11 with its venv module was found; install python3.11 (Debian: also python3.11-venv)"; exit 1
