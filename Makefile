# SPDX-License-Identifier: MIT
#
# The menu. The build itself is CMakeLists.txt; everything made lies in build/
# and .venv/.
PYTHON ?= python3
PREFIX ?= /usr/local
BUILD := build
SECS ?= 60
VENV := .venv
RUN := $(VENV)/bin/python
CMAKE := cmake -S . -G Ninja
TESTED := -DLTZ_DEV=ON -DLTZ_FAULTS=ON -DLTZ_TESTS=ON

# What the Python package is made of: it is installed again when one changes.
PACKAGE := CMakeLists.txt pyproject.toml $(shell find include src python cmake -type f \
	! -name '*.pyc' 2>/dev/null)

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup build test check asan tsan tidy symbols model weak linear storm crash stop guess limits curve bench count demo install clean \
	build-release build-test build-asan build-tsan build-limits build-python

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(VENV)/.stamp ## packages and a virtual environment for building and testing
$(VENV)/.stamp: scripts/setup.sh requirements-dev.txt
	PYTHON=$(PYTHON) scripts/setup.sh $(VENV)

build: build-release build-python ## the C libraries (build/release) and the Python package (.venv)

test: setup ## everything that a change must pass; ends with `N passed, N failed`
	@$(RUN) scripts/run_tests.py unit proc oom stress limits python tidy symbols

check: setup ## test, instruction counts, and the C tests under the sanitizers
	@$(RUN) scripts/run_tests.py unit proc oom stress limits python tidy symbols count asan tsan

asan: setup ## the C tests with address and undefined behaviour sanitizer
	@$(RUN) scripts/run_tests.py asan

tsan: setup ## the C tests with thread sanitizer
	@$(RUN) scripts/run_tests.py tsan

tidy: ## the style rules that are tests
	@$(PYTHON) tests/tidy/tidy.py

symbols: setup ## what the libraries export
	@$(RUN) scripts/run_tests.py symbols

model: ## the SPIN models of the protocols (about ten minutes)
	@scripts/run_models.sh $(BUILD)/model

weak: ## the protocols' cores under the C11 memory model (needs cargo; about three minutes)
	@cd tests/model/weak && cargo run --release --quiet --locked --offline

linear: build-test ## histories of many processes, judged by Porcupine (needs go); SEED=
	@mkdir -p $(BUILD)/linear
	@cd tests/linear/check && go build -mod=mod -buildvcs=false -o ../../../$(BUILD)/linear/check .
	@$(BUILD)/test/tests/linear $(BUILD)/linear/history $(SEED)
	@$(BUILD)/linear/check $(BUILD)/linear/history
	@rm $(BUILD)/linear/history # kept if it was refused

storm: build-test ## many processes, killed and stopped at random, and what must be there; SECS=60 SEED=
	@$(BUILD)/test/tests/storm -s $(SECS) $(if $(SEED),-r $(SEED))

crash: build-test ## death at every instruction, then rules broken on purpose (about six minutes); SECS= SEED= OPS=insert,join
	@$(BUILD)/test/tests/test_crash kill
	@$(BUILD)/test/tests/crash_canaries canaries

stop: build-test ## a member stopped at every instruction, and everybody else at work (about six minutes); SECS= SEED= OPS=
	@$(BUILD)/test/tests/test_crash stop

guess: build-test ## brute force against a locked pool; SECS=60 for each of three attacks
	@SECS=$(SECS) $(BUILD)/test/tests/test_guessing -v

limits: setup ## 1,024 members, memory that comes and goes, full pools, the killed: measured against their bounds (about ten minutes)
	@$(RUN) scripts/run_tests.py limits-full

curve: build-limits $(VENV)/.stamp-curve ## draws docs/memory.svg: live, committed and resident memory over time
	$(BUILD)/limits/tests/limits/curve $(BUILD)/limits/curve.csv
	$(RUN) tests/limits/plot_memory.py $(BUILD)/limits/curve.csv docs/memory.svg

bench: build-release build-python $(VENV)/.stamp-bench ## the benchmarks (about five minutes); BENCH= more arguments
	$(RUN) bench/run.py $(BENCH)

count: build-release ## instructions of the hot operations beside the recorded ones (needs valgrind)
	@$(PYTHON) bench/count.py $(BUILD)/release

demo: build-python ## workers count words in one pool, one of them is killed
	$(RUN) demo/wordcount.py

install: build-release ## the C library, its header and pkg-config file to PREFIX
	cmake --install $(BUILD)/release --prefix $(PREFIX) --component c

clean: ## removes what was built, not .venv
	rm -rf $(BUILD)

# ---- how things are built ---------------------------------------------------------

# The compilers' words are shown only if something does not build.
quietly = cmake --build $(1) >$(1)/build.log 2>&1 || { cat $(1)/build.log; exit 1; }

build-release: $(VENV)/.stamp
	@$(CMAKE) -B $(BUILD)/release >/dev/null
	@$(call quietly,$(BUILD)/release)

build-test: $(VENV)/.stamp
	@$(CMAKE) -B $(BUILD)/test $(TESTED) >/dev/null
	@$(call quietly,$(BUILD)/test)

build-asan: $(VENV)/.stamp
	@$(CMAKE) -B $(BUILD)/asan $(TESTED) -DLTZ_SANITIZE=address >/dev/null
	@$(call quietly,$(BUILD)/asan)

build-tsan: $(VENV)/.stamp
	@$(CMAKE) -B $(BUILD)/tsan $(TESTED) -DLTZ_SANITIZE=thread >/dev/null
	@$(call quietly,$(BUILD)/tsan)

build-limits: $(VENV)/.stamp # as users have it: no assertions, no failures on demand
	@$(CMAKE) -B $(BUILD)/limits -DLTZ_TESTS=ON >/dev/null
	@cmake --build $(BUILD)/limits --target limits_programs >$(BUILD)/limits/build.log 2>&1 || { cat $(BUILD)/limits/build.log; exit 1; }

build-python: $(VENV)/.stamp-python
$(VENV)/.stamp-python: $(PACKAGE) $(VENV)/.stamp
	$(RUN) -m pip install -q --disable-pip-version-check --no-build-isolation --no-deps --force-reinstall .
	@touch $@

$(VENV)/.stamp-curve: tests/limits/requirements.txt $(VENV)/.stamp
	$(RUN) -m pip install -q --disable-pip-version-check -r tests/limits/requirements.txt
	@touch $@

$(VENV)/.stamp-bench: bench/requirements.txt $(VENV)/.stamp
	$(RUN) -m pip install -q --disable-pip-version-check -r bench/requirements.txt
	@touch $@
