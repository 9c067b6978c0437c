// report: the parts of `tristill report`: data finds and reads what the stages left, table and html tell it. Drawing is
// charts.h.
#pragma once
#include "core/base/config.h"
#include "tools/charts.h"

// ---- report_data.c: the run folders of a recipe ----
typedef struct StageData {
    char *name, *folder; // folder: where it is now
    json_t *run;         // run.json
    double seconds;
} StageData;

typedef struct ReportData {
    char *title, *runs;
    json_t *plan; // .stages/plan.json, NULL when the stages were run by hand
    StageData *stages;
    size_t n_stages;
    size_t *evals, n_evals; // indices of the `tristill eval` stages in table order
} ReportData;

// Finds every complete run folder directly below `runs` but `skip` (the report's own, a path; may be NULL), in the
// recipe's order. evals: stage names; empty = all of them. title "" = the recipe's name.
bool report_load(ReportData *d, const char *runs, const char *title, const StrList *evals, const char *skip, Error *e);
void report_free(ReportData *d);

bool stage_is(const StageData *s, const char *program); // "distill ask"; "trainer" for all losses
const json_t *stage_config(const StageData *s, const char *key);
const char *stage_config_text(const StageData *s, const char *key); // "" when absent
const json_t *stage_result(const StageData *s, const char *key);
double stage_number(const StageData *s, const char *key);              // a result; NaN when absent
const StageData *stage_last(const ReportData *d, const char *program); // NULL when there is none
const char *eval_name(const StageData *eval);
// Seconds of all stages that the evaluated model depends on, through the inputs in their run.json, each counted once;
// NaN when no stage made the model.
double seconds_behind(const ReportData *d, const StageData *eval);

// A field of the "step" events of log.jsonl over another ("tokens", "step"); index >= 0 takes that element of an array
// field. Steps that a resumed run logged again replace the earlier ones. Empty when never logged.
bool stage_series(const StageData *s, const char *x_field, const char *field, int index, Series *out, Error *e);

// ---- report_records.c: what the record files hold ----
typedef struct Lengths { // tokens per trace
    double *values;
    size_t n, capacity;
} Lengths;
bool trace_lengths(const StageData *grade, Lengths *positive, Lengths *negative, Error *e);

// Up to n records of each kind as JSON arrays (new references): answers joined with their "question"; traces; rewrites
// joined with their "original".
bool answer_samples(const StageData *eval, const char *label, int64_t n, json_t **out, Error *e);
bool trace_samples(const StageData *grade, const char *label, int64_t n, json_t **out, Error *e);
bool rewrite_samples(const StageData *rephrase, int64_t n, json_t **out, Error *e);

// Codes of every ternary tensor of the .gguf files that a stage wrote; group = its layer. Names are malloc'ed:
// stacks_free.
bool code_stacks(const StageData *stage, Stack **out, size_t *n, Error *e);
void stacks_free(Stack *stacks, size_t n);

// ---- report_table.c ----
enum { REPORT_COLUMNS = 6 };
extern const char *const report_headers[REPORT_COLUMNS];
void report_cells(const ReportData *d, StrList *cells); // REPORT_COLUMNS per evaluation, in table order
void report_text(const ReportData *d, Buf *out);        // table.txt

// ---- report_html.c, report_sections.c, report_style.c ----
extern const char report_style[]; // CSS
// One page without any outside resource. n_samples: of each kind.
bool report_html(const ReportData *d, int64_t n_samples, Buf *out, Error *e);
bool section_training(const ReportData *d, Buf *out, Error *e);
bool section_ternary(const ReportData *d, Buf *out, Error *e);
bool section_data(const ReportData *d, Buf *out, Error *e);
bool section_samples(const ReportData *d, int64_t n, Buf *out, Error *e);
void section_stages(const ReportData *d, Buf *out);
