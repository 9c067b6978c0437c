// distill: asking a tiny model (records, resuming, refusals), grading and selecting on hand-made records: counts,
// reasons, pairs.
#include "tests/unit/support_command.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ask/ask.h"
#include "distill/distill.h"

static char *folder; // of all tests here

static const char *in(const char *name) { return temp_path(folder, name); }

static void put_text(const char *name, const char *text) { put_file(in(name), text, strlen(text)); }

// Records written with ' for ", one a line.
static void put_records(const char *name, const char *lines) {
    char *text = xstrdup(lines);
    for (char *c = text; *c; c++)
        if (*c == '\'') *c = '"';
    put_text(name, text);
    free(text);
}

static const json_t *result_of(const json_t *run, const char *name) {
    const json_t *value = json_object_get(json_object_get(run, "results"), name);
    assert_non_null(value);
    return value;
}

static int64_t count_of(const json_t *run, const char *name) { return number_of(json_object_get(run, "counts"), name); }

// ---- a model that says something ----

static void put_model(const char *name, uint64_t seed) {
    static const char *const special[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"}, *const plain[] = {"<think>",
                                                                                                            "</think>"};
    static const char *const texts[] = {"How many apples does Tom have now? Tom has 3 apples.",
                                        "user assistant\nThe answer is 12."};
    const size_t lengths[] = {strlen(texts[0]), strlen(texts[1])};
    const TokenizerTraining how = {.vocab_size = 280,
                                   .special = special,
                                   .n_special = 3,
                                   .plain_added = plain,
                                   .n_plain_added = 2,
                                   .eos = "<|im_end|>",
                                   .pad = "<|endoftext|>",
                                   .chat_template = chat_builtin_jinja("chatml")};
    const ModelConfig config = {.arch = ARCH_LLAMA,
                                .vocab_size = 280,
                                .hidden_size = 16,
                                .intermediate_size = 32,
                                .num_hidden_layers = 1,
                                .num_attention_heads = 2,
                                .num_key_value_heads = 1,
                                .head_dim = 8,
                                .max_position_embeddings = 256,
                                .rope_theta = 10000,
                                .rms_norm_eps = 1e-6,
                                .initializer_range = 0.02,
                                .tie_word_embeddings = true,
                                .bos_token_id = -1,
                                .eos_token_id = -1,
                                .pad_token_id = -1};
    Error e = {0};
    if (!tokenizer_train(&how, texts, lengths, 2, in("tokenizer"), &e)) fail_msg("%s", e.text);
    Model *m = model_create(&config);
    model_init(m, seed);
    if (!model_save(m, in(name), DTYPE_F32, in("tokenizer"), &e)) fail_msg("%s", e.text);
    model_free(m);
}

static void put_prompts(const char *name, int n) {
    Buf b = {0};
    for (int i = 0; i < n; i++)
        buf_printf(&b,
                   "{\"id\":\"p%d\",\"messages\":[{\"role\":\"user\",\"content\":\"Tom has %d "
                   "apples.\"}],\"answer\":\"%d\"}\n",
                   i, i, i);
    put_file(in(name), b.data, b.length);
    buf_free(&b);
}

static int open_group(void **state) {
    folder = temp_folder();
    log_set_quiet(true);
    put_model("model", 1);
    put_prompts("prompts.jsonl", 7);
    return 0;
}

static int close_group(void **state) {
    temp_remove(folder);
    return 0;
}

// ---- ask ----

static const char usual[] = "'max_batch': 4, 'group': 6";

static void ask(const char *out, const char *more) {
    run_ok(&distill_ask_command,
           "{'out': '%s', 'model': '%s', 'prompts': '%s', 'samples': 3, 'max_tokens': 24, 'temperature': 1, "
           "'top_p': 1, %s}",
           in(out), in("model"), in("prompts.jsonl"), more);
}

