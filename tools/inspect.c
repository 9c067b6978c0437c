// inspect: what a file or folder holds, told from its content and not from its name alone. Must not know: how the files
// are made.
#include "tools/tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/chat.h"
#include "core/data/gguf.h"
#include "core/data/record.h"
#include "core/data/shard.h"
#include "core/data/tokenizer.h"
#include "tools/codes.h"
#include "tools/events.h"
#include "tools/show.h"
#include "tools/text.h"

typedef struct InspectConfig {
#define CFG_FILE "tools/inspect.def"
#include "core/base/config_struct.h"
} InspectConfig;

static const ConfigRow inspect_rows[] = {
#define CFG_FILE "tools/inspect.def"
#define CFG_STRUCT InspectConfig
#include "core/base/config_rows.h"
};
const ConfigTable inspect_table = CONFIG_TABLE(inspect_rows, InspectConfig);

void inspect_take_arguments(int *argc, char **argv) {
    int kept = 2;
    json_t *files = json_array();
    for (int i = 2; i < *argc; i++) {
        bool is_file = argv[i][0] != '-' && (file_exists(argv[i]) || is_folder(argv[i]) || !strchr(argv[i], '='));
        json_t *name = is_file && (i == 2 || strcmp(argv[i - 1], "--config")) ? json_string(argv[i]) : NULL;
        if (name)
            json_array_append_new(files, name);
        else
            argv[kept++] = argv[i];
    }
    if (json_array_size(files) > 0) {
        Buf text = {0};
        json_write(&text, files, 0, false);
        argv[kept++] = xasprintf("files=%s", text.data); // lives as long as the process
        buf_free(&text);
    }
    json_decref(files);
    argv[kept] = NULL;
    *argc = kept;
}

// ---- tensors ----

static json_t *shape_of(const TensorView *t) {
    Buf text = {0};
    for (int i = 0; i < t->n_dims; i++) buf_printf(&text, "%s%lld", i ? " x " : "", (long long)t->shape[i]);
    json_t *made = json_string(text.data ? text.data : "scalar");
    buf_free(&text);
    return made;
}

static json_t *tensor_row(const TensorView *t, bool ternary) {
    HexDigest hash = sha256_of(t->data, t->bytes);
    hash.text[16] = 0;
    json_t *row = json_pack("{s:s, s:s, s:o, s:I, s:s}", "tensor", t->name, "dtype", dtype_rows[t->dtype].name, "shape",
                            shape_of(t), "bytes", (json_int_t)t->bytes, "sha256", hash.text);
    double share[3];
    char text[64] = "";
    if (ternary_fractions(t, share))
        snprintf(text, sizeof text, "%.1f / %.1f / %.1f %%", share[0] * 100, share[1] * 100, share[2] * 100);
    if (row && ternary) json_object_set_new(row, "-1 / 0 / +1", json_string(text));
    return row;
}

typedef const TensorView *(*TensorAt)(const void *file, int64_t index);
static const TensorView *gguf_tensor(const void *file, int64_t index) { return gguf_at(file, index); }
static const TensorView *safetensor(const void *file, int64_t index) { return safetensors_at(file, index); }

static void add_tensors(json_t *o, const InspectConfig *c, TensorAt at, const void *file, int64_t n) {
    int64_t elements = 0, bytes = 0;
    bool ternary = false;
    json_t *list = json_array();
    for (int64_t i = 0; i < n; i++) {
        const TensorView *t = at(file, i);
        elements += t->n_elements, bytes += (int64_t)t->bytes;
        ternary |= is_ternary(t->dtype);
    }
    for (int64_t i = 0; i < MIN(n, c->tensors); i++) json_array_append_new(list, tensor_row(at(file, i), ternary));
    json_object_set_new(o, "n_tensors", json_integer(n));
    json_object_set_new(o, "n_elements", json_integer(elements));
    json_object_set_new(o, "tensor_bytes", json_integer(bytes));
    if (n > 0)
        json_object_set_new(o, "bits_per_element", json_real(elements ? (double)bytes * 8 / (double)elements : 0));
    json_object_set_new(o, "tensors", list);
    if (n > c->tensors) json_object_set_new(o, "tensors_not_listed", json_integer(n - c->tensors));
}

