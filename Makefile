# Needs Python 3.11 to 3.13, git and make; everything else goes into .venv.

PYTHON ?= python3
VARIANT ?= cpu
VENV := .venv
PEERS := .venv-peers
AUDIT := .venv-audit
SBOM := dist/dlperf-image-$(VARIANT).cdx.json
PORT ?= 5000
BASE_IMAGE ?= python:3.11-slim
FAULTS ?=
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TWO := -n 2 --dist loadfile --no-loadscope-reorder

.DEFAULT_GOAL := help
.PHONY: help setup demo quick test faults lint format mlproject results image benchmarks peers audit ui clean

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1@\2/p' $(MAKEFILE_LIST) | awk -F@ '{ printf "%-18s %s\n", $$1, $$2 }'

setup: $(STAMP)  ## build .venv with the pinned versions (does nothing when it is up to date)

# The pins of conda.yaml serve as pip constraints, so that .venv and the environment of `mlflow run` agree. The stamp
# comes last: an interrupted build is taken up again.
$(STAMP): pyproject.toml conda.yaml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11, or name it: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' || \
		{ echo "$(PYTHON) is $$($(PYTHON) -V 2>&1), dlperf needs Python 3.11 to 3.13: make $(MAKECMDGOALS) PYTHON=python3.11" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@sed -n 's/^ *- *\([A-Za-z0-9._-]*==[^ #]*\).*/\1/p' conda.yaml > $(VENV)/constraints.txt
	@for attempt in 1 2 3; do \
		$(BIN)/python -m pip install --disable-pip-version-check --retries 10 --timeout 60 \
			--constraint $(VENV)/constraints.txt --editable '.[dev]' && exit 0; \
		echo "installing failed (attempt $$attempt of 3)" >&2; sleep $$((attempt * 5)); \
	done; exit 1
	@touch $@

demo: setup  ## run all five problems, reduced to minutes on embedded data, under MLflow, and open the page of what they found
	PATH="$$(cd $(BIN) && pwd):$$PATH" $(BIN)/mlflow run . --env-manager local --experiment-name dlperf/demo -P open=true

quick: setup  ## run the tests that end in a moment, in two processes
	$(BIN)/python -m pytest $(TWO) -m "not slow and not container"

test: setup  ## run the tests, in two processes
	$(BIN)/python -m pytest $(TWO)

faults: setup  ## kill, cut off and resume at length (an hour and a half), and write results/faults (FAULTS="-k outage" for a part)
	$(BIN)/python -m pytest tests/faults tests/test_odd_parameters.py --kills 25 --outages 4 --faults-report results/faults $(FAULTS)
	$(BIN)/python -m benchmarks.write_results

lint: setup  ## check style, docstrings, formatting and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## sort the imports and format the code
	$(BIN)/ruff check --select I --fix .
	$(BIN)/ruff format .

mlproject: setup  ## render the MLproject files from the parameter declarations
	$(BIN)/python -m dlperf.mlproject

results: setup  ## write what README, docs and results show of stored trials, from the archive that comes with dlperf
	$(BIN)/python -m benchmarks.write_results

image: setup $(AUDIT)/.installed  ## build the image dlperf, labelled with the commit (VARIANT=gpu for CUDA), and its SBOM
	docker build --tag dlperf --build-arg VARIANT=$(VARIANT) --build-arg BASE_IMAGE=$(BASE_IMAGE) --build-arg \
		GIT_COMMIT=$$($(BIN)/python -c 'from dlperf.environment import git_commit; print(git_commit() or "unknown")') .
	@mkdir -p dist
	docker run --rm --network none --entrypoint python dlperf -m pip list --format freeze --disable-pip-version-check > $(SBOM).packages
	$(AUDIT)/bin/python -W ignore -m cyclonedx_py requirements --pyproject pyproject.toml --output-reproducible \
		--output-file $(SBOM) $(SBOM).packages
	@rm $(SBOM).packages; echo "the image's Python packages: $(SBOM)"

benchmarks: setup  ## measure against the notebook's way (35 minutes on 2 cores; leave the machine alone)
	@status=0; for name in cutout overhead; do $(BIN)/python -m benchmarks.$$name || status=1; done; exit $$status

peers: $(PEERS)/.installed  ## build .venv-peers, with the CPU builds of PyTorch and JAX that benchmarks/peers.py measures

$(PEERS)/.installed:
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --disable-pip-version-check torch==2.13.0 jax==0.10.2 numpy
	@touch $@

audit: setup $(AUDIT)/.installed  ## ask pip-audit's service about the installed versions (decides nothing in .ci/run)
	@$(BIN)/python -m pip freeze --exclude-editable | $(AUDIT)/bin/python .ci/audit.py

$(AUDIT)/.installed:
	$(PYTHON) -m venv $(AUDIT)
	$(AUDIT)/bin/python -m pip install --disable-pip-version-check pip-audit==2.10.1 cyclonedx-bom==7.5.0
	@touch $@

ui: setup  ## open MLflow's user interface on 127.0.0.1 (PORT=5000)
	$(BIN)/mlflow ui --host 127.0.0.1 --port $(PORT)

clean:  ## remove .venv, builds and caches (never runs or data)
	rm -rf $(VENV) $(PEERS) $(AUDIT) build dist *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
