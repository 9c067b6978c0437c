#include "tools/recipe.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "core/base/yaml.h"

const char *const recipe_programs[] = {"datagen", "distill", "trainer", "quant", "tristill"};
const size_t recipe_n_programs = COUNT_OF(recipe_programs);

enum { MAX_STAGES = 1000, MAX_NAME = 64 };

// ---- mistakes are collected, so that one look at the messages repairs the whole file ----

typedef struct Reader {
    Recipe *recipe;
    const json_t *items;           // the list `stages` of the file
    const char *names[MAX_STAGES]; // of all stages, borrowed; NULL where the file has none
    char *folder;                  // of the recipe file, for ${recipe}
    Problems problems;
} Reader;

static int line_of(const Recipe *r, const char *key) { return (int)json_integer_value(json_object_get(r->lines, key)); }

#define mistake(in, line, ...) problem_add(&(in)->problems, (in)->recipe->path, line, "", __VA_ARGS__)

// "; did you mean x?" or what could stand there.
static const char *hint(char *out, size_t cap, const char *word, const char *const *names, size_t n) {
    const char *near = did_you_mean(word, names, n);
    if (near) {
        snprintf(out, cap, "; did you mean '%s'?", near);
        return out;
    }
    size_t at = (size_t)snprintf(out, cap, "; known:");
    for (size_t i = 0; i < n && at < cap; i++) at += (size_t)snprintf(out + at, cap - at, " %s", names[i]);
    return out;
}

static void check_keys(Reader *in, const json_t *object, const char *prefix, const char *const *known, size_t n) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)object, key, value) {
        bool found = false;
        for (size_t i = 0; i < n; i++) found |= strcmp(key, known[i]) == 0;
        if (found) continue;
        char *path = xasprintf("%s%s", prefix, key), text[256];
        mistake(in, line_of(in->recipe, path), "unknown key '%s'%s", key, hint(text, sizeof text, key, known, n));
        free(path);
    }
}

// ---- references ----

static int stage_by_name(const Reader *in, const char *name, size_t length) {
    for (size_t i = 0; i < json_array_size(in->items); i++)
        if (in->names[i] && strlen(in->names[i]) == length && !memcmp(in->names[i], name, length)) return (int)i;
    return -1;
}

// Appends what ${name} stands for in stage `index`.
static void expand_reference(Reader *in, size_t index, int line, const char *name, size_t length, Buf *out) {
    const Recipe *r = in->recipe;
    int at = stage_by_name(in, name, length);
    if (length == 3 && !memcmp(name, "out", 3)) {
        buf_text(out, r->out);
    } else if (length == 6 && !memcmp(name, "recipe", 6)) {
        buf_text(out, in->folder);
    } else if (at >= 0 && (size_t)at < index) {
        buf_printf(out, "%s/%s", r->out, in->names[at]);
    } else if (at >= 0) {
        mistake(in, line, "${%s} is %s; a stage can read only what earlier stages wrote", in->names[at],
                (size_t)at == index ? "the stage's own folder" : "a later stage");
    } else {
        const char *known[MAX_STAGES + 2];
        size_t n = 0;
        for (size_t i = 0; i < index; i++)
            if (in->names[i]) known[n++] = in->names[i];
        known[n++] = "recipe", known[n++] = "out";
        char text[256], word[MAX_NAME + 1];
        snprintf(word, sizeof word, "%.*s", (int)length, name);
        mistake(in, line, "${%s} is no earlier stage%s", word, hint(text, sizeof text, word, known, n));
    }
}

static char *expand_text(Reader *in, size_t index, int line, const char *text) {
    Buf out = {0};
    for (const char *at = text; *at;) {
        const char *open = strstr(at, "${"), *close = open ? strchr(open, '}') : NULL;
        buf_add(&out, at, open ? (size_t)(open - at) : strlen(at));
        if (!open) break;
        if (!close) {
            mistake(in, line, "'${' without '}' in \"%.80s\"", text);
            break;
        }
        expand_reference(in, index, line, open + 2, (size_t)(close - open - 2), &out);
        at = close + 1;
    }
    buf_text(&out, "");
    return out.data;
}

