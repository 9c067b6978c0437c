// quant export: a ternary model folder -> student.gguf, hf/. Owns: what may be exported at all. Must not know: the
// formats' bytes.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/thread.h"
#include "quant/quant.h"

typedef struct ExportConfig {
#define CFG_FILE "quant/export.def"
#include "core/base/config_struct.h"
} ExportConfig;
static const ConfigRow rows[] = {
#define CFG_FILE "quant/export.def"
#define CFG_STRUCT ExportConfig
#include "core/base/config_rows.h"
};
static const ConfigTable table = CONFIG_TABLE(rows, ExportConfig);

#define GGUF_NAME "student.gguf"
#define HF_NAME "hf"

typedef struct Formats {
    bool gguf, hf;
} Formats;

static bool parse_formats(const StrList *list, Formats *f, Error *e) {
    for (size_t i = 0; i < list->count; i++) {
        bool gguf = strcmp(list->items[i], "gguf") == 0, hf = strcmp(list->items[i], "hf") == 0;
        if (!gguf && !hf) return fail(e, EXIT_USAGE, "formats: \"%s\" is not known; known: gguf, hf", list->items[i]);
        f->gguf |= gguf;
        f->hf |= hf;
    }
    return f->gguf || f->hf || fail(e, EXIT_USAGE, "formats: the list is empty; give gguf, hf or both");
}

static bool check_finite(const Model *m, const char *model, Error *e) {
    for (int i = 0; i < m->n_weights; i++) {
        const Weight *w = &m->weights[i];
        const float *x = m->effective + w->offset;
        for (int64_t k = 0; k < w->n; k++)
            if (!isfinite(x[k]))
                return fail(e, EXIT_DATA,
                            "%s: %s: element %lld is not a finite number (as exported, in float16 range); the training "
                            "went wrong",
                            model, w->name, (long long)k);
    }
    return true;
}

bool export_check(const Model *m, const char *model, Error *e) {
    if (!m->config.ternary)
        return fail(
            e, EXIT_DATA,
            "%s: this model is not ternary: its config.json has no quantization_config of quant_method bitnet. Packing "
            "float weights "
            "would destroy it; train it with ternary linears first (trainer ternary=true) and export the result",
            model);
    return check_finite(m, model, e);
}

// Share of -1, 0 and 1 over all linears, and what they take up.
static void report(Run *run, const Model *m) {
    int64_t count[3] = {0}, tensors = 0;
    for (int i = 0; i < m->n_weights; i++) {
        const Weight *w = &m->weights[i];
        tensors += w->linear;
        for (int64_t k = 0; w->linear && k < w->n; k++) {
            float x = m->effective[w->offset + k];
            count[1 + (x > 0) - (x < 0)]++;
        }
    }
    double total = (double)MAX(1, count[0] + count[1] + count[2]);
    run_count(run, "ternary_tensors", tensors);
    run_count(run, "ternary_weights", count[0] + count[1] + count[2]);
    run_result(run, "code_fractions",
               json_pack("[f,f,f]", (double)count[0] / total, (double)count[1] / total, (double)count[2] / total));
}

static bool write_formats(Run *run, const Model *m, const ExportConfig *c, const Formats *f, const char *tokenizer,
                          Error *e) {
    DType head = strcmp(c->head_type, "F32") == 0    ? DTYPE_F32
                 : strcmp(c->head_type, "Q8_0") == 0 ? DTYPE_Q8_0
                                                     : DTYPE_F16;
    char *gguf = path_join(run->folder, GGUF_NAME), *hf = path_join(run->folder, HF_NAME);
    bool ok =
        (!f->gguf || export_gguf(m, head, c->name, tokenizer, gguf, e)) && (!f->hf || export_hf(m, tokenizer, hf, e));
    if (ok && f->gguf) {
        run_output(run, GGUF_NAME);
        run_result(run, "gguf_bytes", json_integer(file_size(gguf)));
        log_info("%s: %.2f MB", gguf, (double)file_size(gguf) / 1e6);
    }
    if (ok && f->hf) {
        run_output(run, HF_NAME);
        log_info("%s: packed, weight_scale multiplies (autobitlinear, offline)", hf);
    }
    free(gguf);
    free(hf);
    return ok;
}

static bool carry_out(Run *run, const ExportConfig *c, const Formats *f, const char *tokenizer, const Options *options,
                      Error *e) {
    if (!run_input(run, c->model, e) || (tokenizer != c->model && !run_input(run, tokenizer, e))) return false;
    RunState state = run_begin(run, options->overwrite, e);
    if (state == RUN_ERROR || state == RUN_COMPLETE) return state == RUN_COMPLETE;
    Model *m = model_load(c->model, e);
    bool ok = m != NULL && export_check(m, c->model, e) && write_formats(run, m, c, f, tokenizer, e);
    if (ok) report(run, m);
    model_free(m);
    return ok && run_finish(run, e);
}

static bool print_plan(const ExportConfig *c, const Formats *f, const char *tokenizer, Error *e) {
    ModelConfig model;
    if (!model_config_read(c->model, &model, e)) return false;
    printf("quant export\n  reads   %s (%s)\n  reads   %s (tokenizer)\n", c->model,
           model.ternary ? "ternary" : "not ternary: will be refused", tokenizer);
    if (f->gguf) printf("  writes  %s/" GGUF_NAME " (TQ2_0, head %s)\n", c->out, c->head_type);
    if (f->hf) printf("  writes  %s/" HF_NAME "/\n", c->out);
    return true;
}

static int run_export(const void *config, const Options *options, Error *e) {
    const ExportConfig *c = config;
    const char *tokenizer = c->tokenizer[0] ? c->tokenizer : c->model;
    Formats f = {0};
    Run run;
    threads_set((int)c->threads);
    run_open(&run, "quant export", &table, config, c->out);
    bool ok = parse_formats(&c->formats, &f, e);
    if (ok && options->dry_run)
        ok = print_plan(c, &f, tokenizer, e);
    else if (ok)
        ok = carry_out(&run, c, &f, tokenizer, options, e) && (!options->json || print_results(&run, e));
    run_close(&run);
    return ok ? EXIT_OK : e->code ? e->code : EXIT_FAIL;
}

const Command quant_export_command = {
    .name = "export",
    .about = "writes a ternary model as GGUF (TQ2_0) and as a packed Hugging Face folder",
    .examples = "quant export model=train/final out=export\n"
                "quant export model=train/final out=export formats=gguf head_type=Q8_0 name=my-student",
    .table = CONFIG_TABLE(rows, ExportConfig),
    .run = run_export,
};
