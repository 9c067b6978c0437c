// datagen rephrase around a model with random weights: what it says is dropped with reasons, nothing vanishes, a kill
// costs at most a group. True rewrites put in the place of its answers are kept, false ones are not.
#include "core/model/model.h"
#include "datagen/commands.h"
#include "datagen/styles.h"
#include "datagen/world.h"
#include "tests/unit/support_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *folder; // of all tests here
enum { DOCUMENTS = 6, SEED = 4 };

static const char *in(const char *name) { return temp_path(folder, name); }

static void put_model(void) {
    Error e = {0};
    const ModelConfig config = {.arch = ARCH_LLAMA,
                                .vocab_size = 320,
                                .hidden_size = 16,
                                .intermediate_size = 32,
                                .num_hidden_layers = 1,
                                .num_attention_heads = 2,
                                .num_key_value_heads = 1,
                                .head_dim = 8,
                                .max_position_embeddings = 600,
                                .rope_theta = 10000,
                                .rms_norm_eps = 1e-6,
                                .initializer_range = 0.02,
                                .tie_word_embeddings = true,
                                .bos_token_id = -1,
                                .eos_token_id = -1,
                                .pad_token_id = -1};
    Model *m = model_create(&config);
    model_init(m, 1);
    if (!model_save(m, in("model"), DTYPE_F32, in("tokenizer"), &e)) fail_msg("%s", e.text);
    model_free(m);
}

static int open_group(void **state) {
    folder = temp_folder();
    log_set_quiet(true);
    run_ok(&command_world, "{'out': '%s', 'what': 'natural', 'n': %d, 'seed': %d}", in("natural"), DOCUMENTS, SEED);
    run_ok(&command_world, "{'out': '%s', 'what': 'natural', 'n': 100}", in("texts"));
    run_ok(&command_tokenizer, "{'out': '%s', 'texts': ['%s'], 'vocab_size': 320}", in("tokenizer"),
           in("texts/records.jsonl.zst"));
    put_model();
    return 0;
}

static int close_group(void **state) {
    temp_remove(folder);
    return 0;
}

static void rephrase(const char *out, const char *more) {
    run_ok(&command_rephrase, "{'out': '%s', 'model': '%s', 'documents': ['%s'], 'max_tokens': 24, 'group': 4%s}",
           in(out), in("model"), in("natural/records.jsonl.zst"), more);
}

static json_t *counts_of(const char *out) {
    json_t *run = run_record(in(out)), *counts = json_incref(json_object_get(run, "counts"));
    json_decref(run);
    return counts;
}

static void test_babble_is_dropped_and_counted(void **state) {
    rephrase("babble", "");
    json_t *counts = counts_of("babble"), *raw = records_of(in("babble/raw.jsonl.zst")),
           *dropped = records_of(in("babble/dropped.jsonl.zst"));
    assert_int_equal(json_array_size(raw), DOCUMENTS * n_styles);
    assert_int_equal(number_of(counts, "documents"), DOCUMENTS);
    assert_int_equal(number_of(counts, "read"), DOCUMENTS * n_styles);
    assert_int_equal(number_of(counts, "kept"), 0);
    assert_int_equal(number_of(counts, "dropped"), json_array_size(dropped));
    for (size_t i = 0; i < json_array_size(dropped); i++) {
        assert_string_equal(text_of(json_array_get(dropped, i), "id"), text_of(json_array_get(raw, i), "id"));
        assert_string_equal(text_of(json_array_get(dropped, i), "stage"), "rephrase");
        assert_true(strlen(text_of(json_array_get(dropped, i), "reason")) > 0);
    }
    json_decref(counts);
    json_decref(raw);
    json_decref(dropped);
}

static void test_limit_and_styles_per_document(void **state) {
    rephrase("fewer", ", 'per_document': 1, 'limit': 5");
    json_t *raw = records_of(in("fewer/raw.jsonl.zst")), *counts = counts_of("fewer");
    assert_int_equal(json_array_size(raw), 5);
    assert_int_equal(number_of(counts, "documents"), 5);
    for (size_t i = 1; i < 5; i++) // each document once
        assert_string_not_equal(text_of(json_array_get(raw, i), "parent"),
                                text_of(json_array_get(raw, i - 1), "parent"));
    json_decref(raw);
    json_decref(counts);
    run_fails(&command_rephrase, EXIT_USAGE, "per_document",
              "{'out': '%s', 'model': '%s', 'documents': ['%s'], 'per_document': 9}", in("no"), in("model"),
              in("natural/records.jsonl.zst"));
    assert_false(file_exists(in("no")));
}

