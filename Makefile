# `make reproduce` and `make test` do all the set-up by themselves; `make help` lists the rest.
PYTHON ?= python3
PROFILE ?= sample
BIN := .venv/bin

# What a user gives reaches the shell as the environment, so nothing in it is read as a command.
override export PYTHON := $(value PYTHON)
override export PROFILE := $(value PROFILE)
override export COCO := $(value COCO)
override export MODELS := $(value MODELS)
override export SEEDS := $(value SEEDS)
override export DRAW := $(value DRAW)
override export QUICK := $(value QUICK)

.DEFAULT_GOAL := help
.PHONY: help setup reproduce status test check draw demo bench clean

help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .venv/.ready  ## install everything into .venv (quick when nothing changed)

.venv/.ready: pyproject.toml constraints.txt
	@"$$PYTHON" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' || \
	  { echo "Python 3.11 to 3.13 is needed, this is $$("$$PYTHON" --version): make PYTHON=python3.11 …"; exit 1; }
	@case "$$PWD" in *[:{}\$$]*) \
	  echo "$$PWD: pip cannot install into a folder with : { } or $$ in its name; rename or move it"; exit 1;; esac
	@echo "Making the environment in .venv; the first time, 2 GB are fetched and unpacked in some minutes."
	@"$$PYTHON" -m venv .venv
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off -c constraints.txt -e '.[cluster,course,dev,heif,onnx,refiner,train]'
	@touch $@
	@echo "The environment is ready."

reproduce: setup  ## run the whole course; PROFILE=smoke|sample|half|paper, COCO=dir, MODELS=a,b, SEEDS=1,2
	@$(BIN)/nseg reproduce --profile "$$PROFILE" $${COCO:+--coco "$$COCO"} $${MODELS:+--models "$$MODELS"} $${SEEDS:+--seeds "$$SEEDS"}

status: setup  ## what of PROFILE is done, stale or missing
	@$(BIN)/nseg status --profile "$$PROFILE" $${MODELS:+--models "$$MODELS"} $${SEEDS:+--seeds "$$SEEDS"}

test: setup  ## run the tests
	$(BIN)/pytest

check: setup  ## lint, formatting, types, layers, notebooks in step with their scripts
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m reproduction.notebooks check

draw: setup  ## brush over a picture in the browser; DRAW=picture or folder
	$(BIN)/nseg draw $${DRAW:+"$$DRAW"}

demo: setup  ## build the page without Python into site/
	$(BIN)/nseg demo -o site

bench: setup  ## measure speed and memory beside peers into reports/bench; QUICK=1 only tries it
	@$(BIN)/python benchmarks/bench.py $${QUICK:+--quick}

site: setup  ## make the course's web pages, site/html/index.html; chapters are run first
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off -q -c constraints.txt -e '.[site]'
	@$(BIN)/python docs/site.py

clean:  ## remove the environment and what the built-in profiles made
	rm -rf .venv data/sample data/smoke runs/sample runs/smoke reports/sample reports/smoke .snakemake
