// Generation against the training-side forward pass: every architecture, batches of any composition, shared prompts,
// long prompts, ends, refusals. The reference is model_forward with the plain operations over prompt and answer at
// once.
#include "tests/unit/support_files.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/rng.h"
#include "core/model/engine.h"
#include "core/ops/matmul_packed.h"

// ---- models ----

typedef struct Kind {
    const char *name;
    ModelConfig config;
} Kind;

static const ModelConfig base = {.arch = ARCH_LLAMA,
                                 .vocab_size = 67,
                                 .hidden_size = 24,
                                 .intermediate_size = 40,
                                 .num_hidden_layers = 3,
                                 .num_attention_heads = 4,
                                 .num_key_value_heads = 2,
                                 .head_dim = 10,
                                 .max_position_embeddings = 4096,
                                 .rope_theta = 10000,
                                 .rms_norm_eps = 1e-6,
                                 .initializer_range = 0.3,
                                 .bos_token_id = -1,
                                 .eos_token_id = -1,
                                 .pad_token_id = -1};

static Model *make_model(const ModelConfig *c, uint64_t seed) {
    Model *m = model_create(c);
    model_init(m, seed);
    for (int i = 0; i < m->n_weights; i++) { // norms and biases as training leaves them: not 1 and 0
        const Weight *w = &m->weights[i];
        for (int64_t j = 0; j < w->n && w->rows == 0; j++)
            m->params[w->offset + j] += (float)(0.2 * rng_normal(seed + 1, RNG_TEST, (uint64_t)(w->offset + j)));
    }
    model_quantize(m);
    return m;
}

static int make_kinds(Kind *out) {
    int n = 0;
    out[n++] = (Kind){"llama", base};
    out[n] = (Kind){"tied", base}, out[n++].config.tie_word_embeddings = true;
    out[n] = (Kind){"qwen2", base}, out[n++].config.attention_bias = true;
    out[n] = (Kind){"qwen3", base}, out[n++].config.qk_norm = true;
    out[n] = (Kind){"sub_norm", base}, out[n].config.act = 1, out[n++].config.sub_norm = true;
    out[n] = (Kind){"window", base}, out[n++].config.sliding_window = 7;
    return n;
}

static ModelConfig ternary_config(int64_t hidden, int64_t intermediate) {
    ModelConfig c = base;
    c.arch = ARCH_BITNET, c.ternary = c.sub_norm = true;
    c.hidden_size = hidden, c.intermediate_size = intermediate, c.num_hidden_layers = 2, c.initializer_range = 0.1;
    c.num_key_value_heads = 4, c.head_dim = hidden / 4;
    return c;
}

static Engine *make_engine(const Model *m, int64_t max_batch, int64_t max_context) {
    Error e = {0};
    Engine *g = engine_create(m, &(EngineOptions){max_batch, max_context}, &e);
    if (!g) fail_msg("%s", e.text);
    return g;
}

// ---- requests ----

enum { MAX_REQUESTS = 16, MAX_PROMPT = 2600 };
typedef struct Requests {
    GenRequest list[MAX_REQUESTS];
    GenResult results[MAX_REQUESTS];
    int32_t prompts[MAX_REQUESTS][MAX_PROMPT];
    int64_t n;
} Requests;

static Sampling sampling_at(double temperature, int64_t max_tokens) {
    return (Sampling){
        .temperature = temperature, .top_p = 1, .repetition_penalty = 1, .max_tokens = max_tokens, .seed = 9};
}

static void add_request(Requests *r, uint64_t prompt_seed, int64_t length, uint64_t stream, Sampling s) {
    for (int64_t t = 0; t < length; t++)
        r->prompts[r->n][t] = (int32_t)(rng_u64(prompt_seed, RNG_TEST, (uint64_t)t) % 67);
    r->list[r->n] = (GenRequest){.prompt = r->prompts[r->n], .n_prompt = length, .stream = stream, .sampling = s};
    r->n++;
}

