// stage: what every datagen command does the same way: plan, open, read record files, count what it drops, close.
// Must not know: what any command is for.
#pragma once
#include "core/base/program.h"
#include "core/data/record.h"

// ---- the life of a stage ----
typedef struct Stage {
    Run run;
    const Options *options;
    StrList reads, writes; // paths; names inside the run folder
} Stage;
// Does the work into the open folder; run_output and run_finish are not its business.
typedef bool (*StageWork)(Stage *s, const void *config, Error *e);

void stage_open(Stage *s, const char *program, const ConfigTable *table, const void *config, const char *out,
                const Options *options);
void stage_reads(Stage *s, const char *path);
void stage_reads_all(Stage *s, const StrList *paths);
void stage_writes(Stage *s, const char *name);
// --dry-run: prints what would be read and written and fails when an input is missing. Otherwise hashes the inputs,
// opens the folder, works unless the folder is complete already, finishes. Frees the stage; returns the exit code.
int stage_run(Stage *s, StageWork work, const void *config, Error *e);
char *stage_path(const Stage *s, const char *name); // in the run folder; malloc'ed

// ---- reading ----
typedef struct RecordPlace {
    const char *path;
    int64_t file, index; // which file of the list; which record of the file
    char text[600];      // "path: record 12", for error texts
} RecordPlace;
typedef bool (*StageRecordFn)(void *context, json_t *record, const RecordPlace *place, Error *e);
// Every record of every file, in order; ends early with EXIT_STOPPED when a stop was requested.
bool stage_each_record(const StrList *paths, StageRecordFn fn, void *context, Error *e);
// The id every record must have (32 hex digits by custom; any text is accepted).
bool record_name(const json_t *record, const RecordPlace *place, const char **id, Error *e);

// ---- writing ----
// A record file written whole; a frame per STAGE_FRAME records.
enum { STAGE_FRAME = 4096 };
typedef struct Sink {
    RecordWriter *writer;
    int64_t n;
} Sink;
bool sink_open(Sink *s, const Stage *stage, const char *name, Error *e);
bool sink_write(Sink *s, json_t *record, Error *e); // takes the reference
bool sink_close(Sink *s, Error *e);                 // commits; harmless when nothing is open
// After a failure: what was written so far stays, uncounted, and is overwritten by the next run.
void sink_abandon(Sink *s);

// dropped.jsonl.zst: {"id","stage","reason","detail"?}, counted by reason.
typedef struct Drops {
    Sink sink;
    const char *stage;
    json_t *reasons; // reason -> count
} Drops;
#define DROPPED_FILE "dropped.jsonl.zst"
bool drops_open(Drops *d, const Stage *stage, const char *name, Error *e);
bool drops_add(Drops *d, const char *id, const char *reason, const char *detail, Error *e); // detail may be NULL
bool drops_close(Drops *d, Error *e);
// Enters read, kept, dropped and each reason into the run's counts; read = kept + dropped is an invariant.
void stage_count(Stage *s, int64_t n_read, int64_t n_kept, const Drops *d);
void drops_free(Drops *d);