static void traces_hold_what_the_model_said(void **state) {
    ask("asked", usual);
    json_t *traces = records_of(in("asked/traces.jsonl.zst")), *run = run_record(in("asked")), *ids = json_object();
    int64_t tokens = 0, stopped = 0;
    size_t letters = 0;
    assert_int_equal(json_array_size(traces), 21);
    for (size_t i = 0; i < 21; i++) {
        const json_t *t = json_array_get(traces, i), *usage = json_object_get(t, "usage"),
                     *sampling = json_object_get(t, "sampling");
        char prompt[8];
        snprintf(prompt, sizeof prompt, "p%zu", i / 3);
        assert_string_equal(text_of(t, "prompt_id"), prompt);
        assert_int_equal(number_of(t, "sample"), i % 3);
        assert_string_equal(text_of(json_object_get(t, "teacher"), "name"), "model");
        assert_int_equal(strlen(text_of(json_object_get(t, "teacher"), "sha256")), 64);
        assert_int_equal(number_of(sampling, "seed"), 1);
        assert_true(json_real_value(json_object_get(sampling, "temperature")) == 1.0);
        assert_true(json_array_size(json_object_get(t, "messages")) == 1);
        bool stop = !strcmp(text_of(t, "finish_reason"), "stop");
        assert_true(stop || number_of(usage, "completion_tokens") == 24);
        assert_true(number_of(usage, "prompt_tokens") > 10);
        double logprob = json_number_value(json_object_get(t, "mean_logprob"));
        assert_true(logprob < 0 && logprob > -20);
        letters += strlen(text_of(t, "reasoning")) + strlen(text_of(t, "content"));
        tokens += number_of(usage, "completion_tokens"), stopped += stop;
        json_object_set_new(ids, text_of(t, "id"), json_true());
    }
    assert_int_equal(json_object_size(ids), 21);
    assert_true(letters > 100); // noise, but text
    assert_int_equal(count_of(run, "traces"), 21);
    assert_int_equal(json_integer_value(result_of(run, "tokens")), tokens);
    assert_int_equal(number_of(result_of(run, "finish_reason"), "stop"), stopped);
    json_decref(ids);
    json_decref(traces);
    json_decref(run);
}

static void forget_completion(const char *out) {
    Error e = {0};
    char *seal = path_join(in(out), "COMPLETE");
    assert_true(remove_tree(seal, &e));
    free(seal);
}

// Cut anywhere, a file of answers grows again into the very same bytes.
static void an_interruption_changes_nothing(void **state) {
    ask("whole", usual);
    Buf whole = {0}, again = {0};
    get_file(in("whole/traces.jsonl.zst"), &whole);
    for (size_t part = 0; part <= 5; part++) {
        forget_completion("whole");
        put_file(in("whole/traces.jsonl.zst"), whole.data, whole.length * part / 5);
        ask("whole", usual);
        get_file(in("whole/traces.jsonl.zst"), &again);
        assert_int_equal(whole.length, again.length);
        assert_memory_equal(whole.data, again.data, whole.length);
    }
    buf_free(&whole);
    buf_free(&again);
}

static void answers_to_other_requests_are_not_taken_for_ours(void **state) {
    ask("mine", usual);
    ask("other", "'max_batch': 4, 'group': 6, 'seed': 2");
    forget_completion("mine");
    Buf other = {0};
    get_file(in("other/traces.jsonl.zst"), &other);
    put_file(in("mine/traces.jsonl.zst"), other.data, other.length);
    run_fails(&distill_ask_command, EXIT_DATA, "record 1 is not the answer to request 1",
              "{'out': '%s', 'model': '%s', 'prompts': '%s', 'samples': 3, 'max_tokens': 24, 'max_batch': 4, "
              "'temperature': 1, 'top_p': 1, "
              "'group': 6}",
              in("mine"), in("model"), in("prompts.jsonl"));
    buf_free(&other);
}

// A sample's text depends on the prompt, the sample and the seed, not on what is asked beside it.
static void a_sample_is_the_same_in_any_company(void **state) {
    ask("many", usual);
    ask("few", "'max_batch': 1, 'group': 1, 'limit': 2");
    json_t *many = records_of(in("many/traces.jsonl.zst")), *few = records_of(in("few/traces.jsonl.zst"));
    assert_int_equal(json_array_size(few), 6);
    for (size_t i = 0; i < 6; i++) {
        assert_string_equal(text_of(json_array_get(few, i), "reasoning"),
                            text_of(json_array_get(many, i), "reasoning"));
        assert_string_equal(text_of(json_array_get(few, i), "content"), text_of(json_array_get(many, i), "content"));
    }
    assert_string_not_equal(text_of(json_array_get(few, 0), "reasoning"), text_of(json_array_get(few, 1), "reasoning"));
    json_decref(many);
    json_decref(few);
}

