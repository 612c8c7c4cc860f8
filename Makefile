# `make build` leaves an importable release build and the `a2alinker` command in .venv/bin. Needs cargo, Python 3.11 or
# later, make and a C compiler; everything else is fetched into .venv and target.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.ONESHELL:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := build
MAKEFLAGS += --no-builtin-rules --no-print-directory

VENV := .venv
BIN := $(VENV)/bin
# Remember what was done, so that a second `make` does nothing.
STAMPS := target/stamps

# One interpreter for every build, so that nothing is compiled twice.
export PYO3_PYTHON := $(CURDIR)/$(BIN)/python
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
unexport CONDA_PREFIX

# The frameworks of the adapters, each in an environment of its own: they don't go together, and one of them is a gigabyte.
FRAMEWORKS := $(basename $(notdir $(wildcard tests/adapters/requirements/*.txt)))
ENVIRONMENTS := target/environments

RUST := Cargo.toml Cargo.lock $(shell find src benches -name '*.rs')
PYTHON := $(shell find python tests examples -name '*.py' -o -name '*.pyi' 2>/dev/null)

.PHONY: build demo test bench bench-links figures soak lint fmt controls models deny clean
.PHONY: wheel test-rust test-python test-adapters lint-rust lint-python environments

build: $(STAMPS)/build

# SOURCE=folder: the Python package that the demo's agents work on; by default one of the standard library.
demo: build
	@$(BIN)/a2alinker demo $(if $(SOURCE),--source "$(SOURCE)")

bench: build $(STAMPS)/bench
	@$(BIN)/a2alinker bench $(ARGS)

# What an idle link costs a switchboard, and how long connecting takes.
bench-links: $(STAMPS)/bench
	@target/release/examples/idle_links $(ARGS)

# What a2alinker costs besides: time to import, memory of a client, size of the wheel.
figures: $(STAMPS)/wheel
	@$(BIN)/a2alinker bench --figures
	du --apparent-size --block-size=K target/wheels/*.whl

# For `pip install "$$(echo target/wheels/*.whl)[crewai]"` in another environment.
wheel: $(STAMPS)/wheel
	@echo target/wheels/*.whl

test: lint test-rust test-python test-adapters controls

# Rust first: it compiles without the Python package and tells most.
test-rust:
	@cargo test --quiet --locked --no-default-features --features client,server

test-python: build $(STAMPS)/chaos-proxy
	@$(BIN)/python -m mypy.stubtest a2alinker._core --mypy-config-file pyproject.toml
	$(BIN)/python -m pytest --quiet tests/python

# The real frameworks, with scripted models: `make test-adapter-crewai` for one. They use the wheel as `pip install 'a2alinker[...]'` gives it.
test-adapters: $(FRAMEWORKS:%=test-adapter-%)

# The folder of the tests is the name up to the first `-`: there may be several versions of one framework.
test-adapter-%: $(STAMPS)/adapter-%
	@VIRTUAL_ENV=$(CURDIR)/$(ENVIRONMENTS)/$* $(ENVIRONMENTS)/$*/bin/python -m pytest --quiet -c tests/adapters/pytest.ini --rootdir . --confcutdir tests tests/adapters/$(firstword $(subst -, ,$*))

# Swarms that call crews and agents of the others.
test-adapter-swarm: $(STAMPS)/adapter-crewai $(STAMPS)/adapter-agents-0.24

environments: $(FRAMEWORKS:%=$(STAMPS)/environment-%)

# Each planted fault must be found by the test that is there to find it.
controls:
	@tools/controls

# The models of docs/security-model.md; needs ProVerif.
models:
	@tools/models

# MINUTES: of each leg (HOURS=1 is the long form); SEED: where chance begins; LEGS: which, of seeds, chaos, memory, decoders, cut, large (the last two need root).
# SEEDS=from..to names the simulated networks; `make test` plays a thousand, and 400 under a hostile switchboard.
# One number plays one, and shows all of it if it fails: make soak LEGS=seeds SEEDS=17
soak: build $(STAMPS)/chaos-proxy
	@minutes=$(if $(HOURS),$$(( 60 * $(HOURS) )),$(or $(MINUTES),10))
	PYTHONPATH=tests/python $(BIN)/python -m soak --minutes $$minutes --seed $(or $(SEED),1) $(if $(SEEDS),--seeds $(SEEDS)) $(LEGS)

lint: lint-rust lint-python

lint-rust: $(STAMPS)/venv
	@cargo fmt --check
	cargo clippy --quiet --locked --all-features --all-targets -- --deny warnings
	cargo clippy --quiet --locked --no-default-features --features server -- --deny warnings
	RUSTDOCFLAGS="--deny warnings --allow rustdoc::private_intra_doc_links" cargo doc --quiet --locked --lib --no-deps --document-private-items

lint-python: build
	@$(BIN)/ruff format --quiet --check .
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy

# Licences and advisories of the dependencies. Apart from `test`: cargo-deny itself takes minutes to build, and needs the network.
deny:
	@cargo deny --version >/dev/null 2>&1 || cargo install --quiet --locked cargo-deny
	cargo deny --all-features check

fmt: $(STAMPS)/venv
	@cargo fmt
	$(BIN)/ruff format --quiet .
	$(BIN)/ruff check --quiet --fix .

clean:
	@rm -rf target dist $(VENV) python/a2alinker/_core*.so

$(STAMPS)/venv: requirements-dev.txt tools/venv
	@tools/venv $(VENV) requirements-dev.txt
	mkdir -p $(STAMPS) && touch $@

$(STAMPS)/build: $(STAMPS)/venv pyproject.toml README.md $(RUST)
	@echo "building the native module (some minutes the first time)"
	log=$$($(BIN)/maturin develop --release --locked 2>&1) || { echo "$$log" >&2; exit 1; }
	touch $@

$(STAMPS)/wheel: $(STAMPS)/build $(shell find python/a2alinker -name '*.py')
	@rm -f target/wheels/*.whl
	log=$$($(BIN)/maturin build --release --locked --out target/wheels 2>&1) || { echo "$$log" >&2; exit 1; }
	touch $@

# Without byte code, which takes longer to write for all of a framework than to make for what is used.
.SECONDARY: $(FRAMEWORKS:%=$(STAMPS)/environment-%) $(FRAMEWORKS:%=$(STAMPS)/adapter-%)
$(STAMPS)/environment-%: tests/adapters/requirements/%.txt tools/venv
	@echo "making the environment of $*"
	PIP_NO_COMPILE=1 tools/venv $(ENVIRONMENTS)/$* $<
	mkdir -p $(STAMPS) && touch $@

# Without an index, so that the extra fails if it wants another version of the framework than the one that is tested.
$(STAMPS)/adapter-%: $(STAMPS)/environment-% $(STAMPS)/wheel
	@$(ENVIRONMENTS)/$*/bin/python -m pip install --quiet --no-index --no-deps --force-reinstall target/wheels/*.whl
	$(ENVIRONMENTS)/$*/bin/python -m pip install --quiet --no-index "a2alinker[$(firstword $(subst -, ,$*))]"
	touch $@

# The network of the tests with real processes. In the profile of `cargo test`, which builds it, too.
$(STAMPS)/chaos-proxy: $(RUST) $(shell find tests/chaos_proxy -name '*.rs')
	@cargo build --quiet --locked --no-default-features --features client,server --example chaos_proxy
	mkdir -p $(STAMPS) && touch $@

$(STAMPS)/bench: $(RUST)
	@cargo build --quiet --locked --release --no-default-features --features client,server --example bare_relay --example idle_links \
		--bin a2alinker-switchboard
	mkdir -p $(STAMPS) && touch $@
