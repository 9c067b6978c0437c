// safetensors: reading (one file, or a folder with model.safetensors / model.safetensors.index.json) and writing.
// Format: u64 little-endian header length, JSON header {"name":{"dtype","shape","data_offsets"}}, data. Everything in
// the header is checked before use: length bounds, offsets inside the file, no overlap and no holes, shape x dtype =
// bytes, <= 2^20 tensors.
#pragma once
#include "core/base/json.h"
#include "core/data/dtype.h"

#define TENSOR_MAX_DIMS 8
typedef struct TensorView {
    const char *name;
    DType dtype;
    int n_dims;
    int64_t shape[TENSOR_MAX_DIMS]; // row-major; shape[n_dims-1] is contiguous
    int64_t n_elements;
    const void *data; // into the mapping
    size_t bytes;
} TensorView;

typedef struct Safetensors Safetensors;
Safetensors *safetensors_open(const char *path, Error *e); // file or folder
const TensorView *safetensors_find(const Safetensors *s, const char *name);
int64_t safetensors_count(const Safetensors *s);
const TensorView *safetensors_at(const Safetensors *s, int64_t index); // sorted by name
const char *safetensors_metadata(const Safetensors *s, const char *key); // __metadata__, or NULL
void safetensors_close(Safetensors *s);

// Writes tensors in the given order (data in the view), atomically. metadata: flat object of strings or NULL.
bool safetensors_write(const char *path, const TensorView *tensors, int64_t n, const json_t *metadata, Error *e);