// A copy of `value` with every text expanded, at any depth. New reference.
static json_t *expand(Reader *in, size_t index, int line, const json_t *value) {
    if (json_is_string(value)) {
        char *text = expand_text(in, index, line, json_string_value(value));
        json_t *made = json_string(text);
        free(text);
        return made;
    }
    if (json_is_array(value)) {
        json_t *made = json_array();
        for (size_t i = 0; i < json_array_size(value); i++)
            json_array_append_new(made, expand(in, index, line, json_array_get(value, i)));
        return made;
    }
    if (json_is_object(value)) {
        json_t *made = json_object(), *member;
        const char *key;
        json_object_foreach((json_t *)value, key, member)
            json_object_set_new(made, key, expand(in, index, line, member));
        return made;
    }
    return json_deep_copy(value);
}

// ---- stages ----

static bool good_name(const char *name) {
    size_t n = strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-");
    return n > 0 && n <= MAX_NAME && !name[n] && name[0] != '-';
}

static void read_names(Reader *in) {
    for (size_t i = 0; i < json_array_size(in->items); i++) {
        char key[64];
        snprintf(key, sizeof key, "stages[%zu].stage", i);
        const char *name = json_string_value(json_object_get(json_array_get(in->items, i), "stage"));
        int line = line_of(in->recipe, key);
        if (!name) continue; // told by read_stage
        int first = stage_by_name(in, name, strlen(name));
        if (!good_name(name))
            mistake(in, line, "stage: '%.80s': letters, digits, '_' and '-' only, at most %d", name, MAX_NAME);
        else if (!strcmp(name, "recipe") || !strcmp(name, "out"))
            mistake(in, line, "stage: '%s' is reserved for ${%s}; choose another name", name, name);
        else if (first >= 0)
            mistake(in, line, "stage: '%s' is already the name of stage %d (line %d)", name, first + 1,
                    in->recipe->stages[first].line);
        else
            in->names[i] = name;
        in->recipe->stages[i].line = line;
    }
}

static void read_run(Reader *in, RecipeStage *s, const char *run, int line) {
    const char *space = strchr(run, ' ');
    s->program = xstrndup(run, space ? (size_t)(space - run) : strlen(run));
    s->command = xstrdup(space ? space + 1 + strspn(space + 1, " ") : "");
    s->run = xasprintf("%s%s%s", s->program, s->command[0] ? " " : "", s->command);
    bool known = false;
    for (size_t i = 0; i < recipe_n_programs; i++) known |= strcmp(s->program, recipe_programs[i]) == 0;
    char text[256];
    if (!known)
        mistake(in, line, "run: unknown program '%.64s'%s", s->program,
                hint(text, sizeof text, s->program, recipe_programs, recipe_n_programs));
    else if (strchr(s->command, ' ') || s->command[0] == '-')
        mistake(in, line, "run: '%.64s': expected a program and a command; keys belong into 'with'", run);
    else if (!strcmp(s->program, "tristill") && strcmp(s->command, "eval") && strcmp(s->command, "report"))
        mistake(in, line, "run: '%.64s' is no stage; of tristill only eval and report write a run folder", run);
}

static void read_with(Reader *in, size_t index, RecipeStage *s, const json_t *with) {
    char key[MAX_NAME * 2];
    snprintf(key, sizeof key, "stages[%zu].with", index);
    if (with && !json_is_object(with) && !json_is_null(with))
        mistake(in, line_of(in->recipe, key), "with: expected a mapping of keys to values");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)with, name, value) {
        int line = recipe_key_line(in->recipe, index, name);
        if (!strcmp(name, "out")) mistake(in, line, "with: out is set by the runner (<out>/<stage>); remove the key");
        json_object_set_new(s->with, name, expand(in, index, line, value));
    }
}

