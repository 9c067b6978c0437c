// distill: what its three commands share: the life of a stage, prompts by id, traces as read from a file.
// Must not know: how answers are generated (core/ask) or compared (core/data/grader.h).
#pragma once
#include "core/base/program.h"
#include "core/data/grader.h"
#include "core/data/record.h"

extern const Command distill_ask_command, distill_grade_command, distill_select_command;

// ---- the life of a stage ----
typedef struct DistillStage {
    const char *program; // "distill ask"
    const ConfigTable *table;
    const char *out;
    int64_t threads;
    const char *inputs[2], *outputs[3];         // paths; names inside the run folder; NULL or "" = none
    bool (*plan)(const void *config, Error *e); // --dry-run: says on stdout what would be done
    bool (*work)(Run *run, const void *config, Error *e);
} DistillStage;
// Returns the exit code. A folder that is complete for this config and these inputs is left as it is.
int distill_run(const DistillStage *stage, const void *config, const Options *options, Error *e);

// ---- prompts ----
typedef struct Prompts {
    json_t *records; // array, in file order
    json_t *by_id;   // id -> index
} Prompts;
// The first `limit` prompt records of a file (0 = all). Each has an id of its own and messages that end with the user's
// turn.
bool prompts_read(Prompts *p, const char *path, int64_t limit, Error *e);
int64_t prompts_count(const Prompts *p);
const json_t *prompts_at(const Prompts *p, int64_t index);
int64_t prompts_find(const Prompts *p, const char *id); // -1: unknown
void prompts_free(Prompts *p);

// ---- traces ----
#define CUT_OFF_REASON "cut off at max_tokens" // verdict of a trace that did not end by itself
typedef struct Trace {                         // borrowed from the record
    const char *id, *prompt_id, *reasoning, *content;
    bool cut_off;         // finish_reason "length"
    bool thinking_closed; // false: it ended inside its reasoning
    int64_t n_tokens;     // usage.completion_tokens
} Trace;
// place: "file: record 12", opens the error texts.
bool trace_read(const json_t *record, const char *place, Trace *out, Error *e);
// The assistant's text: "<think>\n{reasoning}\n</think>\n\n{content}", as far as the trace got.
void trace_text(const Trace *t, Buf *out);

// Calls fn with each trace of a file; ends early with EXIT_STOPPED when a stop was requested.
typedef bool (*TraceFn)(void *context, const json_t *record, const Trace *trace, int64_t index, const char *place,
                        Error *e);
bool trace_each(const char *path, TraceFn fn, void *context, Error *e);

// ---- output files, written whole ----
typedef struct TraceSink {
    RecordWriter *writer;
    int64_t n;
} TraceSink;
bool trace_sink_open(TraceSink *s, const Run *run, const char *name, Error *e);
bool trace_sink_write(TraceSink *s, json_t *record, Error *e); // takes the reference
bool trace_sink_close(TraceSink *s, Error *e);                 // commits; harmless when nothing is open
void tally(json_t *counts, const char *name);                  // counts[name] += 1
