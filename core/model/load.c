// Reading a model: a Hugging Face folder (dense, or packed ternary) or a .gguf. Every tensor is checked by name, dtype
// and shape before a byte is converted; a tensor the model does not know is an error, because ignoring a weight
// silently is how wrong models are made.
#include "core/model/model.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/safetensors.h"
#include "core/model/load_gguf.h"

typedef struct PackedStyle { // quantization_config of a packed folder (transformers integrations/bitnet.py)
    bool offline;            // weights stored as 2-bit codes
    bool scale_divides;      // "bitlinear": y / weight_scale (1/mean|W|); "autobitlinear": y * weight_scale (mean|W|)
} PackedStyle;

static bool read_packed_style(const char *folder, PackedStyle *s, Error *e) {
    char *path = path_join(folder, "config.json");
    json_t *o = json_read_file(path, e);
    const json_t *q = json_object_get(o, "quantization_config");
    const char *class_name = "bitlinear", *mode = "offline"; // transformers' BitNetQuantConfig defaults
    bool ok = o && json_opt_text(q, "linear_class", path, &class_name, e) &&
              json_opt_text(q, "quantization_mode", path, &mode, e);
    if (ok) {
        s->scale_divides = !strcmp(class_name, "bitlinear");
        s->offline = s->scale_divides || !strcmp(mode, "offline");
        if (!s->scale_divides && strcmp(class_name, "autobitlinear"))
            ok = fail(e, EXIT_DATA,
                      "%s: quantization_config.linear_class: \"%s\" is not supported; known: bitlinear, autobitlinear",
                      path, class_name);
    }
    json_decref(o);
    free(path);
    return ok;
}

static bool check_shape(const TensorView *t, const Weight *w, const char *place, Error *e) {
    bool ok = w->rows ? t->n_dims == 2 && t->shape[0] == w->rows && t->shape[1] == w->cols
                      : t->n_dims == 1 && t->shape[0] == w->cols;
    if (ok) return true;
    Buf got = {0};
    for (int i = 0; i < t->n_dims; i++) buf_printf(&got, "%s%lld", i ? ", " : "", (long long)t->shape[i]);
    if (w->rows)
        buf_printf(&got, "], config.json asks for [%lld, %lld]", (long long)w->rows, (long long)w->cols);
    else
        buf_printf(&got, "], config.json asks for [%lld]", (long long)w->cols);
    fail(e, EXIT_DATA, "%s: %s: shape [%s", place, w->name, got.data);
    buf_free(&got);
    return false;
}

// 1 / weight_scale. Scales of this project are float16 values, from which two roundings of the division lead at most
// 2^-22 away.
static float inverse_scale(float weight_scale) {
    float scale = 1 / weight_scale, half = f16_to_f32(f32_to_f16(scale));
    return fabsf(half - scale) <= 0x1p-22f * scale ? half : scale;
}

// HF bitnet packing: uint8 [out/4, in]; output row r = i*(out/4)+k is in byte row k, bits 2i; code+1.
static bool fill_packed(Model *m, const Safetensors *s, const Weight *w, const TensorView *t, bool divides,
                        const char *place, Error *e) {
    if (t->n_dims != 2 || t->shape[0] * 4 != w->rows || t->shape[1] != w->cols)
        return fail(e, EXIT_DATA, "%s: %s: packed shape does not match config.json [%lld/4, %lld]", place, w->name,
                    (long long)w->rows, (long long)w->cols);
    char name[128];
    snprintf(name, sizeof name, "%s_scale", w->name);
    const TensorView *scale_view = safetensors_find(s, name);
    float scale;
    if (!scale_view || scale_view->n_elements != 1 || !dtype_to_f32(scale_view->dtype, scale_view->data, 1, &scale))
        return fail(e, EXIT_DATA, "%s: %s: missing or not a single number; a packed weight needs its scale", place,
                    name);
    if (divides) scale = inverse_scale(scale);
    const uint8_t *bytes = t->data;
    float *p = m->params + w->offset;
    for (int64_t i = 0; i < 4; i++)
        for (int64_t k = 0; k < t->shape[0]; k++)
            for (int64_t j = 0; j < w->cols; j++) {
                int code = bytes[k * w->cols + j] >> (2 * i) & 3;
                if (code == 3)
                    return fail(e, EXIT_DATA, "%s: %s: code 3 at byte [%lld, %lld] is not ternary", place, w->name,
                                (long long)k, (long long)j);
                p[(i * t->shape[0] + k) * w->cols + j] = (float)(code - 1) * scale;
            }
    return true;
}

