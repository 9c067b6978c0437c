#!/bin/bash
# `tristill run` with the real programs: goes on where it stopped, refuses what changed, names mistakes with their line, and ends in the
# same bytes however often it was killed. Only `datagen world` is used, which needs no model.
set -u
bin=$(cd "${BIN:-bin}" && pwd)
work=$(mktemp -d /tmp/tristill-XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
ran=0 passed=0

check() { # name, condition's status
    ran=$((ran + 1))
    if [ "$2" = 0 ]; then passed=$((passed + 1)); echo "[       OK ] $1"; else echo "[  FAILED  ] $1"; tail -n 20 log 2>/dev/null; fi
}
run() { "$bin/tristill" run "$@" >out.txt 2>log; }
said() { grep -qF -- "$1" log; }
recipe() { # n of the second stage
    cat >r.yaml <<YAML
name: cli
out: out
stages:
  - stage: problems
    run: datagen world
    with: {what: problems, n: 300, seed: 1}
  - stage: natural
    run: datagen world
    with:
      what: natural
      n: $1
      seed: 2
YAML
}

recipe 400
run r.yaml --dry-run
check "dry run tells the plan and writes nothing" $(grep -q '\[2/2\] natural — datagen world' out.txt && [ ! -e out ]; echo $?)
run r.yaml; status=$?
check "runs all stages" $([ $status = 0 ] && said '[2/2] natural done' && said 'everything is done' && [ -e out/natural/COMPLETE ]; echo $?)
hash=$(sha256sum out/*/records.jsonl.zst)
run r.yaml; status=$?
check "a second run only verifies" $([ $status = 0 ] && said 'all stages were complete already' && said 'was complete, verified'; echo $?)
check "and changes nothing" $([ "$hash" = "$(sha256sum out/*/records.jsonl.zst)" ]; echo $?)

recipe 500
run r.yaml; status=$?
check "a changed config is refused with the difference" $([ $status = 2 ] && said 'n: was 400, is 500' && said '--overwrite'; echo $?)
run r.yaml --overwrite; status=$?
check "--overwrite redoes only what changed" $([ $status = 0 ] && said 'problems was complete' && said 'natural done'; echo $?)
run r.yaml natural.n=400; status=$?
check "an override counts as a change" $([ $status = 2 ] && said 'n: was 500, is 400'; echo $?)
run r.yaml natural.n=400 out=other; status=$?
check "out=FOLDER makes another run" $([ $status = 0 ] && cmp -s <(sha256sum <other/problems/records.jsonl.zst) <(sha256sum <out/problems/records.jsonl.zst); echo $?)

sed 's/seed: 2/sede: 2/' r.yaml >bad.yaml
run bad.yaml; status=$?
check "a misspelt key of a program is told with the recipe's line" \
    $([ $status = 2 ] && said 'bad.yaml:12: stage natural: sede: unknown key; did you mean'; echo $?)
sed 's/stage: natural/stagee: natural/' r.yaml >bad.yaml
run bad.yaml; status=$?
check "a misspelt key of the recipe too" $([ $status = 2 ] && said "bad.yaml:7: unknown key 'stagee'; did you mean 'stage'?"; echo $?)
run r.yaml natural.sede=2; status=$?
check "and of an override" $([ $status = 2 ] && said 'override natural.sede'; echo $?)
run r.yaml --from naturall; status=$?
check "--from names an unknown stage" $([ $status = 2 ] && said "did you mean 'natural'?"; echo $?)
run r.yaml --from natural; status=$?
check "--from skips what is before" $([ $status = 0 ] && ! said 'problems'; echo $?)
run r.yaml --from natural out=nowhere; status=$?
check "--from needs the earlier stages" $([ $status = 2 ] && said 'stage problems is not complete'; echo $?)

rm -f out/natural/records.jsonl.zst
run r.yaml; status=$?
check "a lost output is made again" $([ $status = 0 ] && said 'natural done' && [ -e out/natural/records.jsonl.zst ]; echo $?)

# two runs at once: the second is refused while the first is at work
big="natural.n=60k out=big"
"$bin/tristill" run r.yaml $big >/dev/null 2>first.log & first=$!
for _ in $(seq 200); do [ -e big/natural/begun.json ] && break; sleep 0.02; done
run r.yaml $big; status=$?
if kill -0 $first 2>/dev/null; then
    check "two runs at once are refused" $([ $status = 1 ] && said 'another run of this recipe is going on'; echo $?)
    # kill -9 in the middle, then go on
    kill -9 $first; wait $first 2>/dev/null
    run r.yaml $big; status=$?
    check "goes on after kill -9" $([ $status = 0 ] && said 'problems was complete' && said 'everything is done'; echo $?)
    cp -r big killed; rm -rf big
    run r.yaml $big
    check "and ends in the same bytes" $(cmp -s killed/natural/records.jsonl.zst big/natural/records.jsonl.zst; echo $?)
else
    check "the first run was at work when the second began" 1
fi

# a polite stop: the signal reaches the stage, the run ends with 75 and says how to go on
rm -rf big
"$bin/tristill" run r.yaml $big >/dev/null 2>log & first=$!
for _ in $(seq 200); do [ -e big/natural/begun.json ] && break; sleep 0.02; done
kill -TERM $first; wait $first; status=$?
check "SIGTERM ends the run with 75 and a hint" $([ $status = 75 ] && said 'the same command goes on'; echo $?)
run r.yaml $big; status=$?
check "and the same command goes on" $([ $status = 0 ] && said 'problems was complete'; echo $?)

"$bin/tristill" inspect big/natural big/problems/records.jsonl.zst r.yaml >out.txt 2>log; status=$?
check "inspect names what it does not know" $([ $status = 3 ] && said 'r.yaml: of no known kind'; echo $?)
"$bin/tristill" inspect big/natural big/problems/records.jsonl.zst >out.txt 2>log; status=$?
check "inspect tells run folders and records" $([ $status = 0 ] && grep -q 'datagen world' out.txt && grep -q '^records  *300$' out.txt; echo $?)
"$bin/tristill" doctor >out.txt 2>log; status=$?
check "doctor finds the programs" $([ $status = 0 ] && grep -q "$bin/datagen" out.txt; echo $?)
"$bin/tristill" report runs=big out=big/report >out.txt 2>log; status=$?
check "report makes a page and a table" $([ $status = 0 ] && grep -q '</html>' big/report/report.html && [ -e big/report/table.txt ]; echo $?)

echo "[==========] tests: $ran test(s) run."
echo "[  PASSED  ] $passed test(s)."
[ $ran = $passed ]