static void ask_fails(const char *prompts, const char *more, int code, const char *part) {
    char *out = xasprintf("%s/never", folder);
    run_fails(&distill_ask_command, code, part, "{'out': '%s', 'model': '%s', 'prompts': '%s', 'max_tokens': 4%s}", out,
              in("model"), in(prompts), more);
    Error e = {0};
    assert_true(remove_tree(out, &e));
    free(out);
}

static void bad_prompts_are_named(void **state) {
    put_records(
        "twins.jsonl",
        "{'id':'a','messages':[{'role':'user','content':'1'}]}\n{'id':'b','messages':[{'role':'user','content':'2'}]}\n"
        "{'id':'a','messages':[{'role':'user','content':'3'}]}\n");
    ask_fails("twins.jsonl", "", EXIT_DATA, "record 3: id: \"a\" is already record 1");
    put_records("silent.jsonl", "{'id':'a','messages':[{'role':'user','content':'1'}]}\n{'id':'b'}\n");
    ask_fails("silent.jsonl", "", EXIT_DATA, "record 2: messages");
    put_records("answered.jsonl",
                "{'id':'a','messages':[{'role':'user','content':'1'},{'role':'assistant','content':'2'}]}\n");
    ask_fails("answered.jsonl", "", EXIT_DATA, "record 1: messages: the last one must be the user's");
    put_records("nameless.jsonl", "{'messages':[{'role':'user','content':'1'}]}\n");
    ask_fails("nameless.jsonl", "", EXIT_DATA, "record 1: id");
    put_text("empty.jsonl", "");
    ask_fails("empty.jsonl", "", EXIT_DATA, "holds no prompts");
    Buf b = {0};
    buf_text(&b, "{\"id\":\"short\",\"messages\":[{\"role\":\"user\",\"content\":\"1\"}]}\n"
                 "{\"id\":\"long\",\"messages\":[{\"role\":\"user\",\"content\":\"");
    for (int i = 0; i < 300; i++) buf_text(&b, "Q ");
    buf_text(&b, "\"}]}\n");
    put_file(in("long.jsonl"), b.data, b.length);
    buf_free(&b);
    ask_fails("long.jsonl", "", EXIT_DATA, "prompt long: ");
    ask_fails("prompts.jsonl", ", 'samples': 0", EXIT_USAGE, "samples");
}

static const Sampling sampling = {.temperature = 1, .top_p = 1, .repetition_penalty = 1, .max_tokens = 8, .seed = 1};

static json_t *make_empty(void *context, const AskRequest *request, const char *id, const char *text,
                          const GenResult *result, Error *e) {
    return json_pack("{s:s}", "id", id);
}

static json_t *make_two(void *context, const AskRequest *request, const char *id, const char *text,
                        const GenResult *result, Error *e) {
    if (request->sample == 4) return fail(e, EXIT_FAIL, "no more"), NULL;
    return json_pack("{s:s}", "id", id);
}

// Six answers in groups of three; returns how many the file then holds.
static size_t ask_six(AskMakeRecord make, const char *out, int code, const char *part) {
    AskModel model;
    Error e = {0};
    if (!ask_open(&model, in("model"), 4, 0, &e)) fail_msg("%s", e.text);
    json_t *prompt = json_pack("{s:s, s:[{s:s, s:s}]}", "id", "x", "messages", "role", "user", "content", "Tom");
    AskRequest requests[6];
    for (int64_t i = 0; i < 6; i++) requests[i] = (AskRequest){prompt, i};
    AskOptions options = {.sampling = sampling, .group = 3, .stage = "test", .unit = "answers"};
    int64_t tokens = 0;
    assert_false(ask_all(&model, requests, 6, &options, in(out), make, NULL, &tokens, &e));
    assert_error(&e, code, part);
    json_t *records = records_of(in(out));
    size_t n = json_array_size(records);
    json_decref(records);
    json_decref(prompt);
    ask_close(&model);
    return n;
}

