// json: reading foreign JSON: jansson with errors that name place and field. Must not know: any schema.
#include "core/base/json.h"

#include <inttypes.h>
#include <string.h>

json_t *json_parse(const char *text, size_t length, const char *place, Error *e) {
    json_error_t why;
    json_t *value = json_loadb(text != NULL ? text : "", length, JSON_REJECT_DUPLICATES | JSON_DECODE_ANY, &why);
    if (value == NULL) fail(e, EXIT_DATA, "%s:%d:%d: not valid JSON: %s", place, why.line, why.column, why.text);
    return value;
}

json_t *json_read_file(const char *path, Error *e) {
    Buf b = {0};
    json_t *value = file_read(path, 0, &b, e) ? json_parse(b.data, b.length, path, e) : NULL;
    buf_free(&b);
    return value;
}

static const char *type_name(const json_t *v) {
    static const char *const names[] = {
        [JSON_OBJECT] = "an object", [JSON_ARRAY] = "an array", [JSON_STRING] = "text",
        [JSON_INTEGER] = "an integer", [JSON_REAL] = "a number with a fraction", [JSON_TRUE] = "true",
        [JSON_FALSE] = "false", [JSON_NULL] = "null"};
    return v == NULL ? "nothing" : names[json_typeof(v)];
}

static bool fail_type(Error *e, const char *place, const char *field, const char *wanted, const json_t *found) {
    return fail(e, EXIT_DATA, "%s: %s: expected %s, found %s", place, field, wanted, type_name(found));
}

static bool is_absent(const json_t *object, const char *field) {
    const json_t *v = json_object_get(object, field);
    return v == NULL || json_is_null(v);
}

bool json_get_text(const json_t *object, const char *field, const char *place, const char **out, Error *e) {
    const json_t *v = json_object_get(object, field);
    if (!json_is_string(v)) return fail_type(e, place, field, "text", v);
    *out = json_string_value(v);
    return true;
}

bool json_get_int(const json_t *object, const char *field, const char *place, int64_t lo, int64_t hi, int64_t *out,
                  Error *e) {
    const json_t *v = json_object_get(object, field);
    if (!json_is_integer(v)) return fail_type(e, place, field, "an integer", v);
    int64_t n = json_integer_value(v);
    if (n < lo || n > hi) {
        return fail(e, EXIT_DATA, "%s: %s: %" PRId64 " is outside %" PRId64 "..%" PRId64, place, field, n, lo, hi);
    }
    *out = n;
    return true;
}

bool json_get_real(const json_t *object, const char *field, const char *place, double *out, Error *e) {
    const json_t *v = json_object_get(object, field);
    if (!json_is_number(v)) return fail_type(e, place, field, "a number", v);
    *out = json_number_value(v);
    return true;
}

bool json_opt_text(const json_t *object, const char *field, const char *place, const char **out, Error *e) {
    return is_absent(object, field) || json_get_text(object, field, place, out, e);
}

bool json_opt_int(const json_t *object, const char *field, const char *place, int64_t lo, int64_t hi, int64_t *out,
                  Error *e) {
    return is_absent(object, field) || json_get_int(object, field, place, lo, hi, out, e);
}

bool json_opt_real(const json_t *object, const char *field, const char *place, double *out, Error *e) {
    return is_absent(object, field) || json_get_real(object, field, place, out, e);
}

bool json_opt_bool(const json_t *object, const char *field, const char *place, bool *out, Error *e) {
    if (is_absent(object, field)) return true;
    const json_t *v = json_object_get(object, field);
    if (!json_is_boolean(v)) return fail_type(e, place, field, "true or false", v);
    *out = json_is_true(v);
    return true;
}
