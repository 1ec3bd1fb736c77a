# Everything runs in .venv, which the first target that needs it creates and which is renewed when pyproject.toml changes.
# PYTHON names the interpreter to make it from: the first of these that is 3.11 or newer and has the venv module.
PYTHON ?= $(shell for python in python3 python3.11 python3.12 python3.13; do \
	if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo "$$python"; break; fi; done)
VENV ?= .venv
BIN := $(VENV)/bin
# A new pip, and compiling on all processors, take a third of the time.
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt
COMPILE := $(BIN)/python -m compileall -q -j 0 $(VENV)/lib >/dev/null || true
# Extra arguments for the command behind a target: make demo ARGS=--keep, make test ARGS="-k settings",
# make soak ARGS="--minutes 10".
ARGS ?=
# What one test compares verdicts with: tools and answers (its dependencies are not needed), and another validator.
BFCL := bfcl-eval==2026.3.23
ORACLE := @cfworker/json-schema@4.1.6
# Finds barriers on the page for people with disabilities; a test puts it into the browser.
AXE := axe-core@4
# Test processes. Each file stays in one of them, because its tests share proxies.
JOBS ?= 2
# Makes a site of docs/, in a virtual environment of its own.
MKDOCS := mkdocs-material==9.8.2
# The oldest OpenTelemetry that the plugin supports, and what it needs; they go ahead of those in the environment.
OLD_OTEL := opentelemetry-api==1.33.1 opentelemetry-sdk==1.33.1 opentelemetry-semantic-conventions==0.54b1 \
	opentelemetry-exporter-prometheus==0.54b1 opentelemetry-proto==1.33.1 opentelemetry-exporter-otlp-proto-common==1.33.1 \
	opentelemetry-exporter-otlp-proto-http==1.33.1 "protobuf<6" "importlib-metadata<8.7" googleapis-common-protos \
	deprecated wrapt zipp requests

export LITELLM_LOCAL_MODEL_COST_MAP ?= True

.PHONY: help venv demo test lint format bench airline harness soak compat otel clients docs dist clean
.DEFAULT_GOAL := help

help: ## Show the targets.
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer with its venv module is needed (Debian: python3-venv);" \
		"name it with make PYTHON=/path/to/python" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "$(PYTHON) is older than Python 3.11 or has no venv module" >&2; exit 1; }
	"$(PYTHON)" -m venv $(VENV)
	$(INSTALL) --upgrade pip

$(VENV)/.with-proxy: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing exacto-plugin and LiteLLM's proxy into $(VENV), once"
	$(INSTALL) --editable '.[proxy]'
	@$(COMPILE)
	@touch $@

$(VENV)/.with-test: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing exacto-plugin with what its tests need into $(VENV), once"
	$(INSTALL) --editable '.[test]'
	$(INSTALL) --no-deps $(BFCL)
	@$(COMPILE)
	@if command -v npm >/dev/null; then \
		npm install --silent --no-audit --no-fund --prefix $(VENV)/oracle $(ORACLE) $(AXE) || \
		echo "npm could not install $(ORACLE) and $(AXE): the tests with them will be skipped"; \
		else echo "npm is not there: the tests with @cfworker/json-schema and axe-core will be skipped"; fi
	@touch $@ $(VENV)/.with-proxy

venv: $(VENV)/.with-test ## Create .venv with everything that development needs.

demo: $(VENV)/.with-proxy ## Run simulated providers and a real LiteLLM proxy; show what the plugin changes.
	$(BIN)/exacto demo $(ARGS)

test: $(VENV)/.with-test ## Run all tests.
	$(BIN)/python -m pytest --numprocesses $(JOBS) --dist loadfile --no-loadscope-reorder $(ARGS)

lint: $(VENV)/.with-test ## Check style, format and types.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.with-test ## Bring the code into the project's format.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.with-test ## Measure the cost of the plugin beside bare LiteLLM.
	$(BIN)/python -m benchmarks $(ARGS)

airline: $(VENV)/.with-test ## Run tau2's airline tasks with OpenBench on simulated providers (ARGS="--environment ENV --data DATA").
	$(BIN)/python -m benchmarks.airline $(ARGS)

# Creates the environment that a benchmark creates on its first use, and prints its program.
INSPECT := from pathlib import Path; from exacto_plugin.bench.running import environments, specifications; \
	print(environments.program_of(specifications.SPECIFICATIONS["parcels"], None, Path("$(VENV)-harness")))

harness: $(VENV)/.with-test ## Run the tests of benchmark runs with Inspect itself.
	EXACTO_REAL_INSPECT="$$($(BIN)/python -c '$(INSPECT)')" $(BIN)/python -m pytest \
		tests/bench/test_run.py tests/bench/test_container.py $(ARGS)

soak: $(VENV)/.with-test ## Fuzz and strain for an hour, then say what broke (ARGS="--minutes 5").
	$(BIN)/python -m tests.soak $(ARGS)

compat: $(VENV)/.with-test ## Try every listed LiteLLM and write docs/compatibility.md (ARGS="--version 1.110.2").
	$(BIN)/python -m tests.compat $(ARGS)

$(VENV)/.with-old-otel: Makefile | $(VENV)/.with-test
	$(INSTALL) --no-deps --upgrade --target $(VENV)/old-otel $(OLD_OTEL)
	@touch $@

otel: $(VENV)/.with-old-otel ## Run the tests of telemetry with the oldest OpenTelemetry.
	PYTHONPATH=$(CURDIR)/$(VENV)/old-otel $(BIN)/python -m pytest tests/telemetry tests/test_telemetry.py \
		tests/sdk/test_spans.py tests/litellm_hooks/monitoring tests/e2e/test_prometheus.py $(ARGS)

clients: $(VENV)/.with-test ## Try real Claude Code and Codex on simulated providers (ARGS="--sessions 1").
	$(BIN)/python -m tests.clients $(ARGS)

$(VENV)-docs/bin/mkdocs: | $(BIN)/python
	$(BIN)/python -m venv $(VENV)-docs
	$(VENV)-docs/bin/python -m pip install --quiet --disable-pip-version-check $(MKDOCS)

docs: $(VENV)-docs/bin/mkdocs ## Make a site of README and docs/ in build/site, and look for dead links.
	NO_MKDOCS_2_WARNING=1 $(VENV)-docs/bin/mkdocs build --strict
	$(VENV)-docs/bin/python -m tests.site build/site

dist: $(VENV)/.with-test ## Build wheel and source distribution in dist/, install them elsewhere and try them.
	$(BIN)/python -m tests.built_packages

clean: ## Remove the virtual environments and caches.
	rm -rf $(VENV) $(VENV)-docs $(VENV)-harness .compat .clients .pytest_cache .mypy_cache .ruff_cache .hypothesis dist build
