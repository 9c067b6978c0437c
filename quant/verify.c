// quant verify: the trained model against its exports. Owns: what must agree and how exactly:
//   codes and scales      bit for bit, read by code that shares nothing with the writers
//   all other tensors     bit for bit as the training forward uses them (a Q8_0 head is measured instead)
//   ids                   the GGUF's tokenizer against the folder's, on the same texts
//   logits                generation with the export = generation with the trained model, exactly; the training forward
//   within a bound
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/thread.h"
#include "core/data/safetensors.h"
#include "core/data/tokenizer.h"
#include "quant/quant.h"

typedef struct VerifyConfig {
#define CFG_FILE "quant/verify.def"
#include "core/base/config_struct.h"
} VerifyConfig;
static const ConfigRow rows[] = {
#define CFG_FILE "quant/verify.def"
#define CFG_STRUCT VerifyConfig
#include "core/base/config_rows.h"
};
static const ConfigTable table = CONFIG_TABLE(rows, VerifyConfig);

typedef struct Export { // one export under test
    const char *format, *path;
    Gguf *gguf; // one of the two
    Safetensors *hf;
    bool scale_divides; // of hf: linear_class bitlinear
    Model *model;       // as core/model loads it
    int64_t tensors, weights, codes_differ, scales_differ, others_differ, ids_differ;
    double head_error; // relative RMS of embeddings and head stored as Q8_0; 0 when exact
    char first[160];   // where the first difference is
    LogitsReport logits;
} Export;

static void differs(Export *x, int64_t *count, int64_t by, const char *what, const char *where) {
    if (by > 0 && x->first[0] == '\0') snprintf(x->first, sizeof x->first, "%s of %s", what, where);
    *count += by;
}

// ---- codes and scales ----

static bool check_linear(const Model *m, int i, Export *x, Error *e) {
    const Weight *w = &m->weights[i];
    const float *trained = m->effective + w->offset;
    Codes c;
    if (!(x->gguf ? codes_from_gguf(x->gguf, &m->config, w, &c, e) : codes_from_hf(x->hf, w, x->scale_divides, &c, e)))
        return false;
    int64_t wrong = 0;
    bool any = false;
    for (int64_t k = 0; k < w->n; k++) {
        int code = (trained[k] > 0) - (trained[k] < 0);
        wrong += c.codes[k] != code;
        any |= code != 0;
    }
    free(c.codes);
    differs(x, &x->codes_differ, wrong, "codes", w->name);
    differs(x, &x->scales_differ, any && c.scale != m->scales[i], "scale", w->name); // no code, no scale
    x->tensors++;
    x->weights += w->n;
    return true;
}

// Embeddings, head, norms, biases, as a forward pass would use them.
static void check_other(const Model *m, const Weight *w, Export *x) {
    const float *a = m->effective + w->offset, *b = x->model->effective + w->offset;
    const TensorView *t = x->gguf ? gguf_find(x->gguf, w->gguf_name) : safetensors_find(x->hf, w->name);
    if (t == NULL || t->dtype != DTYPE_Q8_0) {
        differs(x, &x->others_differ, memcmp(a, b, (size_t)w->n * sizeof *a) != 0, "values", w->name);
        return;
    }
    double difference = 0, reference = 1e-300;
    for (int64_t k = 0; k < w->n; k++)
        difference += ((double)a[k] - b[k]) * ((double)a[k] - b[k]), reference += (double)a[k] * a[k];
    x->head_error = fmax(x->head_error, sqrt(difference / reference));
}

static bool check_tensors(const Model *m, Export *x, Error *e) {
    if (x->model->n_weights != m->n_weights || x->model->n_params != m->n_params)
        return fail(e, EXIT_DATA, "%s: holds a model of another architecture or size", x->path);
    for (int i = 0; i < m->n_weights; i++) {
        if (m->weights[i].linear && !check_linear(m, i, x, e)) return fail_in(e, "%s", x->path);
        if (!m->weights[i].linear) check_other(m, &m->weights[i], x);
    }
    return true;
}

// ---- ids ----

