// checkpoint: the whole state of training, atomically: checkpoint-N/ with float32 master weights, AdamW moments, the
// place in the data, and COMPLETE with SHA-256s last. A checkpoint is never retired before a newer one stands.
#pragma once
#include "core/model/model.h"
#include "trainer/dataset.h"

typedef struct TrainState {
    Model *model;
    float *m, *v; // [n_params] AdamW moments
    int64_t step; // optimizer steps done
    Cursor cursor;
    int64_t tokens, targets; // seen so far
} TrainState;

// Writes folder/checkpoint-<step>, points folder/latest to it, keeps the newest `keep`.
bool checkpoint_save(const TrainState *s, const char *folder, int64_t keep, const char *tokenizer_folder, Error *e);
// Newest complete checkpoint whose hashes verify -> *s (model, m, v allocated here when found). *found tells; damaged
// ones are reported and passed over. False only for errors.
bool checkpoint_resume(TrainState *s, const char *folder, bool *found, Error *e);
