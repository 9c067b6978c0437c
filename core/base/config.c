// config: values from defaults, YAML, JSON and overrides into a struct, checked row by row. Must not know: any
// parameter.
#include "core/base/config.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/yaml.h"

typedef struct Filler {
    const ConfigTable *table;
    void *config;
    bool *given; // per row: has a value
    Problems problems;
} Filler;

typedef struct Spot { // where a value stands, for error texts
    const char *place;
    int line;
    const char *key;
} Spot;

#define refuse(f, spot, ...) problem_add(&(f)->problems, (spot)->place, (spot)->line, (spot)->key, __VA_ARGS__)

static void *field_of(const Filler *f, const ConfigRow *row) { return (char *)f->config + row->offset; }

// ---- numbers ----

// The factor of a unit, 0 when it is none. k counts in 1024 as in "32k context"; K, M and G in 1000.
static int64_t factor_of_unit(const char *unit) {
    static const struct { const char *name; int64_t factor; } units[] = {
        {"", 1}, {"k", 1 << 10}, {"K", 1000}, {"M", 1000000}, {"G", 1000000000},
        {"Ki", 1 << 10}, {"Mi", 1 << 20}, {"Gi", 1 << 30}, {"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}};
    for (size_t i = 0; i < COUNT_OF(units); i++) {
        if (strcmp(unit, units[i].name) == 0) return units[i].factor;
    }
    return 0;
}

// A double that is a whole number and exact.
static bool whole(double x, int64_t *out) {
    if (!(fabs(x) <= 0x1p53) || x != floor(x)) return false;
    *out = (int64_t)x;
    return true;
}

// "32k", "1.5GiB", "8 GiB": a decimal number, then a unit.
static bool int_with_unit(const char *text, int64_t *out) {
    size_t digits = strspn(text, "+-0123456789.");
    if (digits == 0 || digits > 24) return false;
    char number[32];
    memcpy(number, text, digits);
    number[digits] = '\0';
    const char *unit = text + digits + (text[digits] == ' ');
    int64_t factor = factor_of_unit(unit);
    json_t *typed = yaml_plain_scalar(number);
    bool ok = false;
    if (factor == 0) ok = false;
    else if (json_is_integer(typed)) ok = !__builtin_mul_overflow((int64_t)json_integer_value(typed), factor, out);
    else if (json_is_real(typed)) ok = whole(json_real_value(typed) * (double)factor, out);
    json_decref(typed);
    return ok;
}

static bool int_of(const json_t *v, int64_t *out) {
    if (json_is_integer(v)) {
        *out = json_integer_value(v);
        return true;
    }
    if (json_is_real(v)) return whole(json_real_value(v), out);
    return json_is_string(v) && int_with_unit(json_string_value(v), out);
}

static bool in_range(Filler *f, const ConfigRow *row, const Spot *spot, double x) {
    if (x >= row->min && x <= row->max) return true;
    refuse(f, spot, "%.15g is out of range; give %.15g to %.15g", x, row->min, row->max);
    return false;
}

// ---- one value into one field; false: a problem was added ----

static const char *shown(const json_t *v, char buffer[64]) {
    if (json_is_object(v)) return "a mapping";
    if (json_is_array(v)) return "a list";
    Buf b = {0};
    json_write(&b, v, 0, false);
    snprintf(buffer, 64, "%.60s", b.data);
    buf_free(&b);
    return buffer;
}

static bool wrong_type(Filler *f, const Spot *spot, const char *wanted, const json_t *v) {
    char buffer[64];
    refuse(f, spot, "expected %s, found %s", wanted, shown(v, buffer));
    return false;
}

static bool set_int(Filler *f, const ConfigRow *row, const Spot *spot, const json_t *v) {
    int64_t n = 0;
    if (!int_of(v, &n)) return wrong_type(f, spot, "a whole number (units: k, K, M, G, KiB, MiB, GiB)", v);
    if (!in_range(f, row, spot, (double)n)) return false;
    *(int64_t *)field_of(f, row) = n;
    return true;
}

static bool set_real(Filler *f, const ConfigRow *row, const Spot *spot, const json_t *v) {
    if (!json_is_number(v)) return wrong_type(f, spot, "a number", v);
    double x = json_number_value(v);
    if (!in_range(f, row, spot, x)) return false;
    *(double *)field_of(f, row) = x;
    return true;
}

static bool set_bool(Filler *f, const ConfigRow *row, const Spot *spot, const json_t *v) {
    if (!json_is_boolean(v)) return wrong_type(f, spot, "true or false", v);
    *(bool *)field_of(f, row) = json_is_true(v);
    return true;
}

static bool set_text(Filler *f, const ConfigRow *row, const Spot *spot, const json_t *v) {
    if (!json_is_string(v)) return wrong_type(f, spot, "text (write it in quotes)", v);
    char **field = field_of(f, row);
    free(*field);
    *field = xstrdup(json_string_value(v));
    return true;
}

// Adds the parts between separators without the blanks around them; an empty text has no parts.
static void split(StrList *out, const char *text, char separator) {
    while (text != NULL && text[strspn(text, " ")] != '\0') {
        const char *end = strchr(text, separator);
        const char *begin = text + strspn(text, " ");
        size_t n = end != NULL ? (size_t)(end - begin) : strlen(begin);
        while (n > 0 && begin[n - 1] == ' ') n--;
        char *part = xstrndup(begin, n);
        strlist_add(out, part);
        free(part);
        text = end != NULL ? end + 1 : NULL;
    }
}

static bool set_pick(Filler *f, const ConfigRow *row, const Spot *spot, const json_t *v) {
    if (!json_is_string(v)) return wrong_type(f, spot, row->choices, v);
    const char *text = json_string_value(v);
    StrList choices = {0};
    split(&choices, row->choices, '|');
    bool found = false;
    for (size_t i = 0; i < choices.count; i++) found = found || strcmp(choices.items[i], text) == 0;
    if (!found) {
        const char *near = did_you_mean(text, (const char *const *)choices.items, choices.count);
        if (near != NULL) refuse(f, spot, "'%.60s' is none of %s; did you mean '%s'?", text, row->choices, near);
        else refuse(f, spot, "'%.60s' is none of %s", text, row->choices);
    }
    strlist_free(&choices);
    return found && set_text(f, row, spot, v);
}

static bool add_item(Filler *f, const Spot *spot, const json_t *v, StrList *out) {
    if (!json_is_string(v) && !json_is_number(v)) return wrong_type(f, spot, "a list of texts", v);
    Buf b = {0};
    if (json_is_string(v)) buf_text(&b, json_string_value(v));
    else json_write(&b, v, 0, false);
    strlist_add(out, b.data);
    buf_free(&b);
    return true;
}

static bool set_list(Filler *f, const ConfigRow *row, const Spot *spot, const json_t *v) {
    StrList list = {0};
    bool ok = true;
    if (json_is_string(v)) {
        split(&list, json_string_value(v), ',');
    } else if (json_is_array(v)) {
        for (size_t i = 0; i < json_array_size(v); i++) ok = add_item(f, spot, json_array_get(v, i), &list) && ok;
    } else {
        ok = add_item(f, spot, v, &list);
    }
    StrList *field = field_of(f, row);
    strlist_free(ok ? field : &list);
    if (ok) *field = list;
    return ok;
}

static bool set_value(Filler *f, const ConfigRow *row, const Spot *spot, const json_t *v) {
    f->given[row - f->table->rows] = true; // a bad value is one error, not also a missing one
    if (is_secret(row->key, json_string_value(v))) {
        refuse(f, spot, SECRET_PROBLEM);
        return false;
    }
    if (json_is_null(v)) {
        refuse(f, spot, "has no value; give one or leave the key out");
        return false;
    }
    switch (row->type) {
    case CFG_TYPE_INT: return set_int(f, row, spot, v);
    case CFG_TYPE_REAL: return set_real(f, row, spot, v);
    case CFG_TYPE_BOOL: return set_bool(f, row, spot, v);
    case CFG_TYPE_TEXT: return set_text(f, row, spot, v);
    case CFG_TYPE_PICK: return set_pick(f, row, spot, v);
    case CFG_TYPE_LIST: return set_list(f, row, spot, v);
    }
    die("config type %d", (int)row->type);
}

// ---- sources ----

static const ConfigRow *row_of(Filler *f, const Spot *spot) {
    const ConfigTable *t = f->table;
    for (size_t i = 0; i < t->n_rows; i++) {
        if (strcmp(t->rows[i].key, spot->key) == 0) return &t->rows[i];
    }
    if (is_secret(spot->key, NULL)) {
        refuse(f, spot, SECRET_PROBLEM);
        return NULL;
    }
    const char **names = xcalloc(t->n_rows, sizeof *names);
    for (size_t i = 0; i < t->n_rows; i++) names[i] = t->rows[i].key;
    const char *near = did_you_mean(spot->key, names, t->n_rows);
    if (near != NULL) refuse(f, spot, "unknown key; did you mean '%s'?", near);
    else refuse(f, spot, "unknown key; see --help for the keys");
    free(names);
    return NULL;
}

// What a default or an override holds, as the row's type wants it: text fields take it as it is, without guessing
// types.
// NULL: not UTF-8, or a quoted text or [list] that does not parse (problems added).
static json_t *value_of_text(Filler *f, const ConfigRow *row, const Spot *spot, const char *text) {
    bool is_text = row->type == CFG_TYPE_TEXT || row->type == CFG_TYPE_PICK || row->type == CFG_TYPE_LIST;
    bool yaml = text[0] == '"' || text[0] == '\'' || (text[0] == '[' && row->type == CFG_TYPE_LIST);
    if (yaml) return yaml_parse(text, strlen(text), spot->place, NULL, &f->problems);
    json_t *v = is_text ? json_string(text) : yaml_plain_scalar(text);
    if (v == NULL) refuse(f, spot, "not valid UTF-8, or a number beyond 64 bits");
    return v;
}

static void fill_text(Filler *f, const ConfigRow *row, const Spot *spot, const char *text) {
    json_t *v = value_of_text(f, row, spot, text);
    if (v != NULL) set_value(f, row, spot, v);
    json_decref(v);
}

static void fill_defaults(Filler *f) {
    for (size_t i = 0; i < f->table->n_rows; i++) {
        const ConfigRow *row = &f->table->rows[i];
        if (row->fallback != NULL) fill_text(f, row, &(Spot){.place = "default", .key = row->key}, row->fallback);
    }
    check(f->problems.count == 0, "a default is bad: %s", f->problems.lines.data);
}

static void fill_json(Filler *f, const json_t *object, const char *place, const json_t *lines) {
    if (json_is_null(object)) return; // an empty file
    if (!json_is_object(object)) {
        problem_add(&f->problems, place, 0, "", "a mapping of `key: value` lines is wanted at the top");
        return;
    }
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)object, key, value) {
        Spot spot = {.place = place, .line = (int)json_integer_value(json_object_get(lines, key)), .key = key};
        const ConfigRow *row = row_of(f, &spot);
        if (row != NULL) set_value(f, row, &spot, value);
    }
}

