#include "tools/show.h"

#include <string.h>

#include "tools/text.h"

static void indent(Buf *out, int depth) {
    for (int i = 0; i < depth; i++) buf_text(out, "  ");
}

// A text on one line, as it may stand in a table or beside its key.
static void inline_value(const json_t *value, Buf *out) {
    Buf raw = {0};
    if (json_is_string(value))
        buf_add(&raw, json_string_value(value), json_string_length(value));
    else
        json_write(&raw, value, 0, false);
    for (size_t i = 0; i < raw.length; i++)
        if (raw.data[i] == '\n' || raw.data[i] == '\t') raw.data[i] = ' ';
    text_for_terminal(raw.data ? raw.data : "", raw.length, out);
    buf_free(&raw);
}

static void block(const char *text, int depth, Buf *out) {
    Buf safe = {0};
    text_for_terminal(text, strlen(text), &safe);
    for (const char *at = safe.data; at && *at;) {
        size_t n = strcspn(at, "\n");
        indent(out, depth);
        buf_add(out, at, n);
        buf_char(out, '\n');
        at += n + (at[n] == '\n');
    }
    buf_free(&safe);
}

static bool is_flat(const json_t *value) {
    if (json_is_object(value)) return json_object_size(value) == 0;
    if (!json_is_array(value)) return !json_is_string(value) || !strchr(json_string_value(value), '\n');
    for (size_t i = 0; i < json_array_size(value); i++) // texts stand on lines of their own
        if (!json_is_number(json_array_get(value, i)) && !json_is_boolean(json_array_get(value, i))) return false;
    return json_array_size(value) <= 16;
}

// Objects with the same flat members in the same order.
static bool is_table(const json_t *array) {
    const json_t *first = json_array_get(array, 0);
    if (!json_is_object(first) || json_object_size(first) == 0) return false;
    for (size_t i = 0; i < json_array_size(array); i++) {
        json_t *row = json_array_get(array, i);
        if (!json_is_object(row) || json_object_size(row) != json_object_size(first)) return false;
        void *a = json_object_iter((json_t *)first), *b = json_object_iter(row);
        for (; a && b; a = json_object_iter_next((json_t *)first, a), b = json_object_iter_next(row, b))
            if (strcmp(json_object_iter_key(a), json_object_iter_key(b)) || !is_flat(json_object_iter_value(b)))
                return false;
    }
    return true;
}

static void show_table(const json_t *array, int depth, Buf *out) {
    enum { MAX_COLUMNS = 32 };
    const char *headers[MAX_COLUMNS], *key;
    char align[MAX_COLUMNS + 1] = {0};
    TextTable table = {.headers = headers, .align = align};
    json_t *value;
    json_object_foreach(json_array_get(array, 0), key, value) {
        if (table.n_columns == MAX_COLUMNS) break;
        align[table.n_columns] = json_is_number(value) ? 'r' : 'l';
        headers[table.n_columns++] = key;
    }
    for (size_t i = 0; i < json_array_size(array); i++)
        for (size_t c = 0; c < table.n_columns; c++) {
            Buf cell = {0};
            inline_value(json_object_get(json_array_get(array, i), headers[c]), &cell);
            strlist_add(&table.cells, cell.data);
            buf_free(&cell);
        }
    Buf text = {0};
    text_table(&table, &text);
    block(text.data, depth, out);
    buf_free(&text);
    strlist_free(&table.cells);
}

static void show_value(const json_t *value, int depth, Buf *out);

static void show_object(const json_t *object, int depth, Buf *out) {
    const char *key;
    json_t *value;
    size_t width = 0;
    json_object_foreach((json_t *)object, key, value) if (is_flat(value)) width = MAX(width, text_width(key));
    json_object_foreach((json_t *)object, key, value) {
        indent(out, depth);
        text_for_terminal(key, strlen(key), out);
        if (!is_flat(value)) {
            buf_text(out, ":\n");
            show_value(value, depth + 1, out);
            continue;
        }
        for (size_t i = text_width(key); i < width + 2; i++) buf_char(out, ' ');
        inline_value(value, out);
        buf_char(out, '\n');
    }
}

static void show_value(const json_t *value, int depth, Buf *out) {
    if (json_is_object(value)) {
        show_object(value, depth, out);
    } else if (json_is_array(value) && is_table(value)) {
        show_table(value, depth, out);
    } else if (json_is_array(value)) {
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i && json_is_object(json_array_get(value, i))) buf_char(out, '\n');
            show_value(json_array_get(value, i), depth, out);
        }
    } else if (json_is_string(value)) {
        block(json_string_value(value), depth, out);
    } else {
        indent(out, depth);
        inline_value(value, out);
        buf_char(out, '\n');
    }
}

void show_json(const json_t *value, Buf *out) { show_value(value, 0, out); }
