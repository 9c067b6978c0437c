// gguf: owns reading GGUF version 3. Must not know: architectures, tokenizers.
// Format: ggml docs/gguf.md. No count, length or offset is used before it is checked against the bytes that remain,
// every check is written so that it cannot overflow, and everything is linear in the size of the file. Where
// specification and ggml differ: nested arrays are read up to depth 4 (ggml refuses), names have at most 63 bytes
// (ggml), offsets must follow each other without holes (ggml), alignment may be any power of two up to 64 KiB (ggml), a
// bool is 0 or 1 (specification).
#include "core/data/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/data/names.h"

enum {
    MAX_KEY = 65535,
    MAX_STRING = 4 << 20, // chat templates are the longest
    MAX_DEPTH = 4,
    MAX_NAME = 63,
    MAX_DIMS = 4,
    MAX_ALIGNMENT = 1 << 16,
    MIN_KV_BYTES = 8 + 1 + 4 + 1,             // key length, key, type, value
    MIN_TENSOR_BYTES = 8 + 1 + 4 + 0 + 4 + 8, // name length, name, n_dims, ne[], type, offset
};

struct Gguf {
    Mapping map;
    json_t *metadata; // key -> value, in file order
    json_t *index;    // tensor name -> position in tensors: the hash table of names
    TensorView *tensors;
    int64_t n_tensors;
};

typedef struct Cursor {
    const uint8_t *data;
    size_t size, at;
} Cursor;

static bool take(Cursor *c, void *out, size_t bytes, Error *e) {
    if (c->size - c->at < bytes) {
        memset(out, 0, bytes);
        return fail(e, EXIT_DATA, "byte %zu: the file is cut off; copy or download it again", c->at);
    }
    memcpy(out, c->data + c->at, bytes);
    c->at += bytes;
    return true;
}

// A string inside the mapping, not NUL-terminated.
static bool take_string(Cursor *c, size_t max, const char **text, size_t *length, Error *e) {
    uint64_t n;
    size_t at = c->at;
    if (!take(c, &n, 8, e)) return false;
    if (n > c->size - c->at)
        return fail(e, EXIT_DATA,
                    "byte %zu: a string of %llu bytes does not fit into the rest of the file: cut off or damaged", at,
                    (unsigned long long)n);
    if (n > max)
        return fail(e, EXIT_DATA, "byte %zu: a string of %llu bytes, at most %zu are accepted here", at,
                    (unsigned long long)n, max);
    *text = (const char *)c->data + c->at;
    *length = (size_t)n;
    c->at += (size_t)n;
    return true;
}

static json_t *integer_value(uint64_t value, size_t at, Error *e) {
    if (value > INT64_MAX) {
        fail(e, EXIT_DATA, "byte %zu: %llu is above 2^63 - 1", at, (unsigned long long)value);
        return NULL;
    }
    return json_integer((json_int_t)value);
}

static json_t *real_value(double value, size_t at, Error *e) {
    if (!isfinite(value)) {
        fail(e, EXIT_DATA, "byte %zu: not a finite number", at);
        return NULL;
    }
    return json_real(value);
}

static json_t *string_value(Cursor *c, Error *e) {
    const char *text;
    size_t length, at = c->at;
    if (!take_string(c, MAX_STRING, &text, &length, e)) return NULL;
    json_t *value = json_stringn(text, length);
    if (value == NULL) fail(e, EXIT_DATA, "byte %zu: a string that is not valid UTF-8", at);
    return value;
}

#define TAKE_AS(type, make)                                                                                            \
    {                                                                                                                  \
        type v;                                                                                                        \
        return take(c, &v, sizeof v, e) ? (make) : NULL;                                                               \
    }

