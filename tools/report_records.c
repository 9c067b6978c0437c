// report_records: what the record files and exports of the stages hold. Must not know: how it will look.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/gguf.h"
#include "core/data/record.h"
#include "tools/codes.h"
#include "tools/report.h"

// ---- reading until there is enough ----

typedef bool (*WantFn)(void *context, const json_t *record);

// The first `most` records that are wanted; most < 0 = all. New reference.
static json_t *collect(const char *path, WantFn want, void *context, int64_t most, Error *e) {
    RecordReader *reader = record_open(path, e);
    if (!reader) return NULL;
    json_t *kept = json_array(), *record;
    int got = 1;
    while ((most < 0 || (int64_t)json_array_size(kept) < most) && (got = record_next(reader, &record, e)) == 1) {
        if (want(context, record)) json_array_append(kept, record);
        json_decref(record);
    }
    record_reader_close(reader);
    if (got >= 0) return kept;
    json_decref(kept);
    return NULL;
}

static const char *label_of(const json_t *record) {
    const char *label = json_string_value(json_object_get(json_object_get(record, "verdict"), "label"));
    return label ? label : "";
}

static bool has_label(void *context, const json_t *record) { return !strcmp(label_of(record), context); }

static json_t *collect_from(const StageData *s, const char *file, WantFn want, void *context, int64_t most, Error *e) {
    char *path = path_join(s->folder, file);
    json_t *kept = collect(path, want, context, most, e);
    free(path);
    return kept;
}

// ---- lengths ----

typedef struct Both {
    Lengths *positive, *negative;
} Both;

static bool note_length(void *context, const json_t *record) {
    Both *both = context;
    const json_t *tokens = json_object_get(json_object_get(record, "usage"), "completion_tokens");
    const char *label = label_of(record);
    Lengths *to = !strcmp(label, "positive") ? both->positive : !strcmp(label, "negative") ? both->negative : NULL;
    if (!to || !json_is_integer(tokens)) return false;
    if (to->n == to->capacity) {
        to->capacity = MAX((size_t)256, to->capacity * 2);
        to->values = xrealloc(to->values, to->capacity * sizeof *to->values);
    }
    to->values[to->n++] = (double)json_integer_value(tokens);
    return false;
}

bool trace_lengths(const StageData *grade, Lengths *positive, Lengths *negative, Error *e) {
    Both both = {positive, negative};
    json_t *none = collect_from(grade, "graded.jsonl.zst", note_length, &both, -1, e);
    json_decref(none);
    return none != NULL;
}

// ---- samples ----

// Is the record's id a key of the object `context`? Then it becomes the key's value.
static bool fill_by_id(void *context, const json_t *record) {
    json_t *by_id = context;
    const char *id = json_string_value(json_object_get(record, "id"));
    if (id && json_object_get(by_id, id)) json_object_set(by_id, id, (json_t *)record);
    return false;
}

static bool add_fields(json_t *samples, const char *reference, const json_t *by_id, const char *field, const char *as) {
    for (size_t i = 0; i < json_array_size(samples); i++) {
        json_t *sample = json_array_get(samples, i);
        const char *id = json_string_value(json_object_get(sample, reference));
        json_t *found = id ? json_object_get(by_id, id) : NULL, *value = json_object_get(found, field);
        if (value) json_object_set(sample, as, value);
    }
    return true;
}

// Puts the member `field` of the record named by each sample's `reference` into the sample as `as`.
static bool join(json_t *samples, const char *reference, const char *path, const char *field, const char *as,
                 Error *e) {
    json_t *by_id = json_object();
    for (size_t i = 0; i < json_array_size(samples); i++) {
        const char *id = json_string_value(json_object_get(json_array_get(samples, i), reference));
        if (id) json_object_set_new(by_id, id, json_true());
    }
    json_t *none = collect(path, fill_by_id, by_id, -1, e);
    bool ok = none && add_fields(samples, reference, by_id, field, as);
    json_decref(none);
    json_decref(by_id);
    return ok;
}

bool answer_samples(const StageData *eval, const char *label, int64_t n, json_t **out, Error *e) {
    *out = collect_from(eval, "answers.jsonl.zst", has_label, (void *)label, n, e);
    const char *prompts = stage_config_text(eval, "prompts");
    return *out && (!file_exists(prompts) || (join(*out, "prompt_id", prompts, "messages", "messages", e) &&
                                              join(*out, "prompt_id", prompts, "answer", "answer", e)));
}

bool trace_samples(const StageData *grade, const char *label, int64_t n, json_t **out, Error *e) {
    *out = collect_from(grade, "graded.jsonl.zst", has_label, (void *)label, n, e);
    return *out != NULL;
}

// One rewrite of each strategy in turn would need them all; neighbours in the file are of different strategies already.
static bool any_record(void *context, const json_t *record) { return true; }

bool rewrite_samples(const StageData *rephrase, int64_t n, json_t **out, Error *e) {
    *out = collect_from(rephrase, "synthetic.jsonl.zst", any_record, NULL, n, e);
    const json_t *documents = stage_config(rephrase, "documents");
    for (size_t i = 0; *out && i < json_array_size(documents); i++) {
        const char *path = json_string_value(json_array_get(documents, i));
        if (path && file_exists(path) && !join(*out, "parent", path, "text", "original", e)) return false;
    }
    return *out != NULL;
}

// ---- ternary codes ----

// "blk.3.attn_q.weight" -> layer "3"; what belongs to no layer stands in a group of its own.
static char *layer_of(const char *name) {
    if (strncmp(name, "blk.", 4)) return xstrdup("");
    return xstrndup(name + 4, strspn(name + 4, "0123456789"));
}

static bool add_codes(const char *path, Stack **out, size_t *n, Error *e) {
    Gguf *g = gguf_open(path, e);
    if (!g) return false;
    for (int64_t i = 0; i < gguf_count(g); i++) {
        const TensorView *t = gguf_at(g, i);
        Stack stack = {0};
        if (!ternary_fractions(t, stack.share)) continue;
        stack.name = xstrdup(t->name), stack.group = layer_of(t->name);
        *out = xrealloc(*out, (*n + 1) * sizeof **out);
        (*out)[(*n)++] = stack;
    }
    gguf_close(g);
    return true;
}

bool code_stacks(const StageData *stage, Stack **out, size_t *n, Error *e) {
    const json_t *outputs = json_object_get(stage->run, "outputs");
    *out = NULL, *n = 0;
    for (size_t i = 0; i < json_array_size(outputs); i++) {
        const char *name = json_string_value(json_object_get(json_array_get(outputs, i), "path"));
        const char *dot = name ? strrchr(name, '.') : NULL;
        if (!dot || strcmp(dot, ".gguf")) continue;
        char *path = path_join(stage->folder, name);
        bool ok = add_codes(path, out, n, e);
        free(path);
        if (ok) continue;
        stacks_free(*out, *n);
        return false;
    }
    return true;
}

void stacks_free(Stack *stacks, size_t n) {
    for (size_t i = 0; i < n; i++) free((char *)stacks[i].name), free((char *)stacks[i].group);
    free(stacks);
}
