// dataset: what one step trains on. Shards or pairs behind one face: items of one document (shards) or two (chosen,
// rejected). The order is a pure function of (seed, epoch); the position in it is two integers. Must not know: losses,
// models.
#pragma once
#include "core/data/chat.h"
#include "core/data/shard.h"
#include "trainer/trainer.h"

typedef struct Dataset Dataset;
// Opens the shards of c->data or tokenizes the records of c->pairs. Refuses: another tokenizer than the model's,
// samples without trained tokens, documents longer than a micro-batch (named, with the length).
Dataset *dataset_open(const TrainConfig *c, const char *tokenizer_folder, int64_t max_tokens, Error *e);
void dataset_close(Dataset *d);
bool dataset_is_pairs(const Dataset *d);
int64_t dataset_items(const Dataset *d);
int64_t dataset_tokens(const Dataset *d); // of one epoch
// Tokens of an item (both documents of a pair).
int64_t dataset_item_tokens(const Dataset *d, int64_t item);
// Document `which` (0; or 0 chosen, 1 rejected) of an item: returns its length; tokens and mask may be NULL.
int64_t dataset_read(const Dataset *d, int64_t item, int which, int32_t *tokens, uint8_t *mask);
void dataset_item_name(const Dataset *d, int64_t item, char *out, size_t size); // for messages

// Where training stands in the data.
typedef struct Cursor {
    int64_t epoch, position;
} Cursor;
// The items of the next step (as many as fit in batch_tokens, or batch_pairs); advances the cursor. items has room for
// dataset_step_items.
int64_t dataset_next(Dataset *d, Cursor *at, int64_t *items);
int64_t dataset_step_items(const Dataset *d); // upper bound on items per step
// Steps in `epochs` passes (the last one may be partial).
int64_t dataset_steps(Dataset *d, double epochs);
