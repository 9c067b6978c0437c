// The model against committed references made with PyTorch (tests/golden/make_model_golden.py), and against itself:
// packed documents equal separate ones, the fast operations equal the reference ones, ternary gradients pass straight
// through.
#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/safetensors.h"
#include "core/model/model.h"

#include <cmocka.h> // after ours: its macro fail() would rewrite the declaration of fail()

static const char *const cases[] = {"llama", "llama_tied", "qwen2", "qwen3", "bitnet_float"};

// Both sides compute in float32. A chain of K-term dot products, each with relative rounding of about eps*sqrt(K),
// through ~20 stages: 2^-24 * sqrt(36) * 20 = 7e-6, rounded up.
static const double bound = 1e-5;

static double relative(const float *a, const float *b, int64_t n) {
    double d = 0, r = 0;
    for (int64_t i = 0; i < n; i++) d += ((double)a[i] - b[i]) * ((double)a[i] - b[i]), r += (double)b[i] * b[i];
    return sqrt(d) / fmax(sqrt(r), 1e-30);
}

typedef struct Pass { // one document batch, its logits and gradients
    Batch batch;
    int32_t tokens[64], positions[64], starts[8];
    float *logits, *grads;
} Pass;

static void add_document(Pass *p, const int32_t *ids, int64_t n) {
    int64_t at = p->batch.n_tokens;
    for (int64_t i = 0; i < n; i++) p->tokens[at + i] = ids[i], p->positions[at + i] = (int32_t)i;
    p->batch.n_tokens += n;
    p->starts[++p->batch.n_docs] = (int32_t)p->batch.n_tokens;
    p->batch.tokens = p->tokens, p->batch.positions = p->positions, p->batch.starts = p->starts;
}