// A text member of stage `index`, or NULL with a mistake.
static const char *stage_text(Reader *in, size_t index, const char *field, int *line) {
    const json_t *value = json_object_get(json_array_get(in->items, index), field);
    char key[64], first[64];
    snprintf(key, sizeof key, "stages[%zu].%s", index, field);
    *line = line_of(in->recipe, key);
    if (json_is_string(value) && json_string_length(value) > 0) return json_string_value(value);
    snprintf(first, sizeof first, "stages[%zu].%s", index, strcmp(field, "stage") ? "stage" : "run");
    mistake(in, *line ? *line : line_of(in->recipe, first), "stage %zu: %s: %s", index + 1, field,
            value ? "expected text" : "is missing");
    return NULL;
}

static void read_stage(Reader *in, size_t index) {
    static const char *const known[] = {"stage", "run", "with"};
    RecipeStage *s = &in->recipe->stages[index];
    const json_t *item = json_array_get(in->items, index);
    s->with = json_object(), s->overridden = json_object();
    if (!json_is_object(item)) {
        mistake(in, line_of(in->recipe, "stages"), "stage %zu: expected a mapping with stage, run, with", index + 1);
        return;
    }
    char prefix[64];
    snprintf(prefix, sizeof prefix, "stages[%zu].", index);
    check_keys(in, item, prefix, known, COUNT_OF(known));
    int line;
    const char *name = stage_text(in, index, "stage", &line), *run = stage_text(in, index, "run", &line);
    s->name = xstrdup(name ? name : "");
    s->folder = xasprintf("%s/%s", in->recipe->out, s->name);
    if (run) read_run(in, s, run, line);
    read_with(in, index, s, json_object_get(item, "with"));
}

// ---- overrides ----

static void apply_override(Reader *in, const char *text) {
    const char *dot = strchr(text, '.'), *equals = strchr(text, '=');
    if (!equals || !dot || dot > equals || dot == text || dot + 1 == equals || strchr(text, '\n')) {
        mistake(in, 0, "override '%.120s': expected stage.key=value or out=FOLDER", text);
        return;
    }
    int at = stage_by_name(in, text, (size_t)(dot - text));
    if (at < 0) {
        const char *known[MAX_STAGES];
        size_t n = 0;
        for (size_t i = 0; i < json_array_size(in->items); i++)
            if (in->names[i]) known[n++] = in->names[i];
        char *word = xstrndup(text, (size_t)(dot - text)), near[256];
        mistake(in, 0, "override '%.120s': no stage '%.64s'%s", text, word, hint(near, sizeof near, word, known, n));
        free(word);
        return;
    }
    RecipeStage *s = &in->recipe->stages[at];
    char *key = xstrndup(dot + 1, (size_t)(equals - dot - 1));
    char *value = expand_text(in, (size_t)at, 0, equals + 1);
    json_t *made = json_string(value);
    if (!strcmp(key, "out")) mistake(in, 0, "override '%.120s': out of a stage is set by the runner", text);
    if (!made) mistake(in, 0, "override '%.40s...': the value is no UTF-8 text", text);
    if (made) json_object_set_new(s->with, key, made);
    json_object_set_new(s->overridden, key, json_true());
    free(key), free(value);
}

// ---- the whole file ----

static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash ? xstrndup(path, slash == path ? 1 : (size_t)(slash - path)) : xstrdup(".");
}

static char *head_text(Reader *in, const json_t *root, const char *field) {
    const json_t *value = json_object_get(root, field);
    if (json_is_string(value) && json_string_length(value) > 0) return xstrdup(json_string_value(value));
    mistake(in, line_of(in->recipe, field), "%s: %s", field, value ? "expected text" : "is missing");
    return xstrdup("");
}

