// charts: inline SVG in plain text. Colours come from the page's CSS variables --c1 .. --c8, sizes suit 340 pixels
// width and above: names and amounts stand in HTML legends that wrap, never inside the picture. Must not know: files,
// stages, models.
#pragma once
#include "core/base/mem.h"

typedef struct Series {
    const char *name; // borrowed
    double *x, *y;
    size_t n, capacity;
} Series;
void series_add(Series *s, double x, double y);
void series_free(Series *s);
// Mean with weights that fall by 1 - 2/(span+1) per point to both sides, so that the curve does not lag; at the right
// end it is the usual exponential moving average with bias correction. Points that are not finite are left out.
void series_smooth(const Series *s, double span, Series *out);

// Escapes text for HTML and SVG; control characters but line break and tab, and broken UTF-8, become U+FFFD.
void html_escape(Buf *out, const char *text);
// Multiples of 1, 2 or 5 times a power of ten within [lo, hi], at most 12 and about `want`; returns their number (0 for
// an empty or infinite range).
size_t axis_ticks(double lo, double hi, int want, double out[16], double *step);
// Position of x of [lo, hi] on [from, to]; the middle when lo == hi.
double axis_scale(double x, double lo, double hi, double from, double to);
// Text of a tick: as many decimals as the step needs, thousands as k, M, G.
const char *tick_text(double value, double step, char out[32]);

typedef struct LineChart {
    const char *title, *x_label, *y_label;
    const Series *series;
    size_t n_series;
    bool from_zero;               // the y axis begins at 0
    bool percent;                 // y values are fractions, shown as percent
    bool faint_first;             // the first series is the raw curve behind the others, without a legend
    const unsigned char *colours; // of each series, 0 = --c1; NULL = in order
} LineChart;
void chart_lines(Buf *out, const LineChart *c);

typedef struct Bar {
    const char *name;
    double value, error; // error: half length of the whisker, 0 = none
    const char *text;    // the value as written
} Bar;
void chart_bars(Buf *out, const char *title, const Bar *bars, size_t n, double max);

enum { CHART_PARTS = 8 };
typedef struct Stack {        // one column of shares
    const char *name, *group; // neighbours of one group stand together over its name
    double share[CHART_PARTS];
} Stack;
// note: a line under the legend.
void chart_stacks(Buf *out, const char *title, const Stack *stacks, size_t n, const char *const *parts, size_t n_parts,
                  const unsigned char *colours, const char *x_label, const char *note);

// One bar cut into at most CHART_PARTS parts; names, amounts and percents in the legend. unit: "tokens".
typedef struct Part {
    const char *name;
    double amount;
} Part;
void chart_parts(Buf *out, const char *title, const Part *parts, size_t n, const char *unit);

// Distributions over shared bins, each as shares of its own total.
typedef struct Sample {
    const char *name;
    const double *values;
    size_t n;
} Sample;
void chart_histogram(Buf *out, const char *title, const char *x_label, const Sample *samples, size_t n);
