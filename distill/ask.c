// distill ask: prompts -> traces.jsonl.zst. Owns: the trace record. Must not know: batches, resuming (core/ask),
// grading.
#include "core/ask/ask.h"

#include <stdio.h>
#include <string.h>

#include "distill/distill.h"

typedef struct AskConfig {
#define CFG_FILE "distill/ask.def"
#include "core/base/config_struct.h"
} AskConfig;
static const ConfigRow rows[] = {
#define CFG_FILE "distill/ask.def"
#define CFG_STRUCT AskConfig
#include "core/base/config_rows.h"
};
static const ConfigTable table = CONFIG_TABLE(rows, AskConfig);

typedef struct Asking {
    const AskConfig *config;
    Prompts prompts;
    AskModel model;
    json_t *teacher, *sampling; // members that all traces share
} Asking;

static Sampling sampling_of(const AskConfig *c) {
    return (Sampling){.temperature = c->temperature,
                      .top_p = c->top_p,
                      .top_k = c->top_k,
                      .min_p = c->min_p,
                      .repetition_penalty = c->repetition_penalty,
                      .max_tokens = c->max_tokens,
                      .seed = (uint64_t)c->seed};
}

static json_t *sampling_json(const AskConfig *c) {
    return json_pack("{s:f, s:f, s:I, s:f, s:f, s:I, s:I, s:s}", "temperature", c->temperature, "top_p", c->top_p,
                     "top_k", (json_int_t)c->top_k, "min_p", c->min_p, "repetition_penalty", c->repetition_penalty,
                     "max_tokens", (json_int_t)c->max_tokens, "seed", (json_int_t)c->seed, "prefix", c->prefix);
}

// Without the line breaks around it, which the written form puts back.
static json_t *trimmed(const Buf *b) {
    size_t begin = 0, end = b->length;
    while (begin < end && (b->data[begin] == '\n' || b->data[begin] == ' ')) begin++;
    while (end > begin && (b->data[end - 1] == '\n' || b->data[end - 1] == ' ')) end--;
    return json_stringn(b->length ? b->data + begin : "", end - begin);
}

static double mean_logprob(const GenResult *r) {
    double sum = 0;
    for (int64_t i = 0; i < r->n_tokens; i++) sum += (double)r->logprobs[i];
    return r->n_tokens ? sum / (double)r->n_tokens : 0;
}

static json_t *make_trace(void *context, const AskRequest *request, const char *id, const char *text,
                          const GenResult *result, Error *e) {
    const Asking *a = context;
    Buf reasoning = {0}, content = {0};
    bool closed;
    chat_split_thinking(text, strlen(text), &reasoning, &content, &closed);
    json_t *record =
        json_pack("{s:s, s:O, s:I, s:O, s:O, s:O, s:o, s:o, s:s, s:{s:I, s:I}, s:f}", "id", id, "prompt_id",
                  json_object_get(request->prompt, "id"), "sample", (json_int_t)request->sample, "teacher", a->teacher,
                  "sampling", a->sampling, "messages", json_object_get(request->prompt, "messages"), "reasoning",
                  trimmed(&reasoning), "content", trimmed(&content), "finish_reason",
                  result->stopped ? "stop" : "length", "usage", "prompt_tokens", (json_int_t)result->n_prompt,
                  "completion_tokens", (json_int_t)result->n_tokens, "mean_logprob", mean_logprob(result));
    if (record && !closed) json_object_set_new(record, "thinking_closed", json_false());
    if (!record) fail(e, EXIT_DATA, "answer %s: its text cannot be stored as JSON", id);
    buf_free(&reasoning);
    buf_free(&content);
    return record;
}

static AskRequest *list_requests(const Asking *a, int64_t *n) {
    int64_t samples = a->config->samples;
    *n = prompts_count(&a->prompts) * samples;
    AskRequest *requests = xcalloc((size_t)*n, sizeof *requests);
    for (int64_t i = 0; i < *n; i++)
        requests[i] = (AskRequest){.prompt = prompts_at(&a->prompts, i / samples), .sample = i % samples};
    return requests;
}

