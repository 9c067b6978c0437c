// Exports of ternary models: both formats bring back the very same model for every architecture, what does not fit is
// refused, and verify finds each kind of difference.
#include "tests/unit/support_quant.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/thread.h"
#include "core/data/safetensors.h"
#include "core/model/load_gguf.h"
#include "quant/quant.h"

static void write_both(const Model *m, const char *folder, DType head) {
    Error e = {0};
    bool ok = export_gguf(m, head, "test", folder, temp_path(folder, "student.gguf"), &e) &&
              export_hf(m, folder, temp_path(folder, "hf"), &e);
    if (!ok) fail_msg("%s", e.text);
}

static Model *load(const char *path) {
    Error e = {0};
    Model *m = model_load(path, &e);
    if (m == NULL) fail_msg("%s", e.text);
    return m;
}

static void expect_same(const Model *a, const Model *b) {
    assert_true(b->frozen && b->config.ternary);
    assert_int_equal(a->n_params, b->n_params);
    assert_memory_equal(a->effective, b->effective, (size_t)a->n_params * sizeof *a->effective);
    assert_memory_equal(a->scales, b->scales, (size_t)a->n_weights * sizeof *a->scales);
    assert_memory_equal(a->inv_freq, b->inv_freq, (size_t)(a->config.head_dim / 2) * sizeof *a->inv_freq);
    assert_true(a->config.act == b->config.act && a->config.arch == b->config.arch &&
                a->config.rms_norm_eps == b->config.rms_norm_eps);
    assert_true(a->config.eos_token_id == b->config.eos_token_id &&
                a->config.max_position_embeddings == b->config.max_position_embeddings);
}

static void round_trip(const ModelConfig *c) {
    char *folder = temp_folder();
    Model *m = quant_model(c, folder);
    write_both(m, folder, DTYPE_F16);
    const char *paths[] = {"student.gguf", "hf", "."};
    for (int i = 0; i < 3; i++) {
        Model *back = load(temp_path(folder, paths[i]));
        if (i == 2) back->frozen = true; // the latent weights themselves: the same codes and scales again
        expect_same(m, back);
        model_free(back);
    }
    model_free(m);
    temp_remove(folder);
}

static void test_round_trips(void **state) {
    for (int arch = 0; arch < ARCH_COUNT; arch++) {
        ModelConfig c = quant_config((Arch)arch);
        round_trip(&c);
    }
    ModelConfig relu2 = quant_config(ARCH_BITNET);
    relu2.act = 1;
    round_trip(&relu2);
}

static void test_metadata(void **state) {
    char *folder = temp_folder();
    ModelConfig c = quant_config(ARCH_LLAMA);
    Model *m = quant_model(&c, folder);
    Error e = {0};
    write_both(m, folder, DTYPE_F32);
    Gguf *g = gguf_open(temp_path(folder, "student.gguf"), &e);
    assert_non_null(g);
    assert_string_equal(json_string_value(gguf_get(g, "general.architecture")), "llama");
    assert_string_equal(json_string_value(gguf_get(g, "tokenizer.chat_template")), "{{ messages }}");
    assert_int_equal(json_array_size(gguf_get(g, "tokenizer.ggml.tokens")),
                     QUANT_VOCAB); // two more rows than the tokenizer has ids
    const struct {
        const char *key;
        int64_t value;
    } expected[] = {
        {"general.file_type", 37},           {"general.quantization_version", 2}, {"llama.vocab_size", 300},
        {"llama.context_length", 256},       {"llama.embedding_length", 256},     {"llama.block_count", 2},
        {"llama.feed_forward_length", 512},  {"llama.attention.head_count", 4},   {"llama.attention.head_count_kv", 2},
        {"llama.rope.dimension_count", 128}, {"llama.attention.key_length", 128}, {"tokenizer.ggml.eos_token_id", 296}};
    for (size_t i = 0; i < COUNT_OF(expected) - 1; i++)
        assert_int_equal(json_integer_value(gguf_get(g, expected[i].key)), expected[i].value);
    assert_true(gguf_find(g, "token_embd.weight")->dtype == DTYPE_F32 &&
                gguf_find(g, "output.weight")->dtype == DTYPE_F32);
    assert_true(gguf_find(g, "blk.1.ffn_down.weight")->dtype == DTYPE_TQ2_0 &&
                gguf_find(g, "blk.1.ffn_norm.weight")->dtype == DTYPE_F32);
    gguf_close(g);
    json_t *config = json_read_file(temp_path(folder, "hf/config.json"), &e);
    const json_t *q = json_object_get(config, "quantization_config");
    assert_string_equal(json_string_value(json_object_get(q, "linear_class")), "autobitlinear");
    assert_string_equal(json_string_value(json_object_get(q, "quantization_mode")), "offline");
    json_decref(config);
    assert_true(file_exists(temp_path(folder, "hf/tokenizer.json")) &&
                file_exists(temp_path(folder, "hf/generation_config.json")));
    model_free(m);
    temp_remove(folder);
}

