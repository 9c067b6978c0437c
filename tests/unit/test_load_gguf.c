// Models out of GGUF files whose metadata and tensors contradict each other: refused with the key or tensor named,
// before a model of the claimed size is made. (Round trips of good files are in test_quant.c.)
#define _GNU_SOURCE // memmem
#include "tests/unit/support_quant.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/load_gguf.h"
#include "quant/quant.h"

typedef struct File {
    char *folder, *path;
    Buf good, bytes; // as exported; under change
} File;

static void make_file(File *f, Arch arch) {
    Error e = {0};
    *f = (File){.folder = temp_folder()};
    f->path = temp_path(f->folder, "m.gguf");
    ModelConfig c = quant_config(arch);
    Model *m = quant_model(&c, f->folder);
    if (!export_gguf(m, DTYPE_F16, "x", f->folder, f->path, &e)) fail_msg("%s", e.text);
    model_free(m);
    get_file(f->path, &f->good);
}

static void free_file(File *f) {
    buf_free(&f->good);
    buf_free(&f->bytes);
    temp_remove(f->folder);
}

static char *find(File *f, const char *name) {
    if (f->bytes.length == 0) buf_add(&f->bytes, f->good.data, f->good.length);
    char *at = memmem(f->bytes.data, f->bytes.length, name, strlen(name));
    assert_non_null(at);
    return at;
}

static void set(File *f, const char *key, const void *value, size_t size) {
    memcpy(find(f, key) + strlen(key) + 4, value, size);
}

static void rename_to(File *f, const char *from, const char *to) {
    assert_int_equal(strlen(from), strlen(to));
    memcpy(find(f, from), to, strlen(to));
}

static void expect(File *f, const char *why) {
    Error e = {0};
    put_file(f->path, f->bytes.data, f->bytes.length);
    buf_clear(&f->bytes);
    Model *m = model_load(f->path, &e);
    if (m != NULL) fail_msg("accepted, but expected: %s", why);
    assert_error(&e, EXIT_DATA, why);
    assert_error(&e, EXIT_DATA, f->path);
}

static void expect_number(File *f, const char *key, uint32_t value, const char *why) {
    set(f, key, &value, sizeof value);
    expect(f, why);
}

static void test_sizes(void **state) {
    File f;
    make_file(&f, ARCH_QWEN3);
    expect_number(&f, "qwen3.block_count", 3, "blk.2: attn_q or ffn_gate is missing");
    expect_number(&f, "qwen3.block_count", 1, "a tensor that this architecture does not have");
    expect_number(&f, "qwen3.block_count", 0, "num_hidden_layers");
    expect_number(&f, "qwen3.block_count", UINT32_MAX, "num_hidden_layers");
    expect_number(&f, "qwen3.embedding_length", 512, "token_embd.weight: its shape does not fit");
    expect_number(&f, "qwen3.embedding_length", 0, "hidden_size");
    expect_number(&f, "qwen3.feed_forward_length", 1 << 24, "blk.0: attn_q or ffn_gate");
    expect_number(&f, "qwen3.attention.head_count", 0, "attention.head_count");
    expect_number(&f, "qwen3.attention.head_count", 8, "blk.0: attn_q");
    expect_number(&f, "qwen3.attention.head_count_kv", 3, "does not divide");
    expect_number(&f, "qwen3.attention.head_count_kv", 1, "blk.0.attn_k.weight: another shape");
    expect_number(&f, "qwen3.attention.key_length", 64, "blk.0: attn_q");
    expect_number(&f, "qwen3.attention.value_length", 64, "attention.value_length: must be 128");
    expect_number(&f, "qwen3.rope.dimension_count", 64, "rope.dimension_count: must be 128");
    expect_number(&f, "qwen3.vocab_size", 299, "vocab_size: must be 300");
    expect_number(&f, "qwen3.context_length", UINT32_MAX, "max_position_embeddings");
    expect_number(&f, "tokenizer.ggml.eos_token_id", 300, "not an id of the vocabulary");
    const float zero = 0;
    set(&f, "qwen3.rope.freq_base", &zero, sizeof zero);
    expect(&f, "rope_theta");
    set(&f, "qwen3.attention.layer_norm_rms_epsilon", &zero, sizeof zero);
    expect(&f, "epsilon must be positive");
    free_file(&f);
}

