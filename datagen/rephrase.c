// datagen rephrase: natural documents told anew by a model, and only what is true to its source kept. Owns: which
// document is rewritten in which styles, and the records. Must not know: how a model answers (core/ask), what makes a
// rewrite true (rewrite_check.h). Answers are durable when they arrive (raw.jsonl.zst); checking is quick and done
// anew, whole, each time.
#include "core/ask/ask.h"
#include "core/base/rng.h"
#include "core/base/thread.h"
#include "datagen/commands.h"
#include "datagen/rewrite_check.h"
#include "datagen/stage.h"

#include <stdlib.h>
#include <string.h>

typedef struct RephraseConfig {
#define CFG_FILE "datagen/rephrase.def"
#include "core/base/config_struct.h"
} RephraseConfig;
static const ConfigRow rows[] = {
#define CFG_FILE "datagen/rephrase.def"
#define CFG_STRUCT RephraseConfig
#include "core/base/config_rows.h"
};

#define RAW_FILE "raw.jsonl.zst"
#define SYNTHETIC_FILE "synthetic.jsonl.zst"
enum { STREAM_STYLES = 2 }; // sub-stream of RNG_MIX: the styles of a document

typedef struct StyleCount {
    int64_t read, kept;
} StyleCount;

typedef struct Rephrase {
    const RephraseConfig *config;
    AskModel model;
    RewriteChecker *checker;
    RewriteLimits limits;
    int styles[STYLES_MAX], n_chosen;
    json_t *documents; // id -> document
    json_t *prompts;   // array, in the order asked
    int64_t n_documents, n_read;
    StyleCount counts[STYLES_MAX];
    Sink sink;
    Drops drops;
} Rephrase;

// ---- which document in which styles ----

static int64_t styles_per_document(const Rephrase *r) {
    return r->config->per_document ? MIN(r->config->per_document, r->n_chosen) : r->n_chosen;
}

static bool prompt_fits(const Rephrase *r, const char *text) {
    const ChatMessage message = {"user", text};
    TokenList ids = {0};
    bool ok = chat_encode(r->model.chat, &message, 1, true, NULL, &ids, NULL, NULL) &&
              (int64_t)ids.count + r->config->max_tokens <= r->model.model->config.max_position_embeddings;
    tokens_free(&ids);
    return ok;
}

static bool add_prompt(Rephrase *r, const Style *style, const char *parent, const char *text, Error *e) {
    Buf content = {0}, name = {0};
    style_prompt(style, text, &content);
    buf_printf(&name, "rephrase %s %s\n%s", parent, style->name, content.data);
    char id[33];
    record_id(name.data, name.length, id);
    bool ok = true;
    r->n_read++;
    r->counts[style - styles].read++;
    if (!prompt_fits(r, content.data))
        ok = drops_add(&r->drops, id, "does not fit the context", style->name, e);
    else
        json_array_append_new(r->prompts,
                              json_pack("{s:s, s:[{s:s, s:s}], s:s, s:s}", "id", id, "messages", "role", "user",
                                        "content", content.data, "parent", parent, "strategy", style->name));
    buf_free(&content);
    buf_free(&name);
    return ok;
}

// Draws `n` of the chosen styles without repetition (a partial Fisher-Yates shuffle), a pure function of (seed,
// document's place).
static void draw_styles(const Rephrase *r, int64_t document, int64_t n, int *out) {
    Rng rng = {(uint64_t)r->config->seed, RNG_MIX | STREAM_STYLES << 8 | (uint64_t)document << 16, 0};
    memcpy(out, r->styles, sizeof r->styles);
    if (n == r->n_chosen) return;
    for (int64_t i = 0; i < n; i++) {
        int64_t j = i + (int64_t)rng_below(&rng, (uint64_t)(r->n_chosen - i));
        int style = out[i];
        out[i] = out[j];
        out[j] = style;
    }
}

static bool add_document(void *context, json_t *record, const RecordPlace *place, Error *e) {
    Rephrase *r = context;
    const char *id, *text, *source, *answer = NULL;
    if (r->config->limit && r->n_documents == r->config->limit) return true;
    if (!record_name(record, place, &id, e) || !json_get_text(record, "text", place->text, &text, e) ||
        !json_get_text(record, "source", place->text, &source, e) ||
        !json_opt_text(record, "answer", place->text, &answer, e))
        return false;
    int order[STYLES_MAX];
    int64_t n = styles_per_document(r), at = r->n_documents++;
    if (json_object_get(r->documents, id)) {
        r->n_read++;
        return drops_add(&r->drops, id, "duplicate document", NULL, e);
    }
    json_object_set(r->documents, id, record);
    draw_styles(r, at, n, order);
    for (int64_t i = 0; i < n; i++)
        if (!add_prompt(r, &styles[order[i]], id, text, e)) return false;
    return true;
}

