// yaml: what config.c and yaml.c share: strict YAML text -> JSON with every problem collected. Others use config.h.
#pragma once
#include "core/base/json.h"

enum { YAML_MAX_FILE = 16 << 20 }; // bytes; a config is no data file

// One line per problem, so that a user sees all of them at once.
typedef struct Problems {
    Buf lines;
    size_t count;
} Problems;
// "place:line: key: text" (line 0 and an empty key are left out).
void problem_add(Problems *p, const char *place, int line, const char *key, const char *format, ...)
    __attribute__((format(printf, 5, 6)));
// Moves all problems into e (EXIT_USAGE; what does not fit is counted) and frees them; true when there were none.
bool problems_report(Problems *p, Error *e);

// New reference (JSON null for an empty document), or NULL when the text cannot be read further. Either way the
// problems found are added.
json_t *yaml_parse(const char *text, size_t length, const char *place, json_t *lines, Problems *problems);
// The type and value of a plain scalar by the YAML 1.2 core schema; NULL = an integer beyond 64 bits or text that is
// not UTF-8.
json_t *yaml_plain_scalar(const char *text);
// True when the key names a secret or the text looks like one: such things come from the environment or a file only.
bool is_secret(const char *key, const char *text);
#define SECRET_PROBLEM "looks like a secret; give secrets by environment variable or file only, never in a config"