static json_t *scalar_value(Cursor *c, uint32_t type, Error *e) {
    size_t at = c->at;
    switch (type) {
    case GGUF_U8:
        TAKE_AS(uint8_t, json_integer(v))
    case GGUF_I8:
        TAKE_AS(int8_t, json_integer(v))
    case GGUF_U16:
        TAKE_AS(uint16_t, json_integer(v))
    case GGUF_I16:
        TAKE_AS(int16_t, json_integer(v))
    case GGUF_U32:
        TAKE_AS(uint32_t, json_integer(v))
    case GGUF_I32:
        TAKE_AS(int32_t, json_integer(v))
    case GGUF_I64:
        TAKE_AS(int64_t, json_integer(v))
    case GGUF_U64:
        TAKE_AS(uint64_t, integer_value(v, at, e))
    case GGUF_F32:
        TAKE_AS(float, real_value(v, at, e))
    case GGUF_F64:
        TAKE_AS(double, real_value(v, at, e))
    case GGUF_STRING:
        return string_value(c, e);
    case GGUF_BOOL: {
        uint8_t v;
        if (!take(c, &v, 1, e)) return NULL;
        if (v <= 1) return json_boolean(v);
        fail(e, EXIT_DATA, "byte %zu: a bool is 0 or 1, not %d", at, v);
        return NULL;
    }
    default:
        fail(e, EXIT_DATA, "byte %zu: unknown value type %u", at, type);
        return NULL;
    }
}

// Least bytes of one element, 0 for a type that does not exist: bounds a count before anything is made from it.
static size_t least_bytes(uint32_t type) {
    static const uint8_t bytes[] = {
        [GGUF_U8] = 1,  [GGUF_I8] = 1,  [GGUF_U16] = 2,  [GGUF_I16] = 2,    [GGUF_U32] = 4,
        [GGUF_I32] = 4, [GGUF_F32] = 4, [GGUF_BOOL] = 1, [GGUF_STRING] = 8, [GGUF_ARRAY] = 12,
        [GGUF_U64] = 8, [GGUF_I64] = 8, [GGUF_F64] = 8};
    return type < sizeof bytes ? bytes[type] : 0;
}

static json_t *any_value(Cursor *c, uint32_t type, int depth, Error *e);

static json_t *array_value(Cursor *c, int depth, Error *e) {
    uint32_t type;
    uint64_t count;
    size_t at = c->at;
    if (!take(c, &type, 4, e) || !take(c, &count, 8, e)) return NULL;
    if (least_bytes(type) == 0) {
        fail(e, EXIT_DATA, "byte %zu: an array of unknown value type %u", at, type);
        return NULL;
    }
    if (depth >= MAX_DEPTH) {
        fail(e, EXIT_DATA, "byte %zu: arrays nested deeper than %d", at, MAX_DEPTH);
        return NULL;
    }
    if (count > (c->size - c->at) / least_bytes(type)) {
        fail(e, EXIT_DATA,
             "byte %zu: an array of %llu elements does not fit into the rest of the file: cut off or damaged", at,
             (unsigned long long)count);
        return NULL;
    }
    json_t *array = json_array();
    for (uint64_t i = 0; i < count; i++) {
        json_t *item = any_value(c, type, depth + 1, e);
        if (item == NULL) {
            json_decref(array);
            return NULL;
        }
        json_array_append_new(array, item);
    }
    return array;
}

static json_t *any_value(Cursor *c, uint32_t type, int depth, Error *e) {
    return type == GGUF_ARRAY ? array_value(c, depth, e) : scalar_value(c, type, e);
}

static bool read_pair(Gguf *g, Cursor *c, Error *e) {
    const char *text;
    size_t length, at = c->at;
    uint32_t type;
    if (!take_string(c, MAX_KEY, &text, &length, e)) return false;
    if (!name_is_printable(text, length))
        return fail(e, EXIT_DATA, "byte %zu: a key that is empty or holds control characters", at);
    char shown[NAME_SHOWN], *key = xstrndup(text, length);
    name_shown(text, length, shown);
    bool ok = json_object_get(g->metadata, key) == NULL || fail(e, EXIT_DATA, "%s: this key comes twice", shown);
    json_t *value = NULL;
    if (ok) {
        ok = take(c, &type, 4, e) && (value = any_value(c, type, 0, e)) != NULL;
        if (!ok) fail_in(e, "%s", shown);
    }
    if (ok && json_object_set_new(g->metadata, key, value) != 0)
        ok = fail(e, EXIT_DATA, "byte %zu: a key that is not valid UTF-8", at);
    free(key);
    return ok;
}