static void generate(Engine *g, Requests *r) {
    Error e = {0};
    if (!engine_generate(g, r->list, r->n, r->results, NULL, &e)) fail_msg("%s", e.text);
}

static void free_results(Requests *r) {
    for (int64_t i = 0; i < r->n; i++) gen_result_free(&r->results[i]);
}

// ---- the reference ----

typedef struct Reference {
    double *logprob, *best; // at each token of the answer: of the answer's token; of the likeliest
    double largest;         // magnitude of the logits
} Reference;

static Reference refer(const Model *m, const GenRequest *r, const GenResult *result) {
    int64_t N = r->n_prompt + result->n_tokens, V = m->config.vocab_size;
    int32_t *tokens = xcalloc((size_t)N, sizeof *tokens), *positions = xcalloc((size_t)N, sizeof *positions),
            starts[2] = {0, (int32_t)N};
    float *logits = xcalloc((size_t)(N * V), sizeof *logits);
    memcpy(tokens, r->prompt, (size_t)r->n_prompt * sizeof *tokens);
    memcpy(tokens + r->n_prompt, result->tokens, (size_t)result->n_tokens * sizeof *tokens);
    for (int64_t t = 0; t < N; t++) positions[t] = (int32_t)t;
    Activations *a = activations_create(m, N, false);
    Batch batch = {.n_tokens = N, .n_docs = 1, .tokens = tokens, .positions = positions, .starts = starts};
    model_logits(m, &ops_ref, model_forward(m, &ops_ref, a, &batch), N, logits);
    Reference out = {.logprob = xcalloc((size_t)result->n_tokens, sizeof(double)),
                     .best = xcalloc((size_t)result->n_tokens, sizeof(double))};
    for (int64_t t = 0; t < result->n_tokens; t++) {
        const float *row = logits + (r->n_prompt + t - 1) * V;
        double sum = 0, best = -INFINITY;
        for (int64_t v = 0; v < V; v++) {
            sum += exp((double)row[v]);
            best = fmax(best, (double)row[v]);
            out.largest = fmax(out.largest, fabs((double)row[v]));
        }
        out.logprob[t] = (double)row[result->tokens[t]] - log(sum);
        out.best[t] = best - log(sum);
    }
    activations_free(a);
    free(tokens), free(positions), free(logits);
    return out;
}

// Both sides compute in float32 through ~25 stages of dot products with K <= 64 terms, each of relative rounding eps *
// sqrt(K): 2^-24 * 8 * 25 = 1.2e-5 of the largest logit, on either side, and as much again for log sum exp.
static double float_bound(const Reference *r) { return 4 * 1.2e-5 * fmax(r->largest, 1); }

static void compare(const char *name, const Model *m, const GenRequest *request, const GenResult *result, bool greedy,
                    double bound) {
    Reference r = refer(m, request, result);
    if (bound == 0) bound = float_bound(&r);
    for (int64_t t = 0; t < result->n_tokens; t++) {
        double off = fabs((double)result->logprobs[t] - r.logprob[t]);
        if (!(off <= bound))
            fail_msg("%s: token %lld: logprob %g, reference %g", name, (long long)t, (double)result->logprobs[t],
                     r.logprob[t]);
        if (greedy && r.best[t] - r.logprob[t] > 2 * bound)
            fail_msg("%s: token %lld is not the likeliest", name, (long long)t);
    }
    free(r.logprob), free(r.best);
}

// ---- tests ----

