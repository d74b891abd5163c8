# Two commands: `make up` and `make test`. The rest serves them.
SHELL := /bin/bash
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
# Hundreds of Python processes start here; each would compile its modules anew where the caller's
# environment forbids to keep that. Beside the sources, so that nothing lies between them.
export PYTHONPYCACHEPREFIX := $(CURDIR)/.sandbox/pycache
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help up down test lint status bootstrap lock

help: ## This list
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: bootstrap ## Two backends on staging hosts, backed up and restored to a chosen second
	@$(PYTHON) -m sandbox.up

down: ## End all that `make up` started; built tools and images stay in the cache
	@if [ -x $(PYTHON) ]; then $(PYTHON) -m sandbox.down; else echo "nothing is up: .venv does not exist"; fi

status: ## Which staging hosts run
	@sandbox/hosts status

test: export STEWARD_SANDBOX = test
test: bootstrap ## Every test and linter, beside a running `make up` or without one
	@$(PYTHON) -m sandbox.run_tests

lint: bootstrap ## ruff, mypy, ansible-lint, yamllint, shellcheck
	@sandbox/lint

bootstrap:
	@sandbox/bootstrap

lock: ## Lock the Python requirements anew, with hashes and without addresses
	@for name in controller steward steward-gcs go uv; do \
	  .venv/bin/uv pip compile --quiet --generate-hashes --no-emit-index-url --no-emit-find-links \
	    --python-version 3.11 requirements/$$name.in -o requirements/$$name.lock; done
