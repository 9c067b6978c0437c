// run: folder, provenance and completion of one stage of work. Must not know: what the stage computes.
#include "core/base/run.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <time.h>
#include <unistd.h>

#include "core/base/run_history.h"

// Keys that say how the work is done and not what comes out.
static const char *const neutral_keys[] = {"out",       "threads",          "max_seconds",
                                           "log_every", "keep_checkpoints", "checkpoint_steps", "checkpoint_seconds"};

void run_open(Run *run, const char *program, const ConfigTable *table, const void *config, const char *folder) {
    Buf yaml = {0};
    config_to_yaml(table, config, &yaml);
    buf_add(&yaml, NULL, 0);
    *run = (Run){.folder = xstrdup(folder), .program = program, .table = table, .yaml = yaml.data, .lock = -1,
                 .config = config_to_json(table, config), .inputs = json_array(), .outputs = json_array(),
                 .counts = json_object(), .results = json_object(), .started = now_seconds()};
}

bool run_input(Run *run, const char *path, Error *e) {
    HexDigest digest;
    if (!sha256_path(path, &digest, e)) return fail_in(e, "input");
    json_t *input = json_pack("{s:s, s:s}", "path", path, "sha256", digest.text);
    if (input == NULL) return fail(e, EXIT_DATA, "input: the name of %s is not valid UTF-8; rename it", path);
    json_array_append_new(run->inputs, input);
    return true;
}

void run_output(Run *run, const char *path) {
    size_t i;
    json_t *known;
    json_array_foreach(run->outputs, i, known) {
        if (strcmp(json_string_value(json_object_get(known, "path")), path) == 0) return;
    }
    json_t *output = json_pack("{s:s}", "path", path);
    check(output != NULL, "output name '%s' is not valid UTF-8", path);
    json_array_append_new(run->outputs, output);
}

void run_count(Run *run, const char *name, int64_t n) { json_object_set_new(run->counts, name, json_integer(n)); }

// A value that JSON cannot hold (NaN) stays visible as null.
void run_result(Run *run, const char *name, json_t *value) {
    json_object_set_new(run->results, name, value != NULL ? value : json_null());
}

void run_close(Run *run) {
    log_open_events(NULL, NULL);
    if (run->lock >= 0) close(run->lock);
    free(run->folder);
    free(run->yaml);
    json_decref(run->config);
    json_decref(run->inputs);
    json_decref(run->outputs);
    json_decref(run->counts);
    json_decref(run->results);
    *run = (Run){.lock = -1};
}

// ---- what the folder holds ----

