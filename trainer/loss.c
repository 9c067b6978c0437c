#include "trainer/loss.h"

#include <stdlib.h>
#include <string.h>

static const LossRow loss_rows[] = {
#define LOSS(name, pairs, teacher, every_token) {#name, pairs, teacher, every_token},
#include "trainer/loss.def"
#undef LOSS
};

const LossRow *loss_find(const char *name) {
    for (size_t i = 0; i < COUNT_OF(loss_rows); i++)
        if (!strcmp(loss_rows[i].name, name)) return &loss_rows[i];
    die("loss %s is in no row", name);
}

void micro_batch_init(MicroBatch *b, int64_t max_tokens) {
    size_t n = (size_t)max_tokens;
    *b = (MicroBatch){.max_tokens = max_tokens};
    b->tokens = xcalloc(n, sizeof *b->tokens), b->positions = xcalloc(n, sizeof *b->positions),
    b->starts = xcalloc(n + 1, sizeof *b->starts);
    b->targets = xcalloc(n, sizeof *b->targets), b->weights = xcalloc(n, sizeof *b->weights),
    b->logprobs = xcalloc(n, sizeof *b->logprobs);
    b->side = xcalloc(n, sizeof *b->side);
    b->batch = (Batch){.tokens = b->tokens, .positions = b->positions, .starts = b->starts};
}

void micro_batch_free(MicroBatch *b) {
    free(b->tokens), free(b->positions), free(b->starts), free(b->targets), free(b->weights), free(b->logprobs),
        free(b->side);
}

void micro_batch_clear(MicroBatch *b) { b->batch.n_tokens = b->batch.n_docs = b->n_items = 0; }

bool micro_batch_fits(const MicroBatch *b, int64_t tokens, int64_t documents) {
    return b->batch.n_tokens + tokens <= b->max_tokens && b->batch.n_docs + documents <= b->max_tokens;
}

// Target i is predicted from position i - 1, so token 0 is never a target.
static int64_t count_targets(const uint8_t *mask, int64_t n, bool every_token) {
    if (every_token) return n - 1;
    int64_t count = 0;
    for (int64_t i = 1; i < n; i++) count += mask[i];
    return count;
}

int64_t loss_item_targets(const Dataset *d, int64_t item, const LossRow *loss, int32_t *scratch_tokens,
                          uint8_t *scratch_mask) {
    int64_t n = dataset_read(d, item, 0, scratch_tokens, scratch_mask);
    return count_targets(scratch_mask, n, loss->every_token);
}

static void add_document(MicroBatch *b, const Dataset *d, int64_t item, int which, const LossRow *loss, double scale,
                         double redi_alpha) {
    int64_t at = b->batch.n_tokens;
    uint8_t *mask = xmalloc((size_t)b->max_tokens);
    int64_t n = dataset_read(d, item, which, b->tokens + at, mask);
    int64_t targets = count_targets(mask, n, loss->every_token);
    double weight = loss->pairs ? scale / (double)MAX(targets, 1) * (which ? -redi_alpha : 1) : scale;
    for (int64_t i = 0; i < n; i++) {
        bool trained = i + 1 < n && (loss->every_token || mask[i + 1]);
        b->positions[at + i] = (int32_t)i;
        b->targets[at + i] = trained ? b->tokens[at + i + 1] : -1;
        b->weights[at + i] = trained ? (float)weight : 0;
        b->side[at + i] = (int8_t)which;
    }
    free(mask);
    b->starts[b->batch.n_docs++] = (int32_t)at;
    b->batch.n_tokens += n;
    b->starts[b->batch.n_docs] = (int32_t)b->batch.n_tokens;
}

void micro_batch_add(MicroBatch *b, const Dataset *d, int64_t item, const LossRow *loss, double scale,
                     double redi_alpha) {
    for (int which = 0; which < (loss->pairs ? 2 : 1); which++)
        add_document(b, d, item, which, loss, scale, redi_alpha);
    b->n_items++;
}

void head_init(Head *h, const Model *m, const Model *teacher, const Ops *ops, int64_t max_tokens) {
    int64_t V = m->config.vocab_size, C = m->config.hidden_size;
    // 64 MiB of logits per chunk at most, but never so few rows that the matrix product starves
    int64_t chunk = CLAMP((int64_t)(16 << 20) / V, 256, 4096);
    chunk = MIN(chunk, max_tokens);
    *h = (Head){.model = m, .teacher = teacher, .ops = ops, .chunk = chunk};
    h->rows = xcalloc((size_t)(chunk * C), sizeof(float)), h->drows = xcalloc((size_t)(chunk * C), sizeof(float));
    h->logits = xcalloc((size_t)(chunk * V), sizeof(float));
    h->weights = xcalloc((size_t)chunk, sizeof(float)), h->logprobs = xcalloc((size_t)chunk, sizeof(float)),
    h->kl = xcalloc((size_t)chunk, sizeof(float));
    h->targets = xcalloc((size_t)chunk, sizeof *h->targets), h->index = xcalloc((size_t)max_tokens, sizeof *h->index);
    if (!teacher) return;
    h->teacher_rows = xcalloc((size_t)(chunk * teacher->config.hidden_size), sizeof(float));
    h->teacher_logits = xcalloc((size_t)(chunk * V), sizeof(float)),
    h->student_logits = xcalloc((size_t)(chunk * V), sizeof(float));
}

