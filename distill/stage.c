// stage: how every distill command opens, works and closes; its output files. Must not know: what a command is for.
#include <stdio.h>

#include "core/base/thread.h"
#include "distill/distill.h"

static bool is_given(const char *text) { return text && text[0]; }

static bool print_plan(const DistillStage *s, const void *config, Error *e) {
    printf("%s\n", s->program);
    for (size_t i = 0; i < COUNT_OF(s->inputs); i++) {
        if (!is_given(s->inputs[i])) continue;
        if (!file_exists(s->inputs[i]) && !is_folder(s->inputs[i]))
            return fail(e, EXIT_DATA, "%s: no such file", s->inputs[i]);
        printf("  reads   %s\n", s->inputs[i]);
    }
    for (size_t i = 0; i < COUNT_OF(s->outputs); i++)
        if (is_given(s->outputs[i])) printf("  writes  %s/%s\n", s->out, s->outputs[i]);
    return !s->plan || s->plan(config, e);
}

static bool carry_out(Run *run, const DistillStage *s, const void *config, const Options *options, Error *e) {
    for (size_t i = 0; i < COUNT_OF(s->inputs); i++)
        if (is_given(s->inputs[i]) && !run_input(run, s->inputs[i], e)) return false;
    RunState state = run_begin(run, options->overwrite, e);
    if (state == RUN_ERROR || state == RUN_COMPLETE) return state == RUN_COMPLETE;
    if (!s->work(run, config, e)) return false;
    for (size_t i = 0; i < COUNT_OF(s->outputs); i++)
        if (is_given(s->outputs[i])) run_output(run, s->outputs[i]);
    return run_finish(run, e);
}

// --json: counts and results of the finished run, whether made now or before.
static bool print_results(const Run *run, Error *e) {
    char *path = path_join(run->folder, "run.json");
    json_t *record = json_read_file(path, e);
    free(path);
    if (!record) return false;
    json_t *shown = json_pack("{s:O, s:O}", "counts", json_object_get(record, "counts"), "results",
                              json_object_get(record, "results"));
    Buf text = {0};
    json_write(&text, shown, 2, false);
    puts(text.data);
    buf_free(&text);
    json_decref(shown);
    json_decref(record);
    return true;
}

int distill_run(const DistillStage *s, const void *config, const Options *options, Error *e) {
    Run run;
    threads_set((int)s->threads);
    run_open(&run, s->program, s->table, config, s->out);
    bool ok;
    if (options->dry_run)
        ok = print_plan(s, config, e);
    else
        ok = carry_out(&run, s, config, options, e) && (!options->json || print_results(&run, e));
    run_close(&run);
    return ok ? EXIT_OK : e->code ? e->code : EXIT_FAIL;
}

enum { FRAME_RECORDS = 4096 };

bool trace_sink_open(TraceSink *s, const Run *run, const char *name, Error *e) {
    char *path = path_join(run->folder, name);
    *s = (TraceSink){.writer = record_create(path, e)};
    free(path);
    return s->writer != NULL;
}

bool trace_sink_write(TraceSink *s, json_t *record, Error *e) {
    bool ok = record_write(s->writer, record, e);
    json_decref(record);
    s->n += ok;
    return ok && (s->n % FRAME_RECORDS != 0 || record_commit(s->writer, e));
}

bool trace_sink_close(TraceSink *s, Error *e) {
    bool ok = !s->writer || record_close(s->writer, e);
    s->writer = NULL;
    return ok;
}

void tally(json_t *counts, const char *name) {
    json_object_set_new(counts, name, json_integer(json_integer_value(json_object_get(counts, name)) + 1));
}
