// tools: the commands of the program `tristill`, one file each; main.c makes the command line of them.
#pragma once
#include "core/base/program.h"

int run_command(const void *config, const Options *options, Error *e);
// Takes "stage.key=value" arguments out of argv for run_command and turns "--from STAGE" into "from=STAGE"; the rest is
// program_main's.
void run_take_arguments(int *argc, char **argv);
int eval_command(const void *config, const Options *options, Error *e);
int generate_command(const void *config, const Options *options, Error *e);
int chat_command(const void *config, const Options *options, Error *e);
// Turns the FILE arguments of `inspect` into one "files=[...]".
void inspect_take_arguments(int *argc, char **argv);
int inspect_command(const void *config, const Options *options, Error *e);
int report_command(const void *config, const Options *options, Error *e);
int doctor_command(const void *config, const Options *options, Error *e);

// Their rows (tools/<command>.def).
extern const ConfigTable run_table, eval_table, generate_table, chat_table, inspect_table, report_table, doctor_table;
