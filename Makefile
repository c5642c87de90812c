# What one does with newfound, a word each. All of it happens in .venv; nothing else on the machine changes,
# except that `make test` as root installs Debian's Chromium where there is no browser.

.DEFAULT_GOAL := help
.PHONY: help run set-up test check format pin clean

# The first of these that is new enough; name another with `make PYTHON=/path/to/python3`.
PYTHON ?= $(shell for python in python3.11 python3 python3.12 python3.13 python3.14; do \
	$$python -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 \
	&& echo $$python && break; done || true)
BIN := .venv/bin

help: ## list what there is to make
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|' 2>/dev/null \
		|| sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1  \2/p' $(MAKEFILE_LIST)

run: ## set up, start everything with the demo project, print address and login; Ctrl-C stops it
	@$(or $(PYTHON),$(error $(NO_PYTHON))) scripts/set_up.py demo
	@$(BIN)/python -P -m server.cli up --demo

set-up: ## make .venv with everything for development, or bring it up to date
	@$(or $(PYTHON),$(error $(NO_PYTHON))) scripts/set_up.py demo dev

test: set-up ## run all tests; some of them: make test ARGS="tests/model -k memory"
	@$(BIN)/python tests/browser.py
	@$(BIN)/python -m pytest $(ARGS)

check: set-up ## format, lint, types, import rules, then all tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(MAKE) --no-print-directory test

format: set-up ## put the code into its one form
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

pin: set-up ## write the versions that are installed now into constraints.txt
	@{ sed -n '/^#/p' constraints.txt; $(BIN)/python -m pip freeze --exclude-editable | sed 's/+[a-z0-9.]*$$//'; } \
		> constraints.new && mv constraints.new constraints.txt

clean: ## remove .venv and caches; keeps .newfound, the data
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

NO_PYTHON := No Python 3.11 or newer with its venv package found. Name one: make PYTHON=/path/to/python3
