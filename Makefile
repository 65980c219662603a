# Two commands matter: `make run` and `make test`. Both install what they need first.
# Works with Python 3.11 or later and make; nothing else has to be there.

VENV := .venv
BIN := $(VENV)/bin
PYTEST_ARGS ?=

# The first interpreter that is new enough and can make environments; PYTHON=... overrides.
find_python = for python in $(PYTHON) python3 python3.13 python3.12 python3.11 python3.14; do \
	if command -v $$python >/dev/null 2>&1 && $$python -c \
	'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; \
	then echo $$python; exit; fi; done

.PHONY: run install develop test check format docs soak bench lock clean
.DEFAULT_GOAL := run

run: install ## start everything: database, stream, worker, API, console
	@exec $(BIN)/fraudwatch demo

install: $(VENV)/installed ## make .venv with .venv/bin/fraudwatch

develop: $(VENV)/developing ## the same, with what tests and checks need

test: develop ## all tests; with Java and Maven also those on a real Apache Kafka
	$(BIN)/pytest -m "not soak" -n 2 --dist loadfile $(PYTEST_ARGS)

check: develop ## style, types, import directions, documentation, faults of dependencies
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -q tests/docs
	$(BIN)/python -m tests.dependencies

format: develop ## bring the code into its one form
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

docs: develop ## write the reference pages of docs/ from the code
	$(BIN)/python -m tests.docs.reference

soak: develop ## the long runs that `make test` leaves out, about an hour
	@echo "1,000 faults on real workers, Kafka and PostgreSQL, each round compared with a run without"
	@echo "any; then two million hostile messages. CHAOS_SEED, CHAOS_FAULTS: others; CHAOS_LOG=FILE:"
	@echo "rounds done are kept there, and a run that was stopped goes on."
	$(BIN)/pytest -m soak -s $(PYTEST_ARGS)

bench: develop ## measure, against what, in one run
	$(BIN)/python -m benchmarks

lock: develop ## choose newest versions that pyproject.toml allows
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --no-config --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links \
		--custom-compile-command "make lock" pyproject.toml --output-file requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --no-config --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --constraint requirements.lock \
		--custom-compile-command "make lock" pyproject.toml --extra dev \
		--output-file requirements-dev.lock

clean: ## remove the environment and caches, keep .fraudwatch (your data)
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build

$(VENV)/bin/python:
	@python=$$($(find_python)); \
	if [ -z "$$python" ]; then \
		echo "fraudwatch needs Python 3.11 or later with its venv module." >&2; \
		echo "Install it (Debian, Ubuntu: apt install python3-venv) or name it: make PYTHON=/path/to/python3.11" >&2; \
		exit 1; \
	fi; \
	echo "Making $(VENV) with $$($$python --version)"; \
	$$python -m venv $(VENV)

# Stamps: a second call does nothing until a lock or pyproject.toml changes.
$(VENV)/installed: $(VENV)/bin/python requirements.lock pyproject.toml
	@echo "Installing (about a minute the first time)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

$(VENV)/developing: $(VENV)/installed requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes \
		-r requirements-dev.lock
	@touch $@
