# `make help` lists the commands. Each one can be run first on a fresh clone.
SWIFT ?= swift
# Suites share processors, ports and descriptor limits: never in parallel.
TEST = $(SWIFT) test --disable-xctest --no-parallel
RELEASE = $(SWIFT) build --configuration release
EXAMPLES = $(RELEASE) --package-path Examples --scratch-path .build/examples
BENCHMARKS = $(RELEASE) --package-path Benchmarks --scratch-path .build/benchmarks
FORMATTED = Package.swift Sources Tests \
	$(wildcard Examples/Package.swift Examples/Sources Examples/Tests Benchmarks/Package.swift)

SEEDS ?= 2000
FIRST ?= 1
SEED ?=
BENCH ?= --rounds 12 --seconds 3

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build test test-unit tidy examples release demo guards planted-bugs seeds seed \
	tsan asan bench bench-kv fuzz format lint docs clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile \
		| awk -F'|' '{ printf "make %-13s %s\n", $$1, $$2 }'

setup: ## install what is missing
	@Scripts/setup

build: setup ## debug build of the library and its tests
	$(SWIFT) build --build-tests --disable-xctest

test: setup examples ## every suite, then the guards on what a request may cost
	$(TEST)
	$(TEST) --package-path Examples --scratch-path .build/examples
	Scripts/guards

test-unit: ## the pure parts only: seconds
	$(TEST) --filter EventLoopTests

tidy: ## layout, words, documentation, imports
	$(TEST) --filter TidyTests

examples: setup ## release builds of the servers and load generators in .build/bin
	$(EXAMPLES) --product echo-server
	$(EXAMPLES) --product kv-server
	$(BENCHMARKS)
	@mkdir -p .build/bin
	install "$$($(EXAMPLES) --show-bin-path)/echo-server" .build/bin/
	install "$$($(EXAMPLES) --show-bin-path)/kv-server" .build/bin/
	install "$$($(BENCHMARKS) --show-bin-path)/load-client" .build/bin/
	install "$$($(BENCHMARKS) --show-bin-path)/c-epoll-echo" .build/bin/

release: setup ## release build of the library; warnings are errors
	$(RELEASE)

demo: setup examples ## the echo server under load: one table
	Scripts/demo

guards: setup examples ## instructions, allocations and system calls of one request
	Scripts/guards

planted-bugs: setup ## plant known bugs one by one; each must make a test fail
	Scripts/planted-bugs

seeds: ## simulate SEEDS=2000 runs from FIRST=1
	MILLRACE_SEEDS=$(SEEDS) MILLRACE_SEED_FIRST=$(FIRST) $(TEST) --filter SimulationTests

seed: ## replay one run: make seed SEED=17
	@test -n "$(SEED)" || { echo "which one? make seed SEED=17" >&2; exit 2; }
	MILLRACE_SEED=$(SEED) $(TEST) --filter SimulationTests

tsan: setup ## every suite under the thread sanitizer
	MILLRACE_TEST_PATIENCE=120 $(TEST) --sanitize=thread --scratch-path .build/tsan --skip TidyTests

asan: setup ## every suite under the address sanitizer
	MILLRACE_TEST_PATIENCE=120 $(TEST) --sanitize=address --scratch-path .build/asan --skip TidyTests

bench: setup examples ## time per request against the C server; BENCH="--rounds 3" is quicker
	Benchmarks/compare $(BENCH) --b '.build/bin/c-epoll-echo {port}' \
		--a '.build/bin/echo-server --backend epoll --listen tcp://127.0.0.1:{port} --loops 1'

bench-kv: setup examples ## kv-server beside redis-server, which must be installed
	Benchmarks/compare-kv

fuzz: setup ## look for trouble in kv-server's parser; FUZZ_SECONDS=60 looks longer
	Scripts/fuzz-resp

format: ## rewrite the Swift files in the house style
	$(SWIFT) format --in-place --parallel --recursive $(FORMATTED)

lint: ## say what `make format` would change, and more
	$(SWIFT) format lint --strict --parallel --recursive $(FORMATTED)

docs: ## reference documentation of NetAPI in .build/docs
	$(SWIFT) build --target NetAPI --scratch-path .build/symbols \
		-Xswiftc -emit-symbol-graph -Xswiftc -emit-symbol-graph-dir -Xswiftc .build/symbols
	mkdir -p .build/symbols/netapi && cp .build/symbols/NetAPI.symbols.json .build/symbols/netapi/
	docc convert --additional-symbol-graph-dir .build/symbols/netapi --output-path .build/docs \
		--fallback-display-name NetAPI --fallback-bundle-identifier millrace.NetAPI

clean: ## remove everything that was built
	rm -rf .build