// What stands in the file counts, also what an earlier, interrupted run wrote.
typedef struct Total {
    int64_t traces, tokens, stopped;
} Total;
static bool add_up(void *context, const json_t *record, const Trace *trace, int64_t index, const char *place,
                   Error *e) {
    Total *t = context;
    t->traces++;
    t->tokens += trace->n_tokens;
    t->stopped += !trace->cut_off;
    return true;
}

static bool report(Run *run, const Asking *a, const char *path, int64_t tokens_now, double seconds, Error *e) {
    Total total = {0};
    if (!trace_each(path, add_up, &total, e)) return false;
    run_count(run, "prompts", prompts_count(&a->prompts));
    run_count(run, "traces", total.traces);
    run_result(run, "traces", json_integer(total.traces));
    run_result(run, "tokens", json_integer(total.tokens));
    run_result(run, "finish_reason",
               json_pack("{s:I, s:I}", "stop", (json_int_t)total.stopped, "length",
                         (json_int_t)(total.traces - total.stopped)));
    run_result(run, "tok_per_sec", tokens_now ? json_real((double)tokens_now / seconds) : json_null());
    log_info("%lld traces of %lld prompts, %lld tokens, %lld cut off at max_tokens", (long long)total.traces,
             (long long)prompts_count(&a->prompts), (long long)total.tokens, (long long)(total.traces - total.stopped));
    return true;
}

static bool ask_prompts(Run *run, Asking *a, Error *e) {
    const AskConfig *c = a->config;
    a->teacher = json_pack("{s:s, s:s}", "name", a->model.name, "sha256", a->model.sha256);
    a->sampling = sampling_json(c);
    AskOptions options = {.sampling = sampling_of(c),
                          .prefix = c->prefix[0] ? c->prefix : NULL,
                          .group = c->group,
                          .stage = "ask",
                          .unit = "traces"};
    int64_t n, tokens = 0;
    AskRequest *requests = list_requests(a, &n);
    char *path = path_join(run->folder, "traces.jsonl.zst");
    double begin = now_seconds();
    bool ok = ask_all(&a->model, requests, n, &options, path, make_trace, a, &tokens, e) &&
              report(run, a, path, tokens, now_seconds() - begin, e);
    free(path);
    free(requests);
    return ok;
}

static bool work(Run *run, const void *config, Error *e) {
    Asking a = {.config = config};
    bool ok = prompts_read(&a.prompts, a.config->prompts, a.config->limit, e) &&
              ask_open(&a.model, a.config->model, a.config->max_batch, 0, e) && ask_prompts(run, &a, e);
    json_decref(a.teacher);
    json_decref(a.sampling);
    ask_close(&a.model);
    prompts_free(&a.prompts);
    return ok;
}

static bool plan(const void *config, Error *e) {
    const AskConfig *c = config;
    Prompts prompts;
    if (!prompts_read(&prompts, c->prompts, c->limit, e)) return false;
    int64_t n = prompts_count(&prompts) * c->samples;
    printf("  asks    %lld prompts x %lld samples = %lld answers of up to %lld tokens, in %lld groups\n",
           (long long)prompts_count(&prompts), (long long)c->samples, (long long)n, (long long)c->max_tokens,
           (long long)CEIL_DIV(n, c->group));
    prompts_free(&prompts);
    return true;
}

static int run_ask(const void *config, const Options *options, Error *e) {
    const AskConfig *c = config;
    DistillStage stage = {.program = "distill ask",
                          .table = &table,
                          .out = c->out,
                          .threads = c->threads,
                          .inputs = {c->model, c->prompts},
                          .outputs = {"traces.jsonl.zst"},
                          .plan = plan,
                          .work = work};
    return distill_run(&stage, config, options, e);
}

const Command distill_ask_command = {
    .name = "ask",
    .about = "asks a teacher: prompts -> traces",
    .examples = "distill ask model=teacher prompts=problems/records.jsonl.zst out=traces samples=4 temperature=1\n"
                "distill ask --config ask.yaml limit=100 --dry-run",
    .table = CONFIG_TABLE(rows, AskConfig),
    .run = run_ask,
};
