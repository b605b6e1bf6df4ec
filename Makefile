# The developer's manual: `make help`.

VENV := .venv/bin
UNIT := -m "not engine and not browser and not slow"

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup engine test-tools demo clean-demo test check lint golden bench torture fmt clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Make .venv with the package and every pinned tool
	@scripts/setup-venv

engine: ## Have a Docker engine answer: use, start or install one
	@scripts/ensure-engine

test-tools: ## Have the programs the tests drive: nginx, Chromium, wrk
	@scripts/ensure-test-tools

demo: setup engine ## Give the 32 people of participants.yaml an app each and print their URLs
	@echo "==> Provisioning participants.yaml"
	@$(VENV)/workshop provision --roster participants.yaml

clean-demo: setup ## Remove everything make demo created
	@echo "==> Tearing down participants.yaml"
	@$(VENV)/workshop teardown --roster participants.yaml --yes

test: setup engine test-tools ## Run every check and every test; a missing part fails, none is skipped
	@scripts/run-tests

check: setup lint ## Run the checks and the tests that need no engine
	@echo "==> Testing what needs no engine"
	@$(VENV)/pytest $(UNIT)

lint: setup ## Run ruff, mypy and the import rules
	@echo "==> ruff"
	@$(VENV)/ruff check
	@$(VENV)/ruff format --check
	@echo "==> mypy"
	@$(VENV)/mypy
	@echo "==> import-linter"
	@$(VENV)/lint-imports

golden: setup ## Write the expected outputs of the tests anew; read the diff before committing
	@echo "==> Updating golden files"
	@$(VENV)/pytest $(UNIT) --update-golden

bench: setup engine test-tools ## Measure provisioning, the edge, the gateway, deploys and the board
	@echo "==> Provisioning against the bare engine"
	@$(VENV)/python bench/provision.py
	@echo "==> The edge against a bare nginx"
	@$(VENV)/python bench/edge.py
	@echo "==> The gateway against a direct call, at budgets' edges, and with a seat in a loop"
	@$(VENV)/python bench/gateway.py
	@echo "==> Thirty people who ask the embedded model at once"
	@$(VENV)/python bench/embedded.py
	@echo "==> Deploys against the bare engine, and a whole class at once"
	@$(VENV)/python -m bench.deploy
	@echo "==> The board with 300 seats"
	@$(VENV)/python bench/board.py

torture: setup engine test-tools ## Attack, kill and flood for an hour or two; ends with a table of figures
	@$(VENV)/python -m bench.torture $(PARTS)

fmt: setup ## Format and mend what ruff can mend
	@echo "==> ruff"
	@$(VENV)/ruff format
	@$(VENV)/ruff check --fix

clean: ## Remove .venv and every cache
	@echo "==> Removing .venv and caches"
	@rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
