// trainer: the one public header of the training loop.
#pragma once
#include "core/base/program.h"

typedef struct TrainConfig {
#define CFG_FILE "trainer/train.def"
#include "core/base/config_struct.h"
} TrainConfig;

extern const ConfigTable train_table;

// Trains as the config says; resumes by itself; fills e and returns the exit code.
int train(const TrainConfig *config, const Options *options, Error *e);
