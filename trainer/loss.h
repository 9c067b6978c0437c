// loss: from hidden states to a scalar and d/d(hidden), in chunks of rows, so that [N, V] logits never exist at once.
// Every loss is a weighted sum over target tokens, the weights carrying the normalisation (global count of trained
// tokens, or of pairs):
//   pretrain, sft   1/n_tokens of the step
//   redi            1/(P |y_w|) on chosen tokens, -alpha/(P |y_l|) on rejected ones      (REDI, arXiv 2505.24850, Eq.
//   5) kd              1/n_tokens on tau^2 KL(teacher || student)                            (Hinton et al. 2015)
// so that any split of a step into micro-batches gives the same loss and gradient up to rounding.
#pragma once
#include "core/model/model.h"
#include "trainer/dataset.h"

typedef struct LossRow {
    const char *name;
    bool pairs, teacher, every_token;
} LossRow;
const LossRow *loss_find(const char *name); // dies for a name that is no row: the config table already refused it

// A micro-batch with targets and weights; arrays sized once for max_tokens.
typedef struct MicroBatch {
    Batch batch;
    int32_t *tokens, *positions, *starts;
    int32_t *targets; // [N] next token of the same document, -1 at its end
    float *weights;   // [N] see above; 0 = not trained
    float *logprobs;  // [N] filled by loss_head for trained positions
    int8_t *side;     // [N] 0 chosen or plain, 1 rejected
    int64_t max_tokens, n_items;
} MicroBatch;
void micro_batch_init(MicroBatch *b, int64_t max_tokens);
void micro_batch_free(MicroBatch *b);
void micro_batch_clear(MicroBatch *b);
bool micro_batch_fits(const MicroBatch *b, int64_t tokens, int64_t documents);
// Appends an item (one document or both sides of a pair). `scale` is 1/n_tokens or 1/n_pairs of the whole step.
void micro_batch_add(MicroBatch *b, const Dataset *d, int64_t item, const LossRow *loss, double scale,
                     double redi_alpha);
// Trained tokens of an item under this loss.
int64_t loss_item_targets(const Dataset *d, int64_t item, const LossRow *loss, int32_t *scratch_tokens,
                          uint8_t *scratch_mask);

typedef struct LossSums { // over the micro-batches of a step, double
    double loss;          // the value that is minimised
    double logprob[2];    // sum over documents of the mean log-probability per token: [0] chosen or plain, [1] rejected
    double documents[2];
    double kl, targets;
} LossSums;

typedef struct Head {             // scratch and settings of the head pass
    const Model *model, *teacher; // teacher NULL unless kd
    const Ops *ops;
    double kd_alpha, kd_temperature;
    int64_t chunk; // rows per chunk
    float *rows, *drows, *logits, *teacher_rows, *teacher_logits, *student_logits, *kl, *weights, *logprobs;
    int32_t *targets;
    int64_t *index;
} Head;
void head_init(Head *h, const Model *m, const Model *teacher, const Ops *ops, int64_t max_tokens);
void head_free(Head *h);
// hidden, teacher_hidden (NULL without a teacher) [N,C]; dhidden [N,C] is overwritten; grads gets the head's gradient.
void head_pass(Head *h, MicroBatch *b, const float *hidden, const float *teacher_hidden, float *dhidden, float *grads,
               LossSums *sums);
