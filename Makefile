# Each target is a line or two: what it does is in the programs it calls.
SHELL   := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help doctor packages builder build up status logs down lint unit e2e test bench screenshots clean

SANDBOX ?= embedded
BOX     := .lab/bin/k8s-sandbox
export SANDBOX

help: ## Show what there is to do
	@awk 'BEGIN {FS = ":.*## "} /^[a-z0-9-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

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

up: ## Bring the whole lab up (SANDBOX=embedded|existing; repeatable, interruptible)
	@$(MAKE) --no-print-directory up-$(SANDBOX)

.PHONY: checked embedded up-embedded up-existing up-compose up-k3d down-embedded down-existing down-compose down-k3d
up-embedded: checked build
	@$(BOX) up
checked: builder
	@$(BOX) check
up-existing: builder
	@$(BOX) up-existing
up-compose up-k3d down-compose down-k3d:
	@echo "SANDBOX=$(SANDBOX) is not supported yet: use SANDBOX=embedded (Linux, root) or SANDBOX=existing with KUBECONFIG" >&2; exit 2

embedded:
	@[[ $(SANDBOX) == embedded ]] || { echo "SANDBOX=$(SANDBOX): status and logs are of the embedded sandbox; ask your cluster: kubectl get pods -n kafkalab," \
	  "kubectl logs -n kafkalab tuner-0, and kubectl port-forward -n kafkalab tuner-0 9500 for the tuner's page" >&2; exit 2; }

status: embedded ## Components, rates, P99 against the SLO, knobs, last changes
	@$(BOX) status

logs: embedded ## Follow a log: make logs of=kafka (or tuner, loadgen, exporter, prometheus, kubelet, etcd, ...)
	@$(BOX) logs $(or $(of),tuner)

down: ## Remove everything that make up made (with the same SANDBOX)
	@$(MAKE) --no-print-directory down-$(SANDBOX)

down-embedded:
	@[[ -x $(BOX) ]] || $(MAKE) --no-print-directory builder
	@$(BOX) down
down-existing: builder
	@$(BOX) down-existing

lint: ## gofmt, go vet, staticcheck, promtool
	@.ci/lint

unit: ## Unit tests of every module
	@.ci/unit

e2e: build ## End-to-end tests on the embedded sandbox (takes it down before and after)
	@.ci/e2e

test: build lint unit e2e ## All of it

bench: ## Benchmarks with their figures
	@go test -run '^$$' -bench . -benchmem ./...

screenshots: ## The pictures of README.md, from a study that is told again (needs chromium)
	@go test ./tuner/page -count 1 -run '^TestScreenshots$$' -screenshots "$(CURDIR)/docs"

clean: down ## Also remove what the build made
	@rm -rf .lab
