// run: the life of one stage of work: its folder, provenance, completion, and polite stopping.
// Folder layout: begun.json  config.resolved.yaml  log.jsonl  <outputs>  run.json  COMPLETE
// run.json: {"program","version","config":{...},"inputs":[{"path","sha256"}],"outputs":[{"path","sha256"}],
//            "counts":{...},"results":{...},"seconds","started"}; COMPLETE holds its SHA-256 and is written last.
#pragma once
#include "core/base/config.h"
#include "core/base/hash.h"
#include "core/base/log.h"

typedef struct Run {
    char *folder;
    const char *program; // "distill ask"
    const ConfigTable *table;
    json_t *config; // resolved
    char *yaml;     // the same as text
    int lock;       // descriptor that holds the folder's lock, -1 = none: two processes never work in one folder
    json_t *inputs, *outputs, *counts, *results;
    double started, seconds_before; // the latter: by earlier, interrupted runs of the same work (from log.jsonl)
} Run;

// How a stage goes: run_open -> run_input for each input -> run_begin -> work -> run_output/count/result -> run_finish
// -> run_close. run_open only remembers; nothing is written before run_begin.
void run_open(Run *run, const char *program, const ConfigTable *table, const void *config, const char *folder);
// Hashes a file or folder now; a missing one is an error (EXIT_DATA).
bool run_input(Run *run, const char *path, Error *e);

typedef enum RunState {
    RUN_ERROR,
    RUN_COMPLETE, // complete for exactly this config and these inputs, and every output's hash verifies: nothing to do
    RUN_FRESH,    // an empty folder
    RUN_RESUME    // begun earlier with the same config and inputs, not complete: go on from what is there
} RunState;
// Reads COMPLETE/run.json/begun.json. A folder made with another config or other inputs is an error that names each
// difference, unless `overwrite`: then it is emptied first (RUN_FRESH). Keys that cannot change the result (out,
// threads, max_seconds, log_every, when checkpoints are written and kept) may differ.
// A COMPLETE whose outputs no longer verify is reported; the folder moves aside (<folder>.damaged), the work is redone.
// A folder with files in it that no run made is an error, with `overwrite` too. Otherwise writes config.resolved.yaml
// and begun.json {"program","config","inputs"}, opens log.jsonl (append, event "start"), installs the stop signals.
RunState run_begin(Run *run, bool overwrite, Error *e);
void run_output(Run *run, const char *path);           // relative to the run folder; hashed at finish
void run_count(Run *run, const char *name, int64_t n); // "read", "kept", "dropped", ...
void run_result(Run *run, const char *name, json_t *value); // takes the reference; measured results
bool run_finish(Run *run, Error *e);                   // hashes outputs, writes run.json, then COMPLETE
void run_close(Run *run);                              // frees; without run_finish the work counts as unfinished

// Signals: SIGTERM, SIGINT and SIGUSR1 set a flag that every loop asks; the loop saves and ends with EXIT_STOPPED.
// A second SIGINT ends the process at once (130).
void stop_install(void);
bool stop_requested(void);
