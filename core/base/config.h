// config: one table row per parameter of a command: struct field, key, default, bounds, help, banner, resolved YAML.
// YAML is strict: unknown key, wrong type, out of range, duplicates, anchors, aliases and tags are errors with line
// numbers and "did you mean"; all errors are reported at once.
//
// A command declares its rows in one .def file:
//     CFG_TEXT(out, REQUIRED, "run folder to write")
//     CFG_INT(max_steps, "1000", 1, 1e9, "optimizer steps")
//     CFG_REAL(learning_rate, "1e-3", 0, 1, "peak learning rate")
//     CFG_BOOL(resume, "true", "go on from the newest complete checkpoint")
//     CFG_PICK(lr_schedule, "cosine", "cosine|linear|wsd|constant", "shape of the learning rate")
//     CFG_LIST(data, "", "token shards, in order")            // default: comma-separated text
// Defaults are text, parsed like the YAML value would be; REQUIRED means the user must give one.
// and makes struct and table from it:
//     typedef struct TrainConfig {
//     #define CFG_FILE "trainer/train.def"
//     #include "core/base/config_struct.h"
//     } TrainConfig;
//     static const ConfigRow train_rows[] = {
//     #define CFG_FILE "trainer/train.def"
//     #define CFG_STRUCT TrainConfig
//     #include "core/base/config_rows.h"
//     };
// Field types: INT int64_t, REAL double, BOOL bool, TEXT char * (never NULL; "" when empty), PICK char *, LIST StrList.
#pragma once
#include "core/base/json.h"

#define REQUIRED NULL

typedef enum ConfigType {
    CFG_TYPE_INT,
    CFG_TYPE_REAL,
    CFG_TYPE_BOOL,
    CFG_TYPE_TEXT,
    CFG_TYPE_PICK,
    CFG_TYPE_LIST
} ConfigType;

typedef struct ConfigRow {
    const char *key;
    ConfigType type;
    size_t offset;
    const char *fallback; // default as it would be written in YAML; NULL = required
    double min, max;      // numbers only
    const char *choices;  // "a|b|c", PICK only
    const char *help;
} ConfigRow;

typedef struct ConfigTable {
    const ConfigRow *rows;
    size_t n_rows, size; // size of the struct
} ConfigTable;
#define CONFIG_TABLE(rows_array, type) {(rows_array), COUNT_OF(rows_array), sizeof(type)}

// Fills *config: defaults < YAML file (NULL = none) < "key=value" overrides. Integers accept the field's units: k =
// 1024 for what is counted in tokens or bytes by habit ("32k" = 32768, as in "32k context"), Ki/Mi/Gi and KiB/MiB/GiB
// (powers of 1024), K/M/G (powers of 1000). On failure e holds every error, a line each, "file.yaml:12: key: what is
// wrong; what to do".
bool config_parse(const ConfigTable *table, const char *yaml_path, char *const *overrides, size_t n_overrides,
                  void *config, Error *e);
// From a JSON object (what the recipe runner hands on); `place` opens the error texts.
bool config_from_json(const ConfigTable *table, const json_t *object, const char *place, void *config, Error *e);
void config_free(const ConfigTable *table, void *config);

// Resolved values as YAML text (--print-config, config.resolved.yaml) and as a JSON object (run.json). Same order as
// the rows.
void config_to_yaml(const ConfigTable *table, const void *config, Buf *out);
json_t *config_to_json(const ConfigTable *table, const void *config);
// Help text of all rows: key, default, range, help.
void config_help(const ConfigTable *table, Buf *out);

// Strict YAML file -> JSON value (mappings, sequences, scalars typed by YAML 1.2 core schema), for recipes.
// Line numbers of mapping keys are kept in *lines (JSON object: "a.b[2].c" -> line) when lines != NULL.
json_t *yaml_read_file(const char *path, json_t **lines, Error *e);

// The closest of `names` to `word` (Damerau-Levenshtein <= 2 or shared prefix), or NULL: for "did you mean".
const char *did_you_mean(const char *word, const char *const *names, size_t count);