static bool fill_file(Filler *f, const char *path, Error *e) {
    Buf text = {0};
    if (!file_read(path, YAML_MAX_FILE, &text, e)) {
        if (e != NULL) e->code = EXIT_USAGE;
        buf_free(&text);
        return false;
    }
    json_t *lines = json_object();
    json_t *root = yaml_parse(text.data, text.length, path, lines, &f->problems);
    if (root != NULL) fill_json(f, root, path, lines);
    json_decref(root);
    json_decref(lines);
    buf_free(&text);
    return true;
}

static void fill_override(Filler *f, const char *text) {
    const char *equals = strchr(text, '=');
    if (equals == NULL || equals == text) {
        problem_add(&f->problems, "command line", 0, "", "'%.80s' is not key=value", text);
        return;
    }
    char *key = xstrndup(text, (size_t)(equals - text));
    Spot spot = {.place = "command line", .key = key};
    const ConfigRow *row = row_of(f, &spot);
    if (row != NULL) fill_text(f, row, &spot, equals + 1);
    free(key);
}

static void find_missing(Filler *f, const char *place) {
    for (size_t i = 0; i < f->table->n_rows; i++) {
        const ConfigRow *row = &f->table->rows[i];
        if (!f->given[i]) problem_add(&f->problems, place, 0, row->key, "is required: %s", row->help);
    }
}

