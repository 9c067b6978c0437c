// config_text: a config as text for people and files: YAML, JSON, help. Must not know: where the values came from.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/config.h"
#include "core/base/yaml.h"

static const void *field_of(const void *config, const ConfigRow *row) { return (const char *)config + row->offset; }

// True when YAML reads the bare text back as this very string, in a list too.
static bool is_plain_safe(const char *text) {
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    if (text[0] == '\0' || text[0] == '-' || text[strspn(text, safe)] != '\0') return false;
    json_t *typed = yaml_plain_scalar(text);
    bool is_text = json_is_string(typed);
    json_decref(typed);
    return is_text;
}

// Double-quoted; JSON's escapes are YAML's too. Control characters that YAML (and not JSON) refuses are escaped here.
static void put_quoted(Buf *b, const char *text) {
    buf_char(b, '"');
    for (const unsigned char *p = (const unsigned char *)text; *p != '\0'; p++) {
        if (*p == '"' || *p == '\\') buf_printf(b, "\\%c", *p);
        else if (*p == '\n') buf_text(b, "\\n");
        else if (*p == '\t') buf_text(b, "\\t");
        else if (*p < 0x20 || *p == 0x7F) buf_printf(b, "\\x%02x", *p);
        else if (*p == 0xC2 && p[1] >= 0x80 && p[1] < 0xA0) buf_printf(b, "\\x%02x", *++p);
        else buf_char(b, (char)*p);
    }
    buf_char(b, '"');
}

static void put_text(Buf *b, const char *text) {
    if (is_plain_safe(text)) buf_text(b, text);
    else put_quoted(b, text);
}

// 1e-06 is text to YAML 1.1 readers, 1.0e-06 is a number to all.
static void put_real(Buf *b, double x) {
    json_t *real = json_real(x);
    Buf text = {0};
    json_write(&text, real, 0, false);
    char *exponent = strchr(text.data, 'e');
    if (exponent != NULL && strchr(text.data, '.') == NULL) {
        buf_add(b, text.data, (size_t)(exponent - text.data));
        buf_text(b, ".0");
        buf_text(b, exponent);
    } else {
        buf_text(b, text.data);
    }
    buf_free(&text);
    json_decref(real);
}

static void put_list(Buf *b, const StrList *list) {
    buf_char(b, '[');
    for (size_t i = 0; i < list->count; i++) {
        if (i > 0) buf_text(b, ", ");
        put_text(b, list->items[i]);
    }
    buf_char(b, ']');
}

void config_to_yaml(const ConfigTable *table, const void *config, Buf *out) {
    for (size_t i = 0; i < table->n_rows; i++) {
        const ConfigRow *row = &table->rows[i];
        const void *field = field_of(config, row);
        buf_printf(out, "%s: ", row->key);
        switch (row->type) {
        case CFG_TYPE_INT: buf_printf(out, "%lld", (long long)*(const int64_t *)field); break;
        case CFG_TYPE_REAL: put_real(out, *(const double *)field); break;
        case CFG_TYPE_BOOL: buf_text(out, *(const bool *)field ? "true" : "false"); break;
        case CFG_TYPE_TEXT:
        case CFG_TYPE_PICK: put_text(out, *(char *const *)field); break;
        case CFG_TYPE_LIST: put_list(out, field); break;
        }
        buf_char(out, '\n');
    }
}

static json_t *list_to_json(const StrList *list) {
    json_t *array = json_array();
    for (size_t i = 0; i < list->count; i++) json_array_append_new(array, json_string(list->items[i]));
    return array;
}

static json_t *field_to_json(const ConfigRow *row, const void *field) {
    switch (row->type) {
    case CFG_TYPE_INT: return json_integer(*(const int64_t *)field);
    case CFG_TYPE_REAL: return json_real(*(const double *)field);
    case CFG_TYPE_BOOL: return json_boolean(*(const bool *)field);
    case CFG_TYPE_TEXT:
    case CFG_TYPE_PICK: return json_string(*(char *const *)field);
    case CFG_TYPE_LIST: return list_to_json(field);
    }
    die("config type %d", (int)row->type);
}

json_t *config_to_json(const ConfigTable *table, const void *config) {
    json_t *object = json_object();
    for (size_t i = 0; i < table->n_rows; i++) {
        const ConfigRow *row = &table->rows[i];
        json_object_set_new(object, row->key, field_to_json(row, field_of(config, row)));
    }
    return object;
}

// ---- help ----

static const char *shown_default(const ConfigRow *row) {
    if (row->fallback == NULL) return "(required)";
    return row->fallback[0] != '\0' ? row->fallback : "(none)";
}

static void put_range(Buf *out, const ConfigRow *row) {
    if (row->type == CFG_TYPE_PICK) buf_printf(out, "  [%s]", row->choices);
    if (row->type == CFG_TYPE_LIST) buf_text(out, "  [a,b,...]");
    bool number = row->type == CFG_TYPE_INT || row->type == CFG_TYPE_REAL;
    if (number) buf_printf(out, "  [%.10g..%.10g]", row->min, row->max);
}

void config_help(const ConfigTable *table, Buf *out) {
    int key_width = 0, default_width = 0;
    for (size_t i = 0; i < table->n_rows; i++) {
        key_width = MAX(key_width, (int)strlen(table->rows[i].key));
        default_width = MAX(default_width, (int)MIN(strlen(shown_default(&table->rows[i])), (size_t)14));
    }
    for (size_t i = 0; i < table->n_rows; i++) {
        const ConfigRow *row = &table->rows[i];
        buf_printf(out, "  %-*s  %-*s  %s", key_width, row->key, default_width, shown_default(row), row->help);
        put_range(out, row);
        buf_char(out, '\n');
    }
}
