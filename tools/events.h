// events: reading log.jsonl, also one that a crash cut short.
#pragma once
#include "core/base/json.h"

// Calls fn with every event of the file in order; a torn last line is left out. A missing file has no events.
typedef void (*EventFn)(void *context, const char *event, const json_t *fields);
bool events_each(const char *path, EventFn fn, void *context, Error *e);
