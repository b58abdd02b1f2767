# SPDX-License-Identifier: Apache-2.0
# `make` alone prints what there is. The two that matter: `make demo`, `make test`.

SHELL       := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS   += --no-print-directory

GO      ?= go
VERSION ?= $(shell git describe --tags --always --dirty 2>/dev/null || echo unknown)
LDFLAGS := -s -w -X main.version=$(VERSION)
# What `make test` tests, and how: make test PKG=./internal/vpc RACE=1 NO_SKIPS=1
PKG      ?= ./...
RACE     ?=
NO_SKIPS ?=
FUZZTIME ?= 1m

.PHONY: help
help: ## print this list
	@awk -F':.*## ' '/^##@ / { printf "\n%s\n", substr($$0, 5) } /^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

##@ Use
.PHONY: build
build: ## bin/postern and bin/postern-s3, static
	@CGO_ENABLED=0 $(GO) build -trimpath -ldflags "$(LDFLAGS)" -o bin/postern ./cmd/postern
	@cd backends/s3 && CGO_ENABLED=0 $(GO) build -trimpath -ldflags "-s -w" -o ../../bin/postern-s3 .

.PHONY: deps
deps: ## install what running and testing needs (Debian, Ubuntu; as root), quiet when nothing is missing
	@scripts/deps.sh base

.PHONY: demo
demo: deps build ## the main job with the AWS command line, every step checked and timed (as root)
	@CGO_ENABLED=0 $(GO) build -trimpath -o bin/demo-httpd ./test/demo/httpd
	@test/demo/demo.sh

##@ Test
# The clients of test/compat and the server for test/dns are installed when
# their tests are to run.
.PHONY: test-deps
test-deps:
	@scripts/deps.sh base $(if $(filter ./... ./test/...,$(PKG))$(findstring compat,$(PKG))$(findstring test/dns,$(PKG)),compat)

.PHONY: test
test: test-deps build ## unit, kernel and end-to-end tests; without root those that need it skip, counted by reason
	@GO="$(GO)" RACE="$(RACE)" NO_SKIPS="$(NO_SKIPS)" scripts/test.sh $(PKG)

.PHONY: test-long
test-long: test-deps build ## make test with the race detector and the long tests, then every fuzz test for FUZZTIME, then planted bugs in the C (as root)
	@GO="$(GO)" RACE=1 NO_SKIPS="$(NO_SKIPS)" POSTERN_LONG_TESTS=1 scripts/test.sh $(PKG)
	@GO="$(GO)" scripts/fuzz.sh $(FUZZTIME)
	@[ "$$EUID" -ne 0 ] || { scripts/deps.sh base dev; $(GO) run ./test/mutants; }

.PHONY: bench
bench: build ## ratios: packets against a plain veth, nftables, HAProxy and nginx, the API against moto and etcd, the resolver against CoreDNS and unbound, the edge against nginx and HAProxy, policy decisions against Cedar and OPA; writes dated JSON (as root)
	@scripts/deps.sh base bench
	@$(GO) run ./test/bench $(BENCHFLAGS)
	@$(GO) run ./test/bench/api $(APIBENCHFLAGS)
	@$(GO) run ./test/bench/dns $(DNSBENCHFLAGS)
	@$(GO) run ./test/bench/edge $(EDGEBENCHFLAGS)
	@cd test/policybench && $(GO) test -bench . -benchmem -count 5

##@ Change
.PHONY: generate
generate: ## eBPF objects, their Go bindings, generated documents (needs clang 19; installs it)
	@scripts/deps.sh base dev
	@GO="$(GO)" scripts/generate.sh

.PHONY: check
check: fmt vet staticcheck rules ## formatting, vet, staticcheck, the repository's rules

.PHONY: lint
lint: vet staticcheck ## vet and staticcheck

.PHONY: fmt
fmt: ## fail if a Go file is not formatted
	@bad=$$(gofmt -l bpf cmd internal test backends examples); [ -z "$$bad" ] || { echo "not formatted, run gofmt -w:"; echo "$$bad"; exit 1; }

.PHONY: vet
vet: ## go vet in every module
	@$(GO) vet ./...
	@cd backends/s3 && $(GO) vet ./...
	@cd examples/go && $(GO) vet ./...
	@cd test/policybench && $(GO) vet ./...

.PHONY: staticcheck
staticcheck: ## staticcheck, the version that tools/go.mod names
	@cd tools && $(GO) build -o ../bin/tools/ honnef.co/go/tools/cmd/staticcheck
	@bin/tools/staticcheck ./...

.PHONY: rules
rules: ## import rules, licences, sources: internal/repocheck
	@$(GO) test -count=1 ./internal/repocheck/...

.PHONY: clean
clean: ## remove what the build made
	@rm -rf bin
