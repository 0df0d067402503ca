# SPDX-License-Identifier: GPL-2.0-or-later
#
# Entry points.  The work is done by ./configure, scripts/ and ninja.

BUILD_DIR ?= build

# For make demo: a name of tests/guest/harness/backends.py
DRIVER ?= tap

# -jN goes on to ninja, which otherwise uses all processors.  Up to GNU make 4.3
# it is in MAKEFLAGS when a recipe is expanded, and not before.
JOBS = $(filter-out -j,$(filter -j%,$(MAKEFLAGS)))

# As ./configure --no-install has it
ifndef NO_INSTALL
NO_INSTALL := $(if $(shell grep -s '"install": false' "$(BUILD_DIR)/vhost-dp.json"),1,0)
endif

NEED    := @scripts/need.sh
PREPARE := scripts/python.sh scripts/prepare.py
CHECK   := @scripts/python.sh scripts/check.py --build-dir="$(BUILD_DIR)"

export V NO_INSTALL
MAKEFLAGS += --no-print-directory

.PHONY: all configured build help check check-unit check-qtest check-guest
.PHONY: check-tsan check-models check-differential check-fuzz
.PHONY: check-nested check-integration check-next-compile check-next check-long check-asan check-aarch64 check-qemu install deb docs series series-check fuzz soak bench demo clean distclean need-run need-guest

all: build

help:
	@echo "Targets (the build directory is $(BUILD_DIR); set BUILD_DIR to change it):"
	@echo "  all                build $(BUILD_DIR)/qemu-system-x86_64 and the tests (default);"
	@echo "                     runs ./configure when nothing is configured yet"
	@echo "  check              build, then run all of the tests below"
	@echo "  check-unit           unit tests"
	@echo "  check-models         models of the locking and wake-up protocols, with spin"
	@echo "  check-tsan           control operations while bursts run, under ThreadSanitizer;"
	@echo "                       VHOST_DP_STRESS_OPS=N for more (default 10000)"
	@echo "  check-differential   the rings and QEMU's virtio.c, side by side"
	@echo "  check-fuzz           short runs of the fuzz targets, and inputs of the past"
	@echo "  check-qtest          device tests through qtest, ours and QEMU's own of net"
	@echo "  check-guest          tests that boot a guest"
	@echo "  check-nested         device tests inside a guest, with modules of its kernel"
	@echo "  check-integration    tests of the scripts that prepare QEMU's source"
	@echo "  check-next-compile   the next QEMU (10.2), in $(NEXT_DIR): our files and the edited"
	@echo "                       ones compile, the patch series applies; skipped where the archive"
	@echo "                       does not serve its source"
	@echo "  check-next         the next QEMU, built whole, and all of the tests above on it;"
	@echo "                     guests move between it and the usual build, both ways"
	@echo "  check-long         what takes longer: check-asan, check-aarch64, soak, and the tests"
	@echo "                     above with more operations"
	@echo "  check-asan           unit and device tests on a second build with AddressSanitizer,"
	@echo "                       in $(BUILD_DIR)-asan"
	@echo "  check-aarch64        device tests of an AArch64 target, on machine virt, on a third"
	@echo "                       build, in $(BUILD_DIR)-aarch64"
	@echo "  soak               build, then do all that can be done to a guest with two NICs for"
	@echo "                     TIME=1800 seconds; SEED=N repeats a run, DRIVERS=tap,af-xdp takes"
	@echo "                     other drivers than tap and af-packet"
	@echo "  install            install to DESTDIR, below PREFIX (/usr/local)"
	@echo "  deb                a Debian package, beside the distribution's QEMU"
	@echo "  docs               the manual, with QEMU's own sphinx configuration; no warning"
	@echo "  series             write the patch series for QEMU to $(BUILD_DIR)/series, in stages;"
	@echo "                     QEMU=$(NEXT) makes it for that release, in $(NEXT_DIR)/series"
	@echo "  series-check       build QEMU after each of its patches; STAGE=N, or FROM=NAME,"
	@echo "                     TO=NAME; QEMU=$(NEXT)"
	@echo "  check-qemu         QEMU's own unit, device and schema tests: nothing fails that"
	@echo "                     does not fail without vhost-dp (scripts/qemu-known.list);"
	@echo "                     ONLY='qtest-x86_64/pxe*' takes some of them"
	@echo "  fuzz               build, then fuzz; TIME=60 (seconds for each target),"
	@echo "                     FORMAT=split, packed, vring, offload or registers for one alone"
	@echo "  bench              build, then measure against peers; QUICK=1 for less"
	@echo "  demo               build, then boot a guest that uses vhost-dp; DRIVER=tap (default),"
	@echo "                     vhost-net, vhost-user, af-packet, af-xdp or slirp says how"
	@echo "  clean              remove what was built"
	@echo "  distclean          remove the build directories with QEMU's source, those of"
	@echo "                     check-next, check-asan and check-aarch64 too"
	@echo "  help               this list"
	@echo "V=1 shows every command.  NO_INSTALL=1 installs no packages, and says what is"
	@echo "missing.  Options of the build: ./configure --help"

