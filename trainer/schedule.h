// schedule: the learning rate as a pure function of the step.
#pragma once
#include "trainer/trainer.h"

// Rate for 0-based `step` of `total`.
double learning_rate_at(const TrainConfig *c, int64_t step, int64_t total);
