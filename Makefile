# Targets for people and for CI. `make` alone lists them; `make demo` and `make test` do everything.

SHELL := /usr/bin/env bash
MAKEFLAGS += --no-print-directory
.NOTPARALLEL:
.DEFAULT_GOAL := help

# Everything that is built, fetched or found lies here, outside the tree.
CACHE_DIR ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/tandemmq
CARGO_TARGET_DIR ?= $(CACHE_DIR)/target
export CARGO_TARGET_DIR

# What may be set on the command line.
SEEDS ?= 500
MUTANT_SEEDS ?= 500
THREADS ?= $(shell nproc)
FUZZ_SECONDS ?= 300
DENY_CHECKS ?= advisories bans licenses sources

# One optimised profile for binary, simulator and process tests: a second one doubles a cold build.
CARGO_TEST := cargo test --locked --release
BROKER := $(CARGO_TARGET_DIR)/release/tandemmq
SIM := cargo run --locked --release -p tandemmq-sim --bin sim --
# Other features, so another folder: cargo would rebuild the crates at each change between the two.
MUTANTS_DIR := $(CARGO_TARGET_DIR)/mutants
MUTANTS := CARGO_TARGET_DIR=$(MUTANTS_DIR) cargo run --locked --release -p sim-mutants --
MODEL_MANIFEST := docs/protocol/model/Cargo.toml
MODEL := CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/model cargo run --locked --release --quiet --manifest-path $(MODEL_MANIFEST) --
CHAOS := $(CARGO_TEST) -p tandemmq --test chaos
WORST_DAYS := $(CARGO_TEST) -p tandemmq --test worst_days
CLIENTS := $(CACHE_DIR)/clients
# All test programs of the binary: --all-targets leaves out those that plain `cargo test` does not run.
PROCESS_TESTS := $(notdir $(basename $(wildcard broker/tests/*.rs)))
# What the Kubernetes of the tests is brought up by; CACHE_DIR, so that its cache is this one.
E2E := CACHE_DIR=$(CACHE_DIR) $(CARGO_TARGET_DIR)/release/e2e
FUZZ_DIRS := broker/wire/fuzz broker/journal/fuzz
# Packages that are no members of the workspace and are formatted by the same rules.
OUTSIDE := $(MODEL_MANIFEST) $(wildcard $(addsuffix /Cargo.toml,$(FUZZ_DIRS)))

STAGES := $(CACHE_DIR)/stages
STAGE := STAGES=$(STAGES) tools/stage

.PHONY: help build demo test fmt fmt-check clippy unit next-format doc sim mutants chaos worst-days worst-days-short soak \
	clients full-disk bench e2e e2e-build e2e-long cluster cluster-down model model-small fuzz deny prerequisites clean-cache

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

build: ## the broker and its tools, optimised
	@tools/prerequisites build
	cargo build --locked --release -p tandemmq

demo: build ## three brokers, the master killed in the middle, nothing lost
	@$(BROKER) demo

test: ## every check that needs no privilege, with the time of each
	@mkdir -p $(CACHE_DIR) && rm -f $(STAGES)
	@$(STAGE) "prerequisites" tools/prerequisites test
	@$(STAGE) "format" $(MAKE) fmt-check
	@$(STAGE) "clippy" $(MAKE) clippy
	@$(STAGE) "unit and integration tests" $(MAKE) unit
	@$(STAGE) "next format" $(MAKE) next-format
	@$(STAGE) "documentation" $(MAKE) doc
	@$(STAGE) "protocol model, small" $(MAKE) model-small
	@$(STAGE) "simulator" $(MAKE) sim SEEDS=100
	@$(STAGE) "mutants" $(MAKE) mutants
	@$(STAGE) "chaos, short" $(MAKE) chaos KILLS=10
	@$(STAGE) "worst days, short" $(MAKE) worst-days-short
	@$(STAGE) "real clients, short" $(MAKE) clients KILLS=5
	@$(STAGE) "fuzz, short" $(MAKE) fuzz FUZZ_SECONDS=20
	@STAGES=$(STAGES) tools/stage --summary
	@echo "make test: all stages passed"

fmt: ## format everything
	cargo fmt
	@for manifest in $(OUTSIDE); do (set -x; cargo fmt --manifest-path $$manifest) || exit 1; done

fmt-check:
	cargo fmt --check
	@for manifest in $(OUTSIDE); do (set -x; cargo fmt --check --manifest-path $$manifest) || exit 1; done

clippy:
	cargo clippy --locked --release --all-targets -- -D warnings
	cargo clippy --locked --release -p tandemmq $(addprefix --test ,$(PROCESS_TESTS)) -- -D warnings
	CARGO_TARGET_DIR=$(MUTANTS_DIR) cargo clippy --locked --release -p sim-mutants --all-targets -- -D warnings
	CARGO_TARGET_DIR=$(CARGO_TARGET_DIR)/model cargo clippy --locked --release --manifest-path $(MODEL_MANIFEST) -- -D warnings

unit: ## unit and integration tests
	$(CARGO_TEST)

next-format: ## a roll to a build with a newer format of the journal, simulated
	$(CARGO_TEST) -p tandemmq-journal -p tandemmq-sim --features next-format

doc:
	RUSTDOCFLAGS="-D warnings" cargo doc --locked --release --no-deps

sim: ## simulated groups under faults: SEEDS=500
	$(SIM) run --seeds $(SEEDS) --threads $(THREADS)

mutants: ## does the simulator catch every seeded fault?
	@# Those that one crate's own random tests must notice, then all by whole groups.
	CARGO_TARGET_DIR=$(MUTANTS_DIR) $(CARGO_TEST) -p tandemmq-engine -p tandemmq-journal \
		--features tandemmq-engine/mutants,tandemmq-journal/mutants every_seeded_fault
	$(MUTANTS) --seeds-max $(MUTANT_SEEDS)

chaos: KILLS ?= 100
chaos: ## real processes, killed and stopped under load, full disks (as root): KILLS=100
	KILLS=$(KILLS) $(CHAOS) -- --nocapture --test-threads=1
	@# The short form is part of `make test`, which needs no privilege.
	@if [ $(KILLS) -ge 100 ]; then $(MAKE) full-disk; fi

worst-days: ## wiped, rolled back, swapped, damaged, full and slow volumes, 500 power cuts: about an hour
	WORST_DAYS=full $(WORST_DAYS) -- --nocapture --test-threads=1

worst-days-short:
	$(WORST_DAYS) -- --nocapture --test-threads=1

soak: DURATION ?= 20m
soak: build ## full load with a constant backlog; memory, disk and latency must stay flat: DURATION=20m
	@$(BROKER) soak --duration $(DURATION)

clients: KILLS ?= 20
clients: build ## real STOMP clients, row by row and through kills of the master: KILLS=20
	@tools/prerequisites test
	@tools/clients-setup $(CLIENTS)
	@TANDEMMQ=$(BROKER) tools/clients $(CLIENTS) $(KILLS)

full-disk: build ## as root: a journal on a tmpfs that is full
	@tools/prerequisites test
	@tools/clients-setup $(CLIENTS)
	@TANDEMMQ=$(BROKER) tools/full-disk $(CLIENTS)

bench: build ## failover time, rates, latency, memory; printed, never judged
	@$(BROKER) bench

e2e-build:
	@tools/prerequisites build
	@# A build with a newer journal format, for a roll from one version to the next, and back to the product.
	cargo build --locked --release -p tandemmq --features next-format
	cp --remove-destination $(BROKER) $(BROKER)-next
	cargo build --locked --release -p tandemmq
	@tools/test-binary $(BROKER)-tests -p tandemmq --bin tandemmq
	@tools/test-binary $(BROKER)-operator-tests -p tandemmq-operator --test api_server
	@# One after the other: built together, their features would be united.
	cargo build --locked --release -p tandemmq-operator
	cargo build --locked --release -p e2e
	@tools/clients-setup $(CLIENTS)

e2e: e2e-build ## as root: scenarios on a real three-node Kubernetes, which it builds and brings up: ONLY="name …"
	@$(E2E) run --counts short $(if $(ONLY),--only $(ONLY))

e2e-long: e2e-build ## the same with full counts, then on the newer Kubernetes with users' timings
	@$(E2E) run --counts full $(if $(ONLY),--only $(ONLY))
	@$(E2E) run --counts short --kubernetes 1.36.3 --kubelet-defaults $(if $(ONLY),--only $(ONLY))

cluster: e2e-build ## as root: that Kubernetes with the operator and a sample, to try things on
	@$(E2E) up
	@$(E2E) install
	@$(E2E) kubectl apply -f manifests/sample.yaml
	@$(E2E) kubectl wait --for=condition=Ready brokercluster/orders --timeout=3m
	@echo "kubectl: $(E2E) kubectl …"
	@echo "clients: $(E2E) client PROGRAM …, the master is orders-a:61613"
	@echo "remove it: make cluster-down"

cluster-down: ## remove that Kubernetes, or what a crash left of it
	@$(E2E) down

model: ## the protocol's model, whole quick suite
	@$(MODEL) suite

model-small:
	@$(MODEL) suite small

fuzz: ## every fuzz target: FUZZ_SECONDS=300 each
	@tools/prerequisites test
	@tools/fuzz $(CACHE_DIR) $(FUZZ_SECONDS) $(FUZZ_DIRS)

deny: ## licences, sources, duplicates and advisories by cargo-deny
	@tools/deny $(CACHE_DIR) $(DENY_CHECKS)

clean-cache: ## remove all that was built and fetched
	@case "$(CACHE_DIR)" in */tandemmq) rm -rf -- "$(CACHE_DIR)" ;; \
		*) echo "$(CACHE_DIR) does not end in /tandemmq, not removed" >&2; exit 1 ;; esac
