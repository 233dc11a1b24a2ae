# longfold: every step a person or a machine needs, from a bare Python 3.11 to an answer. `make help` lists them.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# A mirror or a folder of wheels that is set up for pip serves uv as well.
FIND_LINKS := $(if $(PIP_FIND_LINKS),--find-links $(PIP_FIND_LINKS))
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python $(FIND_LINKS)
ifdef PIP_INDEX_URL
export UV_DEFAULT_INDEX ?= $(PIP_INDEX_URL)
endif
STAMP := $(VENV)/.installed
TORCH := 2.13.0

.PHONY: help install demo up test test-slow lint types imports check bench train-demo lock clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

install: $(STAMP) ## set up .venv: the four packages, a CPU build of vLLM, the tools

$(STAMP): */pyproject.toml requirements.lock overrides.txt Makefile
	@command -v $(PYTHON) >/dev/null || { echo "longfold needs Python 3.11: '$(PYTHON)' is not on PATH; pass PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (about 3 GB, most of it torch and vLLM) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv==0.13.9
	@# The CPU build of torch: from the indexes set up here, else from PyTorch's own, which uv knows by name.
	@$(UV) "torch==$(TORCH)+cpu" 2>/dev/null || $(UV) --torch-backend cpu "torch==$(TORCH)" || { \
	  echo "No CPU build of torch $(TORCH) was found. It is published on PyTorch's own wheel index (pytorch.org, 'Get Started', Pip, CPU):"; \
	  echo "download the wheel, then run: PIP_FIND_LINKS=/folder/of/the/wheel make install"; exit 1; }
	@$(UV) --override overrides.txt -r requirements.lock
	@touch $@

demo: $(STAMP) ## start everything, read 200,000 tokens of documents by URL, print answers with citations
	@$(BIN)/python examples/demo.py

up: $(STAMP) ## start Redis, vLLM with the demo policy, and the service on http://127.0.0.1:8080
	@$(BIN)/longfold up

test: $(STAMP) ## all tests but the slow ones; real Redis, real vLLM
	@$(BIN)/python -m pytest -m "not slow"

test-slow: $(STAMP) ## the tests that take minutes each
	@$(BIN)/python -m pytest -m slow

lint: $(STAMP) ## ruff: rules and format
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP) ## mypy --strict over the packages
	@$(BIN)/mypy

imports: $(STAMP) ## the dependency rules between the packages
	@$(BIN)/lint-imports

check: lint types imports ## lint, types, dependency rules

bench: $(STAMP) ## the rows of benchmarks/README.md that this machine can measure (about 30 minutes)
	@$(BIN)/python benchmarks/run.py

train-demo: $(STAMP) ## train a demo policy for single facts from nothing, into runs/demo (about 90 minutes on two cores)
	@$(BIN)/longfold-train demo --out runs/demo

lock: ## pin every dependency again, after a change of requirements.in or a pyproject.toml
	@$(BIN)/uv pip compile --quiet --python $(BIN)/python $(FIND_LINKS) --override overrides.txt --no-header --no-annotate \
	  requirements.in -o requirements.lock

clean: ## remove the virtual environment and caches
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
