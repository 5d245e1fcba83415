# Two commands matter: make e2e and make test. Both work on a bare Debian machine
# with Go and make, as root; "make help" lists the rest.

GO    ?= go
PROCS ?= 2

# What make e2e runs: LABELS is a Ginkgo label filter ("all" for everything but
# what takes longer than two minutes, "long"), SCENARIO one scenario by its name. KUBERNETES, NODE_IMAGE and KEEP reach the
# suite through the environment.
LABELS   ?= quick
SCENARIO ?=
KUBERNETES ?=
NODE_IMAGE ?=
KEEP ?=
export KUBERNETES NODE_IMAGE KEEP
filter = $(or $(SCENARIO),$(if $(filter all,$(LABELS)),!long,$(LABELS)))

.PHONY: help
help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

.PHONY: build
build: ## build bin/oomlab and the programs that it starts: bin/oomlab-stressor, -guest, -node
	@mkdir -p bin
	$(GO) build -o bin/oomlab ./cmd/oomlab
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o bin/oomlab-guest ./cmd/oomlab-guest
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o bin/oomlab-node ./cmd/oomlab-node
	CGO_ENABLED=0 $(GO) build -trimpath -ldflags='-s -w' -o bin/oomlab-stressor ./stressor

.PHONY: e2e
e2e: build ## run the catalog on real kind clusters, bringing up what is missing
	@mkdir -p artifacts && rm -rf artifacts/records artifacts/failed artifacts/*.xml artifacts/*.json artifacts/summary.txt
	@$(GO) build -o bin/ginkgo github.com/onsi/ginkgo/v2/ginkgo
	bin/oomlab node-image build $(if $(KUBERNETES),--kubernetes $(KUBERNETES)) $(if $(NODE_IMAGE),--ref $(NODE_IMAGE))
	@test -t 1 && test -z "$$NO_COLOR" || plain=--no-color; \
		OOMLAB_STRESSOR=$(CURDIR)/bin/oomlab-stressor bin/ginkgo run $$plain --tags e2e --procs $(PROCS) --timeout 60m --keep-going \
		--label-filter='$(filter)' --output-dir artifacts --junit-report junit.xml --json-report ginkgo.json ./e2e; \
		status=$$?; cat artifacts/summary.txt; exit $$status

# What make e2e-vm runs, with commas between. MATRIX is more flags of oomlab matrix.
# With seeds no run depends on how busy this machine is.
KERNELS   ?= 5.10,6.12,7.3
SCENARIOS ?= qos-order,qos-order-machine
MATRIX    ?= --seeded --repeat 1

.PHONY: e2e-vm
e2e-vm: build ## run scenarios on several kernels in virtual machines (KERNELS, SCENARIOS, MATRIX)
	rm -rf artifacts/vm
	bin/oomlab matrix --lab vm --kernels $(KERNELS) --scenarios $(SCENARIOS) $(MATRIX) --parallel 2 --out artifacts/vm
	$(GO) test -run 'TestKindsOnCgroup2|TestOrdinaryUser' ./stressor ./internal/lab/vmlab # make test leaves them out where there is no QEMU yet

# The kernel of make e2e-v2, as oomlab kernel ls and Debian name them.
KERNEL ?= 6.12

.PHONY: e2e-v2
e2e-v2: build ## run the catalog on kind clusters in a virtual machine: docker, cgroup v2, KERNEL=6.12
	$(GO) test -c -tags e2e -ldflags='-s -w' -o bin/e2e.test ./e2e
	$(GO) build -o bin/e2e-vm ./e2e/vm
	@bin/e2e-vm -kernel $(KERNEL) -label-filter '$(filter)' $(if $(KUBERNETES),-kubernetes $(KUBERNETES)); \
		status=$$?; test ! -e artifacts/v2/summary.txt || cat artifacts/v2/summary.txt; exit $$status

# Run records and folders of them, each from a place of its own.
RECORDS ?= $(wildcard artifacts/records artifacts/v2/records artifacts/vm)

.PHONY: platforms
platforms: build ## write docs/platforms.md from run records (RECORDS)
	bin/oomlab platforms $(RECORDS) > docs/platforms.md

N ?= 5

.PHONY: soak
soak: ## run the quick scenarios N=5 times and list verdicts that differ; started again, it goes on
	@for i in $$(seq $(N)); do \
		test ! -d artifacts/soak/$$i || continue; \
		$(MAKE) --no-print-directory e2e || test -s artifacts/summary.txt || exit 1; \
		mkdir -p artifacts/soak && mv artifacts/records artifacts/soak/$$i && mv artifacts/summary.txt artifacts/soak/$$i || exit 1; \
	done
	bin/oomlab verdicts artifacts/soak/*

# The speeds of make race, in MiB/s.
SPEEDS ?= 5 10 20 40 80

.PHONY: race
race: build ## let the kubelet race with the kernel at several SPEEDS, N=5 times each; started again, it goes on
	@mkdir -p artifacts/race
	@for v in $(SPEEDS); do \
		sed "s/eviction-race$$/race-$$v/; s,10Mi/s,$${v}Mi/s,; s/10 MiB a second/$$v MiB a second/" docs/eviction-race.yaml > artifacts/race/race-$$v.yaml; \
	done
	bin/oomlab matrix --lab kind --scenarios $$(ls -v artifacts/race/*.yaml | paste -sd,) --repeat $(N) --out artifacts/race/runs || test $$? = 1

.PHONY: test
test: ## run all tests that need no cluster; those that need root say so without it
	$(GO) vet ./...
	$(GO) tool -modfile=tools/go.mod gotestsum --format pkgname ./...

.PHONY: bench
bench: ## measure the stressor against stress-ng and C, and the rest; write docs/benchmarks.md
	$(GO) run ./bench

.PHONY: reproduce
reproduce: build ## provoke the OOM reports of the corpus again, and compare; some minutes, as root
	@mkdir -p artifacts
	OOMLAB_STRESSOR=$(CURDIR)/bin/oomlab-stressor OOMLAB_REPRODUCE=$(CURDIR)/artifacts/reproduce.md $(GO) test -count=1 -timeout 30m -run TestReproduceTheCorpus ./internal/cli; \
		status=$$?; cat artifacts/reproduce.md; exit $$status

.PHONY: foreign
foreign: ## explain OOM reports that others published (LOGS=DIRECTORY), and compare with what is known of them
	@mkdir -p artifacts
	OOMLAB_FOREIGN_LOGS=$(abspath $(LOGS)) OOMLAB_FOREIGN_TABLE=$(CURDIR)/artifacts/foreign.md $(GO) test -count=1 -run TestForeignLogs ./internal/explain; \
		status=$$?; cat artifacts/foreign.md; exit $$status

.PHONY: catalog
catalog: ## write docs/catalog.md from the scenario files
	$(GO) run ./cmd/oomlab scenarios -o markdown > docs/catalog.md

PODS   ?= 50000
MINORS ?= 37 36 35 34

.PHONY: conformance
conformance: ## compare the models with the code of kubelets 1.37 to 1.34 (PODS=1000000 MINORS=37)
	cd conformance && for m in $(MINORS); do \
		case $$m in 37) old=;; *) old="-modfile=v1.$$m.mod -tags=v1_$$m";; esac; \
		$(GO) test -mod=mod $$old -pods=$(PODS) -timeout 60m . || exit 1; done

.PHONY: mutate
mutate: ## change one operator of the kernel model at a time: a test must fail
	$(GO) run ./internal/mutate ./internal/oom

.PHONY: lint
lint: ## check the style
	$(GO) tool -modfile=tools/go.mod golangci-lint run

.PHONY: clean
clean: ## remove what interrupted runs have left, and bin and artifacts
	@test ! -x bin/oomlab || bin/oomlab clean
	rm -rf bin artifacts
