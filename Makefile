# Everything runs with the pinned Node in node_modules; the Node of the machine only starts npm.
NODE := node_modules/.bin/node
SHELL := /bin/sh
.DEFAULT_GOAL := help

SOURCES := $(shell find src proto scripts -type f 2>/dev/null) package.json

.PHONY: help
help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

node_modules/.installed: package.json package-lock.json
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

.PHONY: generate
generate: node_modules/.installed ## Write what is made from proto/ and from the configuration's schema
	$(NODE) scripts/generate-codecs.ts
	$(NODE) scripts/generate-json-schema.ts

dist/trousseau: node_modules/.installed $(SOURCES)
	$(NODE) scripts/generate-codecs.ts
	$(NODE) scripts/build-bundle.ts
	@touch $@

.PHONY: build
build: dist/trousseau ## Leave dist/trousseau, runnable from anywhere

dist/bin/trousseau-linux-x64: node_modules/.installed $(SOURCES)
	$(NODE) scripts/build-binary.ts

.PHONY: binary
binary: dist/bin/trousseau-linux-x64 ## Leave dist/bin/trousseau-linux-x64 and -arm64, one file each

.PHONY: demo
demo: dist/trousseau ## See it work with a local keyring, in seconds
	@$(NODE) scripts/demo.ts

.PHONY: lint
lint: node_modules/.installed ## Format, lint, import directions, types (Node and Deno), generated files
	node_modules/.bin/biome check --error-on-warnings .
	node_modules/.bin/tsc -p .
	$(NODE) scripts/generate-codecs.ts --check
	$(NODE) scripts/generate-json-schema.ts --check
	$(NODE) scripts/check-deno.ts

.PHONY: test-unit
test-unit: lint dist/trousseau ## All that needs no Go and no real servers
	$(NODE) scripts/test.ts unit
	$(NODE) scripts/test.ts daemon

.PHONY: test
test: lint dist/trousseau ## Everything, with real Vault, etcd and kube-apiserver (needs Go)
	$(NODE) scripts/build-test-servers.ts
	$(NODE) scripts/test.ts unit
	$(NODE) scripts/test.ts daemon vault faults e2e

.PHONY: test-packages
test-packages: dist/trousseau ## Executables, packages and units in real Debian trees (needs root, mmdebstrap, systemd-nspawn)
	$(NODE) scripts/test.ts package

.PHONY: bench
bench: dist/trousseau ## Measure, beside PEERS='NAME=COMMAND' if given, and write docs/benchmarks.md
	$(NODE) scripts/build-test-servers.ts vault-newest toxiproxy kms-client-1.36
	$(NODE) test/bench/main.ts --peer "$(PEERS)"

.PHONY: soak
soak: dist/trousseau ## Drive it for MINUTES=10 on a real Vault, and fail where something grows or is wrong
	$(NODE) scripts/build-test-servers.ts vault-newest
	$(NODE) test/soak/main.ts --minutes $(or $(MINUTES),10)

.PHONY: packages
packages: node_modules/.installed ## Leave RPM and Debian packages for both architectures in dist/packages
	$(NODE) scripts/build-binary.ts
	$(NODE) scripts/build-packages.ts

.PHONY: release
release: packages ## Leave signed packages and repositories in dist/release (TROUSSEAU_SIGNING_KEY names the key)
	$(NODE) scripts/release.ts

.PHONY: verify-release
verify-release: node_modules/.installed ## Check the signatures of RELEASE=dist/release, build again and compare
	$(NODE) scripts/build-binary.ts
	$(NODE) scripts/release/verify.ts --release $(or $(RELEASE),dist/release) $(if $(KEY),--key $(KEY))

.PHONY: clean
clean: ## Remove what was built
	rm -rf dist build