// ---- asking ----

static json_t *make_raw(void *context, const AskRequest *request, const char *id, const char *text,
                        const GenResult *result, Error *e) {
    json_t *record =
        json_pack("{s:s, s:O, s:O, s:O, s:s, s:s, s:{s:I}}", "id", id, "prompt_id",
                  json_object_get(request->prompt, "id"), "parent", json_object_get(request->prompt, "parent"),
                  "strategy", json_object_get(request->prompt, "strategy"), "text", text ? text : "", "finish_reason",
                  result->stopped ? "stop" : "length", "usage", "completion_tokens", (json_int_t)result->n_tokens);
    if (!record) fail(e, EXIT_FAIL, "rewrite %s: the decoded text is no valid UTF-8", id);
    return record;
}

static bool ask_rewrites(Stage *stage, Rephrase *r, Error *e) {
    const RephraseConfig *c = r->config;
    size_t n = json_array_size(r->prompts);
    AskRequest *requests = xcalloc(MAX(n, (size_t)1), sizeof *requests);
    for (size_t i = 0; i < n; i++) requests[i].prompt = json_array_get(r->prompts, i);
    AskOptions options = {.sampling = {.temperature = c->temperature,
                                       .top_p = c->top_p,
                                       .repetition_penalty = 1,
                                       .max_tokens = c->max_tokens,
                                       .seed = (uint64_t)c->seed},
                          .group = c->group,
                          .stage = "datagen rephrase",
                          .unit = "rewrites"};
    char *path = stage_path(stage, RAW_FILE);
    int64_t tokens = 0;
    bool ok = n > 0 || fail(e, EXIT_DATA, "documents: none can be rewritten; the reasons are in %s/" DROPPED_FILE,
                            stage->run.folder);
    ok = ok && ask_all(&r->model, requests, (int64_t)n, &options, path, make_raw, r, &tokens, e);
    free(path);
    free(requests);
    return ok;
}

// ---- checking ----

static json_t *make_synthetic(const Rephrase *r, json_t *raw, const json_t *parent) {
    json_t *record =
        json_pack("{s:O, s:O, s:O, s:s, s:O, s:O, s:{s:s, s:s}}", "id", json_object_get(raw, "id"), "text",
                  json_object_get(raw, "text"), "source", json_object_get(parent, "source"), "kind", "synthetic",
                  "parent", json_object_get(raw, "parent"), "strategy", json_object_get(raw, "strategy"), "generator",
                  "name", r->model.name, "sha256", r->model.sha256);
    json_t *answer = json_object_get(parent, "answer");
    if (answer) json_object_set(record, "answer", answer);
    return record;
}

static bool check_rewrite(void *context, json_t *raw, const RecordPlace *place, Error *e) {
    Rephrase *r = context;
    const char *id, *parent_id, *strategy, *text, *finish_reason, *answer = NULL, *source;
    if (!record_name(raw, place, &id, e) || !json_get_text(raw, "parent", place->text, &parent_id, e) ||
        !json_get_text(raw, "strategy", place->text, &strategy, e) ||
        !json_get_text(raw, "text", place->text, &text, e) ||
        !json_get_text(raw, "finish_reason", place->text, &finish_reason, e))
        return false;
    const json_t *parent = json_object_get(r->documents, parent_id);
    int style = style_find(strategy, e);
    if (!parent || style < 0)
        return fail(e, EXIT_DATA, "%s: parent or strategy: not among this run's; --overwrite", place->text);
    if (!json_get_text(parent, "text", parent_id, &source, e) ||
        !json_opt_text(parent, "answer", parent_id, &answer, e))
        return false;
    RewriteVerdict verdict;
    rewrite_check(r->checker, style, source, answer, text, finish_reason, &r->limits, &verdict);
    if (verdict.reason) return drops_add(&r->drops, id, verdict.reason, verdict.detail, e);
    r->counts[style].kept++;
    return sink_write(&r->sink, make_synthetic(r, raw, parent), e);
}

