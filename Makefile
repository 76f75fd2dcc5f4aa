# Everything runs with the pinned Node in node_modules; the Node of the machine only starts npm.
NODE := node_modules/.bin/node
SHELL := /bin/sh
.DEFAULT_GOAL := help

SOURCES := $(shell find src proto scripts -type f 2>/dev/null) package.json LICENSE
PACKAGING := $(shell find packaging systemd -type f 2>/dev/null) $(shell find docs -type f) $(wildcard *.md)
BINARIES := dist/bin/trousseau-linux-x64 dist/bin/trousseau-linux-arm64

# git refuses a checkout of somebody else's, which root has in CI, and then nothing knows which commit it is of.
GIT_SETTINGS := $(or $(GIT_CONFIG_COUNT),0)
export GIT_CONFIG_COUNT := $(shell expr $(GIT_SETTINGS) + 1)
export GIT_CONFIG_KEY_$(GIT_SETTINGS) := safe.directory
export GIT_CONFIG_VALUE_$(GIT_SETTINGS) := $(CURDIR)

# In the order in which they stand: a machine is made fit before anything is built on it.
.NOTPARALLEL:

.PHONY: help
help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

node_modules/.installed: package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	$(NODE) scripts/fetch-runtimes.ts
	@touch $@

# The commit that is built; newer only where it is another one.
build/commit: FORCE
	@mkdir -p $(@D)
	@commit=$${TROUSSEAU_COMMIT:-$$(git rev-parse --short=12 HEAD || echo unknown)}; \
	  [ "$$commit" = "$$(cat $@ 2>/dev/null)" ] || echo "$$commit" > $@

.PHONY: FORCE
FORCE:

.PHONY: generate
generate: node_modules/.installed ## Write what is made from proto/ and from the configuration's schema
	$(NODE) scripts/generate-codecs.ts
	$(NODE) scripts/generate-json-schema.ts
	$(NODE) scripts/generate-limits.ts

dist/trousseau: node_modules/.installed build/commit $(SOURCES)
	$(NODE) scripts/generate-codecs.ts
	$(NODE) scripts/build-bundle.ts
	@touch $@

.PHONY: build
build: dist/trousseau ## Leave dist/trousseau, runnable from anywhere

$(BINARIES) &: node_modules/.installed build/commit $(SOURCES)
	$(NODE) scripts/build-binary.ts

.PHONY: binary
binary: $(BINARIES) ## Leave dist/bin/trousseau-linux-x64 and -arm64, one file each

.PHONY: install
install: dist/trousseau ## Install it below /opt with units and user, without a package, as root; make uninstall removes it
	$(NODE) scripts/install.ts

.PHONY: uninstall
uninstall: node_modules/.installed
	$(NODE) scripts/install.ts remove

.PHONY: demo
demo: dist/trousseau ## See it work with a local keyring, in seconds
	@$(NODE) scripts/demo.ts

.PHONY: lint
lint: node_modules/.installed ## Format, lint, import directions, types (Node and Deno), generated files
	node_modules/.bin/biome check --error-on-warnings .
	node_modules/.bin/tsc -p .
	$(NODE) scripts/generate-codecs.ts --check
	$(NODE) scripts/generate-json-schema.ts --check
	$(NODE) scripts/generate-limits.ts --check
	$(NODE) scripts/check-deno.ts

.PHONY: test-unit
test-unit: lint dist/trousseau ## All that needs no Go, no real servers and no root
	@echo 'left out: the suites vault, faults, robustness and e2e (need Go), package (needs root on Debian or Ubuntu); make test runs them'
	$(NODE) scripts/test.ts unit
	$(NODE) scripts/test.ts daemon

.PHONY: test-machine
test-machine: node_modules/.installed ## Install the tools that the package tests call (not Go), or say what is missing
	$(NODE) scripts/test-machine.ts

.PHONY: test
test: test-machine lint dist/trousseau $(BINARIES) dist/packages/.made ## Everything: real Vault, etcd, kube-apiserver (needs Go), packages and units (needs root)
	$(NODE) scripts/build-test-servers.ts
	$(NODE) scripts/test.ts unit
	$(NODE) scripts/test.ts robustness e2e package faults vault daemon races

