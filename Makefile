# make run    the whole way on the embedded default          make check  format, lint, layers, types, size
# make test   the tests                                      make bench  the benchmarks
# make docs   pictures and outputs in docs/, drawn and printed anew
PYTHON ?= python3
BIN := .venv/bin
RESULTS := benchmarks/results
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: install run test check bench bench-real-data docs clean
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

# With NANOCHAT=DIR NANOCHAT_HOME=HOME beside nanochat, too: docs/performance.md says what these are.
bench: .venv/installed-dev
	$(INSTALL) --editable '.[dev,viz]'
	@mkdir -p $(RESULTS)
	@test -z "$(NANOCHAT)" -o -n "$(NANOCHAT_HOME)" || { echo "NANOCHAT needs NANOCHAT_HOME"; exit 2; }
	$(BIN)/python benchmarks/train_step.py --json $(RESULTS)/train_step.json
	$(BIN)/python benchmarks/where.py --json $(RESULTS)/where.json
	$(BIN)/python benchmarks/muon.py --json $(RESULTS)/muon.json
	$(BIN)/python benchmarks/decode.py --json $(RESULTS)/decode.json $(if $(NANOCHAT),--nanochat $(NANOCHAT))
	$(BIN)/python benchmarks/evaluation.py --json $(RESULTS)/evaluation.json
	$(BIN)/python benchmarks/provenance.py
	@if [ -n "$$PARROTLET_REAL_DATA" ]; then $(MAKE) bench-real-data; \
	else echo "those on real data are skipped: PARROTLET_REAL_DATA names no folder"; fi

bench-real-data: DATA := $(PARROTLET_REAL_DATA)
bench-real-data: TRAINING := $(BIN)/python benchmarks/training.py --data $(PARROTLET_REAL_DATA)/hub \
    $(if $(NANOCHAT),--nanochat $(NANOCHAT) --home $(NANOCHAT_HOME))
bench-real-data:
	@mkdir -p $(RESULTS)
	$(BIN)/python benchmarks/calculator_gsm8k.py $(DATA)/hub/datasets/openai/gsm8k/main
	$(BIN)/python benchmarks/core.py $(DATA)/core/eval_bundle --json $(RESULTS)/core.json
	$(BIN)/python benchmarks/tokenizer.py $(DATA) --json $(RESULTS)/tokenizer.json
	$(BIN)/python benchmarks/loader.py $(DATA) --json $(RESULTS)/loader.json
	$(TRAINING) --json $(RESULTS)/training.json
	$(TRAINING) --bpb 5 12.5 --depths 2 3 --json $(RESULTS)/bpb.json
	$(BIN)/python benchmarks/plot.py $(RESULTS)/training.json $(RESULTS)/bpb.json --to $(RESULTS)/training.svg

docs: .venv/installed
	$(BIN)/python docs/pictures.py >/dev/null
	$(BIN)/python docs/outputs.py

clean:
	rm -rf .venv