static void report(Stage *stage, const Rephrase *r) {
    json_t *kept = json_object();
    for (int i = 0; i < r->n_chosen; i++) {
        const StyleCount *c = &r->counts[r->styles[i]];
        json_object_set_new(kept, styles[r->styles[i]].name,
                            json_pack("{s:I, s:I, s:f}", "read", (json_int_t)c->read, "kept", (json_int_t)c->kept,
                                      "kept_rate", (double)c->kept / (double)MAX(c->read, 1)));
    }
    run_result(&stage->run, "styles", kept);
    run_result(&stage->run, "kept_rate", json_real((double)r->sink.n / (double)MAX(r->n_read, 1)));
    run_result(&stage->run, "generator", json_pack("{s:s, s:s}", "name", r->model.name, "sha256", r->model.sha256));
    run_count(&stage->run, "documents", r->n_documents);
    stage_count(stage, r->n_read, r->sink.n, &r->drops);
    log_info("rephrase: %lld of %lld rewrites of %lld documents kept", (long long)r->sink.n, (long long)r->n_read,
             (long long)r->n_documents);
}

static bool check_all(Stage *stage, Rephrase *r, Error *e) {
    char *path = stage_path(stage, RAW_FILE);
    StrList raw = {0};
    strlist_add(&raw, path);
    free(path);
    bool ok = sink_open(&r->sink, stage, SYNTHETIC_FILE, e) && stage_each_record(&raw, check_rewrite, r, e) &&
              sink_close(&r->sink, e) && drops_close(&r->drops, e);
    strlist_free(&raw);
    if (ok) report(stage, r);
    return ok;
}

// ---- the stage ----

static bool rephrase_all(Stage *stage, Rephrase *r, Error *e) {
    r->n_chosen = styles_chosen(&r->config->styles, r->styles, e);
    return r->n_chosen > 0 && ask_open(&r->model, r->config->model, r->config->max_batch, 0, e) &&
           drops_open(&r->drops, stage, "rephrase", e) &&
           stage_each_record(&r->config->documents, add_document, r, e) && ask_rewrites(stage, r, e) &&
           check_all(stage, r, e);
}

static bool rephrase_work(Stage *stage, const void *config, Error *e) {
    const RephraseConfig *c = config;
    threads_set((int)c->threads);
    Rephrase r = {.config = c,
                  .checker = rewrite_checker(),
                  .limits = {c->min_length, c->max_length, c->max_copied},
                  .documents = json_object(),
                  .prompts = json_array()};
    bool ok = rephrase_all(stage, &r, e);
    sink_abandon(&r.sink);
    drops_free(&r.drops);
    ask_close(&r.model);
    rewrite_checker_free(r.checker);
    json_decref(r.documents);
    json_decref(r.prompts);
    return ok;
}

static bool rephrase_sensible(const RephraseConfig *c, Error *e) {
    int chosen[STYLES_MAX], n = styles_chosen(&c->styles, chosen, e);
    if (n < 0) return false;
    if (c->per_document > n)
        return fail(e, EXIT_USAGE, "per_document: %lld of %d styles; no style is used twice for a document",
                    (long long)c->per_document, n);
    return c->min_length < c->max_length ||
           fail(e, EXIT_USAGE, "min_length: %g is not below max_length %g", c->min_length, c->max_length);
}

static int rephrase_run(const void *config, const Options *options, Error *e) {
    const RephraseConfig *c = config;
    if (!rephrase_sensible(c, e)) return e->code;
    Stage stage;
    static const ConfigTable table = CONFIG_TABLE(rows, RephraseConfig);
    stage_open(&stage, "datagen rephrase", &table, config, c->out, options);
    stage_reads_all(&stage, &c->documents);
    stage_reads(&stage, c->model);
    stage_writes(&stage, RAW_FILE);
    stage_writes(&stage, SYNTHETIC_FILE);
    stage_writes(&stage, DROPPED_FILE);
    return stage_run(&stage, rephrase_work, config, e);
}

const Command command_rephrase = {
    .name = "rephrase",
    .about = "natural documents told anew by a model, checked against their sources",
    .examples = "  datagen rephrase out=out/rephrase model=rephraser documents=out/natural/records.jsonl.zst "
                "styles=dialogue,tutorial\n",
    .table = CONFIG_TABLE(rows, RephraseConfig),
    .run = rephrase_run,
};
