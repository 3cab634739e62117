# One word for each intent; CI calls the same.
#
#   make demo           the whole story on real Ceph and real etcd
#                       (make demo CLOUD=cinder: through a real Cinder and its clients; CLOUD=nova: servers that come back, on a real Nova)
#   make demo-embedded  the same in seconds, with no server
#   make test           everything that has to pass before a change lands
#   make test-all       that, and the servers' whole stories on a real Nova in each zone and the lab's own tests, which is half an hour more and not part of CI
#   make test-debian    the Cinder of Debian's packages with our driver, in a lab: failover-host and back
#   make test-shim      the Cinder driver's own tests, and Cinder's tests of its RBD driver on it; openstackclient's plugin's
#   make explore        the protocol's exploration with one fault more than in the tests, and property tests with many new cases
#   make bench          failover speed beside a shell loop, to target/bench/failover.json; then bench-servers
#   make bench-servers  what a runbook costs beside Nova's own time, and its growth to 5000 servers, to target/bench/servers.json
#   make bench-cinder   failover-host beside Cinder's own RBD driver, to target/bench/cinder.json
#   make bench-gateway  the gateway beside nginx, in front of a stub and of a real Cinder, to target/bench/gateway.json
#   make lint           formatting, clippy, the documentation's links, licences and sources; ruff and mypy for the Cinder driver and the plugin
#   make lab-up         both zones on this machine, to try things on; make lab-down takes them away
#                       (make lab-up CLOUD=cinder: with a real Keystone and Cinder in each; CLOUD=nova: with a Nova too)

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help demo demo-embedded test test-first test-second test-third test-nova test-all test-shim build-and-test-shim test-debian lint bench bench-cinder bench-gateway bench-servers explore lab-up lab-down packages packages-build packages-cinder packages-bench packages-nova nextest

LAB := target/lab

help:
	@sed -n 's/^#   //p' Makefile

packages:
	@devstack/packages.sh lab
packages-cinder:
	@devstack/packages.sh cinder
	@devstack/venv.sh
packages-bench:
	@devstack/packages.sh bench
	@devstack/venv.sh
packages-nova:
	@devstack/packages.sh nova
	@devstack/venv.sh target/openstack-nova nova34
	@devstack/guest/build.sh target/openstack-nova/guest.img
packages-build:
	@devstack/packages.sh build

nextest:
	@command -v cargo-nextest >/dev/null || cargo install cargo-nextest --locked

demo: $(if $(CLOUD),packages-$(CLOUD),packages)
	cargo build --release -p rekindle-cli -p rekindle-driver -p rekindle-orchestrator -p rekindle-gateway
	target/release/rekindle demo $(if $(CLOUD),--$(CLOUD)) --report target/demo/report.json

demo-embedded: packages-build
	cargo run --release -p rekindle-cli -- demo --embedded

# The Python packages' tests take one core for five minutes, their installation waits for a network, and cargo has waits of its own.
build-and-test-shim: nextest
	@devstack/packages.sh nova
	mkdir -p target; $(MAKE) packages-nova test-shim >target/test-shim.log 2>&1 & shim=$$!; \
	  cargo build --workspace --all-targets || { kill $$shim; exit 1; }; \
	  wait $$shim && is=0 || is=$$?; cat target/test-shim.log; exit $$is

# Labs that tests need come up side by side, in about as long as the last of them takes, and heal between tests.
PLAIN_LABS := $(LAB)-test-1 $(LAB)-test-2
# A machine of half the speed has one and two tests at once: beside more, a lease runs out before its sidecar gets a turn to renew it.
ifdef SLOW
PLAIN_LABS := $(LAB)-test-1
AT_ONCE := --test-threads 2
# And it leaves more to the second half, so that CI ends within the hour.
SECOND_IF_SLOW := | binary(/^lab_(refusals|lost_ceph|schedule|mirror_faults|cinder_gateway_adds|cinder_volumes)$$/)
endif
CINDER_LAB := $(LAB)-test-3
NOVA_LAB := $(LAB)-test-4
empty :=
space := $(empty) $(empty)
# Property tests draw the same cases in each run: a change is judged by what it changes. `make explore` draws new ones.
CASES := PROPTEST_RNG_SEED=20261126
# `make test` in three parts: what CI always runs, and these two, which it runs where the machine is quick enough: with Nova, DevStack,
# the lab itself, and most with a Cinder; and the longest of those.
THIRD := binary(/^lab_cinder_(delete|two_ways)$$/)
SECOND := binary(/^lab_nova/) | (package(rekindle-lab) & kind(test)) | binary(lab_devstack) | (binary(/^lab_cinder/) & not binary(/^lab_cinder_(hooks|volumes|gateway_adds)$$/) & not ($(THIRD))) $(SECOND_IF_SLOW)
# With its labs up, one of them: $(call tests,PROFILE,WHICH TESTS,PLAIN LABS,LABS WITH CINDER,LABS WITH NOVA)
define tests
	lab=target/debug/lab; trap 'for at in $(3) $(4) $(5); do $$lab --root $$at down; done' EXIT; up=(); \
	  for at in $(3); do $$lab --root $$at up & up+=($$!); done; \
	  for at in $(4); do $$lab --root $$at up --cinder --openstack target/openstack-nova & up+=($$!); done; \
	  for at in $(5); do $$lab --root $$at up --nova & up+=($$!); done; \
	  for one in "$${up[@]}"; do wait $$one; done; \
	  $(CASES) REKINDLE_LAB=$(subst $(space),:,$(abspath $(3) $(4) $(5))) cargo nextest run --workspace --profile $(1) -E '$(2)' $(AT_ONCE)