// The packing rule on 8 x 32 values t[i] = ((7 i + 3) mod 11) mod 3 - 1.
static void test_hf_golden(void **state) {
    static const char hex[] = "a0558056005a016a05a815a0558056005a016a05a815a0558056005a016a05a815a0"
                              "558056005a016a05a815a0558056005a016a05a815a0558056005a016a05";
    uint8_t expected[64], packed[64];
    float x[256];
    from_hex(hex, expected);
    for (int i = 0; i < 256; i++) x[i] = 0.5f * (float)((i * 7 + 3) % 11 % 3 - 1);
    hf_pack(packed, x, 8, 32);
    assert_memory_equal(packed, expected, 64);
}

// Hugging Face's conversion for "llama": rows of a head as [2, D/2] become [D/2, 2].
static void test_rope_order(void **state) {
    const int32_t rows[12] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11},
                  expected[12] = {0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11};
    int32_t there[12], back[12];
    gguf_permute_rows(there, rows, 2, 6, sizeof *rows, true);
    assert_memory_equal(there, expected, sizeof expected);
    gguf_permute_rows(back, there, 2, 6, sizeof *rows, false);
    assert_memory_equal(back, rows, sizeof rows);
    char *folder = temp_folder();
    ModelConfig c = quant_config(ARCH_LLAMA);
    Model *m = quant_model(&c, folder);
    write_both(m, folder, DTYPE_F16);
    Gguf *g = gguf_open(temp_path(folder, "student.gguf"), NULL);
    const Weight *w = model_weight(m, "model.layers.1.self_attn.k_proj.weight");
    const TensorView *t = gguf_find(g, w->gguf_name);
    float row[256];
    for (int r = 0; r < 256; r++) { // row 2j of a head holds row j, row 2j + 1 row j + 64
        assert_true(dtype_to_f32(DTYPE_TQ2_0, (const uint8_t *)t->data + r * 66, 256, row));
        int from = r / 128 * 128 + r % 128 / 2 + r % 2 * 64;
        assert_memory_equal(row, m->effective + w->offset + from * 256, sizeof row);
    }
    gguf_close(g);
    model_free(m);
    temp_remove(folder);
}

static void refuse(const ModelConfig *c, DType head, bool hf, const char *why) {
    char *folder = temp_folder();
    Error e = {0};
    ModelConfig one_layer = *c;
    one_layer.num_hidden_layers = 1;
    Model *m = quant_model(&one_layer, folder);
    bool ok = hf ? export_hf(m, folder, temp_path(folder, "hf"), &e)
                 : export_gguf(m, head, "x", folder, temp_path(folder, "x.gguf"), &e);
    assert_false(ok);
    assert_error(&e, EXIT_DATA, why);
    assert_false(file_exists(temp_path(folder, "x.gguf")) || file_exists(temp_path(folder, "hf/model.safetensors")));
    model_free(m);
    temp_remove(folder);
}

static void test_refusals(void **state) {
    ModelConfig c = quant_config(ARCH_QWEN3);
    c.hidden_size = 128;
    refuse(&c, DTYPE_F16, false, "layers.0.self_attn.q_proj.weight: its 128 input features are no multiple of 256");
    c = quant_config(ARCH_QWEN3);
    c.intermediate_size = 258;
    refuse(&c, DTYPE_F16, true, "mlp.gate_proj.weight: its 258 output features are no multiple of 4");
    c = quant_config(ARCH_LLAMA);
    c.act = 1;
    refuse(&c, DTYPE_F16, false, "hidden_act relu2");
    c = quant_config(ARCH_BITNET);
    c.tie_word_embeddings = false;
    refuse(&c, DTYPE_F16, false, "tie_word_embeddings");
    c = quant_config(ARCH_BITNET);
    c.head_dim = 32;
    refuse(&c, DTYPE_F16, false, "head_dim");
    c = quant_config(ARCH_QWEN2);
    c.rope_theta = 10000.1;
    refuse(&c, DTYPE_F16, false, "rope_theta");
    c = quant_config(ARCH_QWEN2);
    c.vocab_size = 200;
    refuse(&c, DTYPE_F16, false, "do not belong together");
}