// Any shape, with bias or on top of what is there: the bits of matmul_forward_cpu.
static void packed_products_equal_the_plain_ones(void **state) {
    enum { MAX = 300 * 320 };
    static float x[MAX], w[MAX], packed[MAX + 16 * 320], a[MAX], b[MAX];
    const int64_t shapes[][3] = {{1, 1, 1},     {1, 256, 64},  {1, 300, 67},  {2, 31, 40},
                                 {7, 257, 130}, {128, 64, 17}, {150, 96, 200}};
    for (size_t s = 0; s < COUNT_OF(shapes); s++) {
        int64_t N = shapes[s][0], I = shapes[s][1], O = shapes[s][2];
        for (int64_t i = 0; i < N * I; i++) x[i] = (float)rng_normal(1, RNG_TEST, (uint64_t)i);
        for (int64_t i = 0; i < O * I; i++) w[i] = (float)rng_normal(2, RNG_TEST, (uint64_t)i);
        matmul_pack(packed, w, I, O);
        for (int way = 0; way < 3; way++) {
            for (int64_t i = 0; i < N * O; i++) a[i] = b[i] = (float)i;
            ops_cpu.matmul_forward(a, x, w, way == 1 ? x : NULL, N, I, O, way == 2);
            matmul_packed(b, x, packed, way == 1 ? x : NULL, N, I, O, way == 2);
            assert_memory_equal(a, b, (size_t)(N * O) * sizeof *a);
        }
    }
}

static void greedy_equals_the_full_forward_pass(void **state) {
    Kind kinds[16];
    static Requests r;
    for (int k = 0, n = make_kinds(kinds); k < n; k++) {
        Model *m = make_model(&kinds[k].config, 7);
        Engine *g = make_engine(m, 3, 64);
        r.n = 0;
        add_request(&r, 1, 1, 0, sampling_at(0, 20));
        add_request(&r, 2, 9, 0, sampling_at(0, 30));
        add_request(&r, 3, 30, 0, sampling_at(0, 5));
        add_request(&r, 4, 17, 0, sampling_at(0, 40));
        generate(g, &r);
        for (int64_t i = 0; i < r.n; i++) {
            assert_int_equal(r.results[i].n_tokens, r.list[i].sampling.max_tokens);
            assert_int_equal(r.results[i].n_prompt, r.list[i].n_prompt);
            compare(kinds[k].name, m, &r.list[i], &r.results[i], true, 0);
        }
        free_results(&r);
        engine_free(g);
        model_free(m);
    }
}

// A rounding of one part in 1e7 can move an activation across a border of its int8 grid, which moves one input of a
// linear by 1/127 of the largest: such tokens are off by up to a few hundredths of the largest logit. Most tokens meet
// no such border and agree as floats do.
static void ternary_equals_the_full_forward_pass(void **state) {
    ModelConfig configs[3] = {ternary_config(128, 256), ternary_config(128, 256), ternary_config(96, 200)};
    configs[1].sub_norm = false, configs[1].attention_bias = configs[1].qk_norm = true;
    static Requests r;
    for (int k = 0; k < 3; k++) {
        Model *m = make_model(&configs[k], 8);
        Engine *g = make_engine(m, 4, 64);
        int64_t close = 0, all = 0;
        r.n = 0;
        for (uint64_t i = 0; i < 6; i++) add_request(&r, i, 3 + (int64_t)i * 4, i, sampling_at(1, 25));
        generate(g, &r);
        for (int64_t i = 0; i < r.n; i++) {
            Reference ref = refer(m, &r.list[i], &r.results[i]);
            for (int64_t t = 0; t < r.results[i].n_tokens; t++, all++) {
                double off = fabs((double)r.results[i].logprobs[t] - ref.logprob[t]);
                assert_true(off <= 0.05 * fmax(ref.largest, 1));
                close += off <= float_bound(&ref);
            }
            free(ref.logprob), free(ref.best);
        }
        assert_true(close * 2 > all);
        free_results(&r);
        engine_free(g);
        model_free(m);
    }
}