static void test_names(void **state) {
    File f;
    make_file(&f, ARCH_QWEN3);
    rename_to(&f, "general.architecture", "general.architecturx");
    expect(&f, "general.architecture: missing");
    memcpy(find(&f, "general.architecture") + 20 + 4 + 8, "gemma", 5);
    expect(&f, "\"gemma\" is not supported");
    rename_to(&f, "qwen3.block_count", "qwen3.block_cound");
    expect(&f, "qwen3.block_count: missing");
    rename_to(&f, "qwen3.vocab_size", "qwen3.vocab_sizx"); // an unknown key is none of our business
    put_file(f.path, f.bytes.data, f.bytes.length);
    buf_clear(&f.bytes);
    Error e = {0};
    Model *m = model_load(f.path, &e);
    if (m == NULL) fail_msg("%s", e.text);
    model_free(m);
    rename_to(&f, "blk.1.attn_k.weight", "blk.1.attn_x.weight");
    expect(&f, "blk.1.attn_k.weight: missing");
    rename_to(&f, "blk.1.attn_k_norm.weight", "blk.1.attn_k_nork.weight");
    expect(&f, "blk.1.attn_k_norm.weight: missing");
    rename_to(&f, "token_embd.weight", "token_embx.weight");
    expect(&f, "token_embd.weight: missing");
    free_file(&f);
}

static void test_ternary_blocks(void **state) {
    File f;
    make_file(&f, ARCH_LLAMA);
    Error e = {0};
    Gguf *g = gguf_open(f.path, &e);
    const TensorView *t = gguf_find(g, "blk.0.ffn_down.weight");
    const TensorView *last = gguf_at(g, gguf_count(g) - 1);
    size_t place =
        f.good.length - ((size_t)((const uint8_t *)last->data - (const uint8_t *)t->data) + ROUND_UP(last->bytes, 32));
    gguf_close(g);
    find(&f, "GGUF");
    f.bytes.data[place + 3 * 66 + 64] ^= 1; // the scale of the fourth block
    expect(&f, "blk.0.ffn_down.weight: its blocks have different scales");
    find(&f, "GGUF");
    f.bytes.data[place + 65] = 0x7c; // infinity
    f.bytes.data[place + 64] = 0;
    expect(&f, "blk.0.ffn_down.weight");
    find(&f, "GGUF");
    f.bytes.data[place] = (char)0xff; // code 3
    expect(&f, "blk.0.ffn_down.weight: its blocks have different scales");
    free_file(&f);
}

// A float model in GGUF: no ternary blocks, so that it is no ternary model.
static void test_float_model(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "f.gguf");
    ModelConfig c = quant_config(ARCH_QWEN2), back;
    c.ternary = false;
    Model *m = quant_model(&c, folder);
    GgufWriter *w = gguf_create();
    const struct {
        const char *key;
        int64_t value;
    } sizes[] = {{"qwen2.context_length", 256},      {"qwen2.embedding_length", 256},
                 {"qwen2.block_count", 2},           {"qwen2.feed_forward_length", 512},
                 {"qwen2.attention.head_count", 4},  {"qwen2.attention.head_count_kv", 2},
                 {"qwen2.attention.key_length", 128}};
    gguf_set(w, "general.architecture", GGUF_STRING, false, json_string("qwen2"));
    for (size_t i = 0; i < COUNT_OF(sizes); i++)
        gguf_set(w, sizes[i].key, GGUF_U32, false, json_integer(sizes[i].value));
    gguf_set(w, "qwen2.attention.layer_norm_rms_epsilon", GGUF_F32, false, json_real(1e-6));
    for (int i = 0; i < m->n_weights; i++) {
        const Weight *v = &m->weights[i];
        TensorView t = {.name = v->gguf_name,
                        .dtype = DTYPE_F32,
                        .n_dims = v->rows ? 2 : 1,
                        .n_elements = v->n,
                        .data = m->params + v->offset,
                        .bytes = (size_t)v->n * 4};
        t.shape[0] = v->rows ? v->rows : v->cols;
        t.shape[1] = v->rows ? v->cols : 0;
        gguf_add_tensor(w, &t);
    }
    Error e = {0};
    if (!gguf_write(w, path, &e)) fail_msg("%s", e.text);
    Gguf *g = gguf_open(path, &e);
    assert_true(model_config_from_gguf(g, path, &back, &e));
    assert_true(!back.ternary && back.rope_theta == 1e4 && back.rms_norm_eps == 1e-6 && back.eos_token_id == -1 &&
                back.attention_bias);
    gguf_close(g);
    Model *loaded = model_load(path, &e);
    if (loaded == NULL) fail_msg("%s", e.text);
    assert_false(loaded->frozen);
    assert_memory_equal(loaded->params, m->params, (size_t)m->n_params * sizeof *m->params);
    model_free(loaded);
    model_free(m);
    temp_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_sizes), cmocka_unit_test(test_names),
                                       cmocka_unit_test(test_ternary_blocks), cmocka_unit_test(test_float_model)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
