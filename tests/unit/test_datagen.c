// datagen's commands end to end on small files: the world's records, the share of a mix, the masks of packed shards.
#include "core/data/chat.h"
#include "core/data/shard.h"
#include "datagen/commands.h"
#include "datagen/encode.h"
#include "datagen/world.h"
#include "tests/unit/support_command.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char *folder;          // of all tests here
static const char *tokenizer; // learned once

static const char *in(const char *name) { return temp_path(folder, name); }

// n documents "<word> 0", "<word> 1 1", ... of 1 to `longest` words.
static void put_documents(const char *path, const char *kind, int n, int longest) {
    Error e = {0};
    RecordWriter *w = record_create(path, &e);
    assert_non_null(w);
    Buf text = {0};
    for (int i = 0; i < n; i++) {
        buf_clear(&text);
        buf_printf(&text, "%s", kind);
        for (int k = 0; k <= i % longest; k++) buf_printf(&text, " %d", i);
        char id[33];
        record_id(text.data, text.length, id);
        json_t *record = json_pack("{s:s, s:s, s:s, s:s}", "id", id, "text", text.data, "source", "test", "kind", kind);
        if (!strcmp(kind, "synthetic"))
            json_object_set_new(record, "strategy", json_string(i % 3 ? "dialogue" : "tutorial"));
        assert_true(record_write(w, record, &e));
        json_decref(record);
    }
    assert_true(record_close(w, &e));
    buf_free(&text);
}

static void put_line(const char *path, const char *line) { put_file(path, line, strlen(line)); }

static int open_group(void **state) {
    folder = temp_folder();
    log_set_quiet(true);
    run_ok(&command_world, "{'out': '%s', 'what': 'solutions', 'n': 300, 'voice': 'teacher'}", in("lessons"));
    run_ok(&command_tokenizer, "{'out': '%s', 'texts': ['%s/lessons/records.jsonl.zst'], 'vocab_size': 400}",
           in("tokenizer"), folder);
    tokenizer = in("tokenizer");
    return 0;
}

static int close_group(void **state) {
    temp_remove(folder);
    return 0;
}

// ---- world ----

static void test_problems(void **state) {
    run_ok(&command_world, "{'out': '%s', 'what': 'problems', 'n': 50, 'seed': 7}", in("problems"));
    json_t *all = records_of(in("problems/records.jsonl.zst")), *ids = json_object();
    assert_int_equal(json_array_size(all), 50);
    for (size_t i = 0; i < 50; i++) {
        const json_t *record = json_array_get(all, i), *meta = json_object_get(record, "meta");
        WorldProblem p;
        world_problem(7, i, false, &p);
        assert_string_equal(content_of(record, 0), p.question);
        assert_string_equal(text_of(record, "answer"), p.answer);
        assert_int_equal(number_of(meta, "steps"), p.n_steps);
        assert_int_equal(number_of(meta, "distractors"), p.n_distractors);
        assert_int_equal(strtoull(text_of(meta, "signature"), NULL, 16), p.signature);
        json_object_set_new(ids, text_of(record, "id"), json_true());
    }
    assert_int_equal(json_object_size(ids), 50);
    json_decref(ids);
    json_decref(all);
}

static void test_solutions_know_their_problems(void **state) {
    run_ok(&command_world, "{'out': '%s', 'what': 'problems', 'n': 10, 'seed': 3}", in("asked"));
    run_ok(&command_world, "{'out': '%s', 'what': 'solutions', 'n': 10, 'seed': 3, 'voice': 'teacher'}", in("taught"));
    run_ok(&command_world, "{'out': '%s', 'what': 'solutions', 'n': 10, 'seed': 3}", in("said"));
    json_t *asked = records_of(in("asked/records.jsonl.zst")), *taught = records_of(in("taught/records.jsonl.zst"));
    json_t *said = records_of(in("said/records.jsonl.zst"));
    for (size_t i = 0; i < 10; i++) {
        const json_t *problem = json_array_get(asked, i), *lesson = json_array_get(taught, i),
                     *remark = json_array_get(said, i);
        WorldProblem p;
        world_problem(3, i, false, &p);
        char expected[WORLD_TEXT];
        snprintf(expected, sizeof expected, "<think>\n%s\n</think>\n\nThe answer is \\boxed{%s}.", p.steps, p.answer);
        assert_string_equal(content_of(lesson, 1), expected);
        assert_string_equal(text_of(lesson, "prompt_id"), text_of(problem, "id"));
        assert_string_equal(text_of(remark, "prompt_id"), text_of(problem, "id"));
        assert_string_equal(content_of(remark, 0), content_of(problem, 0));
        assert_non_null(strstr(content_of(remark, 1), p.answer));
        assert_null(strstr(content_of(remark, 1), "<think>"));
    }
    json_decref(asked);
    json_decref(taught);
    json_decref(said);
}