static bool check_ids(const char *folder, Export *x, const Texts *texts, Error *e) {
    Tokenizer *ours = tokenizer_load(folder, e), *theirs = ours ? tokenizer_from_gguf(x->gguf, x->path, e) : NULL;
    bool ok = theirs != NULL;
    Buf text = {0};
    for (int64_t i = 0; ok && i < texts->n; i++) {
        TokenList a = {0}, b = {0};
        buf_clear(&text);
        tokenizer_decode(ours, texts->tokens.items + texts->starts[i],
                         (size_t)(texts->starts[i + 1] - texts->starts[i]), false, &text);
        tokenizer_encode(ours, text.data ? text.data : "", text.length, true, &a);
        tokenizer_encode(theirs, text.data ? text.data : "", text.length, true, &b);
        bool same = a.count == b.count && (a.count == 0 || memcmp(a.items, b.items, a.count * sizeof *a.items) == 0);
        differs(x, &x->ids_differ, !same, "ids", "a text");
        tokens_free(&a);
        tokens_free(&b);
    }
    buf_free(&text);
    tokenizer_free(ours);
    tokenizer_free(theirs);
    return ok;
}

// ---- the whole ----

static bool read_convention(Export *x, Error *e) {
    char *path = path_join(x->path, "config.json");
    json_t *config = json_read_file(path, e);
    const char *linear_class = NULL;
    bool ok =
        config && json_get_text(json_object_get(config, "quantization_config"), "linear_class", path, &linear_class, e);
    if (ok) x->scale_divides = strcmp(linear_class, "bitlinear") == 0;
    json_decref(config);
    free(path);
    return ok;
}

static bool open_export(Export *x, Error *e) {
    if (strcmp(x->format, "gguf") == 0)
        x->gguf = gguf_open(x->path, e);
    else
        x->hf = safetensors_open(x->path, e);
    if (x->hf && !read_convention(x, e)) return false;
    return (x->gguf || x->hf) && (x->model = model_load(x->path, e)) != NULL;
}

static void close_export(Export *x) {
    gguf_close(x->gguf);
    safetensors_close(x->hf);
    model_free(x->model);
}

static bool agrees(const Export *x) {
    bool exact = x->codes_differ + x->scales_differ + x->others_differ + x->ids_differ == 0;
    bool same_forward = x->head_error > 0 || x->logits.against_engine == 0;
    return exact && same_forward && x->logits.against_training <= x->logits.bound + x->head_error;
}

static json_t *export_json(const Export *x) {
    const LogitsReport *l = &x->logits;
    json_t *logits = json_pack("{s:I, s:f, s:f, s:f, s:f, s:f}", "tokens", (json_int_t)l->n_tokens, "relative_rms",
                               l->against_training, "max_abs", l->training_max, "bound", l->bound + x->head_error,
                               "argmax_agreement", l->agreement, "max_abs_same_arithmetic", l->against_engine);
    return json_pack("{s:b, s:I, s:I, s:I, s:I, s:I, s:I, s:f, s:o}", "agrees", agrees(x), "tensors",
                     (json_int_t)x->tensors, "weights", (json_int_t)x->weights, "codes_differ",
                     (json_int_t)x->codes_differ, "scales_differ", (json_int_t)x->scales_differ, "others_differ",
                     (json_int_t)x->others_differ, "ids_differ", (json_int_t)x->ids_differ, "head_error", x->head_error,
                     "logits", logits);
}

static void print_table(const Export *exports, int n) {
    printf("%-6s %8s %14s %7s %7s %7s %6s %12s %9s %9s\n", "format", "tensors", "weights", "codes", "scales", "others",
           "ids", "logits", "bound", "argmax");
    for (int i = 0; i < n; i++) {
        const Export *x = &exports[i];
        printf("%-6s %8lld %14lld %7lld %7lld %7lld %6lld %12.3e %9.3f %8.2f%%  %s\n", x->format, (long long)x->tensors,
               (long long)x->weights, (long long)x->codes_differ, (long long)x->scales_differ,
               (long long)x->others_differ, (long long)x->ids_differ, x->logits.against_training,
               x->logits.bound + x->head_error, 100 * x->logits.agreement, agrees(x) ? "ok" : "DIFFERS");
    }
    printf("codes to ids: how many differ; logits: relative RMS difference to the training forward over %lld tokens\n",
           n ? (long long)exports[0].logits.n_tokens : 0);
}

static bool check_export(const Model *m, const char *tokenizer, const Texts *texts, Export *x, Error *e) {
    if (!open_export(x, e) || !check_tensors(m, x, e)) return false;
    if (x->gguf && !check_ids(tokenizer, x, texts, e)) return false;
    return compare_logits(m, x->model, texts, &x->logits, e);
}

