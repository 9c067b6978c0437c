// score: the logits that generation would see along a given text. Must not know: how a layer computes (infer.c), what
// they are for.
#include <string.h>

#include "core/model/engine.h"

bool engine_logits(Engine *g, const int32_t *tokens, int64_t n, float *logits, Error *e) {
    const ModelConfig *c = &g->model->config;
    int64_t most = MIN(g->options.max_context, ENGINE_CHUNK), C = c->hidden_size, V = c->vocab_size;
    if (n < 1 || n > most)
        return fail(e, EXIT_DATA, "a text of %lld tokens; 1 to %lld are possible", (long long)n, (long long)most);
    for (int64_t t = 0; t < n; t++) {
        if (tokens[t] < 0 || tokens[t] >= V)
            return fail(e, EXIT_DATA, "token %lld is %d; the model's vocabulary has %lld", (long long)t, tokens[t],
                        (long long)V);
        g->tokens[t] = tokens[t];
        g->positions[t] = (int32_t)t;
        g->slots[t] = 0;
    }
    g->starts[0] = 0, g->starts[1] = (int32_t)n;
    engine_step(g, n, 1);
    for (int64_t begin = 0; begin < n; begin += g->options.max_batch) { // the head serves max_batch rows at a time
        int64_t rows = MIN(g->options.max_batch, n - begin);
        if (begin > 0) memmove(g->x, g->x + begin * C, (size_t)(rows * C) * sizeof(float));
        engine_head(g, rows);
        memcpy(logits + begin * V, g->logits, (size_t)(rows * V) * sizeof(float));
    }
    return true;
}