static void test_ranges_and_sides_of_the_world(void **state) {
    run_ok(&command_world, "{'out': '%s', 'what': 'natural', 'n': 6, 'seed': 2}", in("whole"));
    run_ok(&command_world, "{'out': '%s', 'what': 'natural', 'n': 2, 'seed': 2, 'first': 4}", in("tail"));
    run_ok(&command_world, "{'out': '%s', 'what': 'natural', 'n': 6, 'seed': 2, 'held_out': true}", in("other"));
    json_t *whole = records_of(in("whole/records.jsonl.zst")), *tail = records_of(in("tail/records.jsonl.zst"));
    json_t *other = records_of(in("other/records.jsonl.zst"));
    assert_true(json_equal(json_array_get(whole, 4), json_array_get(tail, 0)));
    assert_true(json_equal(json_array_get(whole, 5), json_array_get(tail, 1)));
    assert_string_equal(text_of(json_array_get(whole, 0), "kind"), "natural");
    assert_string_not_equal(text_of(json_array_get(whole, 0), "id"), text_of(json_array_get(other, 0), "id"));
    json_decref(whole);
    json_decref(tail);
    json_decref(other);
}

static void test_rewrites_use_the_style_table(void **state) {
    run_ok(&command_world, "{'out': '%s', 'what': 'rewrites', 'n': 4, 'styles': ['tutorial', 'dialogue']}",
           in("rewrites"));
    json_t *all = records_of(in("rewrites/records.jsonl.zst"));
    for (size_t i = 0; i < 4; i++) {
        const json_t *record = json_array_get(all, i);
        assert_non_null(strstr(content_of(record, 0), i % 2 ? "dialogue" : "tutorial"));
        assert_non_null(strstr(content_of(record, 0), "\n\n"));
        assert_int_equal(strncmp(content_of(record, 1), "Tutor: ", 7) == 0, i % 2);
    }
    json_decref(all);
    run_fails(&command_world, EXIT_USAGE, "held_out", "{'out': '%s', 'what': 'rewrites', 'n': 4, 'held_out': true}",
              in("no"));
    run_fails(&command_world, EXIT_USAGE, "\"dialog\"",
              "{'out': '%s', 'what': 'rewrites', 'n': 4, 'styles': ['dialog']}", in("no"));
    assert_false(file_exists(in("no")));
}

// ---- tokenizer ----

static void test_tokenizer(void **state) {
    Error e = {0};
    Tokenizer *t = tokenizer_load(tokenizer, &e);
    if (!t) fail_msg("%s", e.text);
    assert_int_equal(tokenizer_vocab_size(t), 400);
    assert_true(tokenizer_id(t, "<think>") >= 0 && tokenizer_id(t, "</think>") >= 0);
    assert_true(tokenizer_is_special(t, tokenizer_id(t, "<|endoftext|>")));
    assert_false(tokenizer_is_special(t, tokenizer_id(t, "<think>")));
    assert_int_equal(tokenizer_id(t, "<th"), -1); // added tokens are not learned from
    tokenizer_free(t);
    json_t *run = run_record(in("tokenizer"));
    assert_true(json_real_value(json_object_get(json_object_get(run, "results"), "bytes_per_token")) > 2);
    json_decref(run);
    put_line(in("bad.jsonl"), "{\"id\":\"1\",\"words\":\"x\"}\n");
    run_fails(&command_tokenizer, EXIT_DATA, "bad.jsonl: record 1", "{'out': '%s', 'texts': ['%s']}", in("no1"),
              in("bad.jsonl"));
    run_fails(&command_tokenizer, EXIT_USAGE, "qwen9", "{'out': '%s', 'texts': ['%s'], 'chat_template': 'qwen9'}",
              in("no2"), in("bad.jsonl"));
}

