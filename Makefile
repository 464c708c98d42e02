# The two commands: `make demo` and `make test`. Each sets up what it needs.
PRESET ?= release
VENV := $(or $(OSTINATO_VENV),.venv)
JOBS ?= $(shell nproc)

.PHONY: help build demo test lint sanitize format clean

help:
	@echo "make demo    build, then the three-way bench on a picture, sentences and prompts"
	@echo "make test    lint, unit tests, sanitizers, fuzzers, parity with PyTorch and transformers"
	@echo "make sanitize  of that, the sanitizers and the fuzzers alone"
	@echo "make build   the release build alone (PRESET=dev|asan|tsan for another)"
	@echo "make format  clang-format and ruff over the tree"

build:
	tools/setup.sh build
	cmake --preset $(PRESET)
	cmake --build --preset $(PRESET) --parallel $(JOBS)

demo: build
	tools/setup.sh demo
	$(VENV)/bin/python tools/demo.py

test:
	tools/setup.sh test
	tools/test.sh

lint:
	tools/setup.sh test
	tools/lint.sh

sanitize:
	tools/setup.sh test
	tools/sanitize.sh

format:
	git ls-files '*.h' '*.cpp' | xargs clang-format-14 -i
	$(VENV)/bin/ruff format .

clean:
	rm -rf build out
