// gguf_write: owns writing GGUF version 3. Must not know: architectures, tokenizers.
// Files satisfy the specification and ggml's narrower loader alike: alignment 32, names up to 63 bytes, tensors without
// holes.
#include "core/data/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"

enum { ALIGNMENT = 32, MAX_NAME = 63, MAX_DIMS = 4 };

struct GgufWriter {
    Buf pairs; // metadata as it stands in the file
    uint64_t n_pairs;
    json_t *keys, *names; // what was set and added so far
    TensorView *tensors;  // names owned
    int64_t n_tensors;
    Error error; // the first thing that went wrong; gguf_write reports it
};

GgufWriter *gguf_create(void) {
    GgufWriter *w = xcalloc(1, sizeof *w);
    w->keys = json_object();
    w->names = json_object();
    return w;
}

void gguf_abandon(GgufWriter *w) {
    if (w == NULL) return;
    for (int64_t i = 0; i < w->n_tensors; i++) free((void *)(uintptr_t)w->tensors[i].name);
    free(w->tensors);
    buf_free(&w->pairs);
    json_decref(w->keys);
    json_decref(w->names);
    free(w);
}

static void put_u32(Buf *b, uint32_t x) { buf_add(b, &x, sizeof x); }
static void put_u64(Buf *b, uint64_t x) { buf_add(b, &x, sizeof x); }

static void put_string(Buf *b, const char *text, size_t length) {
    put_u64(b, length);
    buf_add(b, text, length);
}

// The low `bytes` bytes of an integer that lies in [lo, hi].
static bool put_integer(Buf *b, const json_t *value, int bytes, int64_t lo, int64_t hi, Error *e) {
    if (!json_is_integer(value)) return fail(e, EXIT_FAIL, "expected an integer");
    int64_t x = json_integer_value(value);
    if (x < lo || x > hi)
        return fail(e, EXIT_FAIL, "%lld is not in [%lld, %lld]", (long long)x, (long long)lo, (long long)hi);
    buf_add(b, &x, (size_t)bytes); // little-endian, two's complement
    return true;
}

static bool put_real(Buf *b, const json_t *value, bool is_double, Error *e) {
    if (!json_is_number(value)) return fail(e, EXIT_FAIL, "expected a number");
    double x = json_number_value(value);
    float single = (float)x;
    if (!is_double && !isfinite(single)) return fail(e, EXIT_FAIL, "%g does not fit into float32", x);
    if (is_double)
        buf_add(b, &x, sizeof x);
    else
        buf_add(b, &single, sizeof single);
    return true;
}

static bool put_scalar(Buf *b, GgufType type, const json_t *value, Error *e) {
    switch (type) {
    case GGUF_U8:
        return put_integer(b, value, 1, 0, UINT8_MAX, e);
    case GGUF_I8:
        return put_integer(b, value, 1, INT8_MIN, INT8_MAX, e);
    case GGUF_U16:
        return put_integer(b, value, 2, 0, UINT16_MAX, e);
    case GGUF_I16:
        return put_integer(b, value, 2, INT16_MIN, INT16_MAX, e);
    case GGUF_U32:
        return put_integer(b, value, 4, 0, UINT32_MAX, e);
    case GGUF_I32:
        return put_integer(b, value, 4, INT32_MIN, INT32_MAX, e);
    case GGUF_U64:
        return put_integer(b, value, 8, 0, INT64_MAX, e);
    case GGUF_I64:
        return put_integer(b, value, 8, INT64_MIN, INT64_MAX, e);
    case GGUF_F32:
        return put_real(b, value, false, e);
    case GGUF_F64:
        return put_real(b, value, true, e);
    case GGUF_BOOL:
        if (!json_is_boolean(value)) return fail(e, EXIT_FAIL, "expected true or false");
        buf_char(b, json_is_true(value) ? 1 : 0);
        return true;
    case GGUF_STRING:
        if (!json_is_string(value)) return fail(e, EXIT_FAIL, "expected a string");
        put_string(b, json_string_value(value), json_string_length(value));
        return true;
    default:
        return fail(e, EXIT_FAIL, "value type %d cannot be written", (int)type);
    }
}

static bool put_value(Buf *b, GgufType type, bool array, const json_t *value, Error *e) {
    put_u32(b, (uint32_t)(array ? GGUF_ARRAY : type));
    if (!array) return put_scalar(b, type, value, e);
    if (!json_is_array(value)) return fail(e, EXIT_FAIL, "expected an array");
    put_u32(b, (uint32_t)type);
    put_u64(b, json_array_size(value));
    for (size_t i = 0; i < json_array_size(value); i++)
        if (!put_scalar(b, type, json_array_get(value, i), e)) return fail_in(e, "element %zu", i);
    return true;
}