// ---- mix ----

static int64_t sum_tokens(const json_t *records, const char *kind) {
    int64_t sum = 0;
    size_t i;
    json_t *record;
    json_array_foreach(records, i, record) if (!strcmp(text_of(record, "kind"), kind)) sum +=
        number_of(record, "n_tokens");
    return sum;
}

static void put_sides(void) {
    put_documents(in("natural.jsonl.zst"), "natural", 900, 17);
    put_documents(in("synthetic.jsonl.zst"), "synthetic", 500, 40);
}

static void mix_into(const char *out, double share, long long total, int seed) {
    run_ok(&command_mix,
           "{'out': '%s', 'natural': ['%s'], 'synthetic': ['%s'], 'tokenizer': '%s', 'synthetic_share': %g, "
           "'total_tokens': %lld, "
           "'seed': %d}",
           in(out), in("natural.jsonl.zst"), in("synthetic.jsonl.zst"), tokenizer, share, total, seed);
}

static void test_mix_meets_the_share(void **state) {
    static const struct {
        double share;
        long long total;
    } cases[] = {{0.4, 0}, {0.4, 9000}, {0.25, 12000}, {0.6, 0}, {0, 5000}, {1, 0}};
    put_sides();
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        char out[16], path[32];
        snprintf(out, sizeof out, "mix%zu", i);
        snprintf(path, sizeof path, "%s/mix.jsonl.zst", out);
        mix_into(out, cases[i].share, cases[i].total, 1);
        json_t *mixed = records_of(in(path)), *run = run_record(in(out)), *counts = json_object_get(run, "counts");
        double natural = (double)sum_tokens(mixed, "natural"), synthetic = (double)sum_tokens(mixed, "synthetic");
        assert_true(fabs(synthetic / (natural + synthetic) - cases[i].share) <= 0.005);
        if (cases[i].total)
            assert_true(fabs(natural + synthetic - (double)cases[i].total) <= 0.01 * (double)cases[i].total);
        assert_int_equal(number_of(counts, "read"), 1400);
        assert_int_equal(number_of(counts, "kept"), json_array_size(mixed));
        assert_int_equal(number_of(counts, "kept") + number_of(counts, "dropped"), 1400);
        json_decref(mixed);
        json_decref(run);
    }
}

static void test_mix_uses_up_the_scarcer_side(void **state) {
    put_sides();
    mix_into("scarce", 0.2, 0, 1);
    json_t *run = run_record(in("scarce")), *natural = json_object_get(json_object_get(run, "results"), "natural");
    assert_int_equal(number_of(natural, "documents"), 900);
    assert_int_equal(number_of(natural, "tokens"), number_of(natural, "tokens_available"));
    json_decref(run);
}

static void test_mix_counts_what_pack_writes(void **state) {
    put_sides();
    mix_into("counted", 0.4, 6000, 3);
    json_t *mixed = records_of(in("counted/mix.jsonl.zst"));
    run_ok(&command_pack, "{'out': '%s', 'documents': ['%s'], 'tokenizer': '%s'}", in("counted-packed"),
           in("counted/mix.jsonl.zst"), tokenizer);
    Error e = {0};
    Shard *shard = shard_open(in("counted-packed/shards"), true, &e);
    if (!shard) fail_msg("%s", e.text);
    assert_int_equal(shard->n_documents, json_array_size(mixed));
    for (int64_t i = 0; i < shard->n_documents; i++)
        assert_int_equal(shard_document(shard, i).length, number_of(json_array_get(mixed, (size_t)i), "n_tokens"));
    shard_close(shard);
    json_decref(mixed);
}

static void test_mix_is_a_function_of_its_seed(void **state) {
    put_sides();
    mix_into("seed1", 0.4, 6000, 1);
    mix_into("seed1b", 0.4, 6000, 1);
    mix_into("seed2", 0.4, 6000, 2);
    assert_same_file(in("seed1/mix.jsonl.zst"), in("seed1b/mix.jsonl.zst"), true);
    assert_same_file(in("seed1/mix.jsonl.zst"), in("seed2/mix.jsonl.zst"), false);
}

#define MIX_CONFIG "{'out': '%s', 'natural': ['%s'], 'synthetic': ['%s'], 'tokenizer': '%s', 'total_tokens': %d}"

