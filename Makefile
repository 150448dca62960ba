# Every target makes the environment it needs: Python 3.11 or newer, make and a package registry suffice.

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet

# The first Python on this machine that is new enough. The constraints were tested with 3.11.
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
	$$name -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$name && break; done)

# The one place of these two; the core is what the same node runs under both drivers, and its bytes.
COVERAGE_ALL := 90
COVERAGE_CORE := 100
CORE := p2pfl/messages/*,p2pfl/protocol/*,p2pfl/algorithms/*,p2pfl/codec/*

# Two processes, and each file's tests in one of them: what a file sets up (a broker) is set up once,
# and no more than two brokers compete for the time that tests of waiting depend on.
PYTEST := $(BIN)/python -m pytest -n 2 --dist loadfile
FAST := tests/unit tests/properties tests/simulation tests/test_architecture.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.NOTPARALLEL:
.PHONY: help setup demo test test-all test-flower test-brokers check format format-check lint types contracts bench bench-docs soak coverage clean system

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(VENV)/.dev ## make the environment .venv with all that tests need

demo: $(VENV)/.run ## eight processes learn the digits over an embedded broker, next to FedAvg
	$(BIN)/p2pfl compare --real examples/digits.toml

test: setup ## run every test that needs nothing beyond pip, real brokers included
	$(PYTEST) -m "not mosquitto and not systemd and not hosts and not browser"

test-all: setup system ## run every test; installs mosquitto, systemd, iproute2, sshd and chromium with apt-get where missing
	$(PYTEST)

test-flower: ## run the adapter of Flower's clients with the real Flower, in an environment of its own
	$(PYTHON) -m venv build/flower
	grep -v '^rich==' constraints.txt > build/flower/constraints.txt # Flower wants an older one
	build/flower/bin/python -m pip --disable-pip-version-check --quiet install \
		-c build/flower/constraints.txt -e ".[nats]" flwr==1.41.0
	build/flower/bin/python tests/benchmarks/with_flower.py

test-brokers: setup system ## run over RabbitMQ, ejabberd, aedes, rumqttd and a cluster of NATS; installs them (apt-get, npm, pip)
	@PATH="$$PATH:/usr/sbin"; missing=""; \
	command -v rabbitmq-server >/dev/null || missing="$$missing rabbitmq-server"; \
	command -v ejabberdctl >/dev/null || missing="$$missing ejabberd"; \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	test -z "$$missing" || { $(SUDO) apt-get update -qq && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } >/dev/null || \
		{ echo "make test-brokers: apt-get could not install$$missing" >&2; exit 2; }
	npm install --silent --no-audit --no-fund --prefix build/brokers aedes@1.2.0
	$(PYTHON) -m venv build/brokers/venv
	build/brokers/venv/bin/python -m pip --disable-pip-version-check --quiet install iotcore==0.4.0
	$(BIN)/python -m pytest --other-brokers --verbose tests/brokers

check: format-check lint types contracts ## what a commit must pass: format, lint, types, contracts, fast tests
	$(PYTEST) -m "not broker and not mosquitto and not systemd and not hosts and not browser" $(FAST)

format: setup ## format all code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix-only .

format-check: setup ## is all code formatted?
	$(BIN)/ruff format --check .

lint: setup ## ruff, all rules but those that pyproject.toml gives a reason against
	$(BIN)/ruff check .

types: setup ## mypy, strict, package and tests
	$(BIN)/mypy p2pfl tests $(wildcard examples/*.py)

contracts: setup ## who may import whom
	$(BIN)/lint-imports --no-logo

coverage: setup ## tests with coverage, and the floors that it must not fall below (core and all)
	$(BIN)/coverage erase
	$(PYTEST) -m "not mosquitto and not systemd and not hosts and not browser" --cov --cov-report=
	$(BIN)/coverage report --fail-under=$(COVERAGE_ALL) --skip-covered
	$(BIN)/coverage report --fail-under=$(COVERAGE_CORE) --show-missing --include='$(CORE)'

bench: setup ## run all benchmarks, other simulators too; tables go to build/benchmarks (BENCH=--quick)
	@set -e; for file in tests/benchmarks/bench_*.py; do echo "== $$file"; $(BIN)/python $$file $(BENCH); done

bench-docs: setup ## put the newest benchmarks' tables into the documents
	$(BIN)/python tests/benchmarks/results.py docs/benchmarks.md README.md

soak: setup ## kill every node and the broker at random, again and again, in one run (SOAK_KILLS=50)
	$(BIN)/python tests/benchmarks/soak.py --kills $(or $(SOAK_KILLS),50)

clean: ## remove the environment and everything that tools left here
	rm -rf $(VENV) .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- files that remember what is done: made anew when a dependency changes

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "p2pfl needs Python 3.11 or newer; none was found (make PYTHON=/path/to/python3)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e ".[nats]"
	@touch $@

$(VENV)/.dev: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) install -c constraints.txt -e ".[dev]"
	@touch $(VENV)/.run $@

# Debian's own packages; as root or with a sudo that does not ask.
SUDO := $(shell test "$$(id -u)" = 0 || echo sudo -n)
system:
	@PATH="$$PATH:/usr/sbin:/sbin"; missing=""; \
	command -v mosquitto >/dev/null || missing="$$missing mosquitto"; \
	command -v systemd-analyze >/dev/null || missing="$$missing systemd"; \
	command -v ip >/dev/null || missing="$$missing iproute2"; \
	command -v sshd >/dev/null || missing="$$missing openssh-server"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	test -z "$$missing" || { $(SUDO) apt-get update -qq && \
		$(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; } >/dev/null 2>&1 \
	|| { echo "make test-all needs$$missing, and apt-get could not install it; install it, or use make test" >&2; exit 2; }
