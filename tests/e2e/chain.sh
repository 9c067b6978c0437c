#!/bin/bash
# The whole quickstart recipe at a small size: it ends with its table; run again, it does nothing; run elsewhere, and killed with kill -9 at
# five random moments, it ends in the same bytes. $BIN: folder of the programs. $SEED: where the kills fall (printed, so that a failure can
# be repeated).
set -u
BIN=${BIN:-bin}
SEED=${SEED:-$RANDOM}
work=$(mktemp -d /tmp/tristill-XXXXXX)
trap 'rm -rf "$work"' EXIT
passed=0 ran=0
small=(problems.n=120 natural.n=150 solved.n=150 heldout.n=40 ask.group=64 rephrase.group=50
    sft_natural.max_steps=12 sft_mix.max_steps=12 qat.max_steps=8 sft_natural.checkpoint_steps=5 sft_mix.checkpoint_steps=5
    qat.checkpoint_steps=3 redi.checkpoint_steps=1 redi.batch_pairs=4)

ok() { ran=$((ran + 1)); passed=$((passed + 1)); echo "ok: $1"; }
bad() { ran=$((ran + 1)); echo "FAILED: $1"; tail -n 25 "$work/log"; }
run() { "$BIN/tristill" run recipes/quickstart.yaml "out=$work/$1" "${small[@]}" >"$work/log" 2>&1; }
# Everything whose bytes must not depend on when or where it was made: verify, evals and reports hold times, shard manifests the paths of
# their inputs.
sums() {
    (cd "$work/$1" && find . \( -path '*/final/*' -o -name '*.jsonl.zst' -o -name '*.gguf' -o -path './export/hf/*' -o -path '*/shards/*' \) \
        -type f ! -path './eval*' ! -name manifest.json | sort | xargs sha256sum)
}

if run calm && [ -s "$work/calm/report/report.html" ] && grep -q 'ternary' "$work/calm/report/table.txt"; then ok 'the chain runs'; else bad 'the chain runs'; fi
start=$(sums calm)
if run calm && grep -q 'everything is done' "$work/log" && [ "$(sums calm)" = "$start" ]; then ok 'run again, it is done'; else bad 'run again, it is done'; fi

RANDOM=$SEED
kills=0
for i in 1 2 3 4 5; do
    setsid "$BIN/tristill" run recipes/quickstart.yaml "out=$work/killed" "${small[@]}" >"$work/log" 2>&1 &
    leader=$!
    sleep "$((RANDOM % 7)).$((RANDOM % 10))"
    kill -9 -- "-$leader" 2>/dev/null && kills=$((kills + 1))
    wait "$leader" 2>/dev/null
done
if [ "$kills" -gt 0 ] && run killed && [ "$(sums killed)" = "$start" ]; then
    ok "killed $kills times, the same bytes (SEED=$SEED)"
else
    bad "killed $kills times, the same bytes (SEED=$SEED)"
    diff <(echo "$start") <(sums killed) | head
fi

echo "[==========] tests: $ran test(s) run."
echo "[  PASSED  ] $passed test(s)."
[ "$passed" = "$ran" ]