static void test_mix_refuses_what_cannot_be(void **state) {
    put_sides();
    const char *natural = in("natural.jsonl.zst"), *synthetic = in("synthetic.jsonl.zst");
    run_fails(&command_mix, EXIT_DATA, "tokens are missing", MIX_CONFIG, in("m1"), natural, synthetic, tokenizer,
              10000000);
    run_fails(&command_mix, EXIT_DATA, "in the list of synthetic", MIX_CONFIG, in("m2"), natural, natural, tokenizer,
              0);
    run_fails(&command_mix, EXIT_DATA, "synthetic: no tokens at all",
              "{'out': '%s', 'natural': ['%s'], 'tokenizer': '%s'}", in("m3"), natural, tokenizer);
    run_fails(&command_mix, EXIT_USAGE, "at least one", "{'out': '%s', 'tokenizer': '%s'}", in("m4"), tokenizer);
    // Two documents are too coarse for any share but theirs.
    put_documents(in("one.jsonl.zst"), "natural", 1, 1);
    put_documents(in("two.jsonl.zst"), "synthetic", 1, 1);
    run_fails(&command_mix, EXIT_DATA, "too few or too long", MIX_CONFIG, in("m5"), in("one.jsonl.zst"),
              in("two.jsonl.zst"), tokenizer, 0);
    assert_false(file_exists(in("m5/COMPLETE")));
}

static void test_mix_drops_duplicates(void **state) {
    put_sides();
    run_ok(&command_mix, "{'out': '%s', 'natural': ['%s', '%s'], 'synthetic': ['%s'], 'tokenizer': '%s'}", in("twice"),
           in("natural.jsonl.zst"), in("natural.jsonl.zst"), in("synthetic.jsonl.zst"), tokenizer);
    json_t *run = run_record(in("twice"));
    assert_int_equal(number_of(json_object_get(run, "counts"), "dropped: duplicate id"), 900);
    json_decref(run);
}

// ---- pack ----

typedef struct Expected {
    const char *text; // one token sequence, encoded with special tokens
    int mask;
} Expected;

// Document `index` of the shard is exactly these pieces; the very first token is never trained.
static void assert_document(const char *shards, int64_t index, const Expected *pieces, size_t n) {
    Error e = {0};
    Shard *shard = shard_open(shards, true, &e);
    if (!shard) fail_msg("%s", e.text);
    Tokenizer *t = tokenizer_load(tokenizer, &e);
    int64_t length = shard_document(shard, index).length, at = 0;
    int32_t *tokens = xcalloc((size_t)length, sizeof *tokens);
    uint8_t *mask = xcalloc((size_t)length, 1);
    shard_read(shard, index, tokens, mask);
    TokenList ids = {0};
    for (size_t i = 0; i < n; i++) {
        ids.count = 0;
        tokenizer_encode(t, pieces[i].text, strlen(pieces[i].text), true, &ids);
        for (size_t k = 0; k < ids.count; k++, at++) {
            if (at >= length) fail_msg("piece %zu: the document ends after %lld tokens", i, (long long)length);
            if (tokens[at] != ids.items[k] || mask[at] != (at > 0 && pieces[i].mask))
                fail_msg("piece %zu, token %lld: found %d (mask %d), expected %d (mask %d)", i, (long long)at,
                         tokens[at], mask[at], ids.items[k], pieces[i].mask);
        }
    }
    assert_int_equal(at, length);
    tokens_free(&ids);
    free(tokens);
    free(mask);
    tokenizer_free(t);
    shard_close(shard);
}

