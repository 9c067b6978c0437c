// json: jansson with errors that name the file and field. Parsers of foreign JSON go through here.
#pragma once
#include <jansson.h>

#include "core/base/file.h"

// Strict: one value, UTF-8, no duplicate keys, nesting <= 2048. `place` (a path) opens error texts:
// "place:line:column: ...".
json_t *json_parse(const char *text, size_t length, const char *place, Error *e); // new reference or NULL
json_t *json_read_file(const char *path, Error *e);
// Atomic, indented by 2, keys in insertion order, '\n' at the end.
bool json_write_file(const char *path, const json_t *value, Error *e);

// Typed members. `object` may be NULL (= absent). Missing or wrong type: false and an error
// "place: field: expected ...".
bool json_get_text(const json_t *object, const char *field, const char *place, const char **out, Error *e); // borrowed
bool json_get_int(const json_t *object, const char *field, const char *place, int64_t lo, int64_t hi, int64_t *out,
                  Error *e);
// Integers are accepted.
bool json_get_real(const json_t *object, const char *field, const char *place, double *out, Error *e);
// Optional members: absent or null leaves *out as it was; a wrong type is still an error.
bool json_opt_text(const json_t *object, const char *field, const char *place, const char **out, Error *e);
bool json_opt_int(const json_t *object, const char *field, const char *place, int64_t lo, int64_t hi, int64_t *out,
                  Error *e);
bool json_opt_real(const json_t *object, const char *field, const char *place, double *out, Error *e);
bool json_opt_bool(const json_t *object, const char *field, const char *place, bool *out, Error *e);

// Appends the text of a value: indent 0 = one compact line, else spaces per level; keys in insertion order or sorted
// bytewise.
// Real numbers get the fewest digits that read back as the same double; NaN and infinity (not JSON) become null.
void json_write(Buf *b, const json_t *value, int indent, bool sorted);
// Compact single line, keys sorted: the canonical text for ids and comparison. malloc'ed.
char *json_canonical(const json_t *value);
