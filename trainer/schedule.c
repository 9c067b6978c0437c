#include "trainer/schedule.h"

#include <math.h>
#include <string.h>

// Position in [0,1] after warm-up -> share of the way from peak (1) to floor (0).
static double shape(const TrainConfig *c, double x) {
    if (!strcmp(c->lr_schedule, "linear")) return 1 - x;
    if (!strcmp(c->lr_schedule, "cosine")) return 0.5 * (1 + cos(3.141592653589793 * x));
    return 1; // constant
}

double learning_rate_at(const TrainConfig *c, int64_t step, int64_t total) {
    double warmup = floor(c->warmup_ratio * (double)total), t = (double)step;
    if (t < warmup) return c->learning_rate * (t + 1) / (warmup + 1);
    double floor_rate = c->learning_rate * c->min_lr_ratio, level;
    if (!strcmp(c->lr_schedule, "wsd")) {
        double decay = fmax(1, floor(c->decay_ratio * (double)total)), left = (double)total - t;
        level = fmin(1, left / decay);
    } else {
        level = shape(c, (t - warmup) / fmax(1, (double)total - warmup));
    }
    return floor_rate + (c->learning_rate - floor_rate) * level;
}
