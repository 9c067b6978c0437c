#!/bin/bash
# `tristill eval`, `generate`, `chat`, `inspect` and `report` on a tiny model with random weights: what they write, how they go on after
# a kill, what they refuse.
set -u
bin=$(cd "${BIN:-bin}" && pwd)
work=$(mktemp -d /tmp/tristill-XXXXXX)
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 1
ran=0 passed=0

check() { # name, condition's status
    ran=$((ran + 1))
    if [ "$2" = 0 ]; then passed=$((passed + 1)); echo "[       OK ] $1"; else echo "[  FAILED  ] $1"; tail -n 20 log; fi
}
tristill() { "$bin/tristill" "$@" >out.txt 2>log; }
said() { grep -qF -- "$1" log; }
told() { grep -qF -- "$1" out.txt; }

cat >model.json <<'JSON'
{"architectures": ["Qwen3ForCausalLM"], "model_type": "qwen3", "vocab_size": 320, "hidden_size": 32, "intermediate_size": 64,
 "num_hidden_layers": 2, "num_attention_heads": 2, "num_key_value_heads": 1, "head_dim": 16, "max_position_embeddings": 1024,
 "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "hidden_act": "silu", "tie_word_embeddings": true, "attention_bias": false,
 "initializer_range": 0.02}
JSON
cat >r.yaml <<'YAML'
name: tiny
out: out
stages:
  - stage: test
    run: datagen world
    with: {what: problems, n: 64, seed: 9, held_out: true}
  - stage: tokenizer
    run: datagen tokenizer
    with: {texts: ["${test}/records.jsonl.zst"], vocab_size: 320}
  - stage: model
    run: trainer
    with: {model_config: "${recipe}/model.json", tokenizer: "${tokenizer}", max_steps: 0}
  - stage: eval
    run: tristill eval
    with: {model: "${model}/final", prompts: "${test}/records.jsonl.zst", name: "random & <tiny>", max_tokens: 8, group: 8}
  - stage: report
    run: tristill report
    with: {runs: "${out}", evals: [eval]}
YAML

tristill run r.yaml; status=$?
check "a recipe with an untrained model runs to its report" $([ $status = 0 ] && told 'random & <tiny>' && told 'report: out/report/report.html'; echo $?)
check "the page escapes the row's name" $(grep -qF 'random &amp; &lt;tiny&gt;' out/report/report.html; echo $?)
flat() { tr -d ' \n' <out/eval/run.json; }
check "run.json holds the score" $(flat | grep -q '"n":64,"correct":' && flat | grep -q '"tokens_per_answer":{"mean":' && flat | grep -q '"by_steps":{"2":'; echo $?)
check "and the size of the weights" $(flat | grep -q "\"size_bytes\":$(stat -c %s out/model/final/model.safetensors)"; echo $?)

e="model=out/model/final prompts=out/test/records.jsonl.zst max_tokens=8 group=8"
tristill eval $e out=again name=other max_batch=3; status=$?
check "another batch size gives the same answers" $([ $status = 0 ] && cmp -s out/eval/answers.jsonl.zst again/answers.jsonl.zst; echo $?)
tristill eval $e out=cut name=other max_batch=3
rm cut/COMPLETE cut/run.json
truncate -s $(($(stat -c %s cut/answers.jsonl.zst) * 2 / 3)) cut/answers.jsonl.zst
tristill eval $e out=cut name=other max_batch=3; status=$?
check "an interrupted evaluation goes on and ends in the same bytes" $([ $status = 0 ] && cmp -s cut/answers.jsonl.zst again/answers.jsonl.zst; echo $?)
tristill eval $e out=limited limit=10 samples=2 temperature=1 --json; status=$?
check "samples per prompt are counted" $([ $status = 0 ] && told '"n": 20'; echo $?)
tristill eval $e out=bad samples=2; status=$?
check "several greedy answers are refused" $([ $status = 2 ] && said 'would all be the same'; echo $?)
tristill eval $e out=bad prompts=out/nowhere; status=$?
check "missing prompts are refused" $([ $status = 3 ]; echo $?)
echo '{"id": "a", "messages": [{"role": "user", "content": "How many?"}], "source": "test"}' >noanswer.jsonl
tristill eval $e out=bad prompts=noanswer.jsonl; status=$?
check "prompts without an answer are refused" $([ $status = 3 ] && said 'record 1: answer'; echo $?)

tristill generate out/model/final "prompt=Tom has 3 pens." max_tokens=6; status=$?
check "generate tells speed on stderr" $([ $status = 0 ] && said 'tok/s' && [ -s out.txt ]; echo $?)
first=$(cat out.txt)
echo "Tom has 3 pens." | tristill generate out/model/final max_tokens=6 --quiet
check "a prompt on stdin is the same prompt" $([ "$first" = "$(cat out.txt)" ] && [ ! -s log ]; echo $?)
tristill generate out/model/final "prompt=Tom" max_tokens=3 raw=true prefix=x; status=$?
check "raw and prefix exclude each other" $([ $status = 2 ]; echo $?)
printf 'Tom has 3 pens.\n/help\n/reset\n/nonsense\nHow many?\n' | tristill chat out/model/final max_tokens=4; status=$?
check "chat reads lines and commands" $([ $status = 0 ] && said '/exit ends' && said 'unknown command' && said 'begins anew' && [ "$(wc -l <out.txt)" -ge 2 ]; echo $?)
echo "Tom has 3 pens." | tristill chat out/model/final max_context=16; status=$?
check "a line beyond the context is an error" $([ $status = 2 ] && said 'the context holds 16'; echo $?)

tristill inspect out/model/final; status=$?
check "inspect tells a model folder" $([ $status = 0 ] && told 'model.embed_tokens.weight' && told 'chat_template  chatml' && told '320 x 32'; echo $?)
tristill inspect out/eval/log.jsonl --json; status=$?
check "inspect tells an event log, as JSON too" $([ $status = 0 ] && told '"asked": 1'; echo $?)
tristill report runs=out out=out/report evals=model; status=$?
check "report refuses what is no evaluation" $([ $status = 2 ] && said "'model' is no complete"; echo $?)

echo "[==========] tests: $ran test(s) run."
echo "[  PASSED  ] $passed test(s)."
[ $ran = $passed ]
