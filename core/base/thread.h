// thread: a fixed pool and one way to use it. Work is split into a fixed number of parts by the caller, never by the
// number of threads, wherever the order of additions matters: that is what makes results independent of the machine's
// cores.
#pragma once
#include "core/base/base.h"

// Number of worker threads (including the caller). Default: online cores; set once at start (config key `threads`,
// 0 = default).
void threads_set(int n);
int threads_count(void);

typedef void (*PartFn)(void *context, int64_t part);
// Runs fn(context, 0..n_parts-1), parts handed out dynamically; returns when all are done. Not re-entrant: a nested
// call runs serially.
void parallel_for(int64_t n_parts, PartFn fn, void *context);
// Ranges: fn(context, begin, end) over [0, n) in chunks of `grain` items.
typedef void (*RangeFn)(void *context, int64_t begin, int64_t end);
void parallel_range(int64_t n, int64_t grain, RangeFn fn, void *context);