static bool add_safetensors(json_t *o, const InspectConfig *c, const char *path, Error *e) {
    Safetensors *s = safetensors_open(path, e);
    if (!s) return false;
    add_tensors(o, c, safetensor, s, safetensors_count(s));
    safetensors_close(s);
    return true;
}

// Long lists (vocabularies) are counted, not printed.
static json_t *short_metadata(const json_t *metadata) {
    json_t *made = json_object(), *value;
    const char *key;
    json_object_foreach((json_t *)metadata, key, value) {
        char text[64];
        snprintf(text, sizeof text, "(list of %zu)", json_array_size(value));
        bool is_long = json_is_array(value) && json_array_size(value) > 8;
        json_object_set_new(made, key, is_long ? json_string(text) : json_incref(value));
    }
    return made;
}

static bool add_gguf(json_t *o, const InspectConfig *c, const char *path, Error *e) {
    Gguf *g = gguf_open(path, e);
    if (!g) return false;
    json_object_set_new(o, "metadata", short_metadata(gguf_metadata(g)));
    add_tensors(o, c, gguf_tensor, g, gguf_count(g));
    gguf_close(g);
    return true;
}

// ---- records and events ----

typedef struct First {
    json_t *shown;
    int64_t wanted, n;
} First;

static bool keep_first(void *context, json_t *record, int64_t index, Error *e) {
    First *f = context;
    f->n++;
    if (index < f->wanted) json_array_append(f->shown, record);
    return true;
}

static bool add_records(json_t *o, const InspectConfig *c, const char *path, Error *e) {
    First first = {.shown = json_array(), .wanted = c->records};
    bool ok = record_each(path, keep_first, &first, e);
    json_object_set_new(o, "records", json_integer(first.n));
    json_object_set_new(o, "first", first.shown);
    return ok;
}

typedef struct Tail {
    json_t *kinds, *last;
    int64_t wanted;
} Tail;

static void keep_event(void *context, const char *event, const json_t *fields) {
    Tail *t = context;
    json_object_set_new(t->kinds, event, json_integer(json_integer_value(json_object_get(t->kinds, event)) + 1));
    Buf line = {0};
    json_write(&line, fields, 0, false);
    json_array_append_new(t->last, json_string(line.data));
    buf_free(&line);
    if ((int64_t)json_array_size(t->last) > t->wanted) json_array_remove(t->last, 0);
}

static bool add_events(json_t *o, const InspectConfig *c, const char *path, Error *e) {
    Tail tail = {.kinds = json_object(), .last = json_array(), .wanted = c->events};
    bool ok = events_each(path, keep_event, &tail, e);
    json_object_set_new(o, "events", tail.kinds);
    json_object_set_new(o, "last_events", tail.last);
    return ok;
}

// ---- folders ----

static bool holds(const char *folder, const char *name) {
    char *path = path_join(folder, name);
    bool there = file_exists(path);
    free(path);
    return there;
}

static bool add_json(json_t *o, const char *folder, const char *name, const char *key, Error *e) {
    char *path = path_join(folder, name);
    json_t *value = json_read_file(path, e);
    free(path);
    if (value) json_object_set_new(o, key, value);
    return value != NULL;
}

static bool add_run(json_t *o, const InspectConfig *c, const char *folder, Error *e) {
    bool complete = holds(folder, "COMPLETE");
    char *log = path_join(folder, "log.jsonl");
    json_object_set_new(o, "complete", json_boolean(complete));
    bool ok = add_json(o, folder, complete ? "run.json" : "begun.json", "run", e) && add_events(o, c, log, e);
    free(log);
    return ok;
}

static bool add_model(json_t *o, const InspectConfig *c, const char *folder, Error *e) {
    if (!add_json(o, folder, "config.json", "config", e)) return false;
    if (holds(folder, "tokenizer.json")) {
        Tokenizer *t = tokenizer_load(folder, e);
        ChatTemplate *chat = t ? chat_load(folder, t, NULL) : NULL;
        if (!t) return false;
        json_object_set_new(o, "tokenizer",
                            json_pack("{s:I, s:s, s:s}", "vocab_size", (json_int_t)tokenizer_vocab_size(t), "sha256",
                                      tokenizer_hash(t).text, "chat_template",
                                      chat ? chat_name(chat) : "none that is known"));
        if (chat) chat_free(chat);
        tokenizer_free(t);
    }
    return add_safetensors(o, c, folder, e);
}