static void test_only_ternary(void **state) {
    char *folder = temp_folder();
    Error e = {0};
    ModelConfig c = quant_config(ARCH_QWEN2);
    Model *m = quant_model(&c, folder);
    assert_true(export_check(m, "here", &e));
    m->params[m->weights[3].offset + 5] = NAN;
    model_quantize(m);
    assert_false(export_check(m, "here", &e));
    assert_error(&e, EXIT_DATA, m->weights[3].name);
    model_set_ternary(m, false);
    assert_false(export_check(m, "here", &e));
    assert_error(&e, EXIT_DATA, "here: this model is not ternary");
    model_free(m);
    temp_remove(folder);
}

// ---- the commands ----

static int run_command(const Command *command, Error *e, const char *const *overrides, size_t n) {
    void *config = xcalloc(1, command->table.size);
    Options options = {.quiet = true, .json = true};
    log_set_quiet(true);
    *e = (Error){0};
    int code = EXIT_USAGE;
    if (config_parse(&command->table, NULL, (char *const *)(uintptr_t)overrides, n, config, e)) {
        code = command->run(config, &options, e);
        config_free(&command->table, config);
    }
    free(config);
    return code;
}

// Runs verify on an export against <folder>/model.
static int run_verify(const char *folder, const char *export, const char *out, const char *prompts, Error *e) {
    char *text[8] = {xasprintf("model=%s/model", folder),
                     xasprintf("gguf=%s/%s/student.gguf", folder, export),
                     xasprintf("hf=%s/%s/hf", folder, export),
                     xasprintf("out=%s/%s", folder, out),
                     xasprintf("prompts=%s", prompts),
                     xasprintf("max_tokens=16"),
                     xasprintf("n_texts=2"),
                     xstrdup("threads=1")};
    int code = run_command(&quant_verify_command, e, (const char *const *)text, 8);
    for (int i = 0; i < 8; i++) free(text[i]);
    return code;
}

static int run_export(const char *folder, const char *out, const char *head, Error *e) {
    char *text[4] = {xstrdup("threads=1"), xasprintf("model=%s/model", folder), xasprintf("out=%s/%s", folder, out),
                     xasprintf("head_type=%s", head)};
    int code = run_command(&quant_export_command, e, (const char *const *)text, 4);
    for (int i = 0; i < 4; i++) free(text[i]);
    return code;
}

static double result(const char *folder, const char *out, const char *format, const char *group, const char *key) {
    char *path = xasprintf("%s/%s/run.json", folder, out);
    Error e = {0};
    json_t *run = json_read_file(path, &e);
    if (run == NULL) fail_msg("%s", e.text);
    const json_t *o = json_object_get(json_object_get(run, "results"), format);
    double x = json_number_value(json_object_get(group ? json_object_get(o, group) : o, key));
    json_decref(run);
    free(path);
    return x;
}

static void test_commands(void **state) {
    char *folder = temp_folder();
    Error e = {0};
    ModelConfig c = quant_config(ARCH_LLAMA);
    assert_true(make_folders(temp_path(folder, "model"), NULL));
    model_free(quant_model(&c, temp_path(folder, "model")));
    static const char prompts[] =
        "{\"messages\":[{\"role\":\"user\",\"content\":\"How many apples?\"},{\"role\":\"assistant\",\"content\":\"12"
        "\"}]}\n{\"id\":\"b\",\"text\":\"pears and apples \xc3\xa9 in the basket<|im_end|>\"}\n";
    put_file(temp_path(folder, "prompts.jsonl"), prompts, sizeof prompts - 1);
    if (run_export(folder, "export", "F16", &e) != EXIT_OK) fail_msg("%s", e.text);
    if (run_verify(folder, "export", "verify", temp_path(folder, "prompts.jsonl"), &e) != EXIT_OK)
        fail_msg("%s", e.text);
    const char *formats[] = {"gguf", "hf"};
    for (int i = 0; i < 2; i++) {
        assert_true(result(folder, "verify", formats[i], NULL, "tensors") == 14);
        assert_true(result(folder, "verify", formats[i], NULL, "codes_differ") == 0);
        assert_true(result(folder, "verify", formats[i], "logits", "max_abs_same_arithmetic") == 0);
        assert_true(result(folder, "verify", formats[i], "logits", "relative_rms") <
                    result(folder, "verify", formats[i], "logits", "bound"));
        assert_true(result(folder, "verify", formats[i], "logits", "argmax_agreement") > 0.9);
        assert_true(result(folder, "verify", formats[i], "logits", "tokens") > 10);
    }
    assert_int_equal(run_export(folder, "export", "F16", &e), EXIT_OK); // complete: nothing to do
    assert_int_equal(run_export(folder, "q8", "Q8_0", &e), EXIT_OK); // its head is measured, not demanded to be equal
    if (run_verify(folder, "q8", "verify-q8", "", &e) != EXIT_OK) fail_msg("%s", e.text);
    assert_true(result(folder, "verify-q8", "gguf", NULL, "head_error") > 1e-3);
    assert_true(result(folder, "verify-q8", "gguf", NULL, "head_error") <
                1e-2); // half a step of 127 against a crest of about 3
    temp_remove(folder);
}