static void forget_completion(const char *out) {
    Error e = {0};
    char *seal = path_join(in(out), "COMPLETE");
    assert_true(remove_tree(seal, &e));
    free(seal);
}

static void test_a_kill_costs_one_group(void **state) {
    rephrase("killed", "");
    Buf whole = {0}, again = {0};
    get_file(in("killed/raw.jsonl.zst"), &whole);
    forget_completion("killed");
    put_file(in("killed/raw.jsonl.zst"), whole.data, whole.length * 2 / 3);
    rephrase("killed", "");
    get_file(in("killed/raw.jsonl.zst"), &again);
    assert_int_equal(whole.length, again.length);
    assert_memory_equal(whole.data, again.data, whole.length);
    buf_free(&whole);
    buf_free(&again);
}

// Which document of the world a record comes from.
static size_t place_of(const json_t *natural, const char *id) {
    size_t i = 0;
    while (i < json_array_size(natural) && strcmp(text_of(json_array_get(natural, i), "id"), id)) i++;
    assert_true(i < json_array_size(natural));
    return i;
}

static void change(char *text, const char *from, const char *to) {
    char *at = strstr(text, from);
    assert_non_null(at);
    memcpy(at, to, strlen(to));
}

// Answers as a good model would give them under the ids of those that were given; numbers 3 and 8 are wrong.
static void answer_well(const char *raw_path) {
    json_t *raw = records_of(raw_path), *natural = records_of(in("natural/records.jsonl.zst"));
    Error e = {0};
    RecordWriter *w = record_create(raw_path, &e);
    for (size_t i = 0; i < json_array_size(raw); i++) {
        json_t *record = json_array_get(raw, i);
        char source[2 * WORLD_TEXT], target[2 * WORLD_TEXT];
        int style = style_find(text_of(record, "strategy"), &e);
        world_rephrase_pair(SEED, place_of(natural, text_of(record, "parent")), styles[style].world_style, source,
                            target, sizeof source);
        if (i == 3) change(target, " = ", " + ");
        if (i == 8) change(target, ": ", " - ");
        json_object_set_new(record, "text", json_string(target));
        json_object_set_new(record, "finish_reason", json_string("stop"));
        assert_true(record_write(w, record, &e));
        if (i % 4 == 3) assert_true(record_commit(w, &e));
    }
    assert_true(record_close(w, &e));
    json_decref(raw);
    json_decref(natural);
}

static int64_t kept_by_style(const char *out) {
    json_t *run = run_record(in(out)), *by_style = json_object_get(json_object_get(run, "results"), "styles");
    int64_t sum = 0;
    for (int i = 0; i < n_styles; i++) {
        const json_t *count = json_object_get(by_style, styles[i].name);
        assert_int_equal(number_of(count, "read"), DOCUMENTS);
        sum += number_of(count, "kept");
    }
    json_decref(run);
    return sum;
}

static void test_true_rewrites_become_documents(void **state) {
    rephrase("good", "");
    forget_completion("good");
    answer_well(in("good/raw.jsonl.zst"));
    rephrase("good", "");
    json_t *kept = records_of(in("good/synthetic.jsonl.zst")), *counts = counts_of("good"),
           *natural = records_of(in("natural/records.jsonl.zst"));
    assert_int_equal(number_of(counts, "kept"), DOCUMENTS * n_styles - 2);
    assert_int_equal(number_of(counts, "dropped"), 2);
    assert_int_equal(number_of(counts, "dropped: wrong format"), 1);
    assert_int_equal(json_array_size(kept), DOCUMENTS * n_styles - 2);
    assert_int_equal(kept_by_style("good"), DOCUMENTS * n_styles - 2);
    for (size_t i = 0; i < json_array_size(kept); i++) {
        const json_t *record = json_array_get(kept, i), *generator = json_object_get(record, "generator");
        const json_t *parent = json_array_get(natural, place_of(natural, text_of(record, "parent")));
        assert_string_equal(text_of(record, "kind"), "synthetic");
        assert_string_equal(text_of(record, "source"), text_of(parent, "source"));
        assert_string_equal(text_of(record, "answer"), text_of(parent, "answer"));
        assert_string_equal(text_of(generator, "name"), "model");
        assert_int_equal(strlen(text_of(generator, "sha256")), 64);
        Error e = {0};
        assert_true(style_find(text_of(record, "strategy"), &e) >= 0);
    }
    json_decref(kept);
    json_decref(counts);
    json_decref(natural);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_babble_is_dropped_and_counted),
        cmocka_unit_test(test_limit_and_styles_per_document),
        cmocka_unit_test(test_a_kill_costs_one_group),
        cmocka_unit_test(test_true_rewrites_become_documents),
    };
    return cmocka_run_group_tests(tests, open_group, close_group);
}
