VENV ?= .venv
CACHE ?= .cache
PY = $(VENV)/bin/python
ROOTFS = $(CACHE)/debian-python3.tar
ROOT := $(shell [ "$$(id -u)" = 0 ] && echo yes)
NGINX = $(CACHE)/debian-nginx.tar
export CORTEN_TEST_ROOTFS = $(abspath $(ROOTFS))
export CORTEN_BENCH_NGINX = $(abspath $(NGINX))

.PHONY: help demo test test-long test-vm check bench dev clean lock prepare prepare-bench prepare-vm

help: ## print this list
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 14

demo: ## install, start an engine, get a base image and run the main job, showing each step
	@scripts/prepare run
	@scripts/demo

prepare:
	@scripts/prepare test
	@$(if $(ROOT),scripts/debian-rootfs $(ROOTFS) python3)

test: prepare ## every test that fits a coffee break; as root also those that touch the kernel
ifeq ($(ROOT),yes)
	$(PY) -m pytest tests/unit
	scripts/private $(PY) -m pytest -m "not long" tests --ignore tests/unit
else
	$(PY) -m pytest tests/unit
	@echo "not root: only the unit tests ran; 'sudo make test' also runs those that touch the kernel"
endif

test-long: prepare ## kill tests and loads, at their full length
	scripts/private $(PY) -m pytest -m long --timeout 3600 tests

prepare-vm:
	@scripts/prepare vm

test-vm: prepare prepare-vm ## in a virtual machine without KVM, Debian's stock kernel, cgroup v2: the kernel tests, and the engine under systemd
	scripts/vm python3 -m pytest -p no:cacheprovider -m '"not long"' --timeout 600 tests/kernel
	VM_INIT=systemd scripts/vm python3 -m pytest -p no:cacheprovider -m '"not long"' --timeout 600 tests/e2e/test_main_job.py \
	    tests/api tests/kernel/cgroup tests/kernel/runtime/test_scopes.py tests/kernel/runtime/test_podman.py tests/kernel/runtime/test_containerd.py

check: prepare ## ruff, mypy strict, import contracts
	$(VENV)/bin/ruff check src tests bench
	$(VENV)/bin/ruff format --check src tests bench
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

prepare-bench:
	@scripts/prepare test
	@scripts/prepare bench
	@scripts/debian-rootfs $(ROOTFS) python3
	@scripts/debian-rootfs $(NGINX) nginx-light

bench: prepare-bench ## side by side with Debian's docker, runc and crun; one table, results kept as JSON
	@$(PY) -m compileall -q src # as an installation has it
	scripts/private $(PY) -m bench $(BENCH)

dev: prepare ## an environment to work in: editable install and all tools
	@echo "ready: $(VENV)/bin/corten, $(VENV)/bin/cortend"

lock: ## renew the locked dependencies
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links pyproject.toml -o requirements.lock
	$(VENV)/bin/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
	    --no-emit-index-url --no-emit-find-links --extra dev pyproject.toml -o requirements-dev.lock

clean: ## remove what the other targets made
	rm -rf $(VENV) $(CACHE) .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis build dist