static void prompts_longer_than_a_step(void **state) {
    ModelConfig c = base;
    c.num_hidden_layers = 2, c.qk_norm = true;
    Model *m = make_model(&c, 5);
    Engine *g = make_engine(m, 3, MAX_PROMPT);
    static Requests r;
    r.n = 0;
    add_request(&r, 1, 12, 0, sampling_at(0, 6));
    add_request(&r, 2, ENGINE_CHUNK + 1, 0, sampling_at(0, 6));
    add_request(&r, 3, 2 * ENGINE_CHUNK + 300, 0, sampling_at(0, 6));
    add_request(&r, 4, ENGINE_CHUNK, 0, sampling_at(0, 6));
    add_request(&r, 5, 700, 0, sampling_at(0, 6));
    generate(g, &r);
    for (int64_t i = 0; i < r.n; i++) compare("long", m, &r.list[i], &r.results[i], true, 0);
    free_results(&r);
    engine_free(g);
    model_free(m);
}

// The same requests one by one, and together in batches that mix and refill.
static void check_composition(const Model *m, bool exact) {
    static Requests together, alone;
    together.n = 0;
    for (uint64_t i = 0; i < 11; i++)
        add_request(&together, i, 2 + (int64_t)(i * 5 % 17), i, sampling_at(1, 8 + (int64_t)(i * 7 % 23)));
    Engine *wide = make_engine(m, 4, 64), *narrow = make_engine(m, 1, 64);
    generate(wide, &together);
    for (int64_t i = 0; i < together.n; i++) {
        alone.n = 1;
        alone.list[0] = together.list[i];
        generate(narrow, &alone);
        const GenResult *a = &together.results[i], *b = &alone.results[0];
        assert_int_equal(a->n_tokens, b->n_tokens);
        assert_memory_equal(a->tokens, b->tokens, (size_t)a->n_tokens * sizeof(int32_t));
        for (int64_t t = 0; t < a->n_tokens; t++)
            if (exact)
                assert_true(a->logprobs[t] == b->logprobs[t]);
            else
                assert_true(fabs((double)a->logprobs[t] - (double)b->logprobs[t]) < 2e-4);
        free_results(&alone);
    }
    free_results(&together);
    engine_free(wide);
    engine_free(narrow);
}

static void batch_composition_does_not_matter(void **state) {
    Kind kinds[16];
    for (int k = 0, n = make_kinds(kinds); k < n; k++) {
        Model *m = make_model(&kinds[k].config, 11);
        check_composition(m, false);
        model_free(m);
    }
    ModelConfig c = ternary_config(128, 128);
    Model *m = make_model(&c, 12);
    check_composition(m, true);
    model_free(m);
}

static void samples_of_a_prompt_equal_separate_requests(void **state) {
    Model *m = make_model(&base, 13);
    const int64_t batches[3] = {8, 3, 1};
    static Requests shared, alone;
    for (int b = 0; b < 3; b++) {
        Engine *g = make_engine(m, batches[b], 64), *single = make_engine(m, 1, 64);
        shared.n = 0;
        for (uint64_t i = 0; i < 12; i++)
            add_request(&shared, i / 5, 6 + (int64_t)(i / 5), i, sampling_at(1, 4 + (int64_t)(i * 3 % 7)));
        shared.list[3].prompt = shared.list[0].prompt;            // found by its content or by being the same array
        shared.prompts[11][7] = (shared.prompts[10][7] + 1) % 67; // differs from number 10 in its last token alone
        generate(g, &shared);
        for (int64_t i = 0; i < shared.n; i++) {
            alone.n = 1;
            alone.list[0] = shared.list[i];
            generate(single, &alone);
            assert_int_equal(shared.results[i].n_tokens, alone.results[0].n_tokens);
            assert_memory_equal(shared.results[i].tokens, alone.results[0].tokens,
                                (size_t)alone.results[0].n_tokens * sizeof(int32_t));
            compare("shared", m, &shared.list[i], &shared.results[i], false, 0);
            free_results(&alone);
        }
        assert_memory_not_equal(shared.results[0].tokens, shared.results[1].tokens,
                                4 * sizeof(int32_t)); // streams differ
        free_results(&shared);
        engine_free(g);
        engine_free(single);
    }
    model_free(m);
}