static bool add_shard(json_t *o, const char *folder, Error *e) {
    Shard *s = shard_open(folder, true, e);
    if (!s) return false;
    json_object_set(o, "manifest", s->manifest);
    json_object_set_new(o, "hashes", json_string("verified"));
    shard_close(s);
    return true;
}

static json_t *begin(const char *kind, const char *path) {
    json_t *name = json_string(path);
    return json_pack("{s:s, s:o}", "kind", kind, "path", name ? name : json_string("(its name is no UTF-8)"));
}

static json_t *inspect_folder(const InspectConfig *c, const char *path, bool *ok, Error *e) {
    json_t *o = NULL;
    if (holds(path, "begun.json") || holds(path, "run.json"))
        *ok = add_run(o = begin("run folder", path), c, path, e);
    else if (holds(path, "manifest.json"))
        *ok = add_shard(o = begin("token shard", path), path, e);
    else if (holds(path, "config.json"))
        *ok = add_model(o = begin("model folder", path), c, path, e);
    else
        *ok = fail(e, EXIT_DATA, "%s: neither a run folder, a token shard nor a model folder; give the file itself",
                   path);
    return o;
}

// ---- files ----

static bool ends_with(const char *path, const char *end) {
    size_t n = strlen(path), m = strlen(end);
    return n >= m && !strcmp(path + n - m, end);
}

static bool begins_with(const char *path, const void *magic, size_t n) {
    Mapping m;
    if (!file_map(path, &m, NULL)) return false;
    bool same = m.size >= n && !memcmp(m.data, magic, n);
    file_unmap(&m);
    return same;
}

static json_t *begin_file(const char *kind, const char *path) {
    HexDigest hash;
    json_t *o = begin(kind, path);
    json_object_set_new(o, "bytes", json_integer(file_size(path)));
    if (sha256_file(path, &hash, NULL)) json_object_set_new(o, "sha256", json_string(hash.text));
    return o;
}

static json_t *inspect_file(const InspectConfig *c, const char *path, bool *ok, Error *e) {
    json_t *o = NULL;
    if (begins_with(path, "GGUF", 4))
        *ok = add_gguf(o = begin_file("GGUF", path), c, path, e);
    else if (ends_with(path, ".safetensors"))
        *ok = add_safetensors(o = begin_file("safetensors", path), c, path, e);
    else if (!strcmp(path_base(path), "log.jsonl"))
        *ok = add_events(o = begin_file("event log", path), c, path, e);
    else if (ends_with(path, ".jsonl") || begins_with(path, "\x28\xB5\x2F\xFD", 4))
        *ok = add_records(o = begin_file("records", path), c, path, e);
    else if (ends_with(path, ".json")) {
        json_t *value = json_read_file(path, e);
        *ok = value != NULL;
        o = begin_file("JSON", path);
        if (value) json_object_set_new(o, "content", value);
    } else
        *ok = fail(e, EXIT_DATA, "%s: of no known kind (GGUF, .safetensors, .jsonl[.zst], .json, or a folder)", path);
    return o;
}

static bool inspect_one(const InspectConfig *c, const char *path, json_t *all, Error *e) {
    bool ok = false;
    if (!file_exists(path) && !is_folder(path)) return fail(e, EXIT_DATA, "%s: does not exist", path);
    json_t *o = is_folder(path) ? inspect_folder(c, path, &ok, e) : inspect_file(c, path, &ok, e);
    if (ok) json_array_append(all, o);
    json_decref(o);
    return ok;
}

int inspect_command(const void *config, const Options *options, Error *e) {
    const InspectConfig *c = config;
    json_t *all = json_array();
    bool ok = true;
    for (size_t i = 0; ok && i < c->files.count; i++)
        ok = options->dry_run || inspect_one(c, c->files.items[i], all, e);
    Buf text = {0};
    if (options->json)
        json_write(&text, all, 2, false), buf_char(&text, '\n');
    else
        show_json(all, &text);
    if (json_array_size(all) > 0) fwrite(text.data, 1, text.length, stdout);
    buf_free(&text);
    json_decref(all);
    return ok ? EXIT_OK : e->code;
}
