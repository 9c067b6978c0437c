// gguf: GGUF version 3, reading and writing. Bounds-checked, linear time, keys and tensor names looked up by hash.
// Source of the format: ggml docs/gguf.md. Tensor shapes are row-major as everywhere here (GGUF's ne[] reversed).
#pragma once
#include "core/data/safetensors.h" // TensorView

typedef struct Gguf Gguf;
Gguf *gguf_open(const char *path, Error *e);
// Metadata as JSON (arrays as JSON arrays; integers, reals, booleans, strings keep their kind). NULL: absent.
const json_t *gguf_get(const Gguf *g, const char *key);
const json_t *gguf_metadata(const Gguf *g); // all of it, an object in file order
const TensorView *gguf_find(const Gguf *g, const char *name);
int64_t gguf_count(const Gguf *g);
const TensorView *gguf_at(const Gguf *g, int64_t index);
void gguf_close(Gguf *g);

// A metadata value with the type GGUF stores it in; the numbers are those of the file.
typedef enum GgufType {
    GGUF_U8, GGUF_I8, GGUF_U16, GGUF_I16, GGUF_U32, GGUF_I32, GGUF_F32, // numbered as in the file
    GGUF_BOOL, GGUF_STRING, GGUF_ARRAY, GGUF_U64, GGUF_I64, GGUF_F64
} GgufType;
typedef struct GgufWriter GgufWriter;
GgufWriter *gguf_create(void);
// value: JSON scalar, or JSON array with element type `type` when array = true. Reference taken. Order is kept.
void gguf_set(GgufWriter *w, const char *key, GgufType type, bool array, json_t *value);
void gguf_add_tensor(GgufWriter *w, const TensorView *t); // data must live until gguf_write
// Atomic; alignment 32; frees the writer. A value that did not fit its type, a key or name given twice: reported here.
bool gguf_write(GgufWriter *w, const char *path, Error *e);
void gguf_abandon(GgufWriter *w); // frees a writer that will not be written
