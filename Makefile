# make run    the whole way on the embedded default          make check  format, lint, layers, types, size
# make test   the tests                                      make bench  the benchmarks
# make docs   pictures and outputs in docs/, drawn and printed anew
PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: install run test check bench docs clean
.DELETE_ON_ERROR:

install: .venv/installed

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Parrotlet needs Python 3.11 or newer" if sys.version_info < (3, 11) else 0)'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(INSTALL) --editable .
	@touch $@

.venv/installed-dev: .venv/installed
	$(INSTALL) --editable '.[dev]'
	@touch $@

run: .venv/installed
	$(BIN)/parrotlet run

test: .venv/installed-dev
	$(BIN)/python -m pytest --numprocesses logical --maxprocesses 4 --dist loadfile

check: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright
	@$(BIN)/python benchmarks/source_size.py

bench: .venv/installed-dev
	$(BIN)/python benchmarks/train_step.py
	$(BIN)/python benchmarks/where.py
	$(BIN)/python benchmarks/muon.py
	$(BIN)/python benchmarks/decode.py
	$(BIN)/python benchmarks/evaluation.py
	$(BIN)/python benchmarks/provenance.py
	@if [ -n "$$PARROTLET_REAL_DATA" ]; then \
	    $(BIN)/python benchmarks/calculator_gsm8k.py "$$PARROTLET_REAL_DATA/hub/datasets/openai/gsm8k/main"; \
	    $(BIN)/python benchmarks/core.py "$$PARROTLET_REAL_DATA/core/eval_bundle"; \
	    $(BIN)/python benchmarks/tokenizer.py "$$PARROTLET_REAL_DATA"; \
	    $(BIN)/python benchmarks/loader.py "$$PARROTLET_REAL_DATA"; \
	    $(BIN)/python benchmarks/training.py --data "$$PARROTLET_REAL_DATA/hub"; \
	else echo "those on real data are skipped: PARROTLET_REAL_DATA names no folder"; fi

docs: .venv/installed
	$(BIN)/python docs/pictures.py >/dev/null
	$(BIN)/python docs/outputs.py

clean:
	rm -rf .venv