static void answers_end_at_stop_tokens_limits_and_the_context(void **state) {
    Model *m = make_model(&base, 14);
    Engine *g = make_engine(m, 2, 24);
    static Requests r;
    r.n = 0;
    add_request(&r, 1, 10, 0, sampling_at(0, 12));
    add_request(&r, 1, 10, 0, sampling_at(0, 1000));
    add_request(&r, 1, 23, 0, sampling_at(0, 1000));
    generate(g, &r);
    assert_int_equal(r.results[0].n_tokens, 12);
    assert_int_equal(r.results[1].n_tokens, 14);
    assert_int_equal(r.results[2].n_tokens, 1);
    for (int i = 0; i < 3; i++) assert_false(r.results[i].stopped);
    int32_t stop[2] = {-5, r.results[0].tokens[6]};
    int64_t first = 0;
    while (r.results[0].tokens[first] != stop[1]) first++;
    free_results(&r);
    r.n = 1;
    r.list[0].stop_tokens = stop, r.list[0].n_stop = 2;
    generate(g, &r);
    assert_true(r.results[0].stopped);
    assert_int_equal(r.results[0].n_tokens, first + 1);
    assert_int_equal(r.results[0].tokens[first], stop[1]);
    free_results(&r);
    engine_free(g);
    model_free(m);
}

static void assert_refused(Engine *g, Requests *r, int code, const char *part) {
    Error e = {0};
    assert_false(engine_generate(g, r->list, r->n, r->results, NULL, &e));
    assert_error(&e, code, part);
    for (int64_t i = 0; i < r->n; i++) assert_null(r->results[i].tokens);
}