static bool read_shape(Cursor *c, TensorView *t, Error *e) {
    uint32_t n_dims;
    if (!take(c, &n_dims, 4, e)) return false;
    if (n_dims > MAX_DIMS) return fail(e, EXIT_DATA, "%u dimensions, at most %d are possible", n_dims, MAX_DIMS);
    t->n_dims = (int)n_dims;
    t->n_elements = 1;
    for (int i = t->n_dims - 1; i >= 0; i--) { // ne[0] is the row length: our last dimension
        uint64_t size;
        if (!take(c, &size, 8, e)) return false;
        if (size > INT64_MAX || __builtin_mul_overflow(t->n_elements, (int64_t)size, &t->n_elements))
            return fail(e, EXIT_DATA, "the number of elements overflows 64 bits");
        t->shape[i] = (int64_t)size;
    }
    return true;
}

static bool read_type(Cursor *c, TensorView *t, Error *e) {
    uint32_t type;
    if (!take(c, &type, 4, e)) return false;
    if (type > INT32_MAX || !dtype_from_ggml((int)type, &t->dtype))
        return fail(e, EXIT_DATA,
                    "ggml type %u is not supported here; convert the file to F32, F16, BF16, Q8_0, TQ1_0 or TQ2_0",
                    type);
    const DTypeRow *row = &dtype_rows[t->dtype];
    int64_t row_length = t->n_dims > 0 ? t->shape[t->n_dims - 1] : 1, bytes;
    if (row_length % row->block != 0)
        return fail(e, EXIT_DATA, "rows of %lld elements are no multiple of %d, the block of %s", (long long)row_length,
                    row->block, row->name);
    if (__builtin_mul_overflow(t->n_elements / row->block, (int64_t)row->bytes, &bytes))
        return fail(e, EXIT_DATA, "the number of bytes overflows 64 bits");
    t->bytes = (size_t)bytes;
    return true;
}

// One tensor's description; its offset is kept in *offset until the start of the data is known.
static bool read_tensor(Gguf *g, Cursor *c, uint64_t *offset, Error *e) {
    const char *text;
    size_t length, at = c->at;
    if (!take_string(c, MAX_NAME, &text, &length, e)) return false;
    if (!name_is_printable(text, length))
        return fail(e, EXIT_DATA, "byte %zu: a tensor name that is empty or holds control characters", at);
    TensorView *t = &g->tensors[g->n_tensors];
    char *name = xstrndup(text, length);
    *t = (TensorView){.name = name};
    g->n_tensors++;
    if (json_object_get(g->index, name) != NULL) return fail(e, EXIT_DATA, "%s: two tensors of this name", name);
    if (json_object_set_new(g->index, name, json_integer(g->n_tensors - 1)) != 0)
        return fail(e, EXIT_DATA, "byte %zu: a tensor name that is not valid UTF-8", at);
    return (read_shape(c, t, e) && read_type(c, t, e) && take(c, offset, 8, e)) || fail_in(e, "%s", name);
}

static bool read_alignment(const Gguf *g, uint64_t *alignment, Error *e) {
    const json_t *value = json_object_get(g->metadata, "general.alignment");
    *alignment = 32;
    if (value == NULL) return true;
    json_int_t a = json_integer_value(value);
    if (!json_is_integer(value) || a < 1 || a > MAX_ALIGNMENT || (a & (a - 1)) != 0)
        return fail(e, EXIT_DATA, "general.alignment: must be a power of two up to %d", MAX_ALIGNMENT);
    *alignment = (uint64_t)a;
    return true;
}

// Places the tensors: each must begin where the one before, padded, ended, and end inside the file.
static bool place_tensors(Gguf *g, const uint64_t *offsets, size_t header_end, Error *e) {
    uint64_t alignment, running = 0;
    if (!read_alignment(g, &alignment, e)) return false;
    uint64_t start = ROUND_UP((uint64_t)header_end, alignment); // cannot wrap: far below 2^63
    for (int64_t i = 0; i < g->n_tensors; i++) {
        TensorView *t = &g->tensors[i];
        if (offsets[i] != running)
            return fail(e, EXIT_DATA, "%s: offset %llu, expected %llu: tensors must follow each other", t->name,
                        (unsigned long long)offsets[i], (unsigned long long)running);
        if (start > g->map.size || running > g->map.size - start || t->bytes > g->map.size - start - running)
            return fail(
                e, EXIT_DATA,
                "%s: needs %zu bytes at offset %llu of the data, which ends earlier: the file is cut off; copy or "
                "download it again",
                t->name, t->bytes, (unsigned long long)running);
        t->data = g->map.data + start + running;
        running = ROUND_UP(running + t->bytes, alignment);
    }
    return true;
}

