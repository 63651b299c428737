# The commands, which `make help` lists. Each one can be run first on a fresh clone.
SWIFT ?= swift
# Without the check, an undeclared import compiles if the module that it names is built first.
DECLARED = --explicit-target-dependency-import-check error
# Suites share processors, ports and descriptor limits, so they never run in parallel.
TEST = $(SWIFT) test --disable-xctest --no-parallel $(DECLARED)
RELEASE = $(SWIFT) build --configuration release $(DECLARED)
EXAMPLES = $(RELEASE) --package-path Examples --scratch-path .build/examples
BENCHMARKS = $(RELEASE) --package-path Benchmarks --scratch-path .build/benchmarks
# The suites of Examples, against servers that are built with the same sanitizer. Its shadow memory
# counts as resident too, so the test of a server's resident memory is skipped.
SANITIZED = \
	MILLRACE_TEST_PATIENCE=240 \
	MILLRACE_HTTP_SERVER=$(CURDIR)/.build/$(2)-examples/debug/http-server \
	MILLRACE_KV_SERVER=$(CURDIR)/.build/$(2)-examples/debug/kv-server \
	MILLRACE_CHAT=$(CURDIR)/.build/$(2)-examples/debug/chat \
	MILLRACE_RPC_SERVER=$(CURDIR)/.build/$(2)-examples/debug/rpc-server \
	MILLRACE_RPC_CLIENT=$(CURDIR)/.build/$(2)-examples/debug/rpc-client \
	$(TEST) --sanitize=$(1) --package-path Examples --scratch-path .build/$(2)-examples \
	--skip whoNeverReadsCostsBoundedMemory
# Suites of a connection's behaviour that one with TLS must have too: the short ones for each
# change. A flush inside a callback is left out: the first may wait for tickets that are being sent.
TLS_SUITES = Closing|HalfClose|Writing|PreWrite|Proxied|Proxy|Throwing
MORE_TLS_SUITES = \
	Action|Async|BrokenPipe|Client|Drain|Echo|Frame|Handle|Integer|LateReader|Offload|Pause|Reading
TLS_TEST = MILLRACE_TEST_TLS=1 $(TEST) --skip-build --skip flushSendsBeforeTheCallbackReturns \
	--filter 'NetAPITests\.($(1))'
# Shows the output of a command only if it fails.
QUIETLY = log=$$(mktemp); $(1) >"$$log" 2>&1 || { cat "$$log" >&2; rm "$$log"; exit 1; }; rm "$$log"
# Checks the C over liburing against the names of liburing 2.8 and later.
NEWER_LIBURING = $(CC) -std=gnu11 -fsyntax-only -Wall -Wextra -Werror '-D__builtin_assume(x)=' \
	-I Tests/newer-liburing -I Sources/CURing/include -I Sources/CLinux/include \
	Sources/CURing/CURing.c
FORMATTED = Package.swift Sources Tests \
	$(wildcard Examples/Package.swift Examples/Sources Examples/Tests Benchmarks/Package.swift \
		Benchmarks/Peers/Package.swift Benchmarks/Peers/Sources)

EXAMPLE_PROGRAMS = echo-server task-echo http-server kv-server chat proxy blocking-echo udp-echo \
	rpc-server rpc-client fairness-server soak-server stress
BENCHMARK_PROGRAMS = load-client c-epoll-echo c-uring-echo c-udp-echo c-fixed-reply \
	c-uring-trial c-tls-echo tls-load-client

SEEDS ?= 2000
FIRST ?= 1
SEED ?=
SECONDS ?= 60
STRESS ?=
TLS_PEERS ?=
BENCH ?= run
RECORD ?=
GATE ?= --rounds 12 --seconds 3
KERNELS ?=
RESTART ?=
MINUTES ?= 30
RELIABILITY ?=
API ?=

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help setup build test test-tls test-unit test-examples test-bench fuzz tidy examples \
	release conformance demo guards hostile tls-peers browser planted-bugs stress soak kernels \
	reliability rolling-restart seeds seed tsan asan peers bench bench-record bench-gate format \
	lint docs api clean

help: ## list the commands
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/\1|\2/p' Makefile \
		| awk -F'|' '{ printf "make %-15s %s\n", $$1, $$2 }'

setup: ## install what is missing
	@Scripts/setup

build: setup ## debug build of the library and its tests
	$(SWIFT) build --build-tests --disable-xctest $(DECLARED)

test: setup examples ## every suite, then the guards on the cost of a request
	$(NEWER_LIBURING)
	$(TEST)
	$(call TLS_TEST,$(TLS_SUITES))
	$(TEST) --package-path Examples --scratch-path .build/examples
	Scripts/api --built
	python3 -m unittest discover -s Scripts/tests
	python3 -m unittest discover -s Benchmarks/tests
	Scripts/guards

test-unit: setup ## the pure parts only: seconds
	$(TEST) --filter EventLoopTests

test-tls: setup ## the behaviour of connections, over TLS
	$(SWIFT) build --build-tests --disable-xctest $(DECLARED)
	$(call TLS_TEST,$(TLS_SUITES)|$(MORE_TLS_SUITES)|Listening|SameBehaviour|Task)

test-examples: setup examples ## the codecs and the programs of Examples only
	$(TEST) --package-path Examples --scratch-path .build/examples

test-bench: setup examples ## tests of the load client and the runner: seconds
	python3 -m unittest discover -s Benchmarks/tests

