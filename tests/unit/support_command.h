// support_command: runs a command of a program inside the test, and looks at the records it wrote. Failures end the
// test.
#pragma once
#include "core/base/program.h"
#include "core/data/record.h"
#include "tests/unit/support_files.h"

// format, ...: the config as JSON in which ' stands for ".
void run_ok(const Command *command, const char *format, ...) __attribute__((format(printf, 2, 3)));
// The command must fail with this exit code and a text that contains `part`.
void run_fails(const Command *command, int code, const char *part, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

json_t *records_of(const char *path);                         // all records of a file; a new reference
json_t *run_record(const char *run_folder);                   // its run.json; a new reference
const char *text_of(const json_t *object, const char *field); // members that must be there
int64_t number_of(const json_t *object, const char *field);
const char *content_of(const json_t *record, size_t index); // of messages[index]
void assert_same_file(const char *a, const char *b, bool same);
