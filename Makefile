# Every target first brings the checkout up to date (tools/setup.sh: system packages, .venv, extensions, guest kernel).
PYTHON := .venv/bin/python
export PYTHONPATH := $(CURDIR)

.PHONY: setup demo test lint bench bench-recovery matrix torture
.DEFAULT_GOAL := test

setup:
	@tools/setup.sh

demo: setup
	@$(PYTHON) -m tests.guest.commands.demo

test: setup
	$(PYTHON) -m pytest -q -n 2 --dist loadgroup tests

# A real guest under kills of worker and keeper, for over a minute.
.PHONY: torture-guest
torture-guest: setup
	@$(PYTHON) -m tests.guest.torture

# What a guest sees when its daemon dies: the peers' daemons and ours.
.PHONY: side-by-side
side-by-side: setup
	@$(PYTHON) -m tests.guest.commands.side_by_side

# A captured worker's attacks, ours and the peer's: renews the table of docs/security.md.
.PHONY: attacks
attacks: setup
	@$(PYTHON) -m tests.security.run

lint: setup
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy --strict steadfs machine specs journal device fuse tests tools

# Death at every crash point, each also with a second death: some ten minutes. `make test` has each kind of point once.
matrix: setup
	STEADFS_WHOLE_MATRIX=1 $(PYTHON) -m pytest -q --timeout 900 tests/recovery tests/unit/journal -k "every_crash_point or any_step or each_step or many_transitions"

# Half a million requests at depth 16 while a thousand workers are killed; SEED=n repeats each actor's history.
torture: setup
	$(PYTHON) -m tests.recovery.torture.run $(SEED)

bench: setup
	$(PYTHON) -m tests.bench

# From the kill of a worker to the first reply, at 0 to 10^6 inodes.
bench-recovery: setup
	$(PYTHON) -m tests.bench.recovery

# The pages that are made from the specs and the options; a test fails when they are stale.
.PHONY: docs
docs: setup
	$(PYTHON) docs/generate.py
	$(PYTHON) -m device.options.pages > docs/options.md

# `steadfs-audit verify` of 10^6 rows: at most 30 s.
.PHONY: bench-audit
bench-audit: setup
	$(PYTHON) -m tests.bench.audit_bench