static void read_head(Reader *in, const json_t *root, char *const *overrides, size_t n_overrides) {
    Recipe *r = in->recipe;
    static const char *const known[] = {"name", "out", "stages"};
    check_keys(in, root, "", known, COUNT_OF(known));
    r->name = head_text(in, root, "name");
    r->out = NULL;
    for (size_t i = 0; i < n_overrides; i++)
        if (!strncmp(overrides[i], "out=", 4)) free(r->out), r->out = xstrdup(overrides[i] + 4);
    if (!r->out) r->out = head_text(in, root, "out");
    for (size_t n = strlen(r->out); n > 1 && r->out[n - 1] == '/';) r->out[--n] = 0;
    if (!r->out[0] && in->problems.count == 0) mistake(in, 0, "override 'out=': expected a folder");
    in->items = json_object_get(root, "stages");
    size_t n = json_array_size(in->items);
    if (!json_is_array(in->items) || n == 0)
        mistake(in, line_of(r, "stages"), "stages: expected a list of stages");
    else if (n > MAX_STAGES)
        mistake(in, line_of(r, "stages"), "stages: %zu are too many (at most %d)", n, MAX_STAGES);
}

static void read_stages(Reader *in, char *const *overrides, size_t n_overrides) {
    Recipe *r = in->recipe;
    r->n_stages = json_array_size(in->items);
    r->stages = xcalloc(r->n_stages, sizeof *r->stages);
    read_names(in);
    for (size_t i = 0; i < r->n_stages; i++) read_stage(in, i);
    for (size_t i = 0; i < n_overrides; i++)
        if (strncmp(overrides[i], "out=", 4)) apply_override(in, overrides[i]);
    for (size_t i = 0; i < r->n_stages; i++)
        json_object_set_new(r->stages[i].with, "out", json_string(r->stages[i].folder));
}

bool recipe_read(Recipe *r, const char *path, char *const *overrides, size_t n_overrides, Error *e) {
    *r = (Recipe){.path = xstrdup(path)};
    json_t *root = yaml_read_file(path, &r->lines, e);
    if (!root) {
        recipe_free(r);
        return false;
    }
    Reader *in = xcalloc(1, sizeof *in);
    in->recipe = r, in->folder = folder_of(path);
    if (!json_is_object(root)) mistake(in, 1, "expected a mapping with name, out, stages");
    if (json_is_object(root)) read_head(in, root, overrides, n_overrides);
    if (json_is_array(in->items) && json_array_size(in->items) <= MAX_STAGES) read_stages(in, overrides, n_overrides);
    bool ok = problems_report(&in->problems, e);
    free(in->folder), free(in);
    json_decref(root);
    if (!ok) recipe_free(r);
    return ok;
}

void recipe_free(Recipe *r) {
    for (size_t i = 0; i < r->n_stages; i++) {
        RecipeStage *s = &r->stages[i];
        free(s->name), free(s->folder), free(s->run), free(s->program), free(s->command);
        json_decref(s->with), json_decref(s->overridden);
    }
    free(r->stages), free(r->path), free(r->name), free(r->out);
    json_decref(r->lines);
    *r = (Recipe){0};
}

bool recipe_find(const Recipe *r, const char *name, size_t *index, Error *e) {
    const char *known[MAX_STAGES] = {0};
    for (*index = 0; *index < r->n_stages; ++*index) {
        if (!strcmp(r->stages[*index].name, name)) return true;
        known[*index] = r->stages[*index].name;
    }
    char text[256];
    return fail(e, EXIT_USAGE, "%s: no stage '%.64s'%s", r->path, name,
                hint(text, sizeof text, name, known, r->n_stages));
}

int recipe_key_line(const Recipe *r, size_t index, const char *key) {
    if (r->stages[index].overridden && json_object_get(r->stages[index].overridden, key)) return 0;
    char *path = xasprintf("stages[%zu].with.%s", index, key);
    int line = line_of(r, path);
    free(path);
    return line;
}

// ---- what the programs are given ----

