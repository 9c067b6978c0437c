// log: two outputs. For a person: messages and one status line on stderr (in place on a terminal, a plain line at most
// every 5 s otherwise). For machines: one JSON object per line in log.jsonl. Tests and plots read only the second.
#pragma once
#include "core/base/json.h"

void log_set_quiet(bool quiet);  // --quiet: no messages, no status line; errors stay
void log_info(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_warn(const char *format, ...) __attribute__((format(printf, 1, 2)));
void log_error(const char *format, ...) __attribute__((format(printf, 1, 2))); // never silenced

// Event sink (log.jsonl), append mode, one write() per line. NULL closes.
bool log_open_events(const char *path, Error *e);
// Takes the reference of `fields` (a JSON object); adds "event" first and "time" (seconds since the epoch, 3 decimals)
// last. NULL (what json_pack gives when a number is NaN or a text is no UTF-8) is logged as "fields": null.
void log_event(const char *event, json_t *fields);

// A status line with rate and ETA.  progress_start("ask", "traces", total, done_before); done_before counts work
// already finished by an earlier run and does not enter the rate. total 0 = unknown.
typedef struct Progress {
    const char *stage, *unit;
    double total, done, done_before, started, printed;
} Progress;
void progress_start(Progress *p, const char *stage, const char *unit, double total, double done_before);
// note: short text such as "loss 1.234 lr 3e-4" (may be NULL). `done` is the new absolute count.
void progress_update(Progress *p, double done, const char *note);
void progress_end(Progress *p, const char *note); // leaves a final line: amount, seconds, mean rate

double now_seconds(void); // monotonic