static void a_group_that_fails_leaves_nothing_behind(void **state) {
    assert_int_equal(ask_six(make_two, "failed.jsonl.zst", EXIT_FAIL, "no more"), 3);
}

static void a_stop_signal_ends_with_its_own_code(void **state) {
    stop_install();
    raise(SIGTERM);
    assert_int_equal(ask_six(make_empty, "stopped.jsonl.zst", EXIT_STOPPED, "stopped; run the same command again"), 0);
}

static void models_that_cannot_answer_are_refused(void **state) {
    AskModel model;
    Error e = {0};
    assert_false(ask_open(&model, in("nowhere"), 4, 0, &e));
    assert_error(&e, EXIT_DATA, "nowhere");
}

// ---- grade ----

#define TRACE(id, prompt, reasoning, content, finish, tokens)                                                          \
    "{'id':'" id "','prompt_id':'" prompt "','messages':[{'role':'user','content':'Q " prompt                          \
    "'}],'reasoning':'" reasoning "','content':'" content "','finish_reason':'" finish                                 \
    "','usage':{'prompt_tokens':3,'completion_tokens':" tokens "}}\n"

static void put_grade_files(void) {
    put_records("gold.jsonl",
                "{'id':'a','messages':[{'role':'user','content':'Q'}],'answer':'12','meta':{'steps':2}}\n"
                "{'id':'b','messages':[{'role':'user','content':'Q'}],'answer':'7','meta':{'steps':3}}\n"
                "{'id':'c','messages':[{'role':'user','content':'Q'}]}\n"
                "{'id':'d','messages':[{'role':'user','content':'Q'}],'answer':'5','meta':{'steps':3}}\n");
    put_records("traces.jsonl", TRACE("a1", "a", "6+6", "The answer is 12.", "stop", "9")
                                    TRACE("a2", "a", "6+7", "The answer is 13.", "stop", "8")
                                        TRACE("a3", "a", "The answer is 12.", "", "length", "20")
                                            TRACE("a4", "a", "6+6", "The answer is 12", "stop", "7")
                                                TRACE("b1", "b", "hm", "I do not know.", "stop", "5")
                                                    TRACE("c1", "c", "hm", "The answer is 3.", "stop", "5"));
}

static void verdicts_and_pass_rates(void **state) {
    put_grade_files();
    run_ok(&distill_grade_command, "{'traces': '%s', 'prompts': '%s', 'out': '%s'}", in("traces.jsonl"),
           in("gold.jsonl"), in("graded"));
    json_t *graded = records_of(in("graded/graded.jsonl.zst")), *run = run_record(in("graded"));
    const char *labels[] = {"positive", "negative", "negative", "positive", "negative", "unverified"};
    assert_int_equal(json_array_size(graded), 6);
    for (size_t i = 0; i < 6; i++) {
        const json_t *verdict = json_object_get(json_array_get(graded, i), "verdict");
        assert_string_equal(text_of(verdict, "label"), labels[i]);
        assert_string_equal(text_of(verdict, "grader"), GRADER_NAME);
        assert_non_null(json_object_get(json_array_get(graded, i), "usage")); // the trace itself is whole
    }
    assert_string_equal(text_of(json_object_get(json_array_get(graded, 0), "verdict"), "extracted"), "12");
    assert_string_equal(text_of(json_object_get(json_array_get(graded, 2), "verdict"), "reason"), CUT_OFF_REASON);
    assert_string_not_equal(text_of(json_object_get(json_array_get(graded, 1), "verdict"), "reason"), CUT_OFF_REASON);
    assert_int_equal(count_of(run, "read"), 6);
    assert_int_equal(count_of(run, "kept"), 6);
    assert_int_equal(count_of(run, "positive"), 2);
    assert_int_equal(count_of(run, "negative"), 3);
    assert_int_equal(count_of(run, "ambiguous"), 0);
    assert_int_equal(count_of(run, "unverified"), 1);
    assert_int_equal(number_of(result_of(run, "reasons"), CUT_OFF_REASON), 1);
    assert_true(json_real_value(result_of(run, "pass_rate")) ==
                0.25); // a: 2 of 4, b: 0 of 1; c has no answer, d no trace
    const json_t *by_steps = result_of(run, "by_steps");
    assert_int_equal(json_object_size(by_steps), 2);
    assert_true(json_real_value(json_object_get(json_object_get(by_steps, "2"), "pass_rate")) == 0.5);
    assert_int_equal(number_of(json_object_get(by_steps, "2"), "some_right"), 1);
    assert_int_equal(number_of(json_object_get(by_steps, "3"), "none_right"), 1);
    json_decref(graded);
    json_decref(run);
}

