# A bare `make` lists the targets. Needed: Go, and a C compiler for the race detector.

SHELL      := bash
.SHELLFLAGS := -eu -o pipefail -c

GO       ?= go
FUZZTIME ?= 20s
COUNT    ?= 10
# The tools have a go.mod of their own, so that they never decide a version of the program's.
TOOL      = $(GO) tool -modfile=tools.mod
BENCHTOOL = $(GO) run ./internal/benchtool

.DEFAULT_GOAL := help
.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: check build test lint fmt golden fuzz cover tidy clean
check: ## what the gate runs: .ci/run
	bash .ci/run

build: ## bin/batchrun
	$(GO) build -trimpath -o bin/ ./cmd/batchrun

test: ## all tests with the race detector, in random order
	$(GO) test -race -shuffle=on ./...

lint: ## go vet for Linux and Windows, gofumpt, golangci-lint
	$(GO) vet ./...
	GOOS=windows $(GO) vet ./...
	@out="$$($(TOOL) gofumpt -l .)"; test -z "$$out" || { echo "run make fmt:"; echo "$$out"; exit 1; }
	$(TOOL) golangci-lint run --timeout=15m

fmt: ## gofumpt over every file
	$(TOOL) gofumpt -w .

golden: ## rewrite the golden files of every package that has them; review them as a diff
	@for p in $$(grep -rl --include='*_test.go' 'flag.Bool("update"' . | xargs -r -n1 dirname | sort -u); do \
		echo "$(GO) test $$p -update"; $(GO) test "$$p" -update || exit 1; done

fuzz: ## every fuzz target for FUZZTIME (20s each), one after the other
	@for p in $$($(GO) list ./...); do \
		for f in $$($(GO) test -list '^Fuzz' "$$p" | grep '^Fuzz' || true); do \
			echo "$$p $$f"; \
			$(GO) test -run '^$$' -fuzz "^$$f\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 100x "$$p" || exit 1; \
		done; \
	done

cover: ## coverage of all packages by all tests, coverage.html
	$(GO) test -coverpkg=./... -coverprofile=coverage.out ./...
	$(GO) tool cover -html=coverage.out -o coverage.html
	@$(GO) tool cover -func=coverage.out | tail -1

tidy: ## go.mod and go.sum from the imports
	$(GO) mod tidy

clean: ## what the targets above leave behind
	rm -rf bin coverage.out coverage.html bench.txt bench.new.txt

.PHONY: bench bench-memory bench-clock bench-cost bench-stream bench-all bench-quota quota gsm8k kill spend storm duckdb js
bench: ## Go benchmarks, COUNT (10) runs each, through benchstat; OLD=bench.txt compares with the last time
	$(GO) test -run '^$$' -bench . -benchmem -count $(COUNT) ./... | tee bench.new.txt
	$(TOOL) benchstat $(OLD) bench.new.txt
	@mv bench.new.txt bench.txt

bench-memory: ## peak memory does not depend on the length of the input
	$(BENCHTOOL) memory

bench-clock: ## first-token latency as measured against the truth of the simulator
	$(BENCHTOOL) clock

bench-cost: ## what a call and a chunk cost the client
	$(BENCHTOOL) cost

bench-stream: ## what reading a chunk takes in every family, and a chunk of a run, beside the SDK
	$(BENCHTOOL) stream

quota: ## four rows of make bench-quota once for real: the command against the simulator's quotas, 11 minutes
	$(BENCHTOOL) quota

bench-all: ## every benchmark and torment here, with a summary
	$(BENCHTOOL) all

bench-quota: ## the limiter against a model of the service, in what must be reached and beside others; ARGS='-rows halves -seeds 1'
	$(GO) test -count=1 -timeout 40m ./internal/lab -run '^TestTable$$' -v -table $(ARGS)

gsm8k: ## the 1,319 questions of GSM8K through the simulator, to JSONL and Parquet; DATA=../shared/data
	$(BENCHTOOL) gsm8k -data $(or $(DATA),../shared/data)

duckdb: ## the same, and the Parquet file read back by DuckDB (needs node and npm)
	$(BENCHTOOL) gsm8k -duckdb -data $(or $(DATA),../shared/data)

kill: ## kill -9 a run again and again, then verify that nothing is lost or twice
	$(BENCHTOOL) kill

spend: ## runs with --max-cost, failures and kills, against the server's own count of tokens; what a bound takes (ARGS='-n 0': only that)
	$(BENCHTOOL) spend $(ARGS)

storm: ## every fault the simulator knows at once, then verify
	$(BENCHTOOL) storm

js: ## the AWS SDK for JavaScript reads the simulator's streams (needs node and npm)
	$(BENCHTOOL) js