configured:
	@test -e "$(BUILD_DIR)/prep/configured.json" || \
	 test -e "$(BUILD_DIR)/vhost-dp.json" || \
	 ./configure --build-dir="$(BUILD_DIR)"

build: configured
	@$(PREPARE) build --build-dir="$(BUILD_DIR)" $(JOBS)

need-run:
	$(NEED) run

need-guest:
	$(NEED) run guest

# The suites of check and of check-next
CHECKS := unit models tsan differential fuzz qtest guest nested integration

# What has to be installed comes first: it needs somebody to look at it.
check: need-guest build
	$(CHECK) $(CHECKS) next

check-unit: build
	$(CHECK) unit

check-models: need-run build
	$(CHECK) models

check-tsan: build
	$(CHECK) tsan

check-differential: need-run build
	$(CHECK) differential

check-fuzz: need-run build
	$(CHECK) fuzz

check-qtest: need-run build
	$(CHECK) qtest

check-guest: need-guest build
	$(CHECK) guest

check-nested: need-guest build
	$(CHECK) nested

check-integration: build
	$(CHECK) integration

check-next-compile: build
	$(CHECK) next

# As in scripts/next.py, which works in the same directory
NEXT_DIR := $(BUILD_DIR)-next
NEXT := $(shell sed -n "s/^NEXT = '\(.*\)'/\1/p" scripts/prep/versions.py)

$(NEXT_DIR)/prep/configured.json:
	./configure --qemu=$(NEXT) --build-dir="$(NEXT_DIR)" --enable-werror

# Guests also move between the two QEMUs: that takes the usual build
check-next: need-guest build $(NEXT_DIR)/prep/configured.json
	@$(PREPARE) build --build-dir="$(NEXT_DIR)" $(JOBS)
	@VHOST_DP_OTHER_BUILD="$(BUILD_DIR)" scripts/python.sh scripts/check.py \
	    --build-dir="$(NEXT_DIR)" $(CHECKS) versions

ASAN_DIR := $(BUILD_DIR)-asan

# The tools have no data path.  QEMU_SRC=DIR is as for configure --qemu-src.
$(ASAN_DIR)/prep/configured.json:
	./configure --build-dir="$(ASAN_DIR)" \
	    $(if $(QEMU_SRC),--qemu-src="$(QEMU_SRC)") --enable-asan --disable-tools

# The first step finds new tests, whose names the second one asks ninja for.
check-asan: need-run $(ASAN_DIR)/prep/configured.json
	@$(PREPARE) build --build-dir="$(ASAN_DIR)" $(JOBS) qemu-system-x86_64
	@$(PREPARE) build --build-dir="$(ASAN_DIR)" $(JOBS) \
	    $$(ninja -C "$(ASAN_DIR)" -t targets all | sed -n 's,^\(tests/unit/[^/.:]*vhost-dp[^/.:]*\|tests/qtest/vhost-dp/[^/.:]*\(\.so\)*\|vhost-dp/tests/tsan/vhost-dp-stress\): .*,\1,p')
	@scripts/python.sh scripts/check.py --build-dir="$(ASAN_DIR)" \
	    --timeout-multiplier 5 --only 'qtest-x86_64/vhost-dp/*' \
	    --only 'test-vhost-dp-[!hl]*' unit qtest

AARCH64_DIR := $(BUILD_DIR)-aarch64

$(AARCH64_DIR)/prep/configured.json:
	./configure --build-dir="$(AARCH64_DIR)" \
	    $(if $(QEMU_SRC),--qemu-src="$(QEMU_SRC)") --target-list=aarch64-softmmu --disable-tools

# As for check-asan, the second step has what the first one finds
check-aarch64: need-run $(AARCH64_DIR)/prep/configured.json
	@$(PREPARE) build --build-dir="$(AARCH64_DIR)" $(JOBS) qemu-system-aarch64
	@$(PREPARE) build --build-dir="$(AARCH64_DIR)" $(JOBS) \
	    $$(ninja -C "$(AARCH64_DIR)" -t targets all | sed -n 's,^\(tests/qtest/vhost-dp/[^/.:]*\(\.so\)*\): .*,\1,p')
	@scripts/python.sh scripts/check.py --build-dir="$(AARCH64_DIR)" \
	    --only 'qtest-aarch64/vhost-dp/*' qtest

