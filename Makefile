# The only build file. `make help` lists what it can do.
#   make            programs into bin/            make test    the whole default test suite
#   make check      floors, sizes, style          make asan    the suite under ASan + UBSan
#   make quickstart installs what is missing, builds, runs recipes/quickstart.yaml
CC ?= gcc
MODE ?= release
ARCH ?= native
PKGS := libzstd yaml-0.1 libpcre2-8 jansson libutf8proc libxxhash
PACKAGES := gcc make pkg-config libdnnl-dev libzstd-dev libyaml-dev libpcre2-dev libjansson-dev libutf8proc-dev libxxhash-dev libcmocka-dev

# ---- detection: a look, not a guess; `make detect` prints it ----
has_pkg = $(shell pkg-config --exists $(1) 2>/dev/null && echo yes)
MISSING := $(strip $(foreach p,$(PKGS),$(if $(call has_pkg,$(p)),,$(p))) \
             $(if $(wildcard /usr/include/oneapi/dnnl/dnnl.h /usr/include/dnnl.h /usr/include/*/dnnl.h /usr/local/include/dnnl.h),,oneDNN))
NVCC := $(shell command -v nvcc 2>/dev/null)
MPICC := $(shell command -v mpicc 2>/dev/null)

# maybe-uninitialized is off: gcc cannot see that fail() always returns false; the sanitizer suite watches instead
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter $(if $(findstring clang,$(CC)),,-Wno-maybe-uninitialized) -Wno-psabi
COMMON := -std=gnu11 -I. $(WARN) -ffp-contract=off -fno-math-errno -pthread $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
ifeq ($(MODE),asan)
  OPT := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=all
else
  OPT := -O3 -g -march=$(ARCH)
endif
CFLAGS_ALL := $(OPT) $(COMMON) $(CFLAGS)
LIBS := $(shell pkg-config --libs $(PKGS) 2>/dev/null) -ldnnl -lm -ldl -pthread
FLAGS_ID := $(shell printf '%s' '$(CC) $(CFLAGS_ALL)' | cksum | cut -d' ' -f1)
BUILD := build/$(MODE)-$(FLAGS_ID)
BIN := $(if $(filter asan,$(MODE)),$(BUILD)/bin,bin)

CORE := $(sort $(wildcard core/*/*.c))
PROGRAMS := trainer distill datagen quant tristill
SRC_trainer := $(sort $(wildcard trainer/*.c))
SRC_distill := $(sort $(wildcard distill/*.c))
SRC_datagen := $(sort $(wildcard datagen/*.c))
SRC_quant := $(sort $(wildcard quant/*.c)) $(filter-out trainer/main.c,$(SRC_trainer))
SRC_tristill := $(sort $(wildcard tools/*.c))
TESTS := $(patsubst tests/unit/%.c,%,$(sort $(wildcard tests/unit/test_*.c)))
obj = $(patsubst %.c,$(BUILD)/%.o,$(1))

.PHONY: all help detect deps check test asan quickstart clean install programs unit bench format
.SECONDARY:
all: programs
programs: $(if $(MISSING),missing,) $(addprefix $(BIN)/,$(PROGRAMS))

help:
	@sed -n 's/^# \{1,3\}\(make.*\)/\1/p' Makefile
	@echo 'variables: CC=$(CC) MODE=$(MODE) (release|asan) ARCH=$(ARCH) (-march)'

missing:
	@echo 'missing: $(MISSING)'; echo 'hint: make deps   (apt-get install $(PACKAGES))'; exit 1

detect:
	@echo "compiler   $(shell $(CC) --version | head -n 1)   -march=$(ARCH)"
	@echo "oneDNN     $(shell sed -n 's/.*DNNL_VERSION_\(MAJOR\|MINOR\|PATCH\) \([0-9]*\).*/\2/p' /usr/include/oneapi/dnnl/dnnl_version.h 2>/dev/null | paste -sd.)"
	@for p in $(PKGS); do printf '%-10s %s\n' $$p "$$(pkg-config --modversion $$p 2>/dev/null || echo MISSING)"; done
	@echo "MPI        $(or $(MPICC),absent: one process)"
	@echo "nvcc       $(or $(NVCC),absent: CPU only)"

# apt only when something is missing, sudo only when not root
deps:
	@if [ -n "$(MISSING)" ] || ! pkg-config --exists cmocka 2>/dev/null; then tools/install_deps.sh $(PACKAGES); else echo 'dependencies: all present'; fi

$(BUILD)/%.o: %.c
	@mkdir -p $(@D)
	@echo '  cc  $<'
	@$(CC) $(CFLAGS_ALL) -MMD -MP -c $< -o $@

$(BUILD)/libcore.a: $(call obj,$(CORE))
	@rm -f $@; ar rcs $@ $^

define program_rule
$(BIN)/$(1): $(call obj,$(SRC_$(1))) $(BUILD)/libcore.a
	@mkdir -p $$(@D)
	@echo '  ld  $$@'
	@$$(CC) $$(CFLAGS_ALL) $$(filter %.o,$$^) $(BUILD)/libcore.a $$(LDFLAGS) $$(LIBS) -o $$@.new && mv $$@.new $$@
endef
$(foreach p,$(PROGRAMS),$(eval $(call program_rule,$(p))))

# unit tests may link any room's objects except the mains
TEST_OBJECTS := $(call obj,$(filter-out %/main.c,$(SRC_trainer) $(SRC_distill) $(SRC_datagen) $(wildcard quant/*.c) \
                $(SRC_tristill)) $(wildcard tests/unit/support*.c))
$(BUILD)/tests/%: $(BUILD)/tests/unit/%.o $(TEST_OBJECTS) $(BUILD)/libcore.a
	@mkdir -p $(@D)
	@echo '  ld  $@'
	@$(CC) $(CFLAGS_ALL) $(filter %.o,$^) $(BUILD)/libcore.a $(LDFLAGS) $(LIBS) -lcmocka -o $@
unit: $(addprefix $(BUILD)/tests/,$(TESTS))

test: programs unit
	@tools/run_tests.sh $(BUILD) $(BIN)

asan:
	@$(MAKE) --no-print-directory MODE=asan E2E=no test

check:
	@tools/check.sh

$(BUILD)/bench_ops: $(BUILD)/tests/bench/bench_ops.o $(BUILD)/libcore.a
	@$(CC) $(CFLAGS_ALL) $^ $(LDFLAGS) $(LIBS) -o $@
bench: $(BUILD)/bench_ops
	@$<

quickstart:
	@$(MAKE) --no-print-directory deps
	@$(MAKE) --no-print-directory detect programs
	@bin/tristill run recipes/quickstart.yaml
	@ln -sfn export/student.gguf out/quickstart/student.gguf && ln -sfn report/report.html out/quickstart/report.html
	@echo 'look: out/quickstart/report.html    talk: bin/tristill chat out/quickstart/student.gguf'

install: programs
	install -d $(DESTDIR)$(or $(PREFIX),/usr/local)/bin
	install $(addprefix bin/,$(PROGRAMS)) $(DESTDIR)$(or $(PREFIX),/usr/local)/bin

clean:
	rm -rf build bin

-include $(shell find build -name '*.d' 2>/dev/null)