static void test_verify_needs_an_export(void **state) {
    const char *overrides[] = {"model=/tmp/none", "out=/tmp/none"};
    Error e;
    assert_int_equal(run_command(&quant_verify_command, &e, overrides, 2), EXIT_USAGE);
    assert_error(&e, EXIT_USAGE, "nothing to verify");
    const char *formats[] = {"model=/tmp/none", "out=/tmp/none", "formats=[onnx]"};
    assert_int_equal(run_command(&quant_export_command, &e, formats, 3), EXIT_USAGE);
    assert_error(&e, EXIT_USAGE, "onnx");
}

// Where a tensor lies in its file: the last one, padded, ends with it.
static size_t place_of(const char *path, const char *tensor) {
    Error e = {0};
    Gguf *g = strstr(path, ".gguf") ? gguf_open(path, &e) : NULL;
    Safetensors *s = g ? NULL : safetensors_open(path, &e);
    const TensorView *t = g ? gguf_find(g, tensor) : safetensors_find(s, tensor);
    assert_non_null(t);
    const uint8_t *end = NULL;
    for (int64_t i = 0; i < (g ? gguf_count(g) : safetensors_count(s)); i++) {
        const TensorView *x = g ? gguf_at(g, i) : safetensors_at(s, i);
        const uint8_t *its_end = (const uint8_t *)x->data + (g ? ROUND_UP(x->bytes, 32) : x->bytes);
        end = MAX(end, its_end);
    }
    size_t place = (size_t)file_size(path) - (size_t)(end - (const uint8_t *)t->data);
    gguf_close(g);
    safetensors_close(s);
    return place;
}

// One bit of a tensor is flipped: verify must end with EXIT_DATA and say what differs.
static void tamper(const char *folder, const char *file, const char *tensor, size_t at, const char *why) {
    static int count;
    char *path = temp_path(folder, file), out[32];
    Error e = {0};
    Buf b = {0};
    size_t place = place_of(path, tensor) + at;
    snprintf(out, sizeof out, "tampered-%d", count++);
    get_file(path, &b);
    b.data[place] ^= 1;
    put_file(path, b.data, b.length);
    assert_int_equal(run_verify(folder, "export", out, "", &e), EXIT_DATA);
    assert_error(&e, EXIT_DATA, why);
    b.data[place] ^= 1;
    put_file(path, b.data, b.length);
    buf_free(&b);
}

static void test_verify_finds(void **state) {
    char *folder = temp_folder();
    Error e = {0};
    ModelConfig c = quant_config(ARCH_QWEN2);
    assert_true(make_folders(temp_path(folder, "model"), NULL));
    model_free(quant_model(&c, temp_path(folder, "model")));
    assert_int_equal(run_export(folder, "export", "F16", &e), EXIT_OK);
    tamper(
        folder, "export/student.gguf", "blk.1.ffn_up.weight", 100,
        "1 codes, 0 scales, 0 other tensors differ, ids of 0 texts; first: codes of model.layers.1.mlp.up_proj.weight");
    tamper(folder, "export/student.gguf", "blk.0.attn_norm.weight", 6, "0 codes, 0 scales, 1 other tensors differ");
    tamper(folder, "export/student.gguf", "token_embd.weight", 300, "values of model.embed_tokens.weight");
    tamper(folder, "export/hf/model.safetensors", "model.layers.0.mlp.down_proj.weight_scale", 2, "0 codes, 1 scales");
    tamper(folder, "export/hf/model.safetensors", "model.layers.1.self_attn.q_proj.bias", 2, "q_proj.bias");
    tamper(folder, "export/hf/model.safetensors", "model.norm.weight", 2, "model.norm.weight");
    assert_int_equal(run_verify(folder, "export", "verify", "", &e), EXIT_OK); // all put back
    temp_remove(folder);
}

int main(void) {
    threads_set(1); // small work, many steps
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trips),  cmocka_unit_test(test_metadata),
        cmocka_unit_test(test_hf_golden),    cmocka_unit_test(test_rope_order),
        cmocka_unit_test(test_refusals),     cmocka_unit_test(test_only_ternary),
        cmocka_unit_test(test_commands),     cmocka_unit_test(test_verify_needs_an_export),
        cmocka_unit_test(test_verify_finds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
