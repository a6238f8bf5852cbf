# Everything runs in .venv, which the first target that needs it creates.
# PYTHON=/path/to/python chooses the interpreter for it.

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
CANDIDATES := $(PYTHON) python3 python3.12 python3.11 python3.13 python

.DEFAULT_GOAL := help
.PHONY: extras help install install-dev quickstart test test-slow test-all wheel-test lint format bench tables docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(VENV)/.installed ## Create .venv with metajax in it; EXTRAS=cuda or tpu for those

install-dev: $(VENV)/.installed-dev ## The same with the tools for development

quickstart: install ## Meta-train MAML on 2D navigation and show how it adapts
	$(BIN)/metajax train configs/quickstart.toml --run-dir runs/quickstart --overwrite

test: install-dev ## Run the tests in some minutes, all but those of test-slow; PYTEST_ARGS=-x adds -x
	$(BIN)/python -m pytest -n 2 -m "not slow and not further" $(PYTEST_ARGS)

test-slow: install-dev ## Run the others: further cases, and those that train or compile for long
	$(BIN)/python -m pytest -n 2 -m further $(PYTEST_ARGS)
	$(BIN)/python -m pytest -n 2 -m slow $(PYTEST_ARGS)

test-all: test test-slow ## Run every test

wheel-test: $(VENV)/bin/python ## Build the wheel, install it elsewhere, and use what it brings
	.ci/wheel-test $(abspath $(BIN)/python)

lint: install-dev ## Check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright --pythonpath $(BIN)/python

format: install-dev ## Rewrite the code in the project's style
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: install ## Measure environment steps a second of MAML on this machine
	$(BIN)/metajax bench

tables: install ## Write the tables of README.md and docs/ from benchmarks/results/
	$(BIN)/python benchmarks/tables.py

docs: $(VENV)/.installed-docs ## Build the documentation site into build/site/
	NO_MKDOCS_2_WARNING=1 JAX_PLATFORMS=cpu $(BIN)/python -m mkdocs build --quiet --strict

clean: ## Remove .venv and caches; runs/ and compiled programs of the user's cache stay
	rm -rf $(VENV) .hypothesis .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
	@echo "left: runs/, and compiled programs in $${XDG_CACHE_HOME:-$$HOME/.cache}/metajax"

extras: # installs them even where the rest is there

$(VENV)/bin/python:
	@for candidate in $(CANDIDATES); do \
	  if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' \
	      >/dev/null 2>&1; then found="$$candidate"; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  echo "error: metajax needs Python 3.11, 3.12 or 3.13, and none of these is one:" \
	    "$(strip $(CANDIDATES))." >&2; \
	  echo "Install one, or name it: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; \
	  exit 1; \
	fi; \
	echo "creating $(VENV) with $$("$$found" --version) ($$found)"; \
	"$$found" -m venv $(VENV) || { \
	  rm -rf $(VENV); \
	  echo "error: $$found cannot create virtual environments; on Debian and Ubuntu" \
	    "install python3-venv." >&2; \
	  exit 1; \
	}

# The stamps are newer than what they were made from, so that a second make does nothing.
$(VENV)/.installed: pyproject.toml constraints.txt $(if $(EXTRAS),extras) | $(VENV)/bin/python
	@echo "installing metajax into $(VENV); the first time this takes some minutes"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.$(if $(EXTRAS),[$(EXTRAS)])'
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing metajax and its tools into $(VENV); the first time this takes some minutes"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "installing metajax and its tools for documentation into $(VENV)"
	@$(PIP) install --quiet --constraint constraints.txt --editable '.[docs]'
	@touch $@ $(VENV)/.installed