// Would YAML's core schema read this plain text as something else than text?
static bool reads_as_other(const char *text) {
    static const char *const words[] = {"null", "true", "false", "yes", "no", "on", "off", ".inf", ".nan"};
    for (size_t i = 0; i < COUNT_OF(words); i++)
        if (!strcasecmp(text, words[i])) return true;
    char *end;
    strtod(text, &end);
    return !*end || (text[0] == '0' && strchr("xo", text[1]));
}

static bool plain_text(const char *text) {
    static const char safe[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_./+-";
    return text[0] && !text[strspn(text, safe)] && strcmp(text, "-") && strncmp(text, "---", 3) && strcmp(text, "...");
}

static void yaml_key(Buf *out, const char *key) {
    json_t *text = json_string(key);
    if (plain_text(key) && !reads_as_other(key))
        buf_text(out, key);
    else
        json_write(out, text, 0, false); // JSON texts are YAML's quoted ones
    buf_text(out, ": ");
    json_decref(text);
}

static void yaml_value(Buf *out, const json_t *value) {
    const char *text = json_string_value(value), *key;
    json_t *member;
    if (text && plain_text(text) && !reads_as_other(text)) {
        buf_text(out, text);
    } else if (json_is_array(value)) {
        buf_char(out, '[');
        for (size_t i = 0; i < json_array_size(value); i++) {
            if (i) buf_text(out, ", ");
            yaml_value(out, json_array_get(value, i));
        }
        buf_char(out, ']');
    } else if (json_is_object(value)) {
        size_t i = 0;
        buf_char(out, '{');
        json_object_foreach((json_t *)value, key, member) {
            if (i++) buf_text(out, ", ");
            yaml_key(out, key);
            yaml_value(out, member);
        }
        buf_char(out, '}');
    } else {
        json_write(out, value, 0, false);
    }
}

void recipe_stage_yaml(const RecipeStage *stage, Buf *out) {
    const char *key;
    json_t *value;
    json_object_foreach(stage->with, key, value) {
        const char *text = json_string_value(value);
        yaml_key(out, key);
        bool given = json_object_get(stage->overridden, key) != NULL;
        if (given && (plain_text(text) || strchr("[{\"'", text[0])) && text[0]) // as it would stand in the file
            buf_text(out, text);
        else
            yaml_value(out, value);
        buf_char(out, '\n');
    }
}

void recipe_blame(const Recipe *r, size_t index, const char *config_path, const char *text, Buf *out) {
    const RecipeStage *s = &r->stages[index];
    size_t n = strlen(config_path);
    for (const char *at; (at = strstr(text, config_path)); text = at) {
        buf_add(out, text, (size_t)(at - text));
        char *end = (char *)at + n;
        long line = *end == ':' && isdigit((unsigned char)end[1]) ? strtol(end + 1, &end, 10) : 0;
        void *entry = json_object_iter(s->with);
        for (long i = 1; i < line && entry; i++) entry = json_object_iter_next(s->with, entry);
        const char *key = entry && line > 0 ? json_object_iter_key(entry) : NULL;
        int place = key ? recipe_key_line(r, index, key) : 0;
        if (key && json_object_get(s->overridden, key))
            buf_printf(out, "override %s.%s", s->name, key);
        else
            buf_printf(out, "%s:%d: stage %s", r->path, place ? place : s->line, s->name);
        at = end;
    }
    buf_text(out, text);
}

json_t *recipe_plan(const Recipe *r) {
    json_t *stages = json_array();
    for (size_t i = 0; i < r->n_stages; i++) {
        const RecipeStage *s = &r->stages[i];
        json_array_append_new(stages, json_pack("{s:s, s:s, s:O}", "stage", s->name, "run", s->run, "with", s->with));
    }
    return json_pack("{s:s, s:s, s:s, s:o}", "name", r->name, "recipe", r->path, "out", r->out, "stages", stages);
}
