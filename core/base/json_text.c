// json_text: JSON values as text. Written here and not by jansson because the digits of a real number enter record ids:
// they must be the same whatever version of the library is installed, and short for the people who read run.json.
#include "core/base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void write_real(Buf *b, double x) {
    if (!isfinite(x)) {
        buf_text(b, "null");
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, x);
        if (strtod(text, NULL) == x) break;
    }
    buf_text(b, text);
    if (strpbrk(text, ".e") == NULL) buf_text(b, ".0"); // still a real number when read back
}

static void write_string(Buf *b, const char *s, size_t length) {
    static const char names[] = "btn\0fr"; // of 8, 9, 10, 12, 13
    buf_char(b, '"');
    size_t plain = 0; // start of what needs no escape
    for (size_t i = 0; i < length; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c >= 0x20 && c != '"' && c != '\\') continue;
        buf_add(b, s + plain, i - plain);
        plain = i + 1;
        if (c == '"' || c == '\\') buf_printf(b, "\\%c", c);
        else if (c >= 8 && c <= 13 && c != 11) buf_printf(b, "\\%c", names[c - 8]);
        else buf_printf(b, "\\u%04x", c);
    }
    buf_add(b, s + plain, length - plain);
    buf_char(b, '"');
}

static void new_line(Buf *b, int indent, int depth) {
    if (indent == 0) return;
    buf_char(b, '\n');
    for (int i = 0; i < indent * depth; i++) buf_char(b, ' ');
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(const char *const *)a, *(const char *const *)b); }

// The keys of an object in the order they are written; free() the array.
static const char **keys_of(const json_t *object, bool sorted) {
    size_t n = json_object_size(object), i = 0;
    const char **keys = xcalloc(n, sizeof *keys);
    json_t *o = (json_t *)(uintptr_t)object; // jansson's iterators want it so; nothing is changed
    for (void *it = json_object_iter(o); it != NULL; it = json_object_iter_next(o, it)) {
        keys[i++] = json_object_iter_key(it);
    }
    if (sorted && n > 1) qsort(keys, n, sizeof *keys, by_bytes);
    return keys;
}

static void write_value(Buf *b, const json_t *v, int indent, bool sorted, int depth);

static void write_object(Buf *b, const json_t *v, int indent, bool sorted, int depth) {
    size_t n = json_object_size(v);
    const char **keys = keys_of(v, sorted);
    buf_char(b, '{');
    for (size_t i = 0; i < n; i++) {
        if (i > 0) buf_char(b, ',');
        new_line(b, indent, depth + 1);
        write_string(b, keys[i], strlen(keys[i]));
        buf_text(b, indent == 0 ? ":" : ": ");
        write_value(b, json_object_get(v, keys[i]), indent, sorted, depth + 1);
    }
    if (n > 0) new_line(b, indent, depth);
    buf_char(b, '}');
    free(keys);
}

static void write_array(Buf *b, const json_t *v, int indent, bool sorted, int depth) {
    size_t n = json_array_size(v);
    buf_char(b, '[');
    for (size_t i = 0; i < n; i++) {
        if (i > 0) buf_char(b, ',');
        new_line(b, indent, depth + 1);
        write_value(b, json_array_get(v, i), indent, sorted, depth + 1);
    }
    if (n > 0) new_line(b, indent, depth);
    buf_char(b, ']');
}

static void write_value(Buf *b, const json_t *v, int indent, bool sorted, int depth) {
    check(v != NULL, "a JSON value is missing");
    switch (json_typeof(v)) {
    case JSON_OBJECT: write_object(b, v, indent, sorted, depth); break;
    case JSON_ARRAY: write_array(b, v, indent, sorted, depth); break;
    case JSON_STRING: write_string(b, json_string_value(v), json_string_length(v)); break;
    case JSON_INTEGER: buf_printf(b, "%" JSON_INTEGER_FORMAT, json_integer_value(v)); break;
    case JSON_REAL: write_real(b, json_real_value(v)); break;
    case JSON_TRUE: buf_text(b, "true"); break;
    case JSON_FALSE: buf_text(b, "false"); break;
    case JSON_NULL: buf_text(b, "null"); break;
    }
}

void json_write(Buf *b, const json_t *value, int indent, bool sorted) { write_value(b, value, indent, sorted, 0); }

char *json_canonical(const json_t *value) {
    Buf b = {0};
    json_write(&b, value, 0, true);
    return b.data;
}

bool json_write_file(const char *path, const json_t *value, Error *e) {
    Buf b = {0};
    json_write(&b, value, 2, false);
    buf_char(&b, '\n');
    bool ok = file_replace(path, b.data, b.length, e);
    buf_free(&b);
    return ok;
}