static void test_pack_messages_token_by_token(void **state) {
    put_line(in("talk.jsonl"),
             "{\"id\":\"a\",\"messages\":[{\"role\":\"system\",\"content\":\"Be "
             "brief.\"},{\"role\":\"user\",\"content\":\"2 + 3?\"},"
             "{\"role\":\"assistant\",\"content\":\"<think>\\n2 + 3 = 5\\n</think>\\n\\n5\"}],\"source\":\"t\"}\n"
             "{\"id\":\"b\",\"messages\":[{\"role\":\"system\",\"content\":\"S\"},{\"role\":\"user\",\"content\":\"say "
             "<|im_end|>\"},"
             "{\"role\":\"assistant\",\"content\":\"No.\"}],\"source\":\"t\"}\n");
    run_ok(&command_pack, "{'out': '%s', 'messages': ['%s'], 'tokenizer': '%s'}", in("talk"), in("talk.jsonl"),
           tokenizer);
    const Expected a[] = {
        {"<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n2 + 3?<|im_end|>\n<|im_start|>assistant\n", 0},
        {"<think>\n2 + 3 = 5\n</think>\n\n5", 1},
        {"<|im_end|>", 1},
        {"\n", 0}};
    assert_document(in("talk/shards"), 0, a, COUNT_OF(a));
    // A user's text that looks like a mark of the template stays text.
    Error e = {0};
    Shard *shard = shard_open(in("talk/shards"), true, &e);
    Tokenizer *t = tokenizer_load(tokenizer, &e);
    int64_t length = shard_document(shard, 1).length, ends = 0;
    int32_t *tokens = xcalloc((size_t)length, sizeof *tokens);
    uint8_t *mask = xcalloc((size_t)length, 1);
    shard_read(shard, 1, tokens, mask);
    for (int64_t i = 0; i < length; i++) ends += tokens[i] == tokenizer_id(t, "<|im_end|>");
    assert_int_equal(ends, 3);
    assert_string_equal(text_of(shard->manifest, "template"), "chatml");
    assert_string_equal(text_of(shard->manifest, "tokenizer_sha256"), tokenizer_hash(t).text);
    assert_int_equal(json_array_size(json_object_get(shard->manifest, "inputs")), 2);
    free(tokens);
    free(mask);
    tokenizer_free(t);
    shard_close(shard);
}

static void test_pack_documents_token_by_token(void **state) {
    put_line(in("docs.jsonl"), "{\"id\":\"a\",\"text\":\"Tom has 14 "
                               "pens.\"}\n{\"id\":\"b\",\"text\":\"\"}\n{\"id\":\"c\",\"text\":\"<|endoftext|>\"}\n");
    run_ok(&command_pack, "{'out': '%s', 'documents': ['books=%s'], 'tokenizer': '%s'}", in("docs"), in("docs.jsonl"),
           tokenizer);
    const Expected a[] = {{"Tom has 14 pens.", 1}, {"<|endoftext|>", 1}};
    assert_document(in("docs/shards"), 0, a, COUNT_OF(a));
    Error e = {0};
    Shard *shard = shard_open(in("docs/shards"), true, &e);
    assert_int_equal(shard->n_documents, 2);          // the empty one has nothing to train on
    assert_true(shard_document(shard, 1).length > 2); // a mark in a text is text
    assert_int_equal(shard->sources.count, 1);
    assert_string_equal(shard->sources.items[0], "books");
    shard_close(shard);
    json_t *run = run_record(in("docs")), *dropped = records_of(in("docs/dropped.jsonl.zst"));
    assert_int_equal(number_of(json_object_get(run, "counts"), "dropped: no trained tokens"), 1);
    assert_string_equal(text_of(json_array_get(dropped, 0), "reason"), "no trained tokens");
    json_decref(run);
    json_decref(dropped);
}

static void test_pack_never_cuts(void **state) {
    put_documents(in("long.jsonl"), "natural", 60, 30);
    run_ok(&command_pack, "{'out': '%s', 'documents': ['%s'], 'tokenizer': '%s', 'max_length': 24}", in("short"),
           in("long.jsonl"), tokenizer);
    json_t *run = run_record(in("short")), *counts = json_object_get(run, "counts"),
           *results = json_object_get(run, "results");
    assert_true(number_of(counts, "dropped: longer than max_length") > 0 && number_of(counts, "kept") > 0);
    assert_int_equal(number_of(counts, "kept") + number_of(counts, "dropped"), 60);
    assert_true(number_of(json_object_get(results, "lengths"), "max") <= 24);
    assert_true(number_of(json_object_get(results, "lengths"), "min") <=
                number_of(json_object_get(results, "lengths"), "p50"));
    assert_int_equal(number_of(results, "trained_tokens"), number_of(results, "tokens") - number_of(counts, "kept"));
    json_decref(run);
    run_fails(&command_pack, EXIT_DATA, "long.jsonl: record",
              "{'out': '%s', 'documents': ['%s'], 'tokenizer': '%s', 'max_length': 24, 'overlong': 'error'}",
              in("refused"), in("long.jsonl"), tokenizer);
    run_fails(&command_pack, EXIT_DATA, "not one of 60",
              "{'out': '%s', 'documents': ['%s'], 'tokenizer': '%s', 'max_length': 2}", in("none"), in("long.jsonl"),
              tokenizer);
    assert_false(file_exists(in("none/shards/manifest.json")));
}

