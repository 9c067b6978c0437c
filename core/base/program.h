// program: the same command line for every program: `bin/distill ask --config FILE.yaml key=value ...`, --help,
// --version, --print-config, --dry-run, --json, --quiet, --overwrite. Examples come first in --help.
#pragma once
#include "core/base/run.h"

typedef struct Options {
    bool dry_run, json, quiet, overwrite; // overwrite: redo a folder made with another config
} Options;

typedef struct Command {
    const char *name;    // "ask"; "" for a program with a single command
    const char *about;   // one line
    const char *examples;// lines shown first in --help
    ConfigTable table;
    // Returns an exit code; on failure fills e. config points to the command's struct.
    int (*run)(const void *config, const Options *options, Error *e);
    // Optional: a positional argument `FILE` is stored under this key (e.g. "model" for `tristill chat student.gguf`).
    const char *positional;
} Command;

// Parses argv, runs the command, prints errors, returns the exit code. `program`: "distill".
int program_main(int argc, char **argv, const char *program, const char *about, const Command *commands,
                 size_t n_commands);