static Filler begin_fill(const ConfigTable *table, void *config) {
    memset(config, 0, table->size);
    Filler f = {.table = table, .config = config, .given = xcalloc(table->n_rows, sizeof(bool))};
    fill_defaults(&f);
    return f;
}

// Reports the problems, if any; then nothing stays allocated.
static bool end_fill(Filler *f, bool readable, const char *place, Error *e) {
    if (readable) find_missing(f, place);
    bool ok = problems_report(&f->problems, readable ? e : NULL) && readable;
    free(f->given);
    if (!ok) config_free(f->table, f->config);
    return ok;
}

bool config_parse(const ConfigTable *table, const char *yaml_path, char *const *overrides, size_t n_overrides,
                  void *config, Error *e) {
    Filler f = begin_fill(table, config);
    bool readable = yaml_path == NULL || fill_file(&f, yaml_path, e);
    for (size_t i = 0; readable && i < n_overrides; i++) fill_override(&f, overrides[i]);
    return end_fill(&f, readable, yaml_path != NULL ? yaml_path : "command line", e);
}

bool config_from_json(const ConfigTable *table, const json_t *object, const char *place, void *config, Error *e) {
    Filler f = begin_fill(table, config);
    fill_json(&f, object, place, NULL);
    return end_fill(&f, true, place, e);
}

void config_free(const ConfigTable *table, void *config) {
    for (size_t i = 0; i < table->n_rows; i++) {
        const ConfigRow *row = &table->rows[i];
        void *field = (char *)config + row->offset;
        if (row->type == CFG_TYPE_LIST) strlist_free(field);
        if (row->type == CFG_TYPE_TEXT || row->type == CFG_TYPE_PICK) free(*(char **)field);
    }
    memset(config, 0, table->size);
}
