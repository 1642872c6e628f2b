# SPDX-License-Identifier: Apache-2.0
# Every target does its own set-up. Run as root on Debian 12.
SHELL := /bin/bash
PY := .venv/bin/python
TESTBED := PYTHONPATH=netns-testbed $(PY) -m testbed

.PHONY: help demo test bench scale fuzz interop lint proto testbed testbed-down setup clean
.DEFAULT_GOAL := help

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## install Debian packages and make .venv
	@.ci/setup nginx-light systemd

demo: setup ## balance real HTTP and UDP traffic over three backends in network namespaces
	@$(TESTBED) demo

testbed: setup ## leave client, balancer and backends up and say what to type
	@$(TESTBED) up

testbed-down: setup ## remove the testbed
	@$(TESTBED) down

test: setup ## all tests, with real packets on the real kernel
	@$(PY) -m pytest -n 2 --dist loadfile

bench: setup ## nanoseconds a packet, as ratios of interleaved runs; JSON=FILE keeps the samples
	@PYTHONPATH=netns-testbed:tests $(PY) -m bench $(if $(JSON),--json $(JSON))

scale: setup ## 1,000 VIPs, 100 pools, 5,000 backends: time to apply, change and restart, memory, checks
	@PYTHONPATH=netns-testbed:tests $(PY) -m bench.scale

fuzz: setup ## two million random and mutated packets through the real program
	@PYTHONPATH=netns-testbed:tests $(PY) -m packets.fuzz --packets 2000000

interop: setup ## a real kernel in QEMU unwraps what we send and answers: all encapsulations
	@.ci/setup qemu-system-x86 cpio socat
	@PYTHONPATH=netns-testbed:tests $(PY) -m interop

lint: setup ## ruff, mypy --strict, layers, compiler warnings, generated code
	@.ci/lint

proto: setup ## generate lb/v1 from proto/
	@$(PY) -m grpc_tools.protoc -Iproto --python_out=. --pyi_out=. --grpc_python_out=. proto/lb/v1/*.proto

clean: ## remove .venv and caches
	@rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
