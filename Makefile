# make demo    trains SqueezeNet on real handwritten digits and writes a report
# make test    lint, types and tests, as CI runs them
# Everything happens in .venv, which `make venv` creates.

PY := .venv/bin/python
SITE := build/site
# The first Python from 3.11 to 3.13 that can make a virtual environment; `make venv PYTHON=…` chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null \
	&& echo $$p && break; done)
# oneDNN and TensorFlow greet on stderr otherwise
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: venv demo test test-all lint types wheel oracle verify-demo clean

venv: .venv/ready

.venv/ready: requirements.txt setup.cfg
	@test -n "$(PYTHON)" || { echo "convcraft needs Python 3.11, 3.12 or 3.13 with the module venv (on Debian and Ubuntu: apt install python3-venv); none was found. Name one with: make venv PYTHON=/path/to/python"; exit 1; }
	@echo "Installing convcraft and what it needs into .venv: about 1.5 GB, some minutes the first time."
	@test -x $(PY) || "$(PYTHON)" -m venv .venv
	@$(PY) -m pip install --quiet --disable-pip-version-check --upgrade "pip>=24" "setuptools>=77" wheel
	@$(PY) -m pip install --quiet --disable-pip-version-check --editable ".[dev]"
	@touch $@

demo: venv
	@.venv/bin/convcraft train squeezenet_digits

lint: venv
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .

types: venv
	@$(PY) -m mypy

# The tests look at an installed wheel, from another folder: the checkout must not stand in for it.
wheel: venv
	@rm -rf $(SITE) build/lib build/wheel && mkdir -p build/elsewhere
	@$(PY) -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir build/wheel .
	@$(PY) -m pip install --quiet --disable-pip-version-check --no-deps --target $(SITE) build/wheel/*.whl

PYTEST = cd build/elsewhere && PYTHONPATH=$(CURDIR)/$(SITE) CONVCRAFT_SITE=$(CURDIR)/$(SITE) \
	$(CURDIR)/$(PY) -m pytest -c $(CURDIR)/setup.cfg --rootdir $(CURDIR) $(CURDIR)/tests

test: lint types wheel
	@$(PYTEST) $(ARGS)

# every marker that this machine can run
test-all: lint types wheel
	@$(PYTEST) -m "" $(ARGS)

oracle:
	@test -x .venv-oracle/bin/python || "$(PYTHON)" -m venv .venv-oracle
	@.venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-oracle.txt
	@.venv-oracle/bin/python tests/oracle/live.py

# the accuracy and the time that README and the recipe state
verify-demo: venv
	@for seed in 0 1 2; do .venv/bin/convcraft train squeezenet_digits --seed $$seed --output build/demo-$$seed || exit 1; done
	@$(PY) tests/tools/summary.py build/demo-0 build/demo-1 build/demo-2

clean:
	rm -rf build dist *.egg-info .venv .venv-oracle
