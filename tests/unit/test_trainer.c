// The training loop through its public door, train(): it learns, its normalisation does not depend on how a step is
// split, it resumes to the same bytes after kill -9, REDI's logged value is its formula, KD from itself starts at zero,
// bad samples are refused by name.
#include <math.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/rng.h"
#include "core/data/chat.h"
#include "core/data/record.h"
#include "core/data/safetensors.h"
#include "core/data/shard.h"
#include "core/model/model.h"
#include "trainer/trainer.h"

#include <cmocka.h>

static char root[] = "/tmp/tristill-XXXXXX";
static const char *const corpus[] = {"a red fox runs over the hill", "the blue hen sits on the red hill",
                                     "one fox and two hens run home", "over the hill and home they run",
                                     "two red foxes sit on the blue hill, 1 2 3 4 5 6 7 8 9"};

static char *in_root(const char *name) { return path_join(root, name); }

static void must(bool ok, const Error *e) {
    if (!ok) fail_msg("%s", e->text);
}

static void make_tokenizer(void) {
    Error e = {0};
    const char *special[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
    size_t lengths[COUNT_OF(corpus)];
    for (size_t i = 0; i < COUNT_OF(corpus); i++) lengths[i] = strlen(corpus[i]);
    TokenizerTraining how = {.vocab_size = 290,
                             .special = special,
                             .n_special = 3,
                             .eos = "<|im_end|>",
                             .pad = "<|endoftext|>",
                             .chat_template = chat_builtin_jinja("chatml")};
    char *folder = in_root("tokenizer");
    must(tokenizer_train(&how, corpus, lengths, COUNT_OF(corpus), folder, &e), &e);
    free(folder);
}

static void make_shards(void) {
    Error e = {0};
    char *folder = in_root("tokenizer"), *out = in_root("shards");
    Tokenizer *t = tokenizer_load(folder, &e);
    must(t != NULL, &e);
    ShardWriter *w = shard_create(out, tokenizer_vocab_size(t), &e);
    must(w != NULL, &e);
    for (size_t i = 0; i < COUNT_OF(corpus); i++) {
        TokenList ids = {0};
        tokenizer_encode(t, corpus[i], strlen(corpus[i]), false, &ids);
        must(shard_add(w, ids.items, NULL, (int64_t)ids.count, "corpus", NULL, &e), &e);
        tokens_free(&ids);
    }
    must(shard_finish(w, json_pack("{s:s}", "tokenizer_sha256", tokenizer_hash(t).text), &e), &e);
    tokenizer_free(t);
    free(folder), free(out);
}

static void make_pairs(void) {
    Error e = {0};
    char *path = in_root("pairs.jsonl.zst");
    RecordWriter *w = record_create(path, &e);
    must(w != NULL, &e);
    for (size_t i = 0; i + 1 < COUNT_OF(corpus); i++) {
        char id[16];
        snprintf(id, sizeof id, "pair%zu", i);
        json_t *o = json_pack("{s:s, s:[{s:s, s:s}], s:s, s:s}", "id", id, "messages", "role", "user", "content",
                              "what runs?", "chosen", corpus[i], "rejected", corpus[i + 1]);
        must(record_write(w, o, &e), &e);
        json_decref(o);
    }
    must(record_close(w, &e), &e);
    free(path);
}

static void make_model_config(void) {
    Error e = {0};
    char *path = in_root("config.json");
    ModelConfig c = {.arch = ARCH_QWEN3,
                     .vocab_size = 290,
                     .hidden_size = 32,
                     .intermediate_size = 48,
                     .num_hidden_layers = 2,
                     .num_attention_heads = 4,
                     .num_key_value_heads = 2,
                     .head_dim = 8,
                     .max_position_embeddings = 128,
                     .rope_theta = 1e4,
                     .rms_norm_eps = 1e-6,
                     .initializer_range = 0.1,
                     .tie_word_embeddings = true,
                     .qk_norm = true,
                     .bos_token_id = -1,
                     .eos_token_id = 289,
                     .pad_token_id = -1};
    json_t *o = model_config_to_json(&c);
    must(json_write_file(path, o, &e), &e);
    json_decref(o);
    free(path);
}

static int set_up(void **state) {
    log_set_quiet(true);
    if (!mkdtemp(root)) return -1;
    make_tokenizer(), make_shards(), make_pairs(), make_model_config();
    return 0;
}

static int tear_down(void **state) {
    Error e = {0};
    return remove_tree(root, &e) ? 0 : -1;
}

// Runs train() with "key=value" settings; paths are relative to root.
static int run_training(const char *const *settings, size_t n, Error *e) {
    static const char *const paths[] = {"out", "data", "pairs", "teacher", "model", "model_config", "tokenizer"};
    char *overrides[32];
    for (size_t i = 0; i < n; i++) {
        const char *equals = strchr(settings[i], '=');
        bool is_path = false;
        for (size_t k = 0; k < COUNT_OF(paths); k++)
            is_path |=
                strlen(paths[k]) == (size_t)(equals - settings[i]) && !strncmp(paths[k], settings[i], strlen(paths[k]));
        overrides[i] = is_path ? xasprintf("%.*s=%s/%s", (int)(equals - settings[i]), settings[i], root, equals + 1)
                               : xstrdup(settings[i]);
    }
    TrainConfig c;
    Options options = {0};
    bool ok = config_parse(&train_table, NULL, overrides, n, &c, e);
    int code = ok ? train(&c, &options, e) : e->code;
    if (ok) config_free(&train_table, &c);
    for (size_t i = 0; i < n; i++) free(overrides[i]);
    return code;
}
#define RUN(e, ...) run_training((const char *const[]){__VA_ARGS__}, COUNT_OF(((const char *const[]){__VA_ARGS__})), e)
#define FRESH                                                                                                          \
    "model_config=config.json", "tokenizer=tokenizer", "data=shards", "loss=pretrain", "log_every=1", "weight_decay=0.1"

static void must_run(int code, const Error *e) {
    if (code) fail_msg("exit %d: %s", code, e->text);
}

// The "step" events of a run, field by field.
static size_t step_events(const char *run, const char *field, double *out, size_t most) {
    char *path = xasprintf("%s/%s/log.jsonl", root, run);
    Buf b = {0};
    Error e = {0};
    must(file_read(path, 0, &b, &e), &e);
    size_t n = 0;
    for (char *save = NULL, *line = strtok_r(b.data, "\n", &save); line && n < most;
         line = strtok_r(NULL, "\n", &save)) {
        json_t *o = json_parse(line, strlen(line), path, &e);
        const char *event = json_string_value(json_object_get(o, "event"));
        if (event && !strcmp(event, "step")) out[n++] = json_number_value(json_object_get(o, field));
        json_decref(o);
    }
    buf_free(&b);
    free(path);
    return n;
}

static HexDigest hash_of(const char *relative) {
    char *path = in_root(relative);
    HexDigest h = {{0}};
    Error e = {0};
    must(sha256_path(path, &h, &e), &e);
    free(path);
    return h;
}

static void learns(void **state) {
    Error e = {0};
    must_run(RUN(&e, FRESH, "out=learns", "max_steps=150", "batch_tokens=256", "learning_rate=1e-2"), &e);
    double loss[256];
    size_t n = step_events("learns", "loss", loss, 256);
    assert_int_equal(n, 150);
    assert_true(loss[0] > 4); // ln 290 = 5.67 at random
    assert_true(loss[n - 1] < 0.5);
}

static void splits_do_not_matter(void **state) {
    Error e = {0};
    must_run(RUN(&e, FRESH, "out=whole", "max_steps=5", "batch_tokens=128", "micro_batch_tokens=128"), &e);
    must_run(RUN(&e, FRESH, "out=split", "max_steps=5", "batch_tokens=128", "micro_batch_tokens=32"), &e);
    double a[8], b[8], x[8], y[8];
    assert_int_equal(step_events("whole", "loss", a, 8), 5);
    step_events("split", "loss", b, 8), step_events("whole", "grad_norm", x, 8),
        step_events("split", "grad_norm", y, 8);
    // the same sums in another order: float32 rounding, growing a little from step to step
    for (int i = 0; i < 5; i++) {
        assert_true(fabs(a[i] - b[i]) < 1e-4 * fabs(a[i]));
        assert_true(fabs(x[i] - y[i]) < 1e-3 * fabs(x[i]));
    }
}

static void same_seed_same_bytes_any_threads(void **state) {
    Error e = {0};
    must_run(RUN(&e, FRESH, "out=one", "max_steps=12", "threads=1", "ternary=true"), &e);
    must_run(RUN(&e, FRESH, "out=three", "max_steps=12", "threads=3", "ternary=true"), &e);
    assert_string_equal(hash_of("one/final/model.safetensors").text, hash_of("three/final/model.safetensors").text);
    must_run(RUN(&e, FRESH, "out=other", "max_steps=12", "seed=2", "ternary=true"), &e);
    assert_string_not_equal(hash_of("one/final/model.safetensors").text, hash_of("other/final/model.safetensors").text);
}

static bool has_checkpoint(const char *run) {
    char *path = xasprintf("%s/%s/latest", root, run);
    bool yes = access(path, F_OK) == 0;
    free(path);
    return yes;
}

// kill -9 at the first checkpoint and again at a later one; the end is the same to the byte.
static void killed_and_resumed(void **state) {
    Error e = {0};
#define LONG_RUN "max_steps=120", "checkpoint_steps=7", "epochs=3"
    must_run(RUN(&e, FRESH, LONG_RUN, "out=calm"), &e);
    int killed = 0;
    for (int attempt = 0; attempt < 3; attempt++) {
        pid_t child = fork();
        if (!child) _exit(RUN(&e, FRESH, LONG_RUN, "out=killed"));
        for (int i = 0; i < 2000 && !has_checkpoint("killed"); i++) usleep(500);
        usleep(1000 * (useconds_t)(rng_u64(7, RNG_TEST, (uint64_t)attempt) % 60));
        killed += kill(child, SIGKILL) == 0;
        waitpid(child, NULL, 0);
    }
    assert_true(killed > 0);
    must_run(RUN(&e, FRESH, LONG_RUN, "out=killed"), &e);
    assert_string_equal(hash_of("calm/final/model.safetensors").text, hash_of("killed/final/model.safetensors").text);
    assert_string_equal(hash_of("calm/checkpoint-119/optimizer.safetensors").text,
                        hash_of("killed/checkpoint-119/optimizer.safetensors").text);
}

static void a_damaged_checkpoint_is_passed_over(void **state) {
    Error e = {0};
    pid_t child = fork();
    if (!child) {
        RUN(&e, FRESH, "out=damaged", "max_steps=40", "checkpoint_steps=10", "keep_checkpoints=4");
        _exit(0);
    }
    waitpid(child, NULL, 0);
    HexDigest before = hash_of("damaged/final/model.safetensors");
    char *complete = in_root("damaged/COMPLETE"), *weights = in_root("damaged/checkpoint-30/model.safetensors");
    assert_int_equal(unlink(complete), 0);
    FILE *f = fopen(weights, "r+b");
    fseek(f, -5, SEEK_END);
    fputc(0x5a, f);
    fclose(f);
    must_run(RUN(&e, FRESH, "out=damaged", "max_steps=40", "checkpoint_steps=10", "keep_checkpoints=4"), &e);
    assert_string_equal(hash_of("damaged/final/model.safetensors").text, before.text);
    free(complete), free(weights);
}

static void redi_is_its_formula(void **state) {
    Error e = {0};
    must_run(RUN(&e, "model_config=config.json", "tokenizer=tokenizer", "pairs=pairs.jsonl.zst", "loss=redi",
                 "out=redi", "max_steps=6", "batch_pairs=4", "log_every=1", "learning_rate=1e-3",
                 "micro_batch_tokens=128"),
             &e);
    double loss[8], chosen[8], rejected[8];
    assert_int_equal(step_events("redi", "loss", loss, 8), 6);
    step_events("redi", "chosen_logprob", chosen, 8), step_events("redi", "rejected_logprob", rejected, 8);
    for (int i = 0; i < 6; i++) {
        assert_true(chosen[i] < 0 && rejected[i] < 0);
        // Eq. 5 with alpha 0.8; float32 log-probabilities
        assert_true(fabs(loss[i] - (-chosen[i] + 0.8 * rejected[i])) < 1e-5);
    }
    assert_true(chosen[5] - rejected[5] > chosen[0] - rejected[0]);
}

static void kd_from_itself_starts_at_zero(void **state) {
    Error e = {0};
    must_run(RUN(&e, FRESH, "out=teacher", "max_steps=20"), &e);
    must_run(RUN(&e, "model=teacher/final", "data=shards", "loss=kd", "teacher=teacher/final", "out=kd", "max_steps=2",
                 "log_every=1"),
             &e);
    double kl[4];
    assert_int_equal(step_events("kd", "kl", kl, 4), 2);
    assert_true(fabs(kl[0]) < 1e-6);
}

static void zero_steps_write_the_start(void **state) {
    Error e = {0};
    must_run(RUN(&e, FRESH, "out=start", "max_steps=0"), &e);
    char *path = in_root("start/final");
    Model *m = model_load(path, &e);
    must(m != NULL, &e);
    Model *fresh = model_create(&m->config);
    model_init(fresh, 1);
    assert_memory_equal(m->params, fresh->params, (size_t)m->n_params * sizeof(float));
    model_free(m), model_free(fresh);
    free(path);
}

static void bad_input_is_refused(void **state) {
    Error e = {0};
    assert_int_equal(RUN(&e, FRESH, "out=bad1", "micro_batch_tokens=16"), EXIT_DATA);
    assert_non_null(strstr(e.text, "corpus#"));
    assert_int_equal(RUN(&e, "tokenizer=tokenizer", "data=shards", "out=bad2"), EXIT_USAGE);
    assert_non_null(strstr(e.text, "model_config"));
    assert_int_equal(RUN(&e, "model_config=config.json", "tokenizer=tokenizer", "loss=redi", "out=bad3"), EXIT_USAGE);
    assert_non_null(strstr(e.text, "pairs"));
}

static void non_finite_never_reaches_the_weights(void **state) {
    Error e = {0};
    char *good = in_root("start/final"), *bad = in_root("poisoned");
    Model *m = model_load(good, &e);
    must(m != NULL, &e);
    m->params[5] = NAN;
    must(model_save(m, bad, DTYPE_F32, good, &e), &e);
    model_free(m);
    assert_int_equal(RUN(&e, "model=poisoned", "data=shards", "loss=pretrain", "out=nan", "max_steps=3"), EXIT_FAIL);
    assert_non_null(strstr(e.text, "not finite"));
    assert_non_null(strstr(e.text, "corpus#"));
    free(good), free(bad);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(learns),
        cmocka_unit_test(splits_do_not_matter),
        cmocka_unit_test(same_seed_same_bytes_any_threads),
        cmocka_unit_test(killed_and_resumed),
        cmocka_unit_test(a_damaged_checkpoint_is_passed_over),
        cmocka_unit_test(redi_is_its_formula),
        cmocka_unit_test(kd_from_itself_starts_at_zero),
        cmocka_unit_test(zero_steps_write_the_start),
        cmocka_unit_test(bad_input_is_refused),
        cmocka_unit_test(non_finite_never_reaches_the_weights),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
