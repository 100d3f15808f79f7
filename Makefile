# `make train` trains and compares an optimizer, `make test` runs the tests.
# Both install what they need into .venv first.

PYTHON ?= python3
RUN := runs/paper-quadratic
BIN := .venv/bin

.PHONY: train test lint

train: .venv/installed
	$(BIN)/python train.py --problem=paper-quadratic --save_path=$(RUN) \
	    --num_epochs=600 --evaluation_period=100 --evaluation_epochs=2 --resume
	$(BIN)/python evaluate.py --problem=paper-quadratic --path=$(RUN) \
	    --optimizer=L2L,Adam --learning_rate=1.5 --num_epochs=10 --seed=0 \
	    --output=$(RUN)/losses.csv --plot=$(RUN)/losses.png

test: .venv/installed
	$(BIN)/python -m pytest -n auto --maxprocesses=4 --dist=loadscope

lint: .venv/installed
	$(BIN)/ruff check

.venv/installed: requirements.txt requirements-dev.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check \
	    -r requirements-dev.txt
	touch $@