static bool judge(const Export *exports, int n, Error *e) {
    for (int i = 0; i < n; i++) {
        const Export *x = &exports[i];
        if (agrees(x)) continue;
        return fail(e, EXIT_DATA,
                    "%s: is not the trained model: %lld codes, %lld scales, %lld other tensors differ, ids of %lld "
                    "texts; first: %s. Export it "
                    "again",
                    x->path, (long long)x->codes_differ, (long long)x->scales_differ, (long long)x->others_differ,
                    (long long)x->ids_differ, x->first[0] ? x->first : "the logits");
    }
    return true;
}

static bool work(Run *run, const VerifyConfig *c, const char *tokenizer, bool json, Error *e) {
    Export exports[2] = {{.format = "gguf", .path = c->gguf}, {.format = "hf", .path = c->hf}};
    int n = 0;
    for (int i = 0; i < 2; i++)
        if (exports[i].path[0]) exports[n++] = exports[i];
    Texts texts = {0};
    Model *m = model_load(c->model, e);
    bool ok = m && export_check(m, c->model, e) &&
              texts_read(&texts, c->prompts, tokenizer, m->config.vocab_size, c->n_texts,
                         MIN(c->max_tokens, m->config.max_position_embeddings), e);
    for (int i = 0; ok && i < n; i++) {
        ok = check_export(m, tokenizer, &texts, &exports[i], e);
        if (!ok) break;
        log_event("verified", json_pack("{s:s, s:o}", "format", exports[i].format, "result", export_json(&exports[i])));
        run_result(run, exports[i].format, export_json(&exports[i]));
    }
    if (ok && !json) print_table(exports, n);
    ok = ok && judge(exports, n, e);
    for (int i = 0; i < n; i++) close_export(&exports[i]);
    texts_free(&texts);
    model_free(m);
    return ok;
}

static bool add_inputs(Run *run, const VerifyConfig *c, const char *tokenizer, Error *e) {
    const char *inputs[] = {c->model, c->gguf, c->hf, c->prompts, tokenizer == c->model ? "" : tokenizer};
    if (!c->gguf[0] && !c->hf[0]) return fail(e, EXIT_USAGE, "nothing to verify: give gguf, hf or both");
    for (size_t i = 0; i < COUNT_OF(inputs); i++)
        if (inputs[i][0] && !run_input(run, inputs[i], e)) return false;
    return true;
}

static bool carry_out(Run *run, const VerifyConfig *c, const char *tokenizer, const Options *options, Error *e) {
    if (!add_inputs(run, c, tokenizer, e)) return false;
    RunState state = run_begin(run, options->overwrite, e);
    if (state == RUN_ERROR || state == RUN_COMPLETE) return state == RUN_COMPLETE;
    return work(run, c, tokenizer, options->json, e) && run_finish(run, e);
}

static bool print_plan(const VerifyConfig *c) {
    printf("quant verify\n  reads   %s\n", c->model);
    if (c->gguf[0]) printf("  checks  %s\n", c->gguf);
    if (c->hf[0]) printf("  checks  %s\n", c->hf);
    printf("  on      %lld texts of at most %lld tokens from %s\n", (long long)c->n_texts, (long long)c->max_tokens,
           c->prompts[0] ? c->prompts : "pseudo-random ids");
    return true;
}

static int run_verify(const void *config, const Options *options, Error *e) {
    const VerifyConfig *c = config;
    const char *tokenizer = c->tokenizer[0] ? c->tokenizer : c->model;
    Run run;
    threads_set((int)c->threads);
    run_open(&run, "quant verify", &table, config, c->out);
    bool ok;
    if (options->dry_run)
        ok = print_plan(c);
    else
        ok = carry_out(&run, c, tokenizer, options, e) && (!options->json || print_results(&run, e));
    run_close(&run);
    return ok ? EXIT_OK : e->code ? e->code : EXIT_FAIL;
}

const Command quant_verify_command = {
    .name = "verify",
    .about = "proves that an export is the model that was trained: codes, scales, ids, logits",
    .examples = "quant verify model=train/final gguf=export/student.gguf hf=export/hf "
                "prompts=problems/records.jsonl.zst out=verify",
    .table = CONFIG_TABLE(rows, VerifyConfig),
    .run = run_verify,
};
