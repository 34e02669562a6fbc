# Inkwell. `make run` starts it, `make test` tests it; both make .venv when it is missing or stale.
PYTHON ?= python3
VENV   := .venv
PY     := $(VENV)/bin/python
TESTS_AT_ONCE ?= 3
PIP    := $(PY) -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: run test check bench format lock doctor clean

run: $(VENV)/run.stamp
	@$(PY) -m bot run

# Most tests wait for sockets, timers and other processes, so three at a time are well served by two cores.
test: $(VENV)/dev.stamp
	$(PY) -m pytest --numprocesses $(TESTS_AT_ONCE) --dist loadfile

check: $(VENV)/dev.stamp
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/dev.stamp
	$(PY) -m benchmarks

doctor: $(VENV)/run.stamp
	@$(PY) -m bot doctor

format: $(VENV)/dev.stamp
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

lock: $(VENV)/dev.stamp  # after changing a dependency in pyproject.toml
	@{ echo "# Every package that Inkwell installs, pinned. Made by 'make lock'; read by pip as constraints."; \
	   $(PY) -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.new && mv constraints.new constraints.txt

$(PY):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Inkwell needs Python 3.11 or newer; say which with: make PYTHON=python3.12 $(MAKECMDGOALS)"; exit 1; }
	@echo "Making $(VENV) (once) …"
	@$(PYTHON) -m venv $(VENV)

# Running needs no torch; a machine with an NVIDIA driver gets it, for the transformers engine.
$(VENV)/run.stamp: pyproject.toml constraints.txt | $(PY)
	@echo "Installing what Inkwell needs (once) …"
	@if command -v nvidia-smi >/dev/null 2>&1; then $(PIP) --editable '.[torch]'; else $(PIP) --editable .; fi
	@touch $@

$(VENV)/dev.stamp: pyproject.toml constraints.txt | $(PY)
	@echo "Installing what the tests need (once) …"
	@$(PIP) --editable '.[torch,dev]'
	@touch $@ $(VENV)/run.stamp

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache

messages: $(VENV)/dev.stamp  # after changing a text that people see
	@mkdir -p build
	$(VENV)/bin/pybabel --quiet extract --no-location --sort-output --omit-header -k mark -k mark_counted:1,2 -k say -o build/inkwell.pot bot
	@for name in zh_CN zh_TW; do $(VENV)/bin/pybabel update --no-fuzzy-matching --omit-header -i build/inkwell.pot -o bot/locales/$$name.po -l $$name; done
