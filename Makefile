# The front door. Every target does its own set-up on a fresh Debian 12, as root.
#
#   make run       build, and show the main job: an application behind unproxy, a header sent through
#   make test      everything that must pass; what CI runs
#   make test-containers  the images, pods and compose files of docker/, run; about three minutes
#   make coverage  line coverage of each layer by those tests
#   make fuzz      run the fuzz targets for FUZZ_SECONDS each (default 600)
#   make bench     measure against HAProxy and nginx
#   make format    apply .clang-format
#   make install   build and install (PREFIX, DESTDIR)
#   make deb       a Debian package, into build-deb

MAKEFLAGS += --no-print-directory

PREFIX       ?= /usr/local
FUZZ_SECONDS ?= 600
PYTHON       := /usr/bin/python3

.PHONY: all run test test-containers coverage fuzz bench format install deb clean

all: build/build.ninja
	@meson compile -C build

run: all
	@build/unproxy demo --once

test:
	@.ci/install test containers
	@tests/run_all

test-containers:
	@.ci/install containers
	@tests/containers/run

coverage:
	@.ci/install test
	@tests/coverage

fuzz:
	@.ci/install fuzz
	@tests/fuzz/run $(FUZZ_SECONDS)

bench:
	@.ci/install bench
	@test -d build-release || meson setup build-release --buildtype=release -Dtests=enabled
	@meson compile -C build-release
	@$(PYTHON) tests/bench/run.py --unproxy build-release/unproxy --tools build-release/tests/bench

format:
	@git ls-files '*.c' '*.h' | xargs clang-format-14 -i

install: all
	@meson configure build --prefix $(PREFIX)
	@meson install -C build

# From a copy of what is under version control: dpkg-buildpackage writes into the tree, and beside it.
deb:
	@.ci/install deb
	@rm -rf build-deb && mkdir -p build-deb/unproxy
	@git ls-files -z | xargs -0 cp --parents --target-directory=build-deb/unproxy
	@cd build-deb/unproxy && dpkg-buildpackage --build=binary --no-sign >../log 2>&1 || { tail -n 50 ../log; exit 1; }
	@ls build-deb/*.deb

clean:
	@rm -rf build build-*

build/build.ninja:
	@.ci/install build
	@meson setup build
