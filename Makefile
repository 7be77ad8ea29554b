PYTHON ?= python3
BIN := .venv/bin
SEED ?= 0
RUN ?= demo-seed$(SEED)

.PHONY: demo test clean

demo: .venv/installed
	@if [ -d runs/$(RUN) ]; then $(BIN)/breakfix resume runs/$(RUN); \
	else $(BIN)/breakfix run runs/demo.toml --run $(RUN) --set seed=$(SEED); fi
	@$(BIN)/breakfix report runs/$(RUN)

test: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict agents graph tools training evals
	$(BIN)/bandit -q -c pyproject.toml -r agents graph tools training evals
	$(BIN)/pytest -n 2 --dist worksteal

.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[test]'
	touch $@

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