endef

test: build-and-test-shim
	@$(MAKE) test-first
	@$(MAKE) test-second
	@$(MAKE) test-third
# What is left of `make test` once all is built.
test-first:
	$(call tests,first,not ($(SECOND) | $(THIRD)),$(PLAIN_LABS),$(CINDER_LAB))
test-second:
	$(call tests,second,$(SECOND),,$(CINDER_LAB),$(NOVA_LAB))
test-third:
	$(call tests,second,$(THIRD),,$(CINDER_LAB),$(NOVA_LAB))

test-all: test test-nova

# All tests with a real Nova, and the lab's own with a Cinder: the default profile of nextest leaves most of them out.
test-nova: packages-nova nextest
	cargo build --workspace --all-targets
	trap 'cargo run -q -p rekindle-lab -- --root $(NOVA_LAB) down' EXIT; \
	  cargo run -q -p rekindle-lab -- --root $(NOVA_LAB) up --nova; \
	  REKINDLE_LAB=$(abspath $(NOVA_LAB)) cargo nextest run --workspace --profile nova

# With Cinder from PyPI and with Debian's, each in an environment of its own under target/.
test-shim:
	@devstack/packages.sh shim
	driver/shim/check.sh test
	driver/osc/check.sh test

# Not a part of `make test`: the same driver's tests run with that release in `make test-shim`, and this unpacks two hundred
# packages and brings up a lab of its own.
DEBIAN_LAB := $(LAB)-debian
test-debian: packages-cinder nextest
	devstack/debian.sh
	cargo build -p rekindle-driver -p rekindle-orchestrator -p rekindle-cli -p rekindle-lab --bins
	trap 'cargo run -q -p rekindle-lab -- --root $(DEBIAN_LAB) down' EXIT; \
	  cargo run -q -p rekindle-lab -- --root $(DEBIAN_LAB) up --cinder --openstack target/openstack-debian; \
	  REKINDLE_LAB=$(abspath $(DEBIAN_LAB)) cargo nextest run -p rekindle-tests --test lab_cinder_debian --run-ignored all

explore: packages-build
	REKINDLE_EXPLORE_BUDGET=4 cargo test --release -p rekindle-tests --test protocol -- --nocapture
	PROPTEST_CASES=5000 cargo test --release -p rekindle-core -p rekindle-common -p rekindle-driver -p rekindle-gateway -p rekindle-orchestrator --lib

bench: packages
	cargo build --release -p rekindle-driver -p rekindle-orchestrator -p rekindle-tests --bins
	target/release/failover-bench --out target/bench/failover.json
	target/release/servers-bench --out target/bench/servers.json

bench-servers: packages
	cargo build --release -p rekindle-tests --bin servers-bench
	target/release/servers-bench --out target/bench/servers.json

bench-cinder: packages-cinder
	cargo build --release -p rekindle-driver -p rekindle-tests --bins
	target/release/cinder-bench --out target/bench/cinder.json

bench-gateway: packages-bench
	cargo build --release -p rekindle-gateway -p rekindle-driver --bins
	cargo build --release -p rekindle-tests --bin gateway-bench
	target/release/gateway-bench --real --out target/bench/gateway.json

# Advisories need a database that is fetched from the network: `cargo deny check advisories`, where there is one.
lint: packages-build
	cargo fmt --all --check
	cargo clippy --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps --quiet
	@command -v cargo-deny >/dev/null || cargo install cargo-deny --locked
	cargo deny check bans licenses sources
	@devstack/packages.sh shim
	driver/shim/check.sh lint
	driver/osc/check.sh lint

lab-up: $(if $(CLOUD),packages-$(CLOUD),packages)
	cargo run -q -p rekindle-lab -- --root $(LAB) up $(if $(CLOUD),--$(CLOUD))
lab-down:
	cargo run -q -p rekindle-lab -- --root $(LAB) down
