# The two commands: `make demo` and `make test`. Each sets up what it needs.
PRESET ?= release
VENV := $(or $(OSTINATO_VENV),.venv)
JOBS ?= $(shell nproc)

.PHONY: help build demo test lint format clean

help:
	@echo "make demo    build, then the three-way bench on a picture, sentences and prompts"
	@echo "make test    every check: lint, unit tests, sanitizers, fuzzers, parity with PyTorch"
	@echo "make build   the release build alone (PRESET=dev|asan|tsan|fuzz for another)"
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

format:
	git ls-files '*.h' '*.cpp' | xargs clang-format-14 -i
	$(VENV)/bin/ruff format .

clean:
	rm -rf build out