void gguf_set(GgufWriter *w, const char *key, GgufType type, bool array, json_t *value) {
    if (w->error.code == 0 && json_object_get(w->keys, key) != NULL) fail(&w->error, EXIT_FAIL, "%s: set twice", key);
    if (w->error.code == 0) {
        json_object_set_new(w->keys, key, json_true());
        put_string(&w->pairs, key, strlen(key));
        if (!put_value(&w->pairs, type, array, value, &w->error)) fail_in(&w->error, "%s", key);
        w->n_pairs++;
    }
    json_decref(value);
}

void gguf_add_tensor(GgufWriter *w, const TensorView *t) {
    const DTypeRow *row = &dtype_rows[t->dtype];
    Error *e = &w->error;
    if (e->code != 0) return;
    if (strlen(t->name) > MAX_NAME)
        fail(e, EXIT_FAIL, "%s: the name is longer than %d bytes", t->name, MAX_NAME);
    else if (json_object_get(w->names, t->name) != NULL)
        fail(e, EXIT_FAIL, "%s: added twice", t->name);
    else if (row->ggml < 0)
        fail(e, EXIT_FAIL, "%s: dtype %s does not exist in GGUF", t->name, row->name);
    else if (t->n_dims < 1 || t->n_dims > MAX_DIMS)
        fail(e, EXIT_FAIL, "%s: %d dimensions", t->name, t->n_dims);
    else if (t->shape[t->n_dims - 1] % row->block != 0)
        fail(e, EXIT_FAIL, "%s: rows of %lld elements are no multiple of %d, the block of %s", t->name,
             (long long)t->shape[t->n_dims - 1], row->block, row->name);
    if (e->code != 0) return;
    check(dtype_bytes(t->dtype, t->n_elements) == (int64_t)t->bytes, "%s: n_elements and bytes differ", t->name);
    json_object_set_new(w->names, t->name, json_true());
    w->tensors = xrealloc(w->tensors, (size_t)(w->n_tensors + 1) * sizeof *w->tensors);
    w->tensors[w->n_tensors] = *t;
    w->tensors[w->n_tensors++].name = xstrdup(t->name);
}

static void put_padding(Buf *b) {
    while (b->length % ALIGNMENT != 0) buf_char(b, 0);
}

static void put_header(const GgufWriter *w, Buf *b) {
    buf_add(b, "GGUF", 4);
    put_u32(b, 3);
    put_u64(b, (uint64_t)w->n_tensors);
    put_u64(b, w->n_pairs);
    buf_add(b, w->pairs.data, w->pairs.length);
    uint64_t offset = 0;
    for (int64_t i = 0; i < w->n_tensors; i++) {
        const TensorView *t = &w->tensors[i];
        put_string(b, t->name, strlen(t->name));
        put_u32(b, (uint32_t)t->n_dims);
        for (int d = t->n_dims - 1; d >= 0; d--) put_u64(b, (uint64_t)t->shape[d]);
        put_u32(b, (uint32_t)dtype_rows[t->dtype].ggml);
        put_u64(b, offset);
        offset = ROUND_UP(offset + t->bytes, ALIGNMENT);
    }
    put_padding(b);
}

static bool write_file(const GgufWriter *w, const char *path, const Buf *header, Error *e) {
    static const uint8_t zeros[ALIGNMENT];
    AtomicFile file;
    if (!atomic_open(&file, path, e)) return false;
    bool ok = atomic_write(&file, header->data, header->length, e);
    for (int64_t i = 0; ok && i < w->n_tensors; i++) {
        const TensorView *t = &w->tensors[i];
        ok = atomic_write(&file, t->data, t->bytes, e) &&
             atomic_write(&file, zeros, ROUND_UP(t->bytes, ALIGNMENT) - t->bytes, e);
    }
    if (ok) return atomic_commit(&file, e);
    atomic_abandon(&file);
    return false;
}

bool gguf_write(GgufWriter *w, const char *path, Error *e) {
    Buf header = {0};
    bool ok = w->error.code == 0 || fail(e, w->error.code, "%s: %s", path, w->error.text);
    if (ok) {
        put_header(w, &header);
        ok = write_file(w, path, &header, e);
    }
    buf_free(&header);
    gguf_abandon(w);
    return ok;
}
