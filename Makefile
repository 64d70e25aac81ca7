# Each target is a line or two: what it does is in the programs it calls.
SHELL   := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help doctor packages builder build up status logs down lint unit whole e2e test test-compose test-brokers bench arena screenshots clean

BOX := .lab/bin/k8s-sandbox
export SANDBOX

help: ## Show what there is to do
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

doctor: ## Say what this machine lacks, and how to get it
	@./run.sh --check

packages: builder
	@$(BOX) check --build
	@missing=$$($(BOX) missing); if [[ -n $$missing ]]; then \
	  if [[ $$EUID != 0 ]]; then echo "missing Debian packages: sudo apt-get install -y --no-install-recommends $${missing//$$'\n'/ }" >&2; exit 1; fi; \
	  echo "installing Debian packages: $${missing//$$'\n'/ }"; \
	  apt-get update -q >/dev/null && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y --no-install-recommends $$missing >/dev/null; fi

builder:
	@command -v go >/dev/null || { echo "Go is missing: ./run.sh --check says how to get it" >&2; exit 1; }
	@[[ -x $(BOX) ]] || echo "building k8s-sandbox, which builds the rest (about a minute the first time)"
	@cd k8s-sandbox && CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags '-s -w' -o ../$(BOX) .

build: packages ## Build programs, Kubernetes, Prometheus and images into .lab
	@$(BOX) build

up: ## Bring the whole lab up (SANDBOX=compose|embedded|k3d|existing, or by what is there; AGENT=vibectl|scripted; repeatable, interruptible)
	@sandbox=$$(./run.sh --choose) && $(MAKE) --no-print-directory up-$$sandbox SANDBOX=$$sandbox

.PHONY: checked up-embedded up-compose up-k3d up-existing
checked: builder
	@$(BOX) check
up-embedded: checked packages
up-embedded up-compose up-k3d: checked
	@$(BOX) build
	@$(BOX) up
up-existing: builder
	@$(BOX) up

# Where it is: as for up, but not said aloud.
there = sandbox=$$(./run.sh --chosen) && SANDBOX=$$sandbox $(BOX)

status: builder ## Components, rates, P99 against the SLO, knobs, last changes
	@$(there) status

logs: builder ## Follow a log: make logs of=kafka (or tuner, agent, loadgen, exporter, prometheus, kubelet, etcd, ...)
	@$(there) logs $(or $(of),tuner)

down: ## Remove everything that make up made
	@[[ -x $(BOX) ]] || $(MAKE) --no-print-directory builder
	@$(there) down

lint: ## gofmt, go vet, staticcheck, promtool
	@.ci/lint

unit: ## Unit tests of every module
	@.ci/unit

whole: # the build, with the agent's image too, which it leaves out otherwise
	@AGENT=scripted $(MAKE) --no-print-directory build

e2e: whole ## End-to-end tests on the embedded sandbox (takes it down before and after)
	@.ci/e2e

test: whole lint unit e2e ## All of it but test-compose and test-brokers

test-compose: build ## compose.yml and K3d against a Docker daemon of their own, from Debian (root, about twelve minutes)
	@cd k8s-sandbox/docker && go test -count 1 -timeout 60m -v .

# Compiled as .ci/e2e compiles.
test-brokers: build ## A study on three brokers under load: no record lost, never two of them away (root, half an hour or more)
	@CGO_ENABLED=0 go test -trimpath -vet=off -tags e2e,brokers -run '^TestThreeBrokers$$' -count 1 -timeout 90m -v ./internal/e2e

bench: ## Benchmarks with their figures
	@go test -run '^$$' -bench . -benchmem ./...

arena: whole ## Let entrants tune the lab one after the other and compare them (some hours; goes on where it was): make arena ARENA="--repeats=1"
	@go run ./bench/arena $(ARENA)

screenshots: ## The pictures of README.md, from a study that is told again (needs chromium)
	@go test ./tuner/page -count 1 -run '^TestScreenshots$$' -screenshots "$(CURDIR)/docs"

clean: down ## Also remove what the build made, and what it keeps for every checkout (~/.cache/kafkalab)
	@rm -rf .lab "$${XDG_CACHE_HOME:-$$HOME/.cache}/kafkalab"
