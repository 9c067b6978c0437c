// run_history: for run.c alone.
#pragma once
#include "core/base/json.h"

// Seconds that earlier sessions spent, from log.jsonl (absent: 0). A torn last line is cut off the file.
bool run_history(const char *path, double *seconds, Error *e);