static bool refuse_split(const Gguf *g, Error *e) {
    json_int_t count = json_integer_value(json_object_get(g->metadata, "split.count"));
    return count <= 1 ||
           fail(e, EXIT_DATA, "split.count: this is one of %lld parts of a model; merge them into one file first",
                (long long)count);
}

static bool read_header(Cursor *c, uint64_t *n_tensors, uint64_t *n_pairs, Error *e) {
    char magic[4];
    uint32_t version;
    if (!take(c, magic, 4, e)) return false;
    if (memcmp(magic, "GGUF", 4) != 0) return fail(e, EXIT_DATA, "does not begin with \"GGUF\": no GGUF file");
    if (!take(c, &version, 4, e)) return false;
    if ((version & 0xffff) == 0 && version != 0)
        return fail(e, EXIT_DATA, "a big-endian GGUF file; only little-endian ones are supported");
    if (version != 3)
        return fail(e, EXIT_DATA, "GGUF version %u; only version 3 is supported, convert the model again", version);
    if (!take(c, n_tensors, 8, e) || !take(c, n_pairs, 8, e)) return false;
    size_t rest = c->size - c->at;
    if (*n_tensors > rest / MIN_TENSOR_BYTES || *n_pairs > rest / MIN_KV_BYTES)
        return fail(e, EXIT_DATA, "%llu tensors and %llu metadata keys do not fit into the file: cut off or damaged",
                    (unsigned long long)*n_tensors, (unsigned long long)*n_pairs);
    return true;
}

static bool read_all(Gguf *g, Error *e) {
    Cursor c = {.data = g->map.data, .size = g->map.size};
    uint64_t n_tensors, n_pairs;
    if (!read_header(&c, &n_tensors, &n_pairs, e)) return false;
    for (uint64_t i = 0; i < n_pairs; i++)
        if (!read_pair(g, &c, e)) return false;
    if (!refuse_split(g, e)) return false;
    g->tensors = xcalloc((size_t)n_tensors + 1, sizeof *g->tensors);
    uint64_t *offsets = xcalloc((size_t)n_tensors + 1, sizeof *offsets);
    bool ok = true;
    for (uint64_t i = 0; ok && i < n_tensors; i++) ok = read_tensor(g, &c, &offsets[i], e);
    ok = ok && place_tensors(g, offsets, c.at, e);
    free(offsets);
    return ok;
}

Gguf *gguf_open(const char *path, Error *e) {
    Gguf *g = xcalloc(1, sizeof *g);
    g->metadata = json_object();
    g->index = json_object();
    if (file_map(path, &g->map, e)) {
        if (read_all(g, e)) return g;
        fail_in(e, "%s", path);
    }
    gguf_close(g);
    return NULL;
}

const json_t *gguf_get(const Gguf *g, const char *key) { return json_object_get(g->metadata, key); }

const json_t *gguf_metadata(const Gguf *g) { return g->metadata; }

const TensorView *gguf_find(const Gguf *g, const char *name) {
    const json_t *position = json_object_get(g->index, name);
    return position ? &g->tensors[json_integer_value(position)] : NULL;
}

int64_t gguf_count(const Gguf *g) { return g->n_tensors; }

const TensorView *gguf_at(const Gguf *g, int64_t index) {
    check(index >= 0 && index < g->n_tensors, "tensor %lld of %lld", (long long)index, (long long)g->n_tensors);
    return &g->tensors[index];
}

void gguf_close(Gguf *g) {
    if (g == NULL) return;
    for (int64_t i = 0; i < g->n_tensors; i++) free((void *)(uintptr_t)g->tensors[i].name);
    file_unmap(&g->map);
    json_decref(g->metadata);
    json_decref(g->index);
    free(g->tensors);
    free(g);
}
