// report: the parts of `tristill report`. Tables and charts know no files; data knows no HTML; html puts both together.
#pragma once
#include "core/base/config.h"

// ---- report_table.c: aligned text ----
typedef struct TextTable {
    size_t n_columns;
    const char *const *headers; // [n_columns]
    const char *align;          // "lrr": left or right, a letter per column
    StrList cells;              // row by row
} TextTable;
// Two spaces between columns, width counted in terminal columns of UTF-8 text, a line under the headers, no trailing blanks.
void text_table(const TextTable *t, Buf *out);
// "18 B", "1.4 KiB", "23.1 MiB"; "1.2 s", "3 min 04 s"; "950", "12.3k", "1.2M". Each into out[32].
const char *say_bytes(double n, char out[32]);
const char *say_duration(double seconds, char out[32]);
const char *say_count(double n, char out[32]);

// ---- report_charts.c: inline SVG, colours from CSS variables --c1 .. --c8, readable at 340 pixels width and above ----
typedef struct Series {
    char *name;
    double *x, *y;
    size_t n, capacity;
} Series;
void series_add(Series *s, double x, double y);
void series_free(Series *s);
// Exponential moving average with bias correction; span in points. New points in *out (same x).
void series_smooth(const Series *s, double span, Series *out);

// Escapes text for HTML and SVG; control characters other than line break and tab become U+FFFD.
void html_escape(Buf *out, const char *text);
// Ticks at 1, 2 or 5 times a power of ten, at most `want` + 1 of them within [lo, hi]; returns their number (out holds 16).
size_t axis_ticks(double lo, double hi, int want, double out[16], double *step);
// Position of x in [lo, hi] on [from, to] pixels; the middle when lo == hi.
double axis_scale(double x, double lo, double hi, double from, double to);
// Text of a tick: as many decimals as the step needs, thousands as k, M, G.
const char *tick_text(double value, double step, char out[32]);

typedef struct LineChart {
    const char *title, *x_label, *y_label;
    const Series *series;
    size_t n_series;
    bool from_zero, percent; // y axis begins at 0; y values are fractions shown as percent
    bool faint_first;        // the first series is the raw curve behind the others
} LineChart;
void chart_lines(Buf *out, const LineChart *c);

typedef struct Bar {
    const char *name;
    double value, error; // error: half length of the whisker, 0 = none
    const char *text;    // the value as written at the right
} Bar;
void chart_bars(Buf *out, const char *title, const Bar *bars, size_t n, double max);

typedef struct Stack { // one bar of shares
    const char *name, *group; // bars of one group stand together under its name
    double share[8];          // sums to 1
} Stack;
void chart_stacks(Buf *out, const char *title, const Stack *stacks, size_t n, const char *const *parts, size_t n_parts);

typedef struct Part {
    const char *name;
    double amount;
} Part;
// One bar cut into parts, a row of names and amounts under it. unit: "tokens".
void chart_parts(Buf *out, const char *title, const Part *parts, size_t n, const char *unit);

// Two distributions of values on shared bins, as shares of each.
typedef struct Sample {
    const char *name;
    const double *values;
    size_t n;
} Sample;
void chart_histogram(Buf *out, const char *title, const char *x_label, const Sample *samples, size_t n);

// ---- report_data.c: what the run folders hold ----
typedef struct StageData {
    char *name, *folder;
    json_t *run; // run.json
    double seconds;
} StageData;

typedef struct ReportData {
    char *title, *runs;
    json_t *plan; // .stages/plan.json, NULL when absent
    StageData *stages;
    size_t n_stages;
    size_t *evals, n_evals; // stages of `tristill eval` in table order
} ReportData;
// Finds every complete run folder below `runs` but `skip` (the report's own). evals: stage names, empty = all in order.
bool report_load(ReportData *d, const char *runs, const StrList *evals, const char *skip, Error *e);
void report_free(ReportData *d);

const char *stage_program(const StageData *s); // "distill ask"
const json_t *stage_config(const StageData *s, const char *key);
const json_t *stage_result(const StageData *s, const char *key);
double result_number(const StageData *s, const char *key); // NaN when absent
const char *eval_name(const StageData *s);
// Seconds of the stages a model depends on (through the inputs in run.json, each once); NaN when no stage made it.
double seconds_behind(const ReportData *d, const StageData *eval);
// The field of all "step" events over `x_field`; empty when it was never logged. Later lines of the same step replace earlier ones.
bool stage_series(const StageData *s, const char *x_field, const char *field, Series *out, Error *e);
// A member of an array field, e.g. code_fractions[1].
bool stage_series_at(const StageData *s, const char *x_field, const char *field, size_t index, Series *out, Error *e);

// ---- report_html.c ----
bool report_html(const ReportData *d, int64_t n_samples, Buf *out, Error *e);
void report_text(const ReportData *d, Buf *out); // table.txt
