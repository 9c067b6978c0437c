#!/bin/bash
# Six kinds of bad input through the real programs: the exit code, a message that names file, place and remedy, and nothing
# written that could be taken for a result, nothing of the user's lost.
# usage: BIN=bin tests/cli/errors.sh
set -u
bin=$(cd "${BIN:-bin}" && pwd) || exit 1
work=$(mktemp -d /tmp/tristill-XXXXXX) || exit 1
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
ran=0 passed=0

# What stands in the folder, but for the file that holds the messages.
fingerprint() { find . -type f ! -name messages -exec sha256sum {} + | sort -k 2; }

# A folder that a failed run may leave: its record of having begun, no result.
unfinished() { # folder
    [ ! -e "$1" ] && return 0
    [ ! -e "$1/COMPLETE" ] && [ ! -e "$1/run.json" ] && [ ! -e "$1/shards/manifest.json" ] && [ ! -e "$1/tokenizer.json" ]
}

# expect NAME CODE OUT PATTERN... -- COMMAND...: every pattern (extended regular expression) must be found in the messages.
expect() {
    local name=$1 code=$2 out=$3 patterns=() wrong=() before after got
    shift 3
    while [ "$1" != -- ]; do patterns+=("$1"); shift; done
    shift
    before=$(fingerprint)
    "$@" >/dev/null 2>messages
    got=$?
    after=$(fingerprint | grep -v "  ./$out/")
    [ "$got" = "$code" ] || wrong+=("exit code $got, expected $code")
    for p in "${patterns[@]}"; do grep -Eq -- "$p" messages || wrong+=("the message lacks: $p"); done
    [ "$before" = "$after" ] || wrong+=("files outside $out/ changed: $(diff <(echo "$before") <(echo "$after") | head -n 5)")
    unfinished "$out" || wrong+=("$out/ holds what looks like a result")
    ran=$((ran + 1))
    if [ ${#wrong[@]} = 0 ]; then
        passed=$((passed + 1))
        return
    fi
    printf '%s: %s\n' "$name" "$*"
    printf '  %s\n' "${wrong[@]}"
    sed 's/^/  said: /' messages
}

prepare() {
    "$bin/datagen" world out=natural what=natural n=200 --quiet &&
        "$bin/datagen" tokenizer out=tokenizer texts=natural/records.jsonl.zst vocab_size=320 --quiet || exit 1

    printf 'out: out1\nwhat: natural\nn: 3\nsede: 4\n' >misspelt.yaml
    printf 'out: out2\nwhat: natural\nn: many\nseed: 1\n' >wrong_type.yaml

    mkdir model broken
    cp tokenizer/tokenizer.json tokenizer/tokenizer_config.json model
    cat >model/config.json <<'JSON'
{"architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": 320, "hidden_size": 16, "intermediate_size": 32,
 "num_hidden_layers": 1, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": 256,
 "rope_theta": 10000.0, "rms_norm_eps": 1e-6, "hidden_act": "silu", "tie_word_embeddings": true}
JSON
    # A header that promises 20480 bytes of data, and 100 of them: what a broken download leaves.
    local header='{"model.embed_tokens.weight":{"dtype":"F32","shape":[320,16],"data_offsets":[0,20480]}}   '
    {
        printf "\\x$(printf '%02x' ${#header})\0\0\0\0\0\0\0"
        printf '%s' "$header"
        head -c 100 /dev/zero
    } >model/model.safetensors

    # The second merge joins tokens that no merge before it makes.
    cp tokenizer/tokenizer_config.json broken
    awk 'merges == 2 { sub(/"[^"]*"/, "\"zq vx\"") } { if (/"merges": \[/) merges = 1; else if (merges) merges++; print }' \
        tokenizer/tokenizer.json >broken/tokenizer.json

    printf '{"id":"a","text":"one and two"}\n{"id":"b","text":"three' >half.jsonl
}

prepare
expect 'misspelt key' 2 out1 'misspelt\.yaml:4: sede: unknown key' "did you mean 'seed'" -- \
    "$bin/datagen" world --config misspelt.yaml
expect 'wrong type' 2 out2 'wrong_type\.yaml:3: n: expected a whole number' 'found "many"' -- \
    "$bin/datagen" world --config wrong_type.yaml
expect 'missing file' 3 out3 'natural/record\.jsonl\.zst: no such file' 'run the stage that makes it or correct the path' -- \
    "$bin/datagen" pack out=out3 documents=natural/record.jsonl.zst tokenizer=tokenizer
expect 'truncated safetensors' 3 out4 'model\.safetensors' 'model\.embed_tokens\.weight|data' 'truncated|cut|download' -- \
    "$bin/datagen" rephrase out=out4 model=model documents=natural/records.jsonl.zst
expect 'bad merge' 3 out5 'broken/tokenizer\.json: model\.merges' 'zq' -- \
    "$bin/datagen" pack out=out5 documents=natural/records.jsonl.zst tokenizer=broken
expect 'line cut in half' 3 out6 'half\.jsonl: record 2 \(byte [0-9]+' 'cut off' 'remove the partial line or restore' -- \
    "$bin/datagen" pack out=out6 documents=half.jsonl tokenizer=tokenizer

echo "[==========] tests: $ran test(s) run."
echo "[  PASSED  ] $passed test(s)."
[ "$ran" = "$passed" ]
