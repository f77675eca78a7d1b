# The two commands of the README are `make demo` and `make test`. Both work on a
# fresh Debian or Ubuntu with Go; what they install, they say.

GO      ?= go
PREFIX  ?= /usr/local
# Tests load BPF programs, make namespaces and cgroups: as root, or through sudo.
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo "sudo -E env PATH=$$PATH")

# What is a module of its own, so that its dependencies aren't everybody's.
MODULES := userspace/worker/grpcworker examples bench/peers/go

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: bin/sockdist ## build bin/sockdist

# Without cgo, so that it can give up capabilities in all of its threads; users
# of --user then come from /etc/passwd alone (docs/SECURITY.md).
bin/sockdist: FORCE
	CGO_ENABLED=0 $(GO) build -o $@ ./cmd/sockdist

.PHONY: FORCE
FORCE:

.PHONY: demo
demo: build ## see it work: the kernel's hash and sockdist side by side, ten seconds (needs root)
	$(SUDO) bin/sockdist demo

.PHONY: test
test: deps ## all tests on this machine's kernel (needs root; installs the servers that tests use)
	$(SUDO) $(GO) test -race -timeout 20m -p 2 ./...
	@set -e; for module in $(MODULES); do (set -x; cd $$module; $(SUDO) $(GO) test -race -timeout 20m -p 2 ./...); done

# Emulation is slow: the long random tests stay out, everything else of the data plane is in.
KERNELTESTS ?= EveryProgramLoads|LeastIs|TiesAre|HashIsSticky|RRGoes|FullSlots|HalfOpen|BurstSpreads|CountsFollow|CountsOfNever|CountsOfAborted|CountsWithSYN|CountsOfMoved$$|CountsOfReused|QueueMigrates|AppShares|ListenerKinds|AdoptedQueue|BPFFS|Release|Mounts|Kernel|OOM|Rescue|GoOnAfter|Backlogs|DialFinds|ReviveKeeps|Recount|SetReports|LoadOfTheNext|^TestPeer$$|^TestPidfd$$|HostileClients|ByTheHundred

.PHONY: test-kernels
test-kernels: ## loader and data plane on Linux 6.1, 6.12 and Debian's newest, under qemu
	scripts/deps kernels
	$(GO) run ./internal/kernels/cmd/kernels -timeout 8m -run '$(KERNELTESTS)' $(KERNELFLAGS) ./loader ./internal/cgroup ./userspace/sockets ./userspace/wire ./internal/kernels/selftest

CHAOSFLAGS ?= -duration 10m

.PHONY: chaos
chaos: deps build ## ten minutes of crashes, hangs, reloads and kills under load, and the books of every connection (needs root)
	$(GO) build -o bin/chaos ./bench/chaos
	$(SUDO) bin/chaos -sockdist bin/sockdist $(CHAOSFLAGS)

.PHONY: chaos-kernels
chaos-kernels: ## a short chaos on Linux 6.1, 6.12 and Debian's newest, under qemu (quarter of an hour)
	scripts/deps kernels
	$(GO) generate ./bench/chaos
	$(GO) run ./internal/kernels/cmd/kernels -timeout 9m -run ChaosShort $(KERNELFLAGS) ./bench/chaos

BENCHFLAGS ?= -quick

.PHONY: bench
bench: deps ## sockdist beside what people use today, in five minutes; the full run: BENCHFLAGS= (needs root)
	$(GO) build -o bin/bench ./bench
	$(SUDO) bin/bench $(BENCHFLAGS)

.PHONY: bench-reliability
bench-reliability: deps build ## what faults and changes cost, beside plain reuseport and others (needs root)
	$(GO) build -o bin/reliability ./bench/reliability
	$(SUDO) bin/reliability $(RELIABILITYFLAGS)

.PHONY: bench-reporting
bench-reporting: ## whether it helps that workers report a load, and let go of connections (needs root; five minutes)
	$(GO) build -o bin/reporting ./bench/reporting
	$(SUDO) bin/reporting $(REPORTINGFLAGS)

.PHONY: bench-load
bench-load: ## what it costs a library worker to publish its load, to count requests, and to be idle (the latter needs root)
	@$(GO) test -run '^$$' -bench . ./userspace/worker | grep -vE '^(---|  )'

.PHONY: bench-pick
bench-pick: ## what a pick costs, by policy and number of slots
	@$(GO) build -o bin/pick ./bench/pick/cmd/pick
	$(SUDO) bin/pick

.PHONY: deps
deps: ## install the servers and tools that tests use, from Debian's packages and npm
	scripts/deps servers

.PHONY: generate
generate: ## compile the BPF object anew (needs clang and libbpf's headers)
	scripts/deps generate
	BPF2GO_CC=clang-14 BPF2GO_STRIP=llvm-strip-14 $(GO) generate ./loader

.PHONY: check-generated
check-generated: generate ## … and fail if it differs from what is committed
	git diff --exit-code --stat -- loader/object_bpfel.go loader/object_bpfel.o

.PHONY: lint
lint: ## gofmt, go vet, staticcheck, direction of imports
	scripts/lint

.PHONY: fuzz
fuzz: ## fuzz the parsers for a while (FUZZTIME=10s each)
	scripts/fuzz

.PHONY: man
man: build ## man pages into man/
	bin/sockdist man man

.PHONY: install
install: build ## bin, man pages, completions and systemd units below PREFIX
	install -D bin/sockdist $(DESTDIR)$(PREFIX)/bin/sockdist
	bin/sockdist man $(DESTDIR)$(PREFIX)/share/man/man1
	mkdir -p $(DESTDIR)$(PREFIX)/share/bash-completion/completions
	bin/sockdist completion bash > $(DESTDIR)$(PREFIX)/share/bash-completion/completions/sockdist
	mkdir -p $(DESTDIR)$(PREFIX)/lib/systemd/system
	for unit in packaging/systemd/*; do sed 's|/usr/bin/|$(PREFIX)/bin/|' $$unit > $(DESTDIR)$(PREFIX)/lib/systemd/system/$${unit##*/}; done

.PHONY: clean
clean: ## remove what was built
	rm -rf bin man
