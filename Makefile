# Every target sets itself up: with Python 3.11, pip, git and make in an empty directory, `make run` is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV := $(VENV)/uv/bin/uv
READY := $(VENV)/.ready
TOOLS := $(VENV)/.tools
POSTGRES := $(VENV)/.initdb $(VENV)/.pgbouncer
DATA ?= data

.PHONY: run dev agent demo test soak check bench docs clean

run: $(READY)
	@$(BIN)/python -m examples.run $(DATA)

dev: $(READY)
	@$(BIN)/python -m examples.run $(DATA) --reload

agent: $(READY)
	@$(BIN)/python -m examples.agent $(DATA)

demo: $(READY)
	@$(BIN)/python -m examples.demo

test: $(TOOLS) $(POSTGRES)
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -n 4 tests

# What takes longer, or needs more than Python: a browser named chromium.
soak: $(TOOLS) $(POSTGRES)
	SOAK=1 $(BIN)/python -m pytest -n 2 soak tests/acceptance/test_kill.py tests/acceptance/test_power_cut.py \
		tests/acceptance/test_clock.py tests/acceptance/test_many_kills.py tests/acceptance/test_failover.py \
		tests/conformance/test_two_stores.py
	TEST_STORE=postgres $(BIN)/python -m pytest -n 2 tests/tools

check: $(TOOLS)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m scripts.sync_client --check

bench: $(TOOLS) $(VENV)/.initdb
	@$(BIN)/python -m bench

docs: $(READY)
	@$(UV) sync --quiet --frozen --inexact --group docs
	$(BIN)/zensical build

clean:
	rm -rf $(VENV) site .cache .pytest_cache .mypy_cache .ruff_cache .hypothesis

# uv lives inside the environment, so that nothing is installed outside this folder.
$(READY): pyproject.toml uv.lock
	@test -x $(UV) || { $(PYTHON) -m venv $(VENV) && $(PYTHON) -m venv $(VENV)/uv && $(VENV)/uv/bin/pip install --quiet uv; }
	@$(UV) sync --quiet --frozen --inexact --no-default-groups
	@touch $(READY)

$(TOOLS): $(READY)
	@$(UV) sync --quiet --frozen --inexact --group dev
	@touch $(TOOLS)

# Links to the programs: one that is gone, as in a new container, is installed again.
$(VENV)/.initdb: | $(READY)
	@found=$$($(BIN)/python -m scripts.install_postgres) && ln -sfn "$$found" $@

# Without it, the few tests of it are skipped.
$(VENV)/.pgbouncer: | $(READY)
	@found=$$($(BIN)/python -m scripts.install_postgres pgbouncer) && ln -sfn "$$found" $@ || true
