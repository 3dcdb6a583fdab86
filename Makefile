# make demo    trains SqueezeNet on real handwritten digits and writes a report
# make test    lint, types and tests, as CI runs them
# Everything happens in .venv, which `make venv` creates.

PY := .venv/bin/python
PIP := $(PY) -m pip install --quiet --disable-pip-version-check
SITE := build/site
# what a Python must pass: 3.11 to 3.13, able to make a virtual environment
FITS := import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
# `make venv PYTHON=…` chooses another than the first that fits
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c '$(FITS)' 2>/dev/null && echo $$p && break; done)
# tensorflow-addons needs an older one
ORACLE_PYTHON ?= $(shell for p in python3.11 python3.10 python3.9 python3; do \
	$$p -c 'import sys, venv, ensurepip; sys.exit(not (3, 9) <= sys.version_info[:2] <= (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
# for the tests on PyTorch; on Linux, naming its CPU-only build here saves 3 GB of CUDA
TORCH ?= torch
# oneDNN and TensorFlow greet on stderr otherwise
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: venv demo test test-all lint types wheel torch oracle verify verify-demo pictures mutants clean

venv: .venv/ready

.venv/ready: requirements.txt setup.cfg
	@"$(PYTHON)" -c '$(FITS)' 2>/dev/null || { echo "convcraft needs Python 3.11, 3.12 or 3.13 with the module venv (on Debian and Ubuntu: apt install python3-venv); $(if $(PYTHON),$(PYTHON) is not that,none was found). Name one with: make venv PYTHON=/path/to/python" >&2; exit 1; }
	@echo "Installing convcraft and what it needs into .venv: about 3 GB, some minutes the first time."
	@$(PY) -m pip --version >/dev/null 2>&1 || "$(PYTHON)" -m venv --clear .venv
	@$(PIP) --upgrade "pip>=24" "setuptools>=77" wheel
	@$(PIP) --editable ".[dev]"
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
	@$(PIP) --no-deps --target $(SITE) build/wheel/*.whl

PYTEST = cd build/elsewhere && PYTHONPATH="$(CURDIR)/$(SITE)" CONVCRAFT_SITE="$(CURDIR)/$(SITE)" \
	"$(CURDIR)/$(PY)" -m pytest -c "$(CURDIR)/setup.cfg" --rootdir "$(CURDIR)"

# one process a core, a file at a time; conftest.py puts the longest files first
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder

test: lint types wheel
	@$(PYTEST) "$(CURDIR)/tests" $(PARALLEL) --durations=25 $(ARGS)

# every marker that this machine can run; a test that it cannot run is skipped, and says why. In parts: TensorFlow keeps
# some 10 MB of each model that it has trained, and thousands of tests in one process ask for more than 20 GB. A part
# without tests, for ARGS may choose some, ends with 5
test-all: lint types wheel torch
	@test -z "$(ORACLE_PYTHON)" || $(MAKE) --no-print-directory .venv-oracle/ready \
		|| echo "tensorflow-addons cannot be installed here: its tests are skipped."
	@failed=; for part in 1 2 3 4 5 6; do \
		($(PYTEST) "$(CURDIR)/tests" -m "" --part $$part/6 $(PARALLEL) $(ARGS)) || [ $$? = 5 ] || failed="$$failed $$part"; \
	done; test -z "$$failed" || { echo "Failed: of six parts$$failed." >&2; exit 1; }

torch: venv
	@$(PY) -c 'import torch' 2>/dev/null || $(PIP) $(TORCH) \
		|| echo "PyTorch cannot be installed here: its tests are skipped."

# our Maxout and RReLU against tensorflow-addons, live
oracle: .venv-oracle/ready wheel
	@.venv-oracle/bin/python tests/oracle/live.py
	@$(PYTEST) "$(CURDIR)/tests/test_oracle.py" -m oracle $(ARGS)

.venv-oracle/ready: requirements-oracle.txt
	@test -n "$(ORACLE_PYTHON)" || { echo "tensorflow-addons needs Python 3.9, 3.10 or 3.11 with the module venv; none was found. Name one with: make oracle ORACLE_PYTHON=/path/to/python" >&2; exit 1; }
	@.venv-oracle/bin/python -m pip --version >/dev/null 2>&1 || "$(ORACLE_PYTHON)" -m venv --clear .venv-oracle
	@.venv-oracle/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-oracle.txt
	@touch $@

# the pictures of docs/layers.md and docs/zoo.md
pictures: venv
	@$(PY) docs/pictures.py

# formulas changed on purpose: a test must fail for each
mutants: venv
	@$(PY) tests/tools/mutants.py

# the accuracy that the card of each shipped file of weights states; needs its data in $$CONVCRAFT_DATA
verify: venv
	@.venv/bin/convcraft verify

# the accuracy and the time that README and the recipe state
verify-demo: venv
	@for seed in 0 1 2; do .venv/bin/convcraft train squeezenet_digits --seed $$seed --output build/demo-$$seed || exit 1; done
	@$(PY) tests/tools/summary.py build/demo-0 build/demo-1 build/demo-2

clean:
	rm -rf build dist *.egg-info .venv .venv-oracle
