// infer: generation from one loaded model: batched prefill, continuous batching of the decode step, KV cache per
// sequence, prefix computed once for the n samples of a prompt. Float and ternary models alike (ternary: packed 2-bit
// weights, int8 activations). For a given list of requests the results are a pure function of model, requests and
// max_batch: never of time or threads.
#pragma once
#include "core/model/model.h"

typedef struct Sampling {      // in this order (Hugging Face's): penalties, temperature, top-k, top-p, min-p, then draw
    double temperature;        // 0 = greedy
    double top_p;              // 1 = off
    int64_t top_k;             // 0 = off
    double min_p;              // 0 = off
    double repetition_penalty; // 1 = off
    int64_t max_tokens;
    uint64_t seed;
} Sampling;

typedef struct GenRequest {
    const int32_t *prompt;
    int64_t n_prompt;
    Sampling sampling;
    uint64_t stream;            // sub-stream of RNG_SAMPLE: same (seed, stream) and prompt -> same text
    const int32_t *stop_tokens; // ends generation; the stop token is part of the result
    int64_t n_stop;
} GenRequest;

typedef struct GenResult {
    int32_t *tokens; // malloc'ed
    float *logprobs; // of the chosen tokens, under the unmodified distribution
    int64_t n_tokens, n_prompt;
    bool stopped; // ended by a stop token; false = max_tokens or context full ("length")
} GenResult;
void gen_result_free(GenResult *r);

typedef struct Engine Engine;
typedef struct EngineOptions {
    int64_t max_batch;   // sequences decoded together
    int64_t max_context; // tokens per sequence, prompt included
} EngineOptions;
Engine *engine_create(const Model *m, const EngineOptions *o, Error *e);
int64_t engine_bytes(const Model *m, const EngineOptions *o); // the plan
void engine_free(Engine *g);

// Called after each decode step: `done` sequences finished so far, `tokens` generated so far. Return false to stop
// early (results then hold what was finished; unfinished ones have tokens = NULL). For one request, on_token is called
// per token (chat).
typedef struct GenWatch {
    bool (*on_step)(void *context, int64_t done, int64_t tokens);
    bool (*on_token)(void *context, int64_t request, int32_t token);
    void *context;
} GenWatch;
bool engine_generate(Engine *g, const GenRequest *requests, int64_t n, GenResult *results, const GenWatch *watch,
                     Error *e);

// Logits after each token of one text, by the same steps as generation: logits[n, V]. n at most max_context and 1024.
bool engine_logits(Engine *g, const int32_t *tokens, int64_t n, float *logits, Error *e);

// Chooses a token from logits[V] (scratch: overwritten). history: prompt + generated so far (repetition penalty).
// position: index for the RNG; generation uses the token's place in the text, n_history. The draw is rng_uniform(seed,
// RNG_SAMPLE | stream << 8, position), so that 56 bits of the stream count. Greedy takes the lowest id of the maxima;
// top-k keeps what equals the k-th; top-p breaks ties by id. *logprob: natural logarithm under the unmodified
// distribution. -1: a logit is NaN or +inf, or none is finite.
int32_t sample_token(float *logits, int64_t V, const Sampling *s, const int32_t *history, int64_t n_history,
                     uint64_t stream, uint64_t position, float *logprob);
