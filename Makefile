# make demo: set up and run the whole story;  make lab: JupyterLab on the notebooks;
# make test: set up and prove it;  make test-all: and run the slow tests, such as notebooks, a browser and several processes;
# both run 2 tests side by side, each in one thread; with more cores and memory:  make test WORKERS=8
# make test-lowest: prove it with the lowest versions that pyproject.toml allows (a second environment);
# make notebooks: execute them all anew, and store their outputs and the pictures of the README;
# make bench: measure speed and memory beside peers (tests/peers/README.md);
# make gpu-check: compare a GPU with the CPU and time it; where there is none, it says so and passes.
# With a CPU build of PyTorch:  make install PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

PYTHON ?= python3
VENV ?= .venv
PIP_ARGS ?=
WORKERS ?= 2
BIN = $(VENV)/bin
# The tests of a file stay together: what they prepare is made once.
SIDE_BY_SIDE = -n $(WORKERS) --dist loadfile

.PHONY: demo test test-all test-lowest lab notebooks bench gpu-check install clean

demo: install
	$(BIN)/turbo-kit demo

test: $(VENV)/.installed-test
	$(BIN)/ruff format --check turbo_kit tests
	$(BIN)/ruff check turbo_kit tests
	$(BIN)/mypy
	$(BIN)/pytest $(SIDE_BY_SIDE) -m "not slow"

test-all: test
	$(BIN)/pytest $(SIDE_BY_SIDE) -m slow --no-skips

test-lowest:
	$(PYTHON) -m venv $(VENV)-lowest
	$(PYTHON) tests/tools/lowest.py > $(VENV)-lowest/lowest.txt
	$(VENV)-lowest/bin/pip install --quiet $(PIP_ARGS) --constraint $(VENV)-lowest/lowest.txt --editable '.[test]'
	$(VENV)-lowest/bin/pytest $(SIDE_BY_SIDE) -m "not slow"

lab: install
	$(BIN)/jupyter lab --ip=127.0.0.1 --notebook-dir=notebooks

notebooks: $(VENV)/.installed-test
	$(BIN)/python tests/tools/refresh_notebooks.py

BENCHMARKS = info_nce two_passes epoch gradient_cache processes cost ablation iemocap_loading repaint_pairs repaint_dropout \
	embedding_frames

bench: $(VENV)/.installed-test
	for name in $(BENCHMARKS); do \
		echo "== $$name"; $(BIN)/python tests/peers/$$name.py --json bench/$$name.json || exit 1; \
	done

gpu-check: $(VENV)/.installed
	$(BIN)/python tests/peers/gpu_check.py --json bench/gpu_check.json

install: $(VENV)/.installed

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "turbo-kit needs Python 3.11 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet $(PIP_ARGS) --editable .
	$(BIN)/python -c "import matplotlib.pyplot, umap"  # compiles once what every later start would wait for
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/pip install --quiet $(PIP_ARGS) --editable '.[test]'
	touch $@

clean:
	rm -rf $(VENV) $(VENV)-lowest build dist demo-runs
