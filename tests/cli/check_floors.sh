#!/bin/bash
# tools/check.sh finds what it is there for: in a small tree that is clean, each kind of violation is planted alone.
set -eu
root=$PWD
tree=$(mktemp -d /tmp/tristill-XXXXXX)
trap 'rm -rf "$tree"' EXIT
mkdir -p "$tree"/{core/base,core/data,core/ops,core/model,trainer,quant,distill,datagen,tools,tests/unit}
cp tools/floors.txt tools/check.sh "$tree/tools/"
cd "$tree"
echo '// a' | tee core/base/mem.h core/data/record.h core/ops/ops.h core/model/model.h trainer/trainer.h trainer/loop.h >/dev/null
echo '// b' | tee trainer/train.def distill/ask.h >/dev/null
printf '#include "core/base/mem.h"\n#include "core/ops/ops.h"\n#define CFG_FILE "trainer/train.def"\n' >trainer/loop.c
printf '#include "trainer/trainer.h"\n#include "core/model/model.h"\n' >quant/export.c
printf '#include "distill/ask.h"\n#include "trainer/loop.h"\n' >tests/unit/test_all.c

fails=0
expect_clean() {
    tools/check.sh >out.txt || { echo "FAILED: clean tree is refused: $1"; cat out.txt; fails=1; }
}
# file, text to append, what check must say about it
plant() {
    cp "$1" saved 2>/dev/null || : >saved
    printf "$2" >>"$1"
    if tools/check.sh >out.txt || ! grep -qF -- "$3" out.txt; then
        echo "FAILED: planted in $1, expected: $3"; cat out.txt; fails=1
    fi
    if [ -s saved ]; then cp saved "$1"; else rm "$1"; fi
}

expect_clean 'before planting'
plant core/base/up.c '#include "core/data/record.h"\n' 'core/base may not include core/data/record.h'
plant core/data/side.c '#  include  "core/ops/ops.h"\n' 'core/data may not include core/ops/ops.h'
plant distill/other.c '#include "trainer/trainer.h"\n' 'distill may not include trainer/trainer.h'
plant quant/inner.c '#include "trainer/loop.h"\n' 'quant may not include trainer/loop.h'
plant datagen/rows.c '#define CFG_FILE "trainer/train.def"\n' 'datagen may not include trainer/train.def'
plant core/model/test.c '#include "tests/unit/test_all.c"\n' 'core/model may not include tests/unit/test_all.c'
plant trainer/near.c '#include "loop.h"\n' 'trainer/near.c:1: includes "loop.h", which does not exist from the root'
plant core/stray.c '#include "core/base/mem.h"\n' 'lies in no room'
plant core/base/wide.c "// $(printf 'x%.0s' {1..118})\n" 'core/base/wide.c:1: longer than 120 columns'
plant core/base/tab.c '\tint x;\n' 'core/base/tab.c:1: a tab'
plant core/base/blank.c 'int x; \n' 'core/base/blank.c:1: trailing blanks'
plant core/base/later.c "// TO""DO: later\n" 'core/base/later.c:1: unfinished work'
plant core/base/long.c "$(printf 'int x;\\n%.0s' {1..601})" 'longer than 600 lines'
if command -v ctags >/dev/null; then
    plant core/base/big.c "int f(void) {\n$(printf '    g();\\n%.0s' {1..80})}\n" 'f has 82 lines, more than 80'
fi
expect_clean 'after planting'
cd "$root"
exit $fails
