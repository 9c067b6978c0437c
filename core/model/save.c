// Writing a model as a Hugging Face folder that transformers opens as it is. Must not know: checkpoints, optimizers.
#include "core/model/model.h"

#include <stdlib.h>
#include <string.h>

#include "core/data/safetensors.h"

static const char *const tokenizer_files[] = {
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "chat_template.jinja", "vocab.json",
    "merges.txt",     "added_tokens.json",     "tokenizer.model"};

static bool copy_tokenizer(const char *from, const char *to, Error *e) {
    for (size_t i = 0; i < COUNT_OF(tokenizer_files); i++) {
        char *source = path_join(from, tokenizer_files[i]), *target = path_join(to, tokenizer_files[i]);
        Buf bytes = {0};
        bool ok = true;
        if (file_exists(source) && strcmp(source, target))
            ok = file_read(source, 0, &bytes, e) && file_replace(target, bytes.data, bytes.length, e);
        buf_free(&bytes);
        free(source), free(target);
        if (!ok) return false;
    }
    return true;
}

static bool write_generation_config(const ModelConfig *c, const char *folder, Error *e) {
    char *path = path_join(folder, "generation_config.json");
    json_t *o = json_object();
    if (c->bos_token_id >= 0) json_object_set_new(o, "bos_token_id", json_integer(c->bos_token_id));
    if (c->eos_token_id >= 0) json_object_set_new(o, "eos_token_id", json_integer(c->eos_token_id));
    if (c->pad_token_id >= 0) json_object_set_new(o, "pad_token_id", json_integer(c->pad_token_id));
    bool ok = json_write_file(path, o, e);
    json_decref(o);
    free(path);
    return ok;
}

bool model_save_around(const Model *m, const char *folder, json_t *config, const char *tokenizer_folder, Error *e) {
    char *path = path_join(folder, "config.json");
    bool ok = json_write_file(path, config, e) && write_generation_config(&m->config, folder, e) &&
              (!tokenizer_folder || copy_tokenizer(tokenizer_folder, folder, e));
    json_decref(config);
    free(path);
    return ok;
}

static bool write_weights(const Model *m, const char *folder, DType dtype, Error *e) {
    TensorView *views = xcalloc((size_t)m->n_weights, sizeof *views);
    char *data = xmalloc((size_t)dtype_bytes(dtype, m->n_params));
    bool ok = true;
    for (int i = 0; ok && i < m->n_weights; i++) {
        const Weight *w = &m->weights[i];
        void *to = data + dtype_bytes(dtype, w->offset);
        ok = dtype_from_f32(dtype, m->params + w->offset, w->n, to, e);
        views[i] = (TensorView){.name = w->name,
                                .dtype = dtype,
                                .n_dims = w->rows ? 2 : 1,
                                .n_elements = w->n,
                                .data = to,
                                .bytes = (size_t)dtype_bytes(dtype, w->n)};
        views[i].shape[0] = w->rows ? w->rows : w->cols;
        views[i].shape[1] = w->rows ? w->cols : 0;
    }
    char *path = path_join(folder, "model.safetensors");
    json_t *metadata = json_pack("{s:s}", "format", "pt"); // what transformers looks for
    ok = ok && safetensors_write(path, views, m->n_weights, metadata, e);
    json_decref(metadata);
    free(path), free(views), free(data);
    return ok;
}

bool model_save(const Model *m, const char *folder, DType dtype, const char *tokenizer_folder, Error *e) {
    check(!m->frozen, "a packed model has no latent weights to save");
    if (!make_folders(folder, e) || !write_weights(m, folder, dtype, e)) return false;
    json_t *config = model_config_to_json(&m->config);
    json_object_set_new(config, "torch_dtype",
                        json_string(dtype == DTYPE_BF16  ? "bfloat16"
                                    : dtype == DTYPE_F16 ? "float16"
                                                         : "float32"));
    return model_save_around(m, folder, config, tokenizer_folder, e);
}
