// eval: asks a model problems with known answers and measures accuracy, length and speed. Owns: the score and its
// error. Must not know: how answers are generated or compared (core/ask, core/data/grader.h). Results come from
// answers.jsonl.zst alone, so that an interrupted and resumed evaluation tells the same as one in one go.
#include "tools/tools.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/ask/ask.h"
#include "core/data/grader.h"
#include "tools/events.h"
#include "tools/score.h"
#include "tools/text.h"

typedef struct EvalConfig {
#define CFG_FILE "tools/eval.def"
#include "core/base/config_struct.h"
} EvalConfig;

static const ConfigRow eval_rows[] = {
#define CFG_FILE "tools/eval.def"
#define CFG_STRUCT EvalConfig
#include "core/base/config_rows.h"
};
const ConfigTable eval_table = CONFIG_TABLE(eval_rows, EvalConfig);

typedef struct Eval {
    const EvalConfig *config;
    json_t *prompts; // array of records
    Run run;
    AskModel model;
    char *answers; // path
} Eval;

// ---- prompts ----

static bool keep_prompt(void *context, json_t *record, int64_t index, Error *e) {
    Eval *v = context;
    if (v->config->limit > 0 && index >= v->config->limit) return true;
    char place[600];
    const char *text;
    snprintf(place, sizeof place, "%s: record %lld", v->config->prompts, (long long)index + 1);
    if (!json_get_text(record, "id", place, &text, e) || !json_get_text(record, "answer", place, &text, e))
        return false;
    if (!text[0]) return fail(e, EXIT_DATA, "%s: answer: is empty; eval grades against known answers", place);
    json_array_append(v->prompts, record);
    return true;
}

static bool read_prompts(Eval *v, Error *e) {
    v->prompts = json_array();
    if (!record_each(v->config->prompts, keep_prompt, v, e)) return false;
    if (json_array_size(v->prompts) == 0) return fail(e, EXIT_DATA, "%s: holds no prompts", v->config->prompts);
    return true;
}

// ---- answers ----

static json_t *valid_string(const char *text) {
    Buf valid = {0};
    text_valid(text, strlen(text), &valid);
    json_t *made = json_string(valid.data);
    buf_free(&valid);
    return made;
}

static json_t *make_record(void *context, const AskRequest *request, const char *id, const char *text,
                           const GenResult *result, Error *e) {
    Verdict v;
    score_answer(text, json_string_value(json_object_get(request->prompt, "answer")), result->stopped, &v);
    const json_t *steps = json_object_get(json_object_get(request->prompt, "meta"), "steps");
    json_t *record = json_pack("{s:s, s:O, s:I, s:o, s:I, s:s, s:{s:s, s:s, s:o, s:s}}", "id", id, "prompt_id",
                               json_object_get(request->prompt, "id"), "sample", (json_int_t)request->sample, "text",
                               valid_string(text), "n_tokens", (json_int_t)result->n_tokens, "finish_reason",
                               result->stopped ? "stop" : "length", "verdict", "label", label_name(v.label), "grader",
                               GRADER_NAME, "extracted", valid_string(v.extracted), "reason", v.reason);
    if (record && json_is_integer(steps)) json_object_set(record, "steps", (json_t *)steps);
    if (!record) fail(e, EXIT_FAIL, "answer %s: cannot be stored as JSON", id);
    return record;
}

static bool ask_model(Eval *v, Error *e) {
    const EvalConfig *c = v->config;
    size_t n_prompts = json_array_size(v->prompts), n = n_prompts * (size_t)c->samples;
    AskRequest *requests = xcalloc(n, sizeof *requests);
    for (size_t i = 0; i < n; i++)
        requests[i] =
            (AskRequest){json_array_get(v->prompts, i / (size_t)c->samples), (int64_t)(i % (size_t)c->samples)};
    AskOptions options = {.sampling = {.temperature = c->temperature,
                                       .top_p = c->top_p,
                                       .repetition_penalty = 1,
                                       .max_tokens = c->max_tokens,
                                       .seed = (uint64_t)c->seed},
                          .prefix = c->prefix[0] ? c->prefix : NULL,
                          .group = c->group,
                          .stage = "eval",
                          .unit = "answers"};
    int64_t tokens = 0;
    double begin = now_seconds();
    bool ok = ask_all(&v->model, requests, (int64_t)n, &options, v->answers, make_record, NULL, &tokens, e);
    log_event("asked", json_pack("{s:I, s:f}", "tokens", (json_int_t)tokens, "seconds", now_seconds() - begin));
    free(requests);
    return ok;
}

// ---- results ----

typedef struct Counted {
    const Eval *eval;
    Score score;
} Counted;

static bool count_answer(void *context, json_t *record, int64_t index, Error *e) {
    Counted *counted = context;
    const EvalConfig *c = counted->eval->config;
    const json_t *prompt = json_array_get(counted->eval->prompts, (size_t)(index / c->samples));
    if (!prompt || !json_equal(json_object_get(record, "prompt_id"), json_object_get(prompt, "id")))
        return fail(e, EXIT_DATA,
                    "%s: record %lld: does not belong to these prompts; remove the folder or use --overwrite",
                    counted->eval->answers, (long long)index + 1);
    return score_add(&counted->score, record, index / c->samples, e);
}

static void add_speed(void *context, const char *event, const json_t *fields) {
    double *sum = context;
    if (strcmp(event, "asked")) return;
    sum[0] += json_number_value(json_object_get(fields, "tokens"));
    sum[1] += json_number_value(json_object_get(fields, "seconds"));
}

