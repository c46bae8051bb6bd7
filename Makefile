# `make` lists what can be done here. Everything it writes is under build/ and .venv/.

PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
STAMP := $(VENV)/.installed
FPGA_STAMP := $(VENV)/.fpga-installed
CONFIG ?= gen/configs/default.toml
SEED ?= 1
JOBS ?= $(shell nproc 2>/dev/null || echo 2)

# Options given on the command line reach the programs; nothing of an outer shell does.
unexport YOSYS
unexport VERILATOR_ROOT

.DEFAULT_GOAL := help
.PHONY: help
help:  ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-10s %s\n", $$1, $$2}' Makefile

# The environment is made once, and again when pyproject.toml changes.
$(STAMP): pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "make: error: $(PYTHON) is missing; install Python 3.11 or newer (Debian: apt install python3 python3-venv), or set PYTHON=" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: error: $$($(PYTHON) --version) is too old; install Python 3.11 or newer, or set PYTHON=" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: error: $(PYTHON) cannot make environments; install its venv module (Debian: apt install python3-venv)" >&2; exit 2; }
	test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[test]'
	@touch $@

# Place and route is large, and most targets do without it.
$(FPGA_STAMP): $(STAMP)
	$(RUN) -m pip install --quiet --disable-pip-version-check --editable '.[fpga]'
	@touch $@

.PHONY: fpga-tools
fpga-tools: $(FPGA_STAMP)

.PHONY: setup
setup: $(STAMP)  ## make the Python environment (the other targets do it when needed)

.PHONY: tools
tools:
	@command -v g++ >/dev/null || { echo "make: error: g++ is missing, and Verilator needs it; install a C++ compiler (Debian: apt install g++)" >&2; exit 2; }
	@command -v perl >/dev/null || { echo "make: error: perl is missing, and Verilator needs it; install it (Debian: apt install perl)" >&2; exit 2; }

.PHONY: verilog
verilog: $(STAMP)  ## write the Verilog of CONFIG=file.toml to build/verilog/
	@$(RUN) -m gen verilog --config $(CONFIG)

PYTEST = $(RUN) -m pytest --seed=$(SEED) -n $(JOBS) --dist worksteal $(ARGS)

.PHONY: test
test: $(STAMP) tools  ## run the tests; WAVES=1 leaves waveforms, SEED= sets chance, ARGS= goes to pytest, VERILOG= is a netlist to test instead
	$(PYTEST) $(if $(VERILOG),--verilog=$(VERILOG) --config=$(CONFIG) -n 0,-m "not slow")

.PHONY: test-all
test-all: $(STAMP) $(FPGA_STAMP) tools  ## run the slow tests as well: synthesis of every module
	$(PYTEST)

BACKEND ?= numpy
TRAIN_numpy = gen train
TRAIN_rtl = verif.train

.PHONY: train
train: $(STAMP) $(if $(filter rtl,$(BACKEND)),tools)  ## train in float32 and 4 bits; BACKEND=rtl in the Verilog; DATA=file.npz
	@test -n "$(TRAIN_$(BACKEND))" || { echo "make: error: BACKEND must be numpy or rtl, not $(BACKEND)" >&2; exit 2; }
	@$(RUN) -m $(TRAIN_$(BACKEND)) $(if $(DATA),--data $(DATA)) $(ARGS)

# The library of standard cells may be named: LIBERTY=file.lib or file.lib.gz.
.PHONY: cost
cost: $(FPGA_STAMP)  ## the price list: every format through synthesis and place and route; LIBERTY=file.lib
	@$(if $(YOSYS),YOSYS=$(YOSYS)) $(RUN) -m gen cost $(if $(LIBERTY),--liberty $(LIBERTY)) $(ARGS)

TARGET ?= ecp5-25k

# Native tools may be named: YOSYS=, NEXTPNR_ECP5= and so on.
.PHONY: fpga
fpga: $(FPGA_STAMP)  ## place and route the training core, TARGET=ecp5-85k, for CONFIG= or the largest that fits
	@$(if $(YOSYS),YOSYS=$(YOSYS)) $(RUN) -m gen fpga --target $(TARGET) \
		$(if $(filter command% environment%,$(subst $() ,,$(origin CONFIG))),--config $(CONFIG)) $(ARGS)

.PHONY: bench
bench: $(STAMP)  ## measure the speed of the golden model against its bounds
	@$(RUN) -m gen bench $(ARGS)

.PHONY: robust
robust: $(STAMP)  ## train every recipe on data sets of many kinds, against bars; ARGS=--reduced on a few
	@$(RUN) -m gen robust $(ARGS)

.PHONY: lint
lint: $(STAMP)  ## check style and types
	$(VENV)/bin/ruff check
	$(VENV)/bin/ruff format --check
	$(VENV)/bin/mypy

.PHONY: clean
clean:  ## delete everything generated, but not the environment
	rm -rf build
