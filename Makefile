# `make train` trains an optimizer and compares it with Adam, `make test` runs
# the tests, `make lint` the linter, the type checker and the check that the
# API pages are up to date, and `make docs` writes these pages.
# `make paper DATA_DIR=DIR` makes the figures of the paper again, in hours;
# with FLAGS=--quick, from few runs.
# All of them first install what they need into $(VENV).

PYTHON ?= python3
VENV ?= .venv
RUN := runs/paper-quadratic
BIN := $(VENV)/bin

.PHONY: train paper test lint docs

train: $(VENV)/installed
	$(BIN)/python train.py --problem=paper-quadratic --save_path=$(RUN) \
	    --num_epochs=600 --decay_epochs=600 --max_gradient_norm=1 \
	    --evaluation_period=100 --evaluation_epochs=4 --resume
	$(BIN)/python evaluate.py --problem=paper-quadratic --path=$(RUN) \
	    --optimizer=L2L,Adam --learning_rate=1.5 --num_epochs=10 --seed=0 \
	    --output=$(RUN)/losses.csv --plot=$(RUN)/losses.png

paper: $(VENV)/installed
	$(BIN)/python reproduce.py $(if $(DATA_DIR),--data_dir="$(DATA_DIR)") $(FLAGS)

test: $(VENV)/installed
	$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=worksteal

lint: $(VENV)/installed
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python docs/generate_api.py --check

docs: $(VENV)/installed
	$(BIN)/python docs/generate_api.py

$(VENV)/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check \
	    -r requirements-dev.txt
	touch $@
