# Everything runs from .venv, which is made here from pyproject.toml and nothing else.
# Needed beforehand: make, and Python 3.11 or later. Another Python: make PYTHON=python3.13 test

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed-from-pyproject
BENCH_STAMP := $(VENV)/.installed-for-bench

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test check bench soak clean

help:
	@echo 'make demo    a whole gateway, client and service on this machine, with made-up keys'
	@echo 'make test    everything that must hold: ruff, mypy, and every test (ARGS="-k name" picks some)'
	@echo 'make check   the same without the tests that drive nginx, curl and other real programs'
	@echo 'make bench   figures beside HAProxy and others on this machine (ARGS="--help" says what can be asked)'
	@echo 'make soak    ten minutes of visitors while connections are cut on both sides (ARGS="--seconds 60")'
	@echo 'make clean   remove .venv and what the tools left behind'

demo: $(STAMP)
	$(BIN)/tidegate demo

test: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pytest --numprocesses auto --dist worksteal $(ARGS)

check: override ARGS += -m 'not real_software'
check: test

bench: $(BENCH_STAMP)
	@$(BIN)/python -m tests.bench $(ARGS)

soak: $(STAMP)
	@$(BIN)/python -m tests.soak $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis tests/interop/interop
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# An environment whose Python has gone or changed its version is made anew; a sound one is only brought up to date.
# The stamp comes last, so an interrupted installation is taken up again by the next make.
$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { \
	  echo '$(PYTHON) was not found: install Python 3.11 or later, or name one with make PYTHON=/path/to/python3' >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), and Tidegate needs 3.11 or later: make PYTHON=python3.13 names another one" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo '$(PYTHON) cannot make a virtual environment: install its venv module (Debian, Ubuntu: apt install python3-venv)' >&2; exit 1; }
	@version='import sys; print(sys.version_info[:2])'; \
	if [ "$$($(BIN)/python -c "$$version" 2>/dev/null)" = "$$($(PYTHON) -c "$$version")" ]; then :; \
	else echo 'making $(VENV)'; $(PYTHON) -m venv --clear $(VENV); fi
	@echo 'installing Tidegate and its tools into $(VENV)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# What draws the benchmark's chart, and nothing that the tests need.
$(BENCH_STAMP): $(STAMP)
	@echo 'installing what the benchmark needs into $(VENV)'
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@touch $@
