// export_hf: owns the packed Hugging Face folder of a ternary model. Source: transformers integrations/bitnet.py.
// Two conventions of weight_scale exist there, and a reader that guesses is wrong by a factor of scale squared.
// config.json says which one holds: "autobitlinear" in offline mode computes (x W + bias) * weight_scale, which is
// right for models without biases only and written for them; "bitlinear" computes x W / weight_scale + bias and is
// written for models with biases. Everything that is not packed is float32: transformers keeps stored types, and a
// float16 head would meet float32 activations.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/safetensors.h"
#include "quant/quant.h"

void hf_pack(uint8_t *packed, const float *effective, int64_t rows, int64_t cols) {
    int64_t quarter = rows / 4;
    memset(packed, 0, (size_t)(quarter * cols));
    for (int64_t r = 0; r < rows; r++) {
        uint8_t *to = packed + r % quarter * cols;
        int shift = (int)(2 * (r / quarter));
        for (int64_t j = 0; j < cols; j++) {
            float x = effective[r * cols + j];
            to[j] |= (uint8_t)((1 + (x > 0) - (x < 0)) << shift);
        }
    }
}

typedef struct Folder {
    TensorView *views;
    int64_t n;
    uint8_t **data;     // [n_weights]
    char (*names)[112]; // of the scales, [n_weights]
    float *scales;      // weight_scale, [n_weights]
} Folder;

static void add_view(Folder *f, const char *name, DType dtype, int64_t rows, int64_t cols, const void *data) {
    TensorView *t = &f->views[f->n++];
    *t = (TensorView){
        .name = name, .dtype = dtype, .n_dims = rows ? 2 : 1, .n_elements = (rows ? rows : 1) * cols, .data = data};
    t->shape[0] = rows ? rows : cols;
    t->shape[1] = rows ? cols : 0;
    t->bytes = (size_t)dtype_bytes(dtype, t->n_elements);
}

static bool scale_divides(const ModelConfig *c) { return c->attention_bias; }

static bool add_linear(Folder *f, const Model *m, int i, Error *e) {
    const Weight *w = &m->weights[i];
    if (w->rows % 4 != 0)
        return fail(e, EXIT_DATA, "hf: %s: its %lld output features are no multiple of 4, which one packed byte holds",
                    w->name, (long long)w->rows);
    f->data[i] = xmalloc((size_t)(w->n / 4));
    hf_pack(f->data[i], m->effective + w->offset, w->rows, w->cols);
    snprintf(f->names[i], sizeof f->names[i], "%s_scale", w->name);
    add_view(f, w->name, DTYPE_U8, w->rows / 4, w->cols, f->data[i]);
    f->scales[i] = scale_divides(&m->config) ? 1 / m->scales[i] : m->scales[i];
    add_view(f, f->names[i], DTYPE_F32, 0, 1, &f->scales[i]);
    return true;
}

static bool write_weights(const Model *m, const char *folder, Error *e) {
    size_t n = (size_t)m->n_weights;
    Folder f = {.views = xcalloc(2 * n, sizeof *f.views),
                .data = xcalloc(n, sizeof *f.data),
                .names = xcalloc(n, sizeof *f.names),
                .scales = xcalloc(n, sizeof *f.scales)};
    bool ok = true;
    for (int i = 0; ok && i < m->n_weights; i++) {
        const Weight *w = &m->weights[i];
        if (w->linear)
            ok = add_linear(&f, m, i, e);
        else
            add_view(&f, w->name, DTYPE_F32, w->rows, w->cols, m->effective + w->offset);
    }
    char *path = path_join(folder, "model.safetensors");
    json_t *metadata = json_pack("{s:s}", "format", "pt"); // what transformers looks for
    ok = ok && safetensors_write(path, f.views, f.n, metadata, e);
    json_decref(metadata);
    for (size_t i = 0; i < n; i++) free(f.data[i]);
    free(f.views), free(f.data), free(f.names), free(f.scales), free(path);
    return ok;
}

bool export_hf(const Model *m, const char *tokenizer, const char *folder, Error *e) {
    if (!make_folders(folder, e) || !write_weights(m, folder, e)) return false;
    json_t *config = model_config_to_json(&m->config);
    json_object_set_new(config, "torch_dtype", json_string("float32"));
    json_object_set_new(config, "quantization_config",
                        json_pack("{s:s, s:s, s:s, s:[s]}", "quant_method", "bitnet", "linear_class",
                                  scale_divides(&m->config) ? "bitlinear" : "autobitlinear", "quantization_mode",
                                  "offline", "modules_to_not_convert", "lm_head"));
    return model_save_around(m, folder, config, tokenizer, e);
}