void head_free(Head *h) {
    free(h->rows), free(h->drows), free(h->logits), free(h->weights), free(h->logprobs), free(h->kl), free(h->targets),
        free(h->index);
    free(h->teacher_rows), free(h->teacher_logits), free(h->student_logits);
}

static void gather(float *to, const float *from, const int64_t *index, int64_t n, int64_t C) {
    for (int64_t i = 0; i < n; i++) memcpy(to + i * C, from + index[i] * C, (size_t)C * sizeof *to);
}

// logits of the chunk become d(loss)/d(logits); logprobs are those of the student at temperature 1.
static void chunk_loss(Head *h, const float *teacher_hidden, const int64_t *index, int64_t n, LossSums *sums) {
    int64_t V = h->model->config.vocab_size;
    if (!h->teacher) {
        h->ops->cross_entropy(h->logits, h->logprobs, h->targets, h->weights, n, V);
        for (int64_t i = 0; i < n; i++) sums->loss -= (double)h->weights[i] * h->logprobs[i];
        return;
    }
    memcpy(h->student_logits, h->logits, (size_t)(n * V) * sizeof(float));
    gather(h->teacher_rows, teacher_hidden, index, n, h->teacher->config.hidden_size);
    model_logits(h->teacher, h->ops, h->teacher_rows, n, h->teacher_logits);
    // cross-entropy runs on the full weights, because a weight of 0 would skip a row and leave its logprob unset; then
    // its gradient is scaled
    h->ops->cross_entropy(h->logits, h->logprobs, h->targets, h->weights, n, V);
    float ce_share = (float)(1 - h->kd_alpha);
    for (int64_t i = 0; i < n * V; i++) h->logits[i] *= ce_share;
    float *kd_weights = h->drows; // free until the backward product; chunk*C >= chunk
    for (int64_t i = 0; i < n; i++) kd_weights[i] = h->weights[i] * (float)h->kd_alpha;
    h->ops->kl_forward_loss(h->logits, h->kl, h->student_logits, h->teacher_logits, kd_weights,
                            (float)h->kd_temperature, n, V);
    for (int64_t i = 0; i < n; i++) {
        sums->kl += (double)h->weights[i] * h->kl[i];
        sums->loss += (double)kd_weights[i] * h->kl[i] - (1 - h->kd_alpha) * (double)h->weights[i] * h->logprobs[i];
    }
}

static void sum_documents(const MicroBatch *b, LossSums *sums) {
    for (int64_t d = 0; d < b->batch.n_docs; d++) {
        double sum = 0, count = 0;
        for (int64_t i = b->starts[d]; i < b->starts[d + 1]; i++)
            if (b->weights[i] != 0) sum += b->logprobs[i], count++;
        int side = b->side[b->starts[d]];
        if (count > 0) sums->logprob[side] += sum / count, sums->documents[side]++;
        sums->targets += count;
    }
}

void head_pass(Head *h, MicroBatch *b, const float *hidden, const float *teacher_hidden, float *dhidden, float *grads,
               LossSums *sums) {
    const Model *m = h->model;
    int64_t N = b->batch.n_tokens, C = m->config.hidden_size, V = m->config.vocab_size, n_rows = 0;
    const Weight *head_weight =
        model_weight(m, m->config.tie_word_embeddings ? "model.embed_tokens.weight" : "lm_head.weight");
    memset(dhidden, 0, (size_t)(N * C) * sizeof *dhidden);
    for (int64_t i = 0; i < N; i++)
        if (b->weights[i] != 0) h->index[n_rows++] = i;
    for (int64_t at = 0; at < n_rows; at += h->chunk) {
        int64_t n = MIN(h->chunk, n_rows - at);
        const int64_t *index = h->index + at;
        gather(h->rows, hidden, index, n, C);
        for (int64_t i = 0; i < n; i++) h->targets[i] = b->targets[index[i]], h->weights[i] = b->weights[index[i]];
        model_logits(m, h->ops, h->rows, n, h->logits);
        chunk_loss(h, teacher_hidden, index, n, sums);
        h->ops->matmul_backward_input(h->drows, h->logits, model_head(m), n, C, V, false);
        h->ops->matmul_backward_weight(grads + head_weight->offset, NULL, h->logits, h->rows, n, C, V);
        for (int64_t i = 0; i < n; i++) {
            memcpy(dhidden + index[i] * C, h->drows + i * C, (size_t)C * sizeof *dhidden);
            b->logprobs[index[i]] = h->logprobs[i];
        }
    }
    sum_documents(b, sums);
}
