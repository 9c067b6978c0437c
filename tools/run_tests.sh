#!/bin/bash
# Runs every unit test program and every script in tests/cli and tests/e2e; ends with "N passed, N failed".
# usage: run_tests.sh BUILD BIN [filter]
set -u
build=$1 bin=$2 filter=${3:-}
export BIN="$bin" BUILD="$build"
passed=0 failed=0 skipped=0 failures=()
log=$(mktemp)
trap 'rm -f "$log"' EXIT

sum_of() { sed -n "s/$1/\\1/p" "$log" | awk '{ n += $1 } END { if (NR) print n }'; }

count() { # name, status: adds what the program itself counted (cmocka's closing lines), or one for the whole
    local ran ok wrong
    ran=$(sum_of '^\[==========\].* \([0-9]*\) test(s) run.*')
    ok=$(sum_of '^\[  PASSED  \] \([0-9]*\) test(s).*')
    if [ -z "$ran" ]; then ran=1 ok=$([ "$2" = 0 ] && echo 1 || echo 0); fi
    wrong=0
    if [ "$2" != 0 ]; then
        wrong=$((ran > ${ok:-0} ? ran - ${ok:-0} : 1))
        failures+=("$1")
        grep -vE '^\[( RUN      |       OK )\]' "$log" | tail -n 60
    elif [ "$ran" != "${ok:-0}" ]; then
        skipped=$((skipped + ran - ${ok:-0}))
    fi
    passed=$((passed + ${ok:-0})) failed=$((failed + wrong))
    printf '%-34s %s  %s tests\n' "$1" "$([ "$2" = 0 ] && echo ok || echo FAILED)" "$ran"
}

for t in "$build"/tests/test_*; do
    [ -x "$t" ] && [ ! -d "$t" ] || continue
    case $t in *.d|*.o) continue ;; *"$filter"*) ;; *) continue ;; esac
    "$t" >"$log" 2>&1
    status=$? # before anything else can change it
    count "${t##*/}" $status
done
# E2E=no: without the whole chains, which take a quarter of an hour under sanitizers
for t in tests/cli/*.sh $([ "${E2E:-yes}" = no ] || echo tests/e2e/*.sh); do
    [ -x "$t" ] || continue
    case $t in *"$filter"*) ;; *) continue ;; esac
    bash "$t" >"$log" 2>&1
    status=$?
    count "$t" $status
done
[ ${#failures[@]} = 0 ] || printf 'failed: %s\n' "${failures[*]}"
echo "$passed passed, $failed failed$([ "$skipped" = 0 ] || echo ", $skipped skipped")"
[ "$failed" = 0 ]