static void grade_fails(const char *line, const char *part) {
    put_records("bad.jsonl", line);
    run_fails(&distill_grade_command, EXIT_DATA, part, "{'traces': '%s', 'prompts': '%s', 'out': '%s'}",
              in("bad.jsonl"), in("gold.jsonl"), in("bad"));
    Error e = {0};
    assert_true(remove_tree(in("bad"), &e));
}

static void bad_traces_are_named(void **state) {
    put_grade_files();
    grade_fails(TRACE("z1", "z", "", "", "stop", "1"), "record 1: prompt_id: \"z\" is not in");
    grade_fails(TRACE("a1", "a", "", "", "stop", "1") TRACE("a2", "a", "", "", "crashed", "1"),
                "record 2: finish_reason: \"crashed\"");
    grade_fails("{'id':'a1','prompt_id':'a','reasoning':'','content':'','finish_reason':'stop'}\n",
                "record 1: completion_tokens");
    grade_fails("{'id':'a1','prompt_id':'a','reasoning':3,'content':'','finish_reason':'stop'}\n",
                "record 1: reasoning");
    run_fails(&distill_grade_command, EXIT_DATA, "nowhere.jsonl", "{'traces': '%s', 'prompts': '%s', 'out': '%s'}",
              in("nowhere.jsonl"), in("gold.jsonl"), in("no"));
}

// ---- select ----

#define GRADED(id, prompt, reasoning, content, finish, tokens, label)                                                  \
    "{'id':'" id "','prompt_id':'" prompt "','messages':[{'role':'user','content':'Q " prompt                          \
    "'}],'reasoning':'" reasoning "','content':'" content "','finish_reason':'" finish                                 \
    "','usage':{'completion_tokens':" tokens "},'verdict':{'label':'" label                                            \
    "','grader':'g','extracted':'','reason':''}}\n"

static const char graded_lines[] = GRADED("a1", "a", "r1", "12", "stop", "30", "positive")
    GRADED("b1", "b", "r", "8", "stop", "10", "negative") GRADED("a2", "a", "r2", "13", "stop", "8", "negative")
        GRADED("a3", "a", "r3", "", "length", "99", "negative") GRADED("a4", "a", "r1", "12", "stop", "30", "positive")
            GRADED("a5", "a", "r5", "12", "stop", "10", "positive")
                GRADED("a6", "a", "r6", "12", "stop", "20", "positive")
                    GRADED("a7", "a", "r7", "14", "stop", "9", "negative")
                        GRADED("b2", "b", "r", "?", "stop", "10", "ambiguous")
                            GRADED("c1", "c", "r", "1", "stop", "10", "unverified")
                                GRADED("a8", "a", "r2", "13", "stop", "8", "negative")
                                    GRADED("d1", "d", "r", "1", "stop", "5", "positive");

static const char *reason_of(const json_t *dropped, const char *id) {
    for (size_t i = 0; i < json_array_size(dropped); i++)
        if (!strcmp(text_of(json_array_get(dropped, i), "id"), id))
            return text_of(json_array_get(dropped, i), "reason");
    return "kept";
}

typedef struct Selected {
    json_t *positive, *pairs, *dropped, *run;
} Selected;

static Selected select_traces(const char *out, const char *more) {
    put_records("graded.jsonl", graded_lines);
    run_ok(&distill_select_command, "{'traces': '%s', 'out': '%s'%s}", in("graded.jsonl"), in(out), more);
    char *positive = path_join(in(out), "positive.jsonl.zst"), *pairs = path_join(in(out), "pairs.jsonl.zst");
    char *dropped = path_join(in(out), "dropped.jsonl.zst");
    Selected s = {records_of(positive), records_of(pairs), records_of(dropped), run_record(in(out))};
    free(positive), free(pairs), free(dropped);
    assert_int_equal(count_of(s.run, "read"), 12);
    assert_int_equal(count_of(s.run, "kept") + count_of(s.run, "dropped"), 12);
    assert_int_equal(count_of(s.run, "dropped"), json_array_size(s.dropped));
    assert_int_equal(count_of(s.run, "positives"), json_array_size(s.positive));
    assert_int_equal(count_of(s.run, "pairs"), json_array_size(s.pairs));
    return s;
}