check-long: check-asan check-aarch64
	@VHOST_DP_STRESS_OPS=200000 $(MAKE) check-tsan
	@VHOST_DP_IOMMU_STEPS=20000 scripts/python.sh scripts/check.py --build-dir="$(BUILD_DIR)" \
	    --timeout-multiplier 20 --only 'qtest-x86_64/vhost-dp/iommu-life-test' qtest
	@scripts/python.sh tests/guest/test_iommu.py --build-dir "$(BUILD_DIR)"
	@scripts/python.sh tests/guest/stress_iommu.py --build-dir "$(BUILD_DIR)" --loops 100000 --seconds 600
	@VHOST_DP_QTEST_ROUNDS=100 scripts/python.sh scripts/check.py --build-dir="$(BUILD_DIR)" \
	    --timeout-multiplier 20 --only 'qtest-x86_64/vhost-dp/plug-test' \
	    --only 'qtest-x86_64/vhost-dp/lifecycle-test' qtest
	@VHOST_DP_QTEST_ROUNDS=1000 scripts/python.sh scripts/check.py --build-dir="$(BUILD_DIR)" \
	    --timeout-multiplier 20 --only 'qtest-x86_64/vhost-dp/set-driver-test' qtest
	@$(MAKE) soak
	@VHOST_DP_MIGRATION_ROUNDS=20 scripts/python.sh scripts/check.py \
	    --build-dir="$(BUILD_DIR)" --timeout-multiplier 10 \
	    --only guest-migration guest
	@$(MAKE) fuzz TIME=600
	@$(MAKE) check-qemu
	@$(MAKE) docs
	@$(MAKE) series-check

soak: TIME = 1800
soak: need-guest build
	@tests/guest/soak.py --build-dir "$(BUILD_DIR)" --seconds "$(TIME)" \
	    $(if $(SEED),--seed "$(SEED)") $(if $(DRIVERS),--drivers "$(DRIVERS)")

TIME ?= 60

fuzz: need-run build
	@scripts/python.sh tests/fuzz/run.py --build-dir "$(BUILD_DIR)" \
	    --time "$(TIME)" $(if $(FORMAT),--format "$(FORMAT)")

check-qemu: need-run build
	@scripts/python.sh scripts/check_qemu.py --build-dir="$(BUILD_DIR)" \
	    $(if $(ONLY),--only "$(ONLY)")

PACKAGE := @scripts/python.sh scripts/package.py

install: build
	$(PACKAGE) install --build-dir="$(BUILD_DIR)" --destdir="$(DESTDIR)" \
	    $(if $(PREFIX),--prefix="$(PREFIX)")

deb: build
	$(NEED) deb
	$(PACKAGE) deb --build-dir="$(BUILD_DIR)"

docs: configured
	$(NEED) docs
	@$(PREPARE) update --build-dir="$(BUILD_DIR)"
	@scripts/docs.sh "$(BUILD_DIR)"

SERIES := @scripts/python.sh scripts/series.py

# QEMU=10.2 is the next QEMU; without, it is the one that is configured
ifneq ($(QEMU),)
ifneq ($(QEMU),$(NEXT))
$(error QEMU=$(QEMU): besides the configured QEMU there is only QEMU=$(NEXT))
endif
SERIES_DIR := $(NEXT_DIR)
series series-check: $(NEXT_DIR)/prep/configured.json
else
SERIES_DIR := $(BUILD_DIR)
series series-check: configured
endif

series:
	@$(PREPARE) update --build-dir="$(SERIES_DIR)"
	$(SERIES) make --build-dir="$(SERIES_DIR)"

series-check:
	@$(PREPARE) update --build-dir="$(SERIES_DIR)"
	$(SERIES) build --build-dir="$(SERIES_DIR)" $(if $(FROM),--from "$(FROM)") \
	    $(if $(TO),--to "$(TO)") $(if $(STAGE),--stage "$(STAGE)")

# Peers that are not installed are left out of the comparison.
bench: build
	@scripts/need.sh run bench || true
	@scripts/python.sh tests/bench/bench.py --build-dir "$(BUILD_DIR)" \
	    $(if $(filter-out 0,$(QUICK)),--quick)

demo: need-guest build
	@tests/guest/demo --build-dir "$(BUILD_DIR)" --driver "$(DRIVER)"

clean:
	@test ! -e "$(BUILD_DIR)/vhost-dp.json" || \
	 $(PREPARE) clean --build-dir="$(BUILD_DIR)"

distclean:
	@for dir in "$(BUILD_DIR)" "$(NEXT_DIR)" "$(ASAN_DIR)" "$(AARCH64_DIR)"; do \
	    $(PREPARE) distclean --build-dir="$$dir" || exit 1; done
