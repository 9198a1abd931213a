# Every command of the house; `make help` lists them. Nothing here is needed by an installed bgpbridge.
#
# Root is needed by what makes network namespaces and loads BPF. Where one is not root the root parts are
# run through sudo; where there is no sudo they are run as they are and say what they miss.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

VENV := .venv
PYTHON := $(VENV)/bin/python
# Files that root's Python would leave in the tree of somebody else are not written.
ROOT := $(if $(filter 0,$(shell id -u)),,$(if $(shell command -v sudo),sudo PYTHONDONTWRITEBYTECODE=1))
BPF_FILES := $(wildcard bpf/*.c bpf/*.h bpf/bench/*.c bpf/bench/*.h)
PYTEST := $(PYTHON) -m pytest
PARALLEL := -n auto --dist loadfile
# In the order of the files: the short ones are last.
BESIDE := -n 2 --dist loadfile --no-loadscope-reorder

.PHONY: help install dev demo test unit deep lint format bench bench-table bench-datapath soak clean distclean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: ## what is missing to run bgpbridge and its lab: Debian packages, virtual environment, package
	@.ci/install lab
	@echo " ready: $(VENV)/bin/bgpbridge --help"

dev:
	@.ci/install dev

demo: ## a real FRR and a real BIRD teach bgpbridge routes; an uplink is lost, then slow; a pin; under a minute
	@.ci/install lab
	@$(ROOT) $(PYTHON) -m bgpbridge.lab.demo

# Without root on all cores, a file on one. What needs root (labs, packets) two files at once, for it waits for routers
# and their timers more than it computes; then, one after another, what is marked `alone` (pyproject.toml says what
# earns that). The first part leaves compiled Python in the tree, its owner's: the daemons that the others start by the
# hundred need it.
test: export PYTHONDONTWRITEBYTECODE :=
test: dev ## everything: unit, vectors, property, packet tables, labs; under 15 minutes
	@$(PYTEST) -m 'not root' $(PARALLEL)
	@failed=0; \
	$(ROOT) $(PYTEST) -m 'root and not alone' $(BESIDE) -p no:cacheprovider || failed=1; \
	$(ROOT) $(PYTEST) -m 'root and alone' -p no:cacheprovider || failed=1; \
	exit $$failed

unit: dev ## the quick part of the tests, without root; under a minute
	@$(PYTEST) tests/unit -m 'not root' $(PARALLEL)

deep: dev ## the property tests with fifty times as many examples, an hour; TESTS= some of them
	@$(PYTEST) $(or $(TESTS),tests/property) --hypothesis-profile=deep --timeout 0 $(PARALLEL)

lint: dev ## ruff, mypy, clang-format, shell syntax
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy
	@$(if $(BPF_FILES),$(VENV)/bin/clang-format --dry-run -Werror $(BPF_FILES))
	@bash -n .ci/install && bash -n .ci/run

format: dev ## put every file in the house's form
	@$(VENV)/bin/ruff format .
	@$(VENV)/bin/ruff check --fix --exit-zero .
	@$(if $(BPF_FILES),$(VENV)/bin/clang-format -i $(BPF_FILES))

bench: dev ## benchmarks beside FRR and BIRD, measured on this machine
	@$(ROOT) $(PYTHON) -m bgpbridge.bench

bench-table: dev ## whole tables beside BIRD, FRR, GoBGP and ExaBGP; under 40 minutes, QUICK=1 for 3
	@$(ROOT) $(PYTHON) -m bgpbridge.bench table $(if $(QUICK),--quick)

bench-datapath: dev ## lookups and forwarding with whole tables beside the kernel's; under 15 minutes
	@$(ROOT) $(PYTHON) -m bgpbridge.bench datapath --runs 5

soak: dev ## what 35 real peers sent, looped at 50 times its pace; MINUTES=10, memory flat, audit clean
	@$(ROOT) $(PYTHON) -m bgpbridge.bench soak --minutes $(or $(MINUTES),10)

clean: ## what tools have left: build/, caches
	@rm -rf build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -not -path './$(VENV)/*' -type d -prune -exec rm -rf {} +

distclean: clean ## the same and the virtual environment
	@rm -rf $(VENV)
