// logits: owns the comparison of what two models say about the same texts. Must not know: files.
//
// Training multiplies fake-quantised float32 activations with code x scale; an export multiplies int8 activations with
// 2-bit codes. Both mean the same numbers, but float32 rounding moves an activation across a rounding boundary of its
// int8 code now and then, and that code then is off by one. The bound on the relative RMS difference of the logits
// supposes the worst, that in each of the R = 4 L reads of quantised activations every code is off by one: one code is
// max|x|/127, so that a read is off by crest/127 relative to its RMS, where crest = max|x|/RMS(x). Reads add up like
// independent errors: bound = sqrt(4 L) crest/127 with crest = 8, which rows of Gaussian values exceed once in 10^15. A
// wrong order of rows, scale or activation gives differences near 1.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/model/infer.h"
#include "quant/quant.h"

static const double crest = 8;

typedef struct Sums {
    double difference, reference, largest; // sums of squares, largest absolute difference
    double engine_largest;
    int64_t n_tokens, agree;
} Sums;

static int64_t argmax(const float *x, int64_t n) {
    int64_t best = 0;
    for (int64_t i = 1; i < n; i++)
        if (x[i] > x[best]) best = i;
    return best;
}

static void add_rows(Sums *s, const float *training, const float *engine, const float *exported, int64_t n, int64_t V) {
    for (int64_t i = 0; i < n * V; i++) {
        double d = (double)exported[i] - training[i];
        s->difference += d * d;
        s->reference += (double)training[i] * training[i];
        s->largest = fmax(s->largest, fabs(d));
        s->engine_largest = fmax(s->engine_largest, fabs((double)exported[i] - engine[i]));
    }
    for (int64_t t = 0; t < n; t++) s->agree += argmax(training + t * V, V) == argmax(exported + t * V, V);
    s->n_tokens += n;
}

static void training_logits(const Model *m, Activations *a, const int32_t *tokens, int64_t n, float *logits) {
    int32_t *positions = xcalloc((size_t)n, sizeof *positions), starts[2] = {0, (int32_t)n};
    for (int64_t i = 0; i < n; i++) positions[i] = (int32_t)i;
    Batch b = {.n_tokens = n, .n_docs = 1, .tokens = tokens, .positions = positions, .starts = starts};
    model_logits(m, &ops_cpu, model_forward(m, &ops_cpu, a, &b), n, logits);
    free(positions);
}

typedef struct Three { // the trained model in training's arithmetic and in generation's, and the export in generation's
    const Model *trained;
    Activations *activations;
    Engine *engine, *exported;
    float *logits[3]; // [longest, V]
} Three;

static bool compare_text(Three *c, const int32_t *tokens, int64_t n, Sums *s, Error *e) {
    training_logits(c->trained, c->activations, tokens, n, c->logits[0]);
    if (!engine_logits(c->engine, tokens, n, c->logits[1], e) ||
        !engine_logits(c->exported, tokens, n, c->logits[2], e))
        return false;
    add_rows(s, c->logits[0], c->logits[1], c->logits[2], n, c->trained->config.vocab_size);
    return true;
}

static int64_t longest_text(const Texts *t) {
    int64_t longest = 2; // the engine's smallest context
    for (int64_t i = 0; i < t->n; i++) longest = MAX(longest, t->starts[i + 1] - t->starts[i]);
    return longest;
}

static bool compare_all(Three *c, const Texts *texts, Sums *s, Error *e) {
    for (int64_t i = 0; i < texts->n; i++) {
        if (stop_requested()) return fail(e, EXIT_STOPPED, "stopped; run again to start over");
        int64_t begin = texts->starts[i];
        if (!compare_text(c, texts->tokens.items + begin, texts->starts[i + 1] - begin, s, e)) return false;
    }
    return true;
}

bool compare_logits(const Model *trained, const Model *exported, const Texts *texts, LogitsReport *out, Error *e) {
    int64_t longest = longest_text(texts), V = trained->config.vocab_size;
    EngineOptions options = {.max_batch = 32, .max_context = longest};
    Three c = {.trained = trained, .engine = engine_create(trained, &options, e)};
    c.exported = c.engine ? engine_create(exported, &options, e) : NULL;
    bool ok = c.exported != NULL;
    Sums s = {0};
    if (ok) {
        c.activations = activations_create(trained, longest, false);
        for (int i = 0; i < 3; i++) c.logits[i] = xcalloc((size_t)(longest * V), sizeof(float));
        ok = compare_all(&c, texts, &s, e);
    }
    for (int i = 0; i < 3; i++) free(c.logits[i]);
    activations_free(c.activations);
    engine_free(c.engine);
    engine_free(c.exported);
    *out = (LogitsReport){.n_tokens = s.n_tokens,
                          .against_training = sqrt(s.difference / fmax(s.reference, 1e-300)),
                          .training_max = s.largest,
                          .agreement = (double)s.agree / (double)MAX(1, s.n_tokens),
                          .against_engine = s.engine_largest,
                          .bound = sqrt(4 * (double)trained->config.num_hidden_layers) * crest / 127};
    return ok;
}
