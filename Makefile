# Everything a checkout can do. `make` alone lists it.
#   PYTHON=/path/to/python3.12   the interpreter that a new environment is made with
#   VENV=.venv                   where that environment lies

VENV ?= .venv
export PYTHON

bin := $(VENV)/bin
python := $(bin)/python

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help demo test check test-all bench mutants clean

help: ## list what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.has-cli ## run the demonstration: three fake providers, an outage, and no call lost
	$(bin)/failsafe demo

test: $(VENV)/.has-test ## run the tests with branch coverage
	@$(python) tools/qt_libraries.py
	$(python) -m pytest --cov --cov-report=term:skip-covered

check: $(VENV)/.has-dev ## run every static check: format, lint, types, layers, docstrings, links, wheel
	$(bin)/ruff format --check .
	$(bin)/ruff check .
	$(bin)/mypy
	PYTHONPATH=.:gui $(bin)/lint-imports --no-logo
	$(bin)/interrogate failsafe gui/failsafe_gui
	$(python) tools/check_links.py
	rm -rf build
	@mkdir -p build
	$(python) -m build --no-isolation --outdir build/dist . >build/build.log 2>&1 || { cat build/build.log; exit 1; }
	$(bin)/check-wheel-contents build/dist
	$(python) -m pip check

test-all: ## run the tests on every Python from 3.11 up that is on this machine
	tools/every_python.sh

bench: $(VENV)/.has-bench ## run every benchmark and compare its figures with the goals
	$(python) tools/bench.py

mutants: $(VENV)/.has-test ## break the policies on purpose, in copies, and see that a test notices every change
	@PYTHONPATH=. $(python) -m tools.mutants $(only)

clean: ## remove what was built: environments, caches, reports
	rm -rf .venv .venvs build dist .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	rm -rf *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The extras lie inside each other (cli, test, dev); each leaves a mark when it is installed.
$(VENV)/.has-%: pyproject.toml setup.cfg
	@tools/environment.sh $(VENV) $*
