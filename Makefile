# What there is to do with a checkout. All that Python needs is put into .venv, in the versions of constraints.txt.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:

PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/installed
COMPILED := $(VENV)/compiled
SOURCES := twisted_kong twisted/plugins etc benchmarks tests \
  $(wildcard plugins/*.py) plugins/wheel-example/src plugins/wheel-example/tests

.PHONY: help run test lint bench soak fuzz wheelhouse lock clean

help:
	@echo 'make run     a gateway with three demo origins on 127.0.0.1:8000, its Admin API on 127.0.0.1:8001'
	@echo 'make test    lint, then every test'
	@echo 'make lint    style, types, and which module may import which'
	@echo 'make bench   the gateway beside nginx and HAProxy, and at scale; BENCH="--quick" passes options on'
	@echo 'make soak    half an hour of mixed traffic, changes and failures; SOAK="--seconds 60" passes options on'
	@echo 'make fuzz    what comes from the network, against its properties; TARGET=dns_replies RUNS=1000000 choose'
	@echo 'make wheelhouse  the gateway and all it needs, as wheels, for an image: see Dockerfile'
	@echo 'make lock    the newest version of everything, into constraints.txt'
	@echo 'make clean   remove what the others made, the demo'\''s database included'

run: $(COMPILED)
	@exec $(BIN)/python etc/demo.py

# Real servers are among the tests. Only a Debian's root can install them; without them tests say what is missing.
# What is done in C is tested in Python as well, at the end.
test: lint
	@if ((!EUID)) && command -v apt-get > /dev/null; then etc/apt-install knotd=knot nginx=nginx-light haproxy; fi
	$(BIN)/python -m pytest $(TEST)
	$(if $(TEST),,TWISTED_KONG_PURE=1 $(BIN)/python -m pytest tests/proxy tests/routing)

lint: $(COMPILED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(SOURCES)
	$(BIN)/lint-imports
	@unlocked=$$(comm -23 <($(BIN)/pip freeze --all --exclude-editable | LC_ALL=C sort) <(LC_ALL=C sort constraints.txt)); \
	if [ -n "$$unlocked" ]; then echo "constraints.txt lacks:" $$unlocked >&2; exit 1; fi

# nginx and HAProxy are what we compare with, wrk is what asks. Debian keeps the first two out of people's PATH.
bench: $(COMPILED)
	@etc/apt-install nginx=nginx-light haproxy wrk h2load=nghttp2-client
	$(BIN)/python -m benchmarks.picks
	$(BIN)/python -m benchmarks $(BENCH)
	$(BIN)/python -m benchmarks.ways

# What `make test` does for two minutes.
SOAK ?= --seconds 1800
soak: $(COMPILED)
	$(BIN)/python -m benchmarks.soak $(SOAK)

# Guided by coverage and bounded by the number of runs; what is found interesting is kept below .run/fuzzing.
RUNS ?= 20000
TARGET ?= $(notdir $(wildcard tests/fuzzing/corpus/*))
FUZZER := .run/fuzzing/atheris
fuzz: $(COMPILED) $(FUZZER)
	@for target in $(TARGET); do \
	  echo "$$target: $(RUNS) runs"; \
	  PYTHONPATH=$(FUZZER) $(BIN)/python tests/fuzzing/run.py $$target $(RUNS) -verbosity=0 -print_final_stats=1; \
	done

$(FUZZER): tests/fuzzing/requirements.txt
	@rm -rf $@
	@$(BIN)/pip install --quiet --disable-pip-version-check --target $@ -r $<
	@touch $@

# Made anew as a whole: then it holds what these three files say, and nothing of what they said before.
$(INSTALLED): pyproject.toml setup.py constraints.txt
	@$(new_venv)
	@$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt pip setuptools
	@$(BIN)/pip install --quiet -c constraints.txt --no-build-isolation -e '.[dev]'
	@touch $@

# For the Python of the image, on a machine like this one; our own wheel is for any, without C.
wheelhouse: IMAGE_PYTHON ?= 3.13
wheelhouse: $(INSTALLED)
	@rm -rf wheelhouse build
	TWISTED_KONG_PURE=1 $(BIN)/python -m build --no-isolation --wheel --outdir wheelhouse
	$(BIN)/pip download --quiet --dest wheelhouse -c constraints.txt --only-binary=:all: \
	  --python-version $(IMAGE_PYTHON) wheelhouse/*.whl
	@rm -rf build

# Without a compiler there is a warning, and no C.
$(COMPILED): $(INSTALLED) twisted_kong/proxy/_accelerator.c
	@$(BIN)/python setup.py --quiet build_ext --inplace
	@touch $@

lock:
	@$(new_venv)
	$(BIN)/pip install --quiet --disable-pip-version-check --upgrade pip setuptools
	$(BIN)/pip install --quiet --no-build-isolation -e '.[dev]'
	$(BIN)/pip freeze --all --exclude-editable > constraints.txt
	@touch $(INSTALLED)

# The first of $(PYTHON) that is new enough and can make one.
define new_venv
	for python in $(PYTHON); do \
	  if "$$python" -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then break; fi; \
	  python=; \
	done; \
	if [ -z "$$python" ]; then \
	  echo 'Python 3.11 or newer with its venv module is needed; looked for: $(PYTHON).' >&2; \
	  echo 'On Debian: apt-get install python3-venv. Another one: make PYTHON=/path/to/python' >&2; \
	  exit 1; \
	fi; \
	echo "Installing into $(VENV) with $$("$$python" --version)"; \
	rm -rf $(VENV); \
	"$$python" -m venv $(VENV)
endef

clean:
	rm -rf $(VENV) .run build dist wheelhouse *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find twisted_kong -name '*.so' -delete
	find . -name __pycache__ -prune -exec rm -rf {} +
	rm -f twisted/plugins/dropin.cache