static bool fill_weight(Model *m, const Safetensors *s, const Weight *w, const PackedStyle *style, const char *place,
                        Error *e) {
    const TensorView *t = safetensors_find(s, w->name);
    if (!t) return fail(e, EXIT_DATA, "%s: tensor %s is missing", place, w->name);
    if (m->config.ternary && w->linear && style->offline && t->dtype == DTYPE_U8) {
        m->frozen = true;
        return fill_packed(m, s, w, t, style->scale_divides, place, e);
    }
    if (!check_shape(t, w, place, e)) return false;
    if (!dtype_to_f32(t->dtype, t->data, t->n_elements, m->params + w->offset))
        return fail(e, EXIT_DATA, "%s: %s: dtype %s is not a floating type this model can hold", place, w->name,
                    dtype_rows[t->dtype].name);
    return true;
}

static bool tolerated(const Model *m, const char *name) {
    size_t n = strlen(name);
    return (m->config.tie_word_embeddings && !strcmp(name, "lm_head.weight")) ||
           (n > 8 && !strcmp(name + n - 8, "inv_freq")) ||
           (m->frozen && n > 13 && !strcmp(name + n - 13, ".weight_scale"));
}

static bool refuse_unknown(const Model *m, const Safetensors *s, const char *place, Error *e) {
    for (int64_t i = 0; i < safetensors_count(s); i++) {
        const char *name = safetensors_at(s, i)->name;
        if (!model_weight(m, name) && !tolerated(m, name))
            return fail(
                e, EXIT_DATA,
                "%s: tensor %s is not part of this architecture; config.json and weights do not belong together", place,
                name);
    }
    return true;
}

static Model *load_folder(const char *folder, Error *e) {
    ModelConfig c;
    PackedStyle style = {0};
    if (!model_config_read(folder, &c, e) || (c.ternary && !read_packed_style(folder, &style, e))) return NULL;
    Safetensors *s = safetensors_open(folder, e);
    if (!s) return NULL;
    Model *m = model_create(&c);
    bool ok = true;
    for (int i = 0; ok && i < m->n_weights; i++) ok = fill_weight(m, s, &m->weights[i], &style, folder, e);
    ok = ok && refuse_unknown(m, s, folder, e);
    safetensors_close(s);
    if (!ok) {
        model_free(m);
        return NULL;
    }
    model_quantize(m);
    return m;
}

static Model *load_gguf(const char *path, Error *e) {
    Gguf *g = gguf_open(path, e);
    if (!g) return NULL;
    ModelConfig c;
    Model *m = NULL;
    if (model_config_from_gguf(g, path, &c, e)) {
        m = model_create(&c);
        if (!model_fill_from_gguf(m, g, path, e)) {
            model_free(m);
            m = NULL;
        }
    }
    gguf_close(g);
    if (m) model_quantize(m);
    return m;
}

Model *model_load(const char *path, Error *e) {
    size_t n = strlen(path);
    if (!file_exists(path)) {
        fail(e, EXIT_DATA, "%s: no such model; give a model folder (config.json, model.safetensors) or a .gguf file",
             path);
        return NULL;
    }
    return n > 5 && !strcmp(path + n - 5, ".gguf") ? load_gguf(path, e) : load_folder(path, e);
}
