#include "datagen/stage.h"

#include <stdio.h>
#include <string.h>

void stage_open(Stage *s, const char *program, const ConfigTable *table, const void *config, const char *out,
                const Options *options) {
    *s = (Stage){.options = options};
    run_open(&s->run, program, table, config, out);
}

void stage_reads(Stage *s, const char *path) { strlist_add(&s->reads, path); }

void stage_reads_all(Stage *s, const StrList *paths) {
    for (size_t i = 0; i < paths->count; i++) stage_reads(s, paths->items[i]);
}

void stage_writes(Stage *s, const char *name) { strlist_add(&s->writes, name); }

char *stage_path(const Stage *s, const char *name) { return path_join(s->run.folder, name); }

static bool print_plan(const Stage *s, Error *e) {
    printf("%s\n", s->run.program);
    bool all_there = true;
    for (size_t i = 0; i < s->reads.count; i++) {
        const char *path = s->reads.items[i];
        bool there = file_exists(path) || is_folder(path);
        if (!there)
            printf("  reads   %s   MISSING\n", path);
        else if (is_folder(path))
            printf("  reads   %s/\n", path);
        else
            printf("  reads   %s   %lld bytes\n", path, (long long)file_size(path));
        all_there = all_there && there;
    }
    for (size_t i = 0; i < s->writes.count; i++) printf("  writes  %s/%s\n", s->run.folder, s->writes.items[i]);
    return all_there ||
           fail(e, EXIT_DATA, "an input is missing (see the plan above); make it first or correct its path");
}

static bool carry_out(Stage *s, StageWork work, const void *config, Error *e) {
    for (size_t i = 0; i < s->reads.count; i++) {
        const char *path = s->reads.items[i];
        if (!file_exists(path) && !is_folder(path))
            return fail(e, EXIT_DATA, "%s: no such file or folder; run the stage that makes it or correct the path",
                        path);
        if (!run_input(&s->run, path, e)) return false;
    }
    RunState state = run_begin(&s->run, s->options->overwrite, e);
    if (state == RUN_ERROR || state == RUN_COMPLETE) return state == RUN_COMPLETE;
    if (!work(s, config, e)) return false;
    for (size_t i = 0; i < s->writes.count; i++) run_output(&s->run, s->writes.items[i]);
    return run_finish(&s->run, e);
}

// --json: counts and results of the finished run, whether made now or before.
static bool print_results(const Stage *s, Error *e) {
    char *path = stage_path(s, "run.json");
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

int stage_run(Stage *s, StageWork work, const void *config, Error *e) {
    bool ok;
    if (s->options->dry_run)
        ok = print_plan(s, e);
    else
        ok = carry_out(s, work, config, e) && (!s->options->json || print_results(s, e));
    run_close(&s->run);
    strlist_free(&s->reads);
    strlist_free(&s->writes);
    return ok ? EXIT_OK : e->code ? e->code : EXIT_FAIL;
}

static bool each_record_of(const char *path, int64_t file, StageRecordFn fn, void *context, Error *e) {
    RecordReader *reader = record_open(path, e);
    if (!reader) return false;
    RecordPlace place = {.path = path, .file = file};
    json_t *record = NULL;
    int got = 0;
    bool ok = true;
    while (ok && (got = record_next(reader, &record, e)) == 1) {
        place.index = record_index(reader) - 1;
        snprintf(place.text, sizeof place.text, "%s: record %lld", path, (long long)place.index + 1);
        ok = stop_requested()
                 ? fail(e, EXIT_STOPPED, "stopped on request; run the same command again to redo this stage")
                 : fn(context, record, &place, e);
        json_decref(record);
    }
    record_reader_close(reader);
    return ok && got == 0;
}

bool stage_each_record(const StrList *paths, StageRecordFn fn, void *context, Error *e) {
    for (size_t i = 0; i < paths->count; i++)
        if (!each_record_of(paths->items[i], (int64_t)i, fn, context, e)) return false;
    return true;
}

bool record_name(const json_t *record, const RecordPlace *place, const char **id, Error *e) {
    return json_get_text(record, "id", place->text, id, e);
}

bool sink_open(Sink *s, const Stage *stage, const char *name, Error *e) {
    char *path = stage_path(stage, name);
    *s = (Sink){.writer = record_create(path, e)};
    free(path);
    return s->writer != NULL;
}

bool sink_write(Sink *s, json_t *record, Error *e) {
    bool ok = record_write(s->writer, record, e);
    json_decref(record);
    s->n += ok;
    return ok && (s->n % STAGE_FRAME != 0 || record_commit(s->writer, e));
}

bool sink_close(Sink *s, Error *e) {
    bool ok = !s->writer || record_close(s->writer, e);
    s->writer = NULL;
    return ok;
}

void sink_abandon(Sink *s) {
    record_abandon(s->writer);
    s->writer = NULL;
}

bool drops_open(Drops *d, const Stage *stage, const char *name, Error *e) {
    *d = (Drops){.stage = name, .reasons = json_object()};
    return sink_open(&d->sink, stage, DROPPED_FILE, e);
}

bool drops_add(Drops *d, const char *id, const char *reason, const char *detail, Error *e) {
    json_int_t before = json_integer_value(json_object_get(d->reasons, reason));
    json_object_set_new(d->reasons, reason, json_integer(before + 1));
    json_t *record = json_pack("{s:s, s:s, s:s}", "id", id, "stage", d->stage, "reason", reason);
    if (detail && *detail) json_object_set_new(record, "detail", json_string(detail));
    return sink_write(&d->sink, record, e);
}

bool drops_close(Drops *d, Error *e) { return sink_close(&d->sink, e); }

void drops_free(Drops *d) {
    sink_abandon(&d->sink);
    json_decref(d->reasons);
    d->reasons = NULL;
}

void stage_count(Stage *s, int64_t n_read, int64_t n_kept, const Drops *d) {
    check(n_read == n_kept + d->sink.n, "%lld records read, but %lld kept and %lld dropped", (long long)n_read,
          (long long)n_kept, (long long)d->sink.n);
    run_count(&s->run, "read", n_read);
    run_count(&s->run, "kept", n_kept);
    run_count(&s->run, "dropped", d->sink.n);
    const char *reason;
    json_t *count;
    json_object_foreach(d->reasons, reason, count) {
        char name[160];
        snprintf(name, sizeof name, "dropped: %s", reason);
        run_count(&s->run, name, json_integer_value(count));
    }
}
