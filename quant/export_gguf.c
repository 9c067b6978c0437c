// export_gguf: owns what a GGUF of a ternary model holds: metadata, names, types, order of rows. Must not know: GGUF's
// bytes. Sources: gguf-py constants, llama.cpp src/llama-arch and conversion scripts. The linears are packed from code
// x scale, never from latent weights: the runtime's own quantiser takes the largest magnitude of a block as its scale
// and would zero most of them.
#include <stdlib.h>
#include <string.h>

#include "core/data/tokenizer.h"
#include "core/model/load_gguf.h"
#include "quant/quant.h"

enum { FILE_TYPE_TQ2_0 = 37, QUANTIZATION_VERSION = 2 };

// What an architecture of llama.cpp computes otherwise than the model would be a silent change.
static bool check_arch(const ModelConfig *c, Error *e) {
    if (gguf_arch_name(c) == NULL)
        return fail(
            e, EXIT_DATA,
            "no GGUF architecture has this model's activation: hidden_act relu2 exists with model_type bitnet only");
    if ((double)(float)c->rope_theta != c->rope_theta)
        return fail(e, EXIT_DATA, "rope_theta: %.17g is no float32 value, which is what GGUF stores", c->rope_theta);
    if (c->arch != ARCH_BITNET) return true;
    if (!c->tie_word_embeddings)
        return fail(
            e, EXIT_DATA,
            "model_type bitnet without tie_word_embeddings: GGUF's bitnet always uses the embeddings as its head");
    if (c->head_dim * c->num_attention_heads != c->hidden_size)
        return fail(e, EXIT_DATA,
                    "model_type bitnet: GGUF's bitnet needs head_dim = hidden_size / num_attention_heads");
    return true;
}

typedef struct Meta {
    GgufWriter *w;
    const char *arch;
} Meta;

static void set_arch(const Meta *meta, const char *key, GgufType type, json_t *value) {
    char *full = xasprintf("%s.%s", meta->arch, key);
    gguf_set(meta->w, full, type, false, value);
    free(full);
}

static void put_model(GgufWriter *w, const ModelConfig *c, const char *name) {
    Meta meta = {.w = w, .arch = gguf_arch_name(c)};
    gguf_set(w, "general.architecture", GGUF_STRING, false, json_string(meta.arch));
    gguf_set(w, "general.name", GGUF_STRING, false, json_string(name));
    gguf_set(w, "general.file_type", GGUF_U32, false, json_integer(FILE_TYPE_TQ2_0));
    gguf_set(w, "general.quantization_version", GGUF_U32, false, json_integer(QUANTIZATION_VERSION));
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {{"vocab_size", c->vocab_size},
                 {"context_length", c->max_position_embeddings},
                 {"embedding_length", c->hidden_size},
                 {"block_count", c->num_hidden_layers},
                 {"feed_forward_length", c->intermediate_size},
                 {"attention.head_count", c->num_attention_heads},
                 {"attention.head_count_kv", c->num_key_value_heads},
                 {"rope.dimension_count", c->head_dim},
                 {"attention.key_length", c->head_dim},
                 {"attention.value_length", c->head_dim}};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) set_arch(&meta, sizes[i].key, GGUF_U32, json_integer(sizes[i].value));
    set_arch(&meta, "attention.layer_norm_rms_epsilon", GGUF_F32, json_real(c->rms_norm_eps));
    set_arch(&meta, "rope.freq_base", GGUF_F32, json_real(c->rope_theta));
}

// ---- tokenizer ----

// The chat template: a member of tokenizer_config.json, or a file of its own; a model may have none.
static bool put_template(GgufWriter *w, const char *folder, Error *e) {
    char *config_path = path_join(folder, "tokenizer_config.json"), *path = path_join(folder, "chat_template.jinja");
    json_t *config = json_read_file(config_path, e), *text = json_incref(json_object_get(config, "chat_template"));
    bool ok = config != NULL;
    if (ok && text == NULL && file_exists(path)) {
        Buf b = {0};
        ok = file_read(path, 4 << 20, &b, e);
        if (ok && (text = json_stringn(b.data, b.length)) == NULL) ok = fail(e, EXIT_DATA, "%s: not valid UTF-8", path);
        buf_free(&b);
    }
    if (ok && text != NULL && !json_is_string(text))
        ok = fail(e, EXIT_DATA, "%s: chat_template: expected one text; several templates are not supported",
                  config_path);
    if (ok && text != NULL) gguf_set(w, "tokenizer.chat_template", GGUF_STRING, false, json_incref(text));
    json_decref(text);
    json_decref(config);
    free(config_path);
    free(path);
    return ok;
}

