// support_command: owns running a program's command inside a test. Must not know: which command.
#include "tests/unit/support_command.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int run_with(const Command *command, const char *json, Error *e) {
    char *text = xstrdup(json);
    for (char *c = text; *c; c++)
        if (*c == '\'') *c = '"';
    json_t *object = json_parse(text, strlen(text), "test", e);
    if (!object) fail_msg("%s: %s", text, e->text);
    void *config = xcalloc(1, command->table.size);
    Options options = {.quiet = true};
    int code =
        config_from_json(&command->table, object, "test", config, e) ? command->run(config, &options, e) : e->code;
    config_free(&command->table, config);
    free(config);
    json_decref(object);
    free(text);
    return code;
}

void run_ok(const Command *command, const char *format, ...) {
    char json[2048];
    va_list list;
    va_start(list, format);
    vsnprintf(json, sizeof json, format, list);
    va_end(list);
    Error e = {0};
    if (run_with(command, json, &e) != EXIT_OK) fail_msg("%s %s: %s", command->name, json, e.text);
}

void run_fails(const Command *command, int code, const char *part, const char *format, ...) {
    char json[2048];
    va_list list;
    va_start(list, format);
    vsnprintf(json, sizeof json, format, list);
    va_end(list);
    Error e = {0};
    assert_int_equal(run_with(command, json, &e), code);
    assert_error(&e, code, part);
}

json_t *records_of(const char *path) {
    json_t *all = json_array(), *record;
    Error e = {0};
    RecordReader *r = record_open(path, &e);
    if (!r) fail_msg("%s", e.text);
    int got;
    while ((got = record_next(r, &record, &e)) == 1) json_array_append_new(all, record);
    record_reader_close(r);
    if (got < 0) fail_msg("%s", e.text);
    return all;
}

const char *text_of(const json_t *object, const char *field) {
    const char *text = json_string_value(json_object_get(object, field));
    assert_non_null(text);
    return text;
}

const char *content_of(const json_t *record, size_t index) {
    return text_of(json_array_get(json_object_get(record, "messages"), index), "content");
}

int64_t number_of(const json_t *object, const char *field) {
    assert_true(json_is_integer(json_object_get(object, field)));
    return json_integer_value(json_object_get(object, field));
}

json_t *run_record(const char *run_folder) {
    Error e = {0};
    char *path = path_join(run_folder, "run.json");
    json_t *record = json_read_file(path, &e);
    if (!record) fail_msg("%s", e.text);
    free(path);
    return record;
}

void assert_same_file(const char *a, const char *b, bool same) {
    Buf x = {0}, y = {0};
    get_file(a, &x);
    get_file(b, &y);
    assert_true(x.length > 0);
    assert_int_equal(x.length == y.length && !memcmp(x.data, y.data, x.length), same);
    buf_free(&x);
    buf_free(&y);
}
