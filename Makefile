# Two commands matter: `make demo` and `make test`. Each does its own set-up, in .venv.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready
PIP := $(BIN)/python -m pip install --quiet $(INSTALL_OPTIONS) --editable
# A process of one thread for each core, up to as many as 16 GB hold; the tests of a file share what they set up,
# and the longest files go first (tests/conftest.py).
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder --durations 25

.DEFAULT_GOAL := help
.PHONY: help setup demo study share fetch verify test test-slow test-all lint bench bench-accuracy bench-int8 \
	bench-networks bench-ptq bench-plan bench-commands clean

help:
	@echo "make demo                     the study in miniature, on handwritten digits: no data needed, some minutes"
	@echo "make test                     the fast tests; make test-all: the slow ones too"
	@echo "make study PROFILE=x          the same pipeline under profiles/x.yaml, in .workspaces/x/; with KEEP=1 its tables"
	@echo "                              are kept in results/x/, its models and cards in models/kept/x/; JOBS=4: four at a time, not two"
	@echo "make share                    push everything that ran to the team's remote; make fetch: get it, without training"
	@echo "make verify                   hash the cache and all outputs, and name what is damaged"
	@echo "make lint                     style and types"
	@echo "make bench                    speed, memory and start-up against the usual loops, and where a step's time goes"
	@echo "make bench-accuracy           the same accuracies with the kernels and without, over seeds"
	@echo "make bench-int8               latency of the integer program against FP32 and other runtimes"
	@echo "make bench-networks           twelve networks through the whole pipeline, on digits; half an hour, into results/networks*.csv"
	@echo "make bench-ptq                accuracy of PTQ algorithms at few bits, beside other tools; an hour, into benchmarks/results/"
	@echo "make bench-plan               do scores choose the layers that win most when retrained? every set is tried; an hour, resumable"
	@echo "make bench-commands           how long make demo and make test take here, into benchmarks/results/"
	@echo "make setup                    .venv with what the demo needs (the other targets add what they need)"
	@echo "make clean                    remove scratch workspaces and tool caches; .venv and the DVC cache stay"

setup: $(READY)

$(READY): pyproject.toml
	@command -v $(PYTHON) > /dev/null \
		&& $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: '$(PYTHON)' is not Python 3.11 or newer; name one: make PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "setting up .venv (torch is a large download the first time) ..."
	@$(PYTHON) -m venv .venv
	@$(PIP) '.[pipeline]'
	@if git rev-parse --git-dir > /dev/null 2>&1; then \
		git config merge.selectq-lock.driver '.venv/bin/selectq merge-lock %O %A %B'; \
		git config merge.selectq-written.driver true; \
	fi
	@$(BIN)/selectq plots-page
	@touch $@

# What further targets need: .venv/.ready-x has the extra x of pyproject.toml.
$(READY)-%: $(READY)
	@$(PIP) '.[$*]'
	@touch $@

demo: $(READY)
	@$(BIN)/selectq study demo --jobs "$(or $(JOBS),2)"

study: $(READY) $(READY)-executorch
	@test -n "$(PROFILE)" || { echo "error: which profile? make study PROFILE=x, one of:" $(basename $(notdir $(wildcard profiles/*.yaml))) >&2; exit 2; }
	@$(BIN)/selectq study "$(PROFILE)" $(if $(KEEP),--keep) --jobs "$(or $(JOBS),2)"

share fetch: $(READY) $(READY)-remotes
	@$(BIN)/selectq $@

verify: $(READY)
	@$(BIN)/selectq $@

test: $(READY)-dev
	$(PYTEST) -m "not slow"

test-slow: $(READY)-dev
	$(PYTEST) -m slow

test-all: $(READY)-dev
	$(PYTEST)

lint: $(READY)-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

bench: $(READY)-bench
	$(BIN)/python benchmarks/bench.py
	$(BIN)/python benchmarks/profile_steps.py

bench-accuracy: $(READY)
	$(BIN)/python benchmarks/same_accuracy.py

bench-int8: $(READY)-bench
	$(BIN)/python benchmarks/bench_int8.py

bench-networks: $(READY)-bench $(READY)-timm
	$(BIN)/python benchmarks/networks.py
	$(BIN)/selectq claims

bench-ptq: $(READY)-bench
	$(BIN)/python benchmarks/bench_ptq.py

bench-plan: $(READY)-bench
	$(BIN)/python benchmarks/bench_plan.py

bench-commands: $(READY)-dev
	$(BIN)/python benchmarks/two_commands.py

clean:
	rm -rf .workspaces .mypy_cache .pytest_cache .ruff_cache .hypothesis