static void selected_free(Selected *s) {
    json_decref(s->positive), json_decref(s->pairs), json_decref(s->dropped), json_decref(s->run);
}

static void positives_pairs_and_reasons(void **state) {
    Selected s = select_traces("selected", ", 'max_positive': 2");
    assert_int_equal(json_array_size(s.positive), 3);
    const json_t *first = json_array_get(s.positive, 0);
    assert_string_equal(text_of(first, "trace_id"), "a1");
    assert_string_equal(text_of(first, "prompt_id"), "a");
    assert_string_equal(content_of(first, 0), "Q a");
    assert_string_equal(content_of(first, 1), "<think>\nr1\n</think>\n\n12");
    assert_string_equal(text_of(json_array_get(json_object_get(first, "messages"), 1), "role"), "assistant");
    assert_int_equal(strlen(text_of(first, "id")), 32);
    assert_string_equal(text_of(json_array_get(s.positive, 1), "trace_id"), "a5");
    assert_string_equal(text_of(json_array_get(s.positive, 2), "trace_id"), "d1");
    assert_int_equal(json_array_size(s.pairs), 1);
    const json_t *pair = json_array_get(s.pairs, 0);
    assert_string_equal(text_of(pair, "chosen_id"), "a1");
    assert_string_equal(text_of(pair, "rejected_id"), "a2");
    assert_string_equal(text_of(pair, "chosen"), "<think>\nr1\n</think>\n\n12");
    assert_string_equal(text_of(pair, "rejected"), "<think>\nr2\n</think>\n\n13");
    assert_string_equal(content_of(pair, 0), "Q a");
    assert_int_equal(json_array_size(json_object_get(pair, "messages")), 1);
    const char *reasons[][2] = {{"b1", "no positive of this prompt"},
                                {"a3", CUT_OFF_REASON},
                                {"a4", "duplicate text"},
                                {"a6", "enough positives of this prompt"},
                                {"a7", "enough pairs of this prompt"},
                                {"b2", "ambiguous"},
                                {"c1", "unverified"},
                                {"a8", "duplicate text"}};
    assert_int_equal(json_array_size(s.dropped), COUNT_OF(reasons));
    for (size_t i = 0; i < COUNT_OF(reasons); i++)
        assert_string_equal(reason_of(s.dropped, reasons[i][0]), reasons[i][1]);
    assert_string_equal(text_of(json_array_get(s.dropped, 0), "stage"), "distill select");
    assert_int_equal(count_of(s.run, "kept"), 4); // a1 is in both files and counts once
    assert_int_equal(count_of(s.run, "dropped: duplicate text"), 2);
    assert_int_equal(json_integer_value(result_of(s.run, "prompts_with_positive")), 2);
    assert_int_equal(json_integer_value(result_of(s.run, "prompts_with_pair")), 1);
    selected_free(&s);
}

static void shortest_first_more_pairs_and_cut_off_negatives(void **state) {
    Selected s = select_traces(
        "wide", ", 'max_positive': 2, 'shortest_first': true, 'pairs_per_prompt': 3, 'allow_length_negatives': true");
    assert_string_equal(text_of(json_array_get(s.positive, 0), "trace_id"),
                        "a5"); // in file order; 10 and 20 tokens, not 30
    assert_string_equal(text_of(json_array_get(s.positive, 1), "trace_id"), "a6");
    assert_string_equal(reason_of(s.dropped, "a1"), "enough positives of this prompt");
    const char *pairs[][2] = {{"a5", "a2"}, {"a6", "a3"}, {"a5", "a7"}}; // each wrong one once, the right ones in turn
    assert_int_equal(json_array_size(s.pairs), 3);
    for (size_t i = 0; i < 3; i++) {
        size_t found = 0;
        for (size_t k = 0; k < 3; k++)
            found += !strcmp(text_of(json_array_get(s.pairs, k), "chosen_id"), pairs[i][0]) &&
                     !strcmp(text_of(json_array_get(s.pairs, k), "rejected_id"), pairs[i][1]);
        assert_int_equal(found, 1);
    }
    selected_free(&s);
}