static void test_pack_refuses(void **state) {
    put_line(in("words.jsonl"), "{\"id\":\"a\",\"text\":\"one\"}\n");
    run_fails(&command_pack, EXIT_USAGE, "end_token",
              "{'out': '%s', 'documents': ['%s'], 'tokenizer': '%s', 'end_token': '<eos>'}", in("p1"),
              in("words.jsonl"), tokenizer);
    run_fails(&command_pack, EXIT_DATA, "words.jsonl: record 1", "{'out': '%s', 'messages': ['%s'], 'tokenizer': '%s'}",
              in("p2"), in("words.jsonl"), tokenizer);
    run_fails(&command_pack, EXIT_USAGE, "NAME=FILE", "{'out': '%s', 'documents': ['=%s'], 'tokenizer': '%s'}",
              in("p3"), in("words.jsonl"), tokenizer);
    assert_false(file_exists(in("p3")));
}

// A stage that was cut off is redone whole and ends in the same bytes.
static void test_redone_stages_are_the_same(void **state) {
    put_documents(in("again.jsonl"), "natural", 50, 9);
    const char *config = "{'out': '%s', 'documents': ['%s'], 'tokenizer': '%s'}";
    run_ok(&command_pack, config, in("again"), in("again.jsonl"), tokenizer);
    run_ok(&command_pack, config, in("again"), in("again.jsonl"), tokenizer); // complete: nothing to do
    Buf before = {0}, after = {0};
    get_file(in("again/shards/tokens.bin"), &before);
    Error e = {0};
    assert_true(remove_tree(in("again/COMPLETE"), &e));
    put_file(in("again/shards/tokens.bin"), "torn", 4);
    run_ok(&command_pack, config, in("again"), in("again.jsonl"), tokenizer);
    get_file(in("again/shards/tokens.bin"), &after);
    assert_int_equal(before.length, after.length);
    assert_memory_equal(before.data, after.data, before.length);
    buf_free(&before);
    buf_free(&after);
}

static void test_dry_run_writes_nothing(void **state) {
    Error e = {0};
    json_t *object =
        json_pack("{s:s, s:[s], s:s}", "out", in("dry"), "documents", in("absent.jsonl"), "tokenizer", tokenizer);
    void *config = xcalloc(1, command_pack.table.size);
    Options options = {.quiet = true, .dry_run = true};
    assert_true(config_from_json(&command_pack.table, object, "test", config, &e));
    assert_int_equal(command_pack.run(config, &options, &e), EXIT_DATA);
    assert_error(&e, EXIT_DATA, "missing");
    assert_false(file_exists(in("dry")));
    config_free(&command_pack.table, config);
    free(config);
    json_decref(object);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_problems),
        cmocka_unit_test(test_solutions_know_their_problems),
        cmocka_unit_test(test_ranges_and_sides_of_the_world),
        cmocka_unit_test(test_rewrites_use_the_style_table),
        cmocka_unit_test(test_tokenizer),
        cmocka_unit_test(test_mix_meets_the_share),
        cmocka_unit_test(test_mix_uses_up_the_scarcer_side),
        cmocka_unit_test(test_mix_counts_what_pack_writes),
        cmocka_unit_test(test_mix_is_a_function_of_its_seed),
        cmocka_unit_test(test_mix_refuses_what_cannot_be),
        cmocka_unit_test(test_mix_drops_duplicates),
        cmocka_unit_test(test_pack_messages_token_by_token),
        cmocka_unit_test(test_pack_documents_token_by_token),
        cmocka_unit_test(test_pack_never_cuts),
        cmocka_unit_test(test_pack_refuses),
        cmocka_unit_test(test_redone_stages_are_the_same),
        cmocka_unit_test(test_dry_run_writes_nothing),
    };
    return cmocka_run_group_tests(tests, open_group, close_group);
}