// Generated tokens per second over all parts of an interrupted evaluation.
static bool decode_speed(const Eval *v, double *speed, Error *e) {
    double sum[2] = {0, 0};
    char *path = path_join(v->run.folder, "log.jsonl");
    bool ok = events_each(path, add_speed, sum, e);
    free(path);
    *speed = sum[1] > 0 ? sum[0] / sum[1] : 0;
    return ok;
}

// What the weights take on disk: a .gguf whole, of a folder its safetensors.
static bool weights_bytes(const char *model, int64_t *bytes, Error *e) {
    *bytes = 0;
    if (!is_folder(model)) return (*bytes = file_size(model)) >= 0 || fail(e, EXIT_DATA, "%s: vanished", model);
    StrList names = {0};
    bool ok = folder_list(model, &names, e);
    for (size_t i = 0; ok && i < names.count; i++) {
        const char *dot = strrchr(names.items[i], '.');
        char *path = path_join(model, names.items[i]);
        if (dot && !strcmp(dot, ".safetensors")) *bytes += file_size(path);
        free(path);
    }
    strlist_free(&names);
    return ok;
}

static bool write_results(Eval *v, json_t *results, Error *e) {
    double speed;
    int64_t bytes;
    if (!decode_speed(v, &speed, e) || !weights_bytes(v->config->model, &bytes, e)) return false;
    json_object_set_new(results, "name", json_string(v->config->name[0] ? v->config->name : v->model.name));
    json_object_set_new(results, "decode_tok_per_sec", speed > 0 ? json_real(speed) : json_null());
    json_object_set_new(results, "size_bytes", json_integer(bytes));
    json_object_set_new(results, "parameters", json_integer(v->model.model->n_params));
    json_object_set_new(results, "model_sha256", json_string(v->model.sha256));
    const char *key;
    json_t *value;
    json_object_foreach(results, key, value) run_result(&v->run, key, json_incref(value));
    return true;
}

static void tell(const json_t *results, bool as_json) {
    Buf text = {0};
    json_write(&text, results, 2, false);
    if (as_json) puts(text.data);
    buf_free(&text);
    log_info("%s: accuracy %.1f %% ± %.1f of %lld answers, %.0f tokens per answer",
             json_string_value(json_object_get(results, "name")),
             100 * json_number_value(json_object_get(results, "accuracy")),
             100 * json_number_value(json_object_get(results, "standard_error")),
             (long long)json_integer_value(json_object_get(results, "n")),
             json_number_value(json_object_get(json_object_get(results, "tokens_per_answer"), "mean")));
}

static bool finish(Eval *v, bool as_json, Error *e) {
    Counted counted = {.eval = v};
    int64_t wanted = (int64_t)json_array_size(v->prompts) * v->config->samples;
    bool ok = record_each(v->answers, count_answer, &counted, e);
    if (ok && counted.score.n != wanted)
        ok = fail(e, EXIT_DATA, "%s: %lld answers instead of %lld", v->answers, (long long)counted.score.n,
                  (long long)wanted);
    json_t *results = ok ? score_json(&counted.score) : NULL;
    ok = ok && write_results(v, results, e);
    run_count(&v->run, "prompts", (int64_t)json_array_size(v->prompts));
    run_count(&v->run, "answers", counted.score.n);
    run_output(&v->run, "answers.jsonl.zst");
    ok = ok && run_finish(&v->run, e);
    if (ok) tell(results, as_json);
    json_decref(results);
    score_free(&counted.score);
    return ok;
}

// ---- the command ----

static bool evaluate(Eval *v, const Options *options, Error *e) {
    const EvalConfig *c = v->config;
    if (!run_input(&v->run, c->model, e) || !run_input(&v->run, c->prompts, e)) return false;
    RunState state = run_begin(&v->run, options->overwrite, e);
    if (state == RUN_COMPLETE || state == RUN_ERROR) return state == RUN_COMPLETE;
    v->answers = path_join(v->run.folder, "answers.jsonl.zst");
    return read_prompts(v, e) && ask_open(&v->model, c->model, c->max_batch, 0, e) && ask_model(v, e) &&
           finish(v, options->json, e);
}

static void print_plan(const EvalConfig *c) {
    char limit[32] = "all";
    if (c->limit > 0) snprintf(limit, sizeof limit, "the first %lld", (long long)c->limit);
    printf("asks %s %s prompts of %s, %lld answer(s) each of at most %lld tokens, and writes %s\n", c->model, limit,
           c->prompts, (long long)c->samples, (long long)c->max_tokens, c->out);
}

int eval_command(const void *config, const Options *options, Error *e) {
    Eval v = {.config = config};
    if (v.config->samples > 1 && v.config->temperature == 0)
        return fail(e, EXIT_USAGE,
                    "samples: %lld answers at temperature 0 would all be the same; set temperature or samples: 1",
                    (long long)v.config->samples),
               EXIT_USAGE;
    if (options->dry_run) {
        print_plan(v.config);
        return EXIT_OK;
    }
    run_open(&v.run, "tristill eval", &eval_table, config, v.config->out);
    bool ok = evaluate(&v, options, e);
    ask_close(&v.model);
    run_close(&v.run);
    json_decref(v.prompts);
    free(v.answers);
    return ok ? EXIT_OK : e->code;
}