static void limits_on_length(void **state) {
    Selected s = select_traces("short", ", 'min_tokens': 9, 'max_tokens': 20");
    assert_string_equal(reason_of(s.dropped, "a1"), "longer than max_tokens");
    assert_string_equal(reason_of(s.dropped, "a2"), "shorter than min_tokens");
    assert_string_equal(reason_of(s.dropped, "d1"), "shorter than min_tokens");
    assert_int_equal(json_array_size(s.positive), 2);
    assert_string_equal(text_of(json_array_get(s.pairs, 0), "chosen_id"), "a5");
    assert_string_equal(text_of(json_array_get(s.pairs, 0), "rejected_id"), "a7");
    selected_free(&s);
}

static void coverage_counts_prompts_without_a_right_trace(void **state) {
    put_grade_files();
    char more[256];
    snprintf(more, sizeof more, ", 'prompts': '%s'", in("gold.jsonl"));
    Selected s = select_traces("covered", more);
    assert_int_equal(json_integer_value(result_of(s.run, "prompts")), 4);
    assert_int_equal(json_integer_value(result_of(s.run, "prompts_without_positive")), 2);
    selected_free(&s);
}

static void ungraded_traces_are_refused(void **state) {
    put_grade_files();
    run_fails(&distill_select_command, EXIT_DATA, "record 1: verdict: missing", "{'traces': '%s', 'out': '%s'}",
              in("traces.jsonl"), in("ungraded"));
}

// Text that never closed its reasoning is written as far as it got; without reasoning there are no tags.
static void texts_are_written_as_far_as_they_got(void **state) {
    Buf b = {0};
    trace_text(&(Trace){.reasoning = "so", .content = "", .thinking_closed = false}, &b);
    assert_string_equal(b.data, "<think>\nso");
    buf_clear(&b);
    trace_text(&(Trace){.reasoning = "", .content = "12", .thinking_closed = true}, &b);
    assert_string_equal(b.data, "12");
    buf_free(&b);
}

static void a_complete_stage_is_left_alone(void **state) {
    put_records("graded.jsonl", graded_lines);
    for (int i = 0; i < 2; i++)
        run_ok(&distill_select_command, "{'traces': '%s', 'out': '%s'}", in("graded.jsonl"), in("twice"));
    forget_completion("twice"); // begun, not finished: done again as a whole
    put_text("twice/positive.jsonl.zst", "half");
    run_ok(&distill_select_command, "{'traces': '%s', 'out': '%s'}", in("graded.jsonl"), in("twice"));
    json_t *positive = records_of(in("twice/positive.jsonl.zst"));
    assert_int_equal(json_array_size(positive), 4);
    json_decref(positive);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traces_hold_what_the_model_said),
        cmocka_unit_test(an_interruption_changes_nothing),
        cmocka_unit_test(answers_to_other_requests_are_not_taken_for_ours),
        cmocka_unit_test(a_sample_is_the_same_in_any_company),
        cmocka_unit_test(bad_prompts_are_named),
        cmocka_unit_test(a_group_that_fails_leaves_nothing_behind),
        cmocka_unit_test(models_that_cannot_answer_are_refused),
        cmocka_unit_test(verdicts_and_pass_rates),
        cmocka_unit_test(bad_traces_are_named),
        cmocka_unit_test(positives_pairs_and_reasons),
        cmocka_unit_test(shortest_first_more_pairs_and_cut_off_negatives),
        cmocka_unit_test(limits_on_length),
        cmocka_unit_test(coverage_counts_prompts_without_a_right_trace),
        cmocka_unit_test(ungraded_traces_are_refused),
        cmocka_unit_test(texts_are_written_as_far_as_they_got),
        cmocka_unit_test(a_complete_stage_is_left_alone),
        cmocka_unit_test(a_stop_signal_ends_with_its_own_code), // last: the request to stop cannot be taken back
    };
    return cmocka_run_group_tests(tests, open_group, close_group);
}
