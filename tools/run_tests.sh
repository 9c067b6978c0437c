#!/bin/bash
# Runs every unit test program and every script in tests/cli and tests/e2e; ends with "N passed, N failed".
# usage: run_tests.sh BUILD BIN [filter]
set -u
build=$1 bin=$2 filter=${3:-}
export BIN="$bin" BUILD="$build"
passed=0 failed=0 failures=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

count() { # name, status: adds what the program itself counted, or one for the whole
    local ran ok
    ok=$(sed -n 's/^\[  PASSED  \] \([0-9]*\) test(s).*/\1/p' "$log" | paste -sd+ | bc)
    ran=$(sed -n 's/^\[==========\].* \([0-9]*\) test(s) run.*/\1/p' "$log" | paste -sd+ | bc)
    if [ -z "$ran" ]; then ran=1; ok=$([ "$2" = 0 ] && echo 1 || echo 0); fi
    passed=$((passed + ${ok:-0})) failed=$((failed + ran - ${ok:-0}))
    if [ "$2" != 0 ]; then
        [ "$ran" != "${ok:-0}" ] || failed=$((failed + 1))
        failures+=("$1")
        grep -vE '^\[( RUN      |       OK )\]' "$log" | tail -n 60
    fi
    printf '%-34s %s  %s tests\n' "$1" "$([ "$2" = 0 ] && echo ok || echo FAILED)" "$ran"
}

for t in "$build"/tests/test_*; do
    [ -x "$t" ] && [ ! -d "$t" ] || continue
    case $t in *.d|*.o) continue ;; *"$filter"*) ;; *) continue ;; esac
    "$t" >"$log" 2>&1
    count "$(basename "$t")" $?
done
for t in tests/cli/*.sh tests/e2e/*.sh; do
    [ -x "$t" ] || continue
    case $t in *"$filter"*) ;; *) continue ;; esac
    bash "$t" >"$log" 2>&1
    count "$t" $?
done
[ ${#failures[@]} = 0 ] || printf 'failed: %s\n' "${failures[*]}"
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