// Mean next-token cross-entropy over all documents: logits and every gradient.
static double run(Pass *p, const Model *m, const Ops *ops) {
    int64_t N = p->batch.n_tokens, V = m->config.vocab_size, C = m->config.hidden_size;
    Activations *a = activations_create(m, N, true);
    p->logits = xcalloc((size_t)(N * V), sizeof(float)), p->grads = xcalloc((size_t)m->n_params, sizeof(float));
    float *dlogits = xcalloc((size_t)(N * V), sizeof(float)), *dhidden = xcalloc((size_t)(N * C), sizeof(float)),
          weights[64], logprobs[64];
    int32_t targets[64];
    for (int64_t d = 0; d < p->batch.n_docs; d++)
        for (int64_t i = p->starts[d]; i < p->starts[d + 1]; i++) {
            bool trained = i + 1 < p->starts[d + 1];
            targets[i] = trained ? p->tokens[i + 1] : -1;
            weights[i] = trained ? 1.0f / (float)(N - p->batch.n_docs) : 0;
            logprobs[i] = 0;
        }
    const float *hidden = model_forward(m, ops, a, &p->batch);
    model_logits(m, ops, hidden, N, p->logits);
    memcpy(dlogits, p->logits, (size_t)(N * V) * sizeof(float));
    ops->cross_entropy(dlogits, logprobs, targets, weights, N, V);
    const Weight *head =
        model_weight(m, m->config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
    ops->matmul_backward_weight(p->grads + head->offset, NULL, dlogits, hidden, N, C, V);
    ops->matmul_backward_input(dhidden, dlogits, model_head(m), N, C, V, false);
    model_backward(m, ops, a, &p->batch, dhidden, p->grads);
    double loss = 0;
    for (int64_t i = 0; i < N; i++) loss -= (double)weights[i] * logprobs[i];
    activations_free(a);
    free(dlogits), free(dhidden);
    return loss;
}

static void pass_free(Pass *p) { free(p->logits), free(p->grads); }

static Model *load_case(const char *name, Safetensors **reference) {
    Error e = {0};
    char folder[128], file[160];
    snprintf(folder, sizeof folder, "tests/golden/models/%s", name);
    snprintf(file, sizeof file, "%s/reference.safetensors", folder);
    Model *m = model_load(folder, &e);
    if (!m) fail_msg("%s", e.text);
    *reference = safetensors_open(file, &e);
    if (!*reference) fail_msg("%s", e.text);
    return m;
}

static void check_case(const char *name, const Ops *ops) {
    Safetensors *reference;
    Model *m = load_case(name, &reference);
    const TensorView *ids = safetensors_find(reference, "ids"), *logits = safetensors_find(reference, "logits");
    Pass p = {0};
    int32_t tokens[64];
    for (int64_t i = 0; i < ids->n_elements; i++) tokens[i] = (int32_t)((const int64_t *)ids->data)[i];
    add_document(&p, tokens, ids->n_elements);
    run(&p, m, ops);
    double d = relative(p.logits, logits->data, logits->n_elements);
    if (d > bound) fail_msg("%s %s logits: relative error %.2e", name, ops->name, d);
    for (int i = 0; i < m->n_weights; i++) {
        char key[160];
        snprintf(key, sizeof key, "grad.%s", m->weights[i].name);
        const TensorView *g = safetensors_find(reference, key);
        assert_non_null(g);
        assert_int_equal(g->n_elements, m->weights[i].n);
        d = relative(p.grads + m->weights[i].offset, g->data, g->n_elements);
        if (d > bound) fail_msg("%s %s %s: relative error %.2e", name, ops->name, key, d);
    }
    pass_free(&p);
    safetensors_close(reference);
    model_free(m);
}

static void golden_ref(void **state) {
    for (size_t i = 0; i < COUNT_OF(cases); i++) check_case(cases[i], &ops_ref);
}
static void golden_cpu(void **state) {
    for (size_t i = 0; i < COUNT_OF(cases); i++) check_case(cases[i], &ops_cpu);
}

// Documents laid end to end must not see each other.
static void packed_equals_separate(void **state) {
    Safetensors *reference;
    Model *m = load_case("qwen3", &reference);
    int32_t a[] = {5, 9, 60, 1, 1, 7}, b[] = {3}, c[] = {8, 2, 44, 30};
    Pass all = {0}, one = {0}, three = {0};
    add_document(&all, a, 6), add_document(&all, b, 1), add_document(&all, c, 4);
    add_document(&one, a, 6), add_document(&three, c, 4);
    run(&all, m, &ops_cpu), run(&one, m, &ops_cpu), run(&three, m, &ops_cpu);
    int64_t V = m->config.vocab_size;
    assert_true(relative(all.logits, one.logits, 6 * V) < bound);
    assert_true(relative(all.logits + 7 * V, three.logits, 4 * V) < bound);
    // gradients are means: 5 targets in a, 0 in b, 3 in c
    float *sum = xcalloc((size_t)m->n_params, sizeof(float));
    for (int64_t i = 0; i < m->n_params; i++) sum[i] = (5 * one.grads[i] + 3 * three.grads[i]) / 8;
    assert_true(relative(all.grads, sum, m->n_params) < bound);
    free(sum);
    pass_free(&all), pass_free(&one), pass_free(&three);
    safetensors_close(reference);
    model_free(m);
}

static ModelConfig small_config(bool ternary) {
    return (ModelConfig){.arch = ARCH_QWEN3,
                         .vocab_size = 37,
                         .hidden_size = 24,
                         .intermediate_size = 40,
                         .num_hidden_layers = 2,
                         .num_attention_heads = 4,
                         .num_key_value_heads = 2,
                         .head_dim = 8,
                         .max_position_embeddings = 64,
                         .rope_theta = 1e4,
                         .rms_norm_eps = 1e-6,
                         .initializer_range = 0.2,
                         .tie_word_embeddings = true,
                         .qk_norm = true,
                         .ternary = ternary,
                         .bos_token_id = -1,
                         .eos_token_id = 2,
                         .pad_token_id = -1};
}

// A ternary model computes with code * scale; its gradient equals that of a float model holding those weights with the
// same inputs quantised, so ref and cpu must agree and the latent weights must receive gradients although codes hide
// them.
static void ternary_forward_backward(void **state) {
    ModelConfig c = small_config(true);
    Model *m = model_create(&c);
    model_init(m, 4);
    const Weight *w = model_weight(m, "model.layers.0.mlp.up_proj.weight");
    int index = (int)(w - m->weights), zeros = 0;
    for (int64_t i = 0; i < w->n; i++) {
        float x = m->effective[w->offset + i];
        assert_true(x == 0 || fabsf(x) == m->scales[index]);
        zeros += x == 0;
    }
    // Gaussian latents: |w| <= mean|w|/2 is 31 % of them (quant.md: 69.0 % non-zero); 5 standard deviations of a
    // binomial
    double share = (double)zeros / (double)w->n;
    assert_true(fabs(share - 0.31) < 5 * sqrt(0.31 * 0.69 / (double)w->n));
    int32_t ids[] = {1, 5, 9, 30, 2, 2, 17};
    Pass ref = {0}, cpu = {0};
    add_document(&ref, ids, 7), add_document(&cpu, ids, 7);
    run(&ref, m, &ops_ref), run(&cpu, m, &ops_cpu);
    // an activation on a rounding edge may fall to the other side: 1/127 of one of its row's inputs
    assert_true(relative(cpu.logits, ref.logits, 7 * c.vocab_size) < 1e-2);
    double sum = 0;
    for (int64_t i = 0; i < w->n; i++) sum += fabs(ref.grads[w->offset + i]);
    assert_true(sum > 0);
    pass_free(&ref), pass_free(&cpu);
    model_free(m);
}

static void save_and_load(void **state) {
    char folder[] = "/tmp/tristill-XXXXXX";
    assert_non_null(mkdtemp(folder));
    for (int ternary = 0; ternary < 2; ternary++) {
        ModelConfig c = small_config(ternary);
        Model *m = model_create(&c);
        model_init(m, 5);
        Error e = {0};
        if (!model_save(m, folder, DTYPE_F32, NULL, &e)) fail_msg("%s", e.text);
        Model *back = model_load(folder, &e);
        if (!back) fail_msg("%s", e.text);
        assert_int_equal(back->n_params, m->n_params);
        assert_memory_equal(back->params, m->params, (size_t)m->n_params * sizeof(float));
        assert_memory_equal(back->effective, m->effective, (size_t)m->n_params * sizeof(float));
        assert_int_equal(back->config.ternary, ternary);
        model_free(m), model_free(back);
    }
    Error e = {0};
    assert_true(remove_tree(folder, &e));
}

static void refused(const char *json, const char *expected) {
    Error e = {0};
    ModelConfig c;
    json_t *o = json_parse(json, strlen(json), "config.json", &e);
    assert_non_null(o);
    if (model_config_from_json(o, "config.json", &c, &e)) fail_msg("accepted: %s", json);
    if (!strstr(e.text, expected)) fail_msg("\"%s\" does not name \"%s\"", e.text, expected);
    assert_int_equal(e.code, EXIT_DATA);
    json_decref(o);
}

static void configs_refused_by_key(void **state) {
#define BASE                                                                                                           \
    "\"vocab_size\":9,\"hidden_size\":8,\"intermediate_size\":8,\"num_hidden_layers\":1,\"num_attention_heads\":2"
    refused("{\"model_type\":\"mamba\"," BASE "}", "model_type");
    refused("{" BASE "}", "model_type");
    refused("{\"model_type\":\"llama\"," BASE ",\"rope_scaling\":{\"type\":\"yarn\"}}", "rope_scaling");
    refused("{\"model_type\":\"llama\"," BASE ",\"rope_parameters\":{\"rope_type\":\"llama3\"}}",
            "rope_parameters.rope_type");
    refused("{\"model_type\":\"llama\"," BASE ",\"attention_bias\":true}", "attention_bias");
    refused("{\"model_type\":\"llama\"," BASE ",\"mlp_bias\":true}", "mlp_bias");
    refused("{\"model_type\":\"llama\"," BASE ",\"hidden_act\":\"gelu\"}", "hidden_act");
    refused("{\"model_type\":\"llama\"," BASE ",\"num_key_value_heads\":3}", "num_key_value_heads");
    refused("{\"model_type\":\"qwen2\"," BASE ",\"use_sliding_window\":true}", "use_sliding_window");
    refused("{\"model_type\":\"llama\"," BASE ",\"quantization_config\":{\"quant_method\":\"gptq\"}}",
            "quantization_config.quant_method");
    refused("{\"model_type\":\"llama\",\"vocab_size\":9,\"hidden_size\":\"8\"}", "hidden_size");
#undef BASE
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(golden_ref),
        cmocka_unit_test(golden_cpu),
        cmocka_unit_test(packed_equals_separate),
        cmocka_unit_test(ternary_forward_backward),
        cmocka_unit_test(save_and_load),
        cmocka_unit_test(configs_refused_by_key),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