static bool put_tokenizer(GgufWriter *w, const ModelConfig *c, const char *folder, Error *e) {
    Tokenizer *t = tokenizer_load(folder, e);
    if (t == NULL) return false;
    bool ok =
        tokenizer_vocab_size(t) <= c->vocab_size ||
        fail(e, EXIT_DATA, "%s: the tokenizer has %lld ids, the model only %lld rows; they do not belong together",
             folder, (long long)tokenizer_vocab_size(t), (long long)c->vocab_size);
    ok = ok && tokenizer_to_gguf(t, w, folder, e) && put_template(w, folder, e);
    tokenizer_free(t);
    return ok;
}

// ---- tensors ----

static DType type_of(const Weight *w, DType head) { return w->linear ? DTYPE_TQ2_0 : w->rows ? head : DTYPE_F32; }

static bool check_width(const Weight *w, DType type, Error *e) {
    int block = dtype_rows[type].block;
    return w->cols % block == 0 ||
           fail(e, EXIT_DATA, "%s: its %lld input features are no multiple of %d, the block of %s; %s", w->name,
                (long long)w->cols, block, dtype_rows[type].name,
                w->linear ? "this model fits the hf format only" : "use head_type F16 or F32");
}

// One weight as it stands in the file; the bytes go to data.
static bool pack_weight(const Model *m, const Weight *w, DType type, uint8_t *data, Error *e) {
    const float *from = m->effective + w->offset;
    int64_t heads = gguf_permuted_heads(&m->config, w);
    size_t row_bytes = (size_t)dtype_bytes(type, w->cols);
    if (heads == 0) return dtype_from_f32(type, from, w->n, data, e) || fail_in(e, "%s", w->name);
    uint8_t *plain = xmalloc(row_bytes * (size_t)w->rows);
    bool ok = dtype_from_f32(type, from, w->n, plain, e) || fail_in(e, "%s", w->name);
    if (ok) gguf_permute_rows(data, plain, heads, m->config.head_dim, row_bytes, true);
    free(plain);
    return ok;
}

static bool put_tensors(GgufWriter *w, const Model *m, DType head, uint8_t **data, Error *e) {
    for (int i = 0; i < m->n_weights; i++) {
        const Weight *weight = &m->weights[i];
        DType type = type_of(weight, head);
        if (!check_width(weight, type, e)) return false;
        TensorView t = {.name = weight->gguf_name,
                        .dtype = type,
                        .n_dims = weight->rows ? 2 : 1,
                        .n_elements = weight->n,
                        .bytes = (size_t)dtype_bytes(type, weight->n)};
        t.shape[0] = weight->rows ? weight->rows : weight->cols;
        t.shape[1] = weight->rows ? weight->cols : 0;
        t.data = data[i] = xmalloc(t.bytes);
        if (!pack_weight(m, weight, type, data[i], e)) return false;
        gguf_add_tensor(w, &t);
    }
    return true;
}

// The file must read back as this very config: what a reader of ours refuses is not handed out.
static bool read_back(const ModelConfig *c, const char *path, Error *e) {
    ModelConfig back;
    Gguf *g = gguf_open(path, e);
    bool ok = g != NULL && model_config_from_gguf(g, path, &back, e);
    gguf_close(g);
    if (!ok) return false;
    return (back.arch == c->arch && back.act == c->act && back.ternary &&
            back.tie_word_embeddings == c->tie_word_embeddings && back.rope_theta == c->rope_theta &&
            (float)back.rms_norm_eps == (float)c->rms_norm_eps && back.head_dim == c->head_dim) ||
           fail(e, EXIT_FAIL, "%s: does not read back as the model that was written", path);
}

bool export_gguf(const Model *m, DType head, const char *name, const char *tokenizer, const char *path, Error *e) {
    if (!check_arch(&m->config, e)) return fail_in(e, "gguf");
    GgufWriter *w = gguf_create();
    uint8_t **data = xcalloc((size_t)m->n_weights, sizeof *data);
    put_model(w, &m->config, name);
    bool ok = (put_tensors(w, m, head, data, e) || fail_in(e, "gguf")) && put_tokenizer(w, &m->config, tokenizer, e);
    if (ok)
        ok = gguf_write(w, path, e) && read_back(&m->config, path, e);
    else
        gguf_abandon(w);
    for (int i = 0; i < m->n_weights; i++) free(data[i]);
    free(data);
    return ok;
}
