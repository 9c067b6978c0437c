// safetensors_write: owns the writing side of safetensors.h. Must not know: what a tensor is for.
#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/data/safetensors.h"

static bool check_tensor(const TensorView *t, Error *e) {
    const DTypeRow *row = &dtype_rows[t->dtype];
    if (row->safetensors == NULL)
        return fail(e, EXIT_DATA, "%s: dtype %s does not exist in safetensors", t->name, row->name);
    int64_t n = 1;
    bool overflow = t->n_dims < 0 || t->n_dims > TENSOR_MAX_DIMS;
    for (int i = 0; !overflow && i < t->n_dims; i++)
        overflow = t->shape[i] < 0 || __builtin_mul_overflow(n, t->shape[i], &n);
    check(!overflow && n == t->n_elements && dtype_bytes(t->dtype, n) == (int64_t)t->bytes,
          "%s: shape, n_elements and bytes differ", t->name);
    return true;
}

// The JSON object of one tensor that starts at byte `begin` of the data.
static json_t *header_entry(const TensorView *t, int64_t begin) {
    json_t *shape = json_array(), *offsets = json_array(), *entry = json_object();
    for (int i = 0; i < t->n_dims; i++) json_array_append_new(shape, json_integer(t->shape[i]));
    json_array_append_new(offsets, json_integer(begin));
    json_array_append_new(offsets, json_integer(begin + (int64_t)t->bytes));
    json_object_set_new(entry, "dtype", json_string(dtype_rows[t->dtype].safetensors));
    json_object_set_new(entry, "shape", shape);
    json_object_set_new(entry, "data_offsets", offsets);
    return entry;
}

static bool add_entries(json_t *header, const TensorView *tensors, int64_t n, Error *e) {
    int64_t begin = 0;
    for (int64_t i = 0; i < n; i++) {
        if (!check_tensor(&tensors[i], e)) return false;
        if (json_object_get(header, tensors[i].name))
            return fail(e, EXIT_DATA, "%s: two tensors of this name", tensors[i].name);
        if (json_object_set_new(header, tensors[i].name, header_entry(&tensors[i], begin)) != 0)
            return fail(e, EXIT_DATA, "%s: the name is no valid UTF-8", tensors[i].name);
        begin += (int64_t)tensors[i].bytes;
    }
    return true;
}

static bool add_metadata(json_t *header, const json_t *metadata, Error *e) {
    const char *key;
    json_t *value;
    json_object_foreach((json_t *)(uintptr_t)metadata, key, value) {
        if (!json_is_string(value)) return fail(e, EXIT_DATA, "__metadata__: %s: only strings are allowed", key);
    }
    json_object_set_new(header, "__metadata__", json_deep_copy(metadata));
    return true;
}

// Length, JSON, and spaces up to a multiple of 8, so that data that is aligned in memory is aligned in the file.
static bool header_text(const TensorView *tensors, int64_t n, const json_t *metadata, Buf *out, Error *e) {
    json_t *header = json_object();
    bool ok = (metadata == NULL || add_metadata(header, metadata, e)) && add_entries(header, tensors, n, e);
    char *text = ok ? json_dumps(header, JSON_COMPACT) : NULL;
    json_decref(header);
    if (!ok) return false;
    check(text != NULL, "the header cannot be written as JSON");
    uint64_t length = ROUND_UP((uint64_t)strlen(text), 8);
    buf_add(out, &length, 8);
    buf_text(out, text);
    while (out->length < 8 + length) buf_char(out, ' ');
    free(text);
    return true;
}

bool safetensors_write(const char *path, const TensorView *tensors, int64_t n, const json_t *metadata, Error *e) {
    Buf header = {0};
    AtomicFile file;
    if (!header_text(tensors, n, metadata, &header, e)) {
        buf_free(&header);
        return fail_in(e, "%s", path);
    }
    bool ok = atomic_open(&file, path, e);
    if (ok) {
        ok = atomic_write(&file, header.data, header.length, e);
        for (int64_t i = 0; ok && i < n; i++) ok = atomic_write(&file, tensors[i].data, tensors[i].bytes, e);
        if (ok)
            ok = atomic_commit(&file, e);
        else
            atomic_abandon(&file);
    }
    buf_free(&header);
    return ok;
}