static bool has_file(const Run *run, const char *name) {
    char *path = path_join(run->folder, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

static json_t *read_own(const Run *run, const char *name, Error *e) {
    char *path = path_join(run->folder, name);
    json_t *value = json_read_file(path, e);
    free(path);
    return value;
}

// File systems without locks work as before, unprotected.
static bool lock_folder(Run *run, Error *e) {
    run->lock = open(run->folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (run->lock < 0) return fail(e, EXIT_FAIL, "%s: cannot open the folder: %s", run->folder, strerror(errno));
    if (flock(run->lock, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) return true;
    return fail(e, EXIT_FAIL, "%s: another process is working in this folder; wait for it or give another `out`",
                run->folder);
}

static void unlock_folder(Run *run) {
    if (run->lock >= 0) close(run->lock);
    run->lock = -1;
}

// An empty folder, but for what a crash before begun.json could leave.
static bool is_empty(const Run *run, bool *empty, Error *e) {
    StrList names = {0};
    bool ok = folder_list(run->folder, &names, e);
    *empty = names.count == 0 || (names.count == 1 && strcmp(names.items[0], "begun.json.tmp") == 0);
    strlist_free(&names);
    return ok;
}

static bool empty_folder(const Run *run, Error *e) {
    StrList names = {0};
    bool ok = folder_list(run->folder, &names, e);
    for (size_t i = 0; ok && i < names.count; i++) {
        // begun.json goes last: until then a crash leaves a folder that is still known as a run's
        if (strcmp(names.items[i], "begun.json") == 0) continue;
        char *path = path_join(run->folder, names.items[i]);
        ok = remove_tree(path, e);
        free(path);
    }
    strlist_free(&names);
    char *begun = path_join(run->folder, "begun.json");
    ok = ok && remove_tree(begun, e);
    free(begun);
    return ok;
}

// Nothing that was computed is deleted without being asked to: the folder is renamed and begun anew.
static bool move_aside(Run *run, Error *e) {
    char *aside = xasprintf("%s.damaged", run->folder);
    for (int i = 2; file_exists(aside); i++) {
        free(aside);
        aside = xasprintf("%s.damaged-%d", run->folder, i);
    }
    unlock_folder(run);
    bool ok = rename(run->folder, aside) == 0 ||
              fail(e, EXIT_FAIL, "%s: damaged, and cannot be moved to %s: %s", run->folder, aside, strerror(errno));
    if (ok) log_warn("%s: moved to %s, doing the work again", run->folder, aside);
    free(aside);
    return ok && make_folders(run->folder, e) && lock_folder(run, e);
}

// ---- is it the same work? ----

static bool is_neutral(const char *key) {
    for (size_t i = 0; i < COUNT_OF(neutral_keys); i++) {
        if (strcmp(neutral_keys[i], key) == 0) return true;
    }
    return false;
}

static void put_difference(Buf *b, const char *key, const json_t *was, const json_t *is) {
    buf_printf(b, "\n  %s: was ", key);
    if (was != NULL) json_write(b, was, 0, false);
    else buf_text(b, "absent");
    buf_text(b, ", is ");
    if (is != NULL) json_write(b, is, 0, false);
    else buf_text(b, "absent");
}

static void put_config_differences(Buf *b, json_t *was, json_t *is) {
    const char *key;
    json_t *value;
    json_object_foreach(is, key, value) {
        json_t *old = json_object_get(was, key);
        if (!is_neutral(key) && (old == NULL || !json_equal(old, value))) put_difference(b, key, old, value);
    }
    json_object_foreach(was, key, value) {
        if (!is_neutral(key) && json_object_get(is, key) == NULL) put_difference(b, key, value, NULL);
    }
}

// Inputs are compared by content and order: the same bytes elsewhere are the same input.
static void put_input_differences(Buf *b, const json_t *was, const json_t *is) {
    size_t n_was = json_array_size(was), n_is = json_array_size(is);
    if (n_was != n_is) buf_printf(b, "\n  inputs: were %zu, are %zu", n_was, n_is);
    for (size_t i = 0; i < MIN(n_was, n_is); i++) {
        const json_t *old = json_array_get(was, i), *now = json_array_get(is, i);
        if (json_equal(json_object_get(old, "sha256"), json_object_get(now, "sha256"))) continue;
        buf_printf(b, "\n  input %s: its content changed since", json_string_value(json_object_get(now, "path")));
    }
}

// Each difference between this work and the recorded one, a line each; empty = the same work.
static void put_differences(Buf *b, const Run *run, const json_t *record) {
    const char *program = json_string_value(json_object_get(record, "program"));
    if (program == NULL || strcmp(program, run->program) != 0) {
        buf_printf(b, "\n  program: was %s, is %s", program != NULL ? program : "absent", run->program);
    }
    put_config_differences(b, json_object_get(record, "config"), run->config);
    put_input_differences(b, json_object_get(record, "inputs"), run->inputs);
}

// ---- does it verify? ----

static bool output_verifies(const Run *run, const json_t *output) {
    const char *name = json_string_value(json_object_get(output, "path"));
    const char *wanted = json_string_value(json_object_get(output, "sha256"));
    if (name == NULL || wanted == NULL) return false;
    char *path = path_join(run->folder, name);
    HexDigest digest;
    Error why = {0};
    bool same = sha256_path(path, &digest, &why) && strcmp(digest.text, wanted) == 0;
    if (!same) log_warn("%s: %s", path, why.code != 0 ? why.text : "its content is not what was written");
    free(path);
    return same;
}

// Every bad output is reported, not only the first.
static bool outputs_verify(const Run *run, const json_t *record) {
    bool ok = json_is_array(json_object_get(record, "outputs"));
    size_t i;
    json_t *output;
    json_array_foreach(json_object_get(record, "outputs"), i, output) ok = output_verifies(run, output) && ok;
    return ok;
}

// COMPLETE holds the hash of run.json.
static bool seal_verifies(const Run *run) {
    char *seal = path_join(run->folder, "COMPLETE"), *record = path_join(run->folder, "run.json");
    Buf wanted = {0};
    HexDigest digest;
    bool ok = file_read(seal, 4096, &wanted, NULL) && sha256_file(record, &digest, NULL) && wanted.length >= 64 &&
              memcmp(wanted.data, digest.text, 64) == 0;
    if (!ok) log_warn("%s: does not match run.json", seal);
    buf_free(&wanted);
    free(seal);
    free(record);
    return ok;
}

// The record of the work in this folder: run.json when it is sealed, else begun.json. NULL with e: unreadable.
static json_t *read_record(const Run *run, bool *complete, bool *damaged, Error *e) {
    *complete = has_file(run, "COMPLETE");
    *damaged = *complete && !seal_verifies(run);
    return read_own(run, *complete && !*damaged ? "run.json" : "begun.json", e);
}

static RunState refuse_other_work(const Run *run, const Buf *differences, Error *e) {
    fail(e, EXIT_USAGE, "%s: was made by other work:%s\ngive another `out`, or --overwrite to empty it and begin anew",
         run->folder, differences->data);
    return RUN_ERROR;
}

// What is there decides; may empty or move the folder, writes nothing yet.
static RunState judge_folder(Run *run, bool overwrite, Error *e) {
    bool empty, complete, damaged;
    if (!is_empty(run, &empty, e)) return RUN_ERROR;
    if (empty) return RUN_FRESH;
    if (!has_file(run, "begun.json")) {
        fail(e, EXIT_USAGE, "%s: holds files that no run made; give an empty or new folder as `out`", run->folder);
        return RUN_ERROR;
    }
    json_t *record = read_record(run, &complete, &damaged, e);
    if (record == NULL && !overwrite) {
        fail_in(e, "%s: its record is unreadable (--overwrite begins anew)", run->folder);
        return RUN_ERROR;
    }
    Buf differences = {0};
    buf_text(&differences, "");
    if (record == NULL) buf_text(&differences, "\n  record: unreadable");
    else put_differences(&differences, run, record);
    RunState state = complete ? RUN_COMPLETE : RUN_RESUME;
    if (differences.length > 0) {
        state = !overwrite ? refuse_other_work(run, &differences, e) : empty_folder(run, e) ? RUN_FRESH : RUN_ERROR;
    } else if (complete && (damaged || !outputs_verify(run, record))) {
        state = move_aside(run, e) ? RUN_FRESH : RUN_ERROR;
    }
    buf_free(&differences);
    json_decref(record);
    return state;
}

// ---- beginning ----

static bool write_begun(const Run *run, Error *e) {
    char *path = path_join(run->folder, "begun.json"), *yaml = path_join(run->folder, "config.resolved.yaml");
    json_t *begun = json_pack("{s:s, s:O, s:O}", "program", run->program, "config", run->config, "inputs", run->inputs);
    bool ok = json_write_file(path, begun, e) && file_replace(yaml, run->yaml, strlen(run->yaml), e);
    json_decref(begun);
    free(path);
    free(yaml);
    return ok;
}

static bool open_log(Run *run, RunState state, Error *e) {
    char *path = path_join(run->folder, "log.jsonl");
    bool ok = run_history(path, &run->seconds_before, e) && log_open_events(path, e);
    free(path);
    if (!ok) return false;
    log_event("start", json_pack("{s:s, s:s, s:b, s:f}", "program", run->program, "version", TRISTILL_VERSION,
                                 "resumed", state == RUN_RESUME, "seconds_before", run->seconds_before));
    return true;
}

RunState run_begin(Run *run, bool overwrite, Error *e) {
    if (run->folder[0] == '\0') {
        fail(e, EXIT_USAGE, "out: no folder is given");
        return RUN_ERROR;
    }
    if (!make_folders(run->folder, e) || !lock_folder(run, e)) return RUN_ERROR;
    RunState state = judge_folder(run, overwrite, e);
    if (state == RUN_COMPLETE) log_info("%s: %s is complete and verified, nothing to do", run->folder, run->program);
    if (state != RUN_FRESH && state != RUN_RESUME) return state;
    if (!write_begun(run, e) || !open_log(run, state, e)) return RUN_ERROR;
    run->started = now_seconds();
    stop_install();
    return state;
}

// ---- finishing ----

static int64_t count_of(const Run *run, const char *name) {
    return json_integer_value(json_object_get(run->counts, name));
}

static bool nothing_vanished(const Run *run, Error *e) {
    if (json_object_get(run->counts, "read") == NULL) return true;
    long long n_read = count_of(run, "read"), kept = count_of(run, "kept"), dropped = count_of(run, "dropped");
    if (n_read == kept + dropped) return true;
    return fail(e, EXIT_FAIL,
                "%s: internal error: read %lld records, but kept %lld and dropped %lld: %lld are unaccounted for; "
                "not marked complete", run->folder, n_read, kept, dropped, n_read - kept - dropped);
}

static bool hash_outputs(Run *run, Error *e) {
    size_t i;
    json_t *output;
    json_array_foreach(run->outputs, i, output) {
        char *path = path_join(run->folder, json_string_value(json_object_get(output, "path")));
        HexDigest digest;
        bool ok = sha256_path(path, &digest, e);
        free(path);
        if (!ok) return fail_in(e, "output");
        json_object_set_new(output, "sha256", json_string(digest.text));
    }
    return true;
}

static json_t *record_of(const Run *run, double seconds) {
    time_t began = time(NULL) - (time_t)(now_seconds() - run->started);
    struct tm utc;
    char started[32];
    gmtime_r(&began, &utc);
    strftime(started, sizeof started, "%Y-%m-%dT%H:%M:%SZ", &utc);
    return json_pack("{s:s, s:s, s:O, s:O, s:O, s:O, s:O, s:f, s:s}", "program", run->program, "version",
                     TRISTILL_VERSION, "config", run->config, "inputs", run->inputs, "outputs", run->outputs, "counts",
                     run->counts, "results", run->results, "seconds", seconds, "started", started);
}

static bool write_record(const Run *run, const json_t *record, Error *e) {
    char *path = path_join(run->folder, "run.json"), *seal = path_join(run->folder, "COMPLETE");
    HexDigest digest;
    bool ok = json_write_file(path, record, e) && sha256_file(path, &digest, e);
    char *text = ok ? xasprintf("%s\n", digest.text) : NULL;
    ok = ok && file_replace(seal, text, strlen(text), e);
    free(text);
    free(path);
    free(seal);
    return ok;
}

bool run_finish(Run *run, Error *e) {
    if (!nothing_vanished(run, e) || !hash_outputs(run, e)) return false;
    double seconds = run->seconds_before + now_seconds() - run->started;
    log_event("finish", json_pack("{s:O, s:O, s:f}", "counts", run->counts, "results", run->results, "seconds",
                                  seconds));
    json_t *record = record_of(run, seconds);
    bool ok = write_record(run, record, e);
    json_decref(record);
    return ok;
}