fuzz: setup ## fuzz the HTTP, the Redis and the WebSocket codec, each for SECONDS=60
	Scripts/fuzz http $(SECONDS)
	Scripts/fuzz resp $(SECONDS)
	Scripts/fuzz websocket $(SECONDS)

tidy: setup ## layout, words, documentation, imports
	$(TEST) --filter TidyTests

examples: setup ## release builds of every example and benchmark program in .build/bin
	$(EXAMPLES)
	$(BENCHMARKS)
	@mkdir -p .build/bin
	cd "$$($(EXAMPLES) --show-bin-path)" && install $(EXAMPLE_PROGRAMS) $(CURDIR)/.build/bin/
	cd "$$($(BENCHMARKS) --show-bin-path)" && install $(BENCHMARK_PROGRAMS) $(CURDIR)/.build/bin/

release: setup ## release build of the library; warnings are errors
	$(RELEASE)

conformance: setup examples ## the tests of each behaviour, by backend and number of loops
	Scripts/conformance

demo: ## the echo server under load: one table
	@Scripts/setup demo
	@echo "demo: building echo-server and load-client" >&2
	@$(call QUIETLY,$(EXAMPLES) --product echo-server)
	@$(call QUIETLY,$(BENCHMARKS) --product load-client)
	@mkdir -p .build/bin
	@install "$$($(EXAMPLES) --show-bin-path)/echo-server" \
		"$$($(BENCHMARKS) --show-bin-path)/load-client" .build/bin/
	@Scripts/demo

guards: setup examples ## cost of a request and a connection: instructions, system calls
	Scripts/guards

hostile: setup examples ## answers of http-server and kv-server to hostile input: two tables
	@rm -f .build/hostile.md
	MILLRACE_HOSTILE_TABLE=$(CURDIR)/.build/hostile.md $(TEST) --package-path Examples \
		--scratch-path .build/examples --filter HostileInputTests
	@cat .build/hostile.md

tls-peers: setup examples ## TLS programs of other authors against the servers; TLS_PEERS=--long
	Scripts/tls-peers $(TLS_PEERS)

browser: setup examples ## the page of chat in two headless Chromiums, which it installs
	@Scripts/setup browser
	Scripts/browser

stress: setup examples ## the public API at random, strictly accounted; STRESS="--seed 7"
	.build/bin/stress --seconds $(SECONDS) --backend epoll $(STRESS)
	.build/bin/stress --seconds $(SECONDS) --backend io_uring $(STRESS)

soak: setup examples ## everything at once for MINUTES=30: servers' resources stay flat
	Scripts/soak --minutes $(MINUTES)

reliability: setup ## checks too long for each change: hours; RELIABILITY="--only soak"
	Scripts/reliability $(RELIABILITY)

rolling-restart: examples ## restarts under load, with HAProxy and without: failed requests
	@Scripts/setup rolling-restart
	Scripts/rolling-restart $(RESTART)

kernels: setup examples ## the tests on Linux 6.1, 6.12 and here; KERNELS="--kernel 6.1"
	@Scripts/setup kernels
	$(SWIFT) build --build-tests --disable-xctest $(DECLARED)
	Scripts/kernels $(KERNELS)

planted-bugs: setup ## plant known bugs one by one; each must make a test fail
	Scripts/planted-bugs

seeds: setup ## simulate SEEDS=2000 runs from FIRST=1
	MILLRACE_SEEDS=$(SEEDS) MILLRACE_SEED_FIRST=$(FIRST) $(TEST) --filter SimulationTests

seed: setup ## replay one run: make seed SEED=17
	@test -n "$(SEED)" || { echo "which one? make seed SEED=17" >&2; exit 2; }
	MILLRACE_SEED=$(SEED) $(TEST) --filter SimulationTests

# Threads that still run when a test's process ends are not a leak of the library.
tsan: setup ## every suite under the thread sanitizer
	MILLRACE_TEST_PATIENCE=120 TSAN_OPTIONS=report_thread_leaks=0 \
		$(TEST) --sanitize=thread --scratch-path .build/tsan --skip TidyTests
	TSAN_OPTIONS=report_thread_leaks=0 $(call SANITIZED,thread,tsan)

asan: setup ## every suite under the address sanitizer
	MILLRACE_TEST_PATIENCE=120 $(TEST) --sanitize=address --scratch-path .build/asan --skip TidyTests
	$(call SANITIZED,address,asan)

peers: setup examples ## build servers of other libraries, for bench to measure
	Benchmarks/peers

bench: setup examples ## servers beside each other: 5 minutes; BENCH=http; BENCH=--help lists all
	Benchmarks/bench $(BENCH)

bench-record: setup examples peers ## the figures of README, into Benchmarks/results: 20 minutes
	Benchmarks/bench run --preset record --rounds 5 --counts --out Benchmarks/results $(RECORD)

bench-gate: setup examples ## both backends beside C, precisely; GATE="--rounds 3" is quicker
	Benchmarks/bench compare $(GATE)

format: ## rewrite the Swift files in the house style
	$(SWIFT) format --in-place --parallel --recursive $(FORMATTED)

lint: ## report what `make format` would change, and more
	$(SWIFT) format lint --strict --parallel --recursive $(FORMATTED)

docs: setup ## reference documentation of the five products in .build/docs
	Scripts/docs

api: setup ## the public declarations beside their record; API=--record rewrites it
	Scripts/api $(API)

clean: ## remove everything that was built
	rm -rf .build