.PHONY: test-packages
test-packages: test-machine dist/trousseau $(BINARIES) dist/packages/.made ## Executables, packages and units in real Debian trees (needs root and Go)
	$(NODE) scripts/build-test-servers.ts vault-newest kube-apiserver etcd kubeadm kubectl k3s-config
	$(NODE) scripts/test.ts package

.PHONY: test-field
test-field: test-machine dist/trousseau $(BINARIES) dist/packages/.made ## Virtual machines, kubelet and k3s, an hour or two (needs root and Go)
	$(NODE) scripts/test-machine.ts field
	$(NODE) scripts/build-test-servers.ts vault-newest kms-client-1.36 kube-apiserver etcd kubeadm kubectl kubelet k3s
	$(NODE) scripts/test.ts field

.PHONY: bench
bench: dist/trousseau ## Measure, beside PEERS='NAME=COMMAND' if given, and write docs/benchmarks.md
	$(NODE) scripts/build-test-servers.ts vault-newest toxiproxy kms-client-1.36
	$(NODE) test/bench/main.ts --peer "$(PEERS)"

.PHONY: bench-against
bench-against: dist/trousseau ## CPU and memory for each call beside BASE=<dist/trousseau of another commit>, which is built there before
	$(NODE) scripts/build-test-servers.ts vault-newest kms-client-1.36
	$(NODE) test/bench/against.ts "$(BASE)"

.PHONY: bench-executables
bench-executables: test-machine $(BINARIES) dist/packages/.made ## Size, hashes and starts of what is shipped, into docs/benchmarks.md
	$(NODE) test/bench/executables.ts

.PHONY: fuzz
fuzz: dist/trousseau ## Drive its socket with random HTTP/2 for MINUTES=10, from SEED= or a new one, which is printed
	$(NODE) test/fuzz/main.ts --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED))

.PHONY: bounds
bounds: dist/trousseau ## Flood it beyond each row of docs/limits.md for SECONDS=5, and say how long Status took meanwhile
	$(NODE) test/bounds/main.ts --seconds $(or $(SECONDS),5) $(if $(ROW),--row '$(ROW)')

.PHONY: soak
soak: dist/trousseau ## Drive it for MINUTES=10 on a real Vault, and fail where something grows or is wrong
	$(NODE) scripts/build-test-servers.ts vault-newest
	$(NODE) test/soak/main.ts --minutes $(or $(MINUTES),10)

.PHONY: robustness
robustness: dist/trousseau ## Three plugins on a Vault of three servers under faults for MINUTES=30, chosen by SEED; the history is checked
	$(NODE) scripts/build-test-servers.ts vault-newest toxiproxy kms-client-1.36 kms-client-1.27
	$(NODE) test/robustness/main.ts --minutes $(or $(MINUTES),30) $(if $(SEED),--seed $(SEED))

.PHONY: races
races: dist/trousseau ## Starts, stops and kills of many processes on one socket for ROUNDS=1000, chosen by SEED
	$(NODE) test/races/main.ts --rounds $(or $(ROUNDS),1000) $(if $(SEED),--seed $(SEED))

dist/packages/.made: $(BINARIES) $(PACKAGING)
	$(NODE) scripts/build-packages.ts
	@touch $@

.PHONY: packages
packages: dist/packages/.made ## Leave RPM and Debian packages for both architectures in dist/packages

# These two trust nothing that was made before.
.PHONY: release
release: node_modules/.installed ## Leave signed packages and repositories in dist/release (TROUSSEAU_SIGNING_KEY names the key)
	$(NODE) scripts/build-binary.ts
	$(NODE) scripts/build-packages.ts
	$(NODE) scripts/release.ts

.PHONY: verify-release
verify-release: node_modules/.installed ## Check the signatures of RELEASE=dist/release; where they are right, build again and compare
	$(NODE) scripts/release/verify.ts --build --release '$(or $(RELEASE),dist/release)' $(if $(KEY),--key '$(KEY)')

.PHONY: clean
clean: ## Remove what was built
	rm -rf dist build