static void bad_requests_are_refused_by_number_before_anything_runs(void **state) {
    Model *m = make_model(&base, 15);
    Engine *g = make_engine(m, 2, 24);
    static Requests r;
    r.n = 0;
    for (int i = 0; i < 3; i++) add_request(&r, 1, 10, 0, sampling_at(0, 4));
    r.list[2].n_prompt = 24;
    assert_refused(g, &r, EXIT_DATA, "request 2: the prompt has 24 tokens");
    r.list[2].n_prompt = 0;
    assert_refused(g, &r, EXIT_USAGE, "request 2: prompt tokens");
    r.list[2].n_prompt = 10;
    r.prompts[1][4] = 67;
    assert_refused(g, &r, EXIT_DATA, "request 1: token 4 is 67");
    r.prompts[1][4] = -1;
    assert_refused(g, &r, EXIT_DATA, "request 1: token 4 is -1");
    r.prompts[1][4] = 0;
    struct {
        Sampling sampling;
        const char *part;
    } cases[] = {
        {{.temperature = -1, .top_p = 1, .repetition_penalty = 1, .max_tokens = 1}, "temperature"},
        {{.temperature = NAN, .top_p = 1, .repetition_penalty = 1, .max_tokens = 1}, "temperature"},
        {{.top_p = 0, .repetition_penalty = 1, .max_tokens = 1}, "top_p"},
        {{.top_p = 1.1, .repetition_penalty = 1, .max_tokens = 1}, "top_p"},
        {{.top_p = 1, .top_k = -1, .repetition_penalty = 1, .max_tokens = 1}, "top_k"},
        {{.top_p = 1, .min_p = 1.5, .repetition_penalty = 1, .max_tokens = 1}, "min_p"},
        {{.top_p = 1, .repetition_penalty = 0, .max_tokens = 1}, "repetition_penalty"},
        {{.top_p = 1, .repetition_penalty = 1, .max_tokens = 0}, "max_tokens"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        r.list[1].sampling = cases[i].sampling;
        assert_refused(g, &r, EXIT_USAGE, cases[i].part);
    }
    engine_free(g);
    model_free(m);
}

static void engines_that_cannot_be_are_refused(void **state) {
    Model *m = make_model(&base, 16);
    Error e = {0};
    assert_null(engine_create(m, &(EngineOptions){0, 64}, &e));
    assert_error(&e, EXIT_USAGE, "max_batch");
    e = (Error){0};
    assert_null(engine_create(m, &(EngineOptions){1, 4097}, &e));
    assert_error(&e, EXIT_USAGE, "max_position_embeddings");
    e = (Error){0};
    assert_null(engine_create(m, &(EngineOptions){1 << 28, 4096}, &e));
    assert_error(&e, EXIT_MEMORY, "GiB");
    EngineOptions small = {1, 64}, large = {5, 64};
    assert_true(engine_bytes(m, &large) - engine_bytes(m, &small) >= 4 * 64 * 2 * 3 * 20 * (int64_t)sizeof(float));
    model_free(m);
}

static void weights_that_are_no_numbers_are_reported(void **state) {
    Model *m = make_model(&base, 17);
    m->layers[1].up_proj[3] = NAN;
    Engine *g = make_engine(m, 2, 24);
    static Requests r;
    r.n = 0;
    for (int i = 0; i < 3; i++) add_request(&r, 1, 10, 0, sampling_at(0, 4));
    assert_refused(g, &r, EXIT_FAIL, "not finite");
    engine_free(g);
    model_free(m);
}

// ---- watching ----

typedef struct Watched {
    int64_t steps, done, tokens, limit;
    int32_t seen[MAX_REQUESTS][64];
    int64_t n_seen[MAX_REQUESTS];
} Watched;

static bool see_step(void *context, int64_t done, int64_t tokens) {
    Watched *w = context;
    assert_true(done >= w->done && tokens > w->tokens);
    w->done = done, w->tokens = tokens;
    return ++w->steps < w->limit;
}

static bool see_token(void *context, int64_t request, int32_t token) {
    Watched *w = context;
    w->seen[request][w->n_seen[request]++] = token;
    return true;
}

static void watchers_see_every_token_and_can_stop(void **state) {
    Model *m = make_model(&base, 18);
    Engine *g = make_engine(m, 2, 64);
    static Requests r;
    static Watched w;
    Error e = {0};
    r.n = 0;
    for (uint64_t i = 0; i < 5; i++) add_request(&r, i, 10, i, sampling_at(1, 6 + (int64_t)i));
    GenWatch watch = {.on_step = see_step, .on_token = see_token, .context = &w};
    w = (Watched){.limit = 1000};
    assert_true(engine_generate(g, r.list, r.n, r.results, &watch, &e));
    assert_int_equal(w.done, 5);
    assert_int_equal(w.tokens, 6 + 7 + 8 + 9 + 10);
    for (int64_t i = 0; i < r.n; i++) {
        assert_int_equal(w.n_seen[i], r.results[i].n_tokens);
        assert_memory_equal(w.seen[i], r.results[i].tokens, (size_t)w.n_seen[i] * sizeof(int32_t));
    }
    free_results(&r);
    w = (Watched){.limit = 8};
    assert_true(engine_generate(g, r.list, r.n, r.results, &watch, &e));
    int64_t finished = 0;
    for (int64_t i = 0; i < r.n; i++) finished += r.results[i].tokens != NULL;
    assert_int_equal(finished, w.done);
    assert_true(finished == 2);
    free_results(&r);
    assert_true(engine_generate(g, r.list, 0, r.results, NULL, &e));
    engine_free(g);
    model_free(m);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(packed_products_equal_the_plain_ones),
        cmocka_unit_test(greedy_equals_the_full_forward_pass),
        cmocka_unit_test(ternary_equals_the_full_forward_pass),
        cmocka_unit_test(prompts_longer_than_a_step),
        cmocka_unit_test(batch_composition_does_not_matter),
        cmocka_unit_test(samples_of_a_prompt_equal_separate_requests),
        cmocka_unit_test(answers_end_at_stop_tokens_limits_and_the_context),
        cmocka_unit_test(bad_requests_are_refused_by_number_before_anything_runs),
        cmocka_unit_test(engines_that_cannot_be_are_refused),
        cmocka_unit_test(weights_that_are_no_numbers_are_reported),
        cmocka_unit_test(watchers_see_every_token_and_can_stop),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
