#include "tools/charts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

enum { MAX_POINTS = 240, MAX_TICKS = 12 };
// The picture in user units; a card is 340 to 560 pixels wide, so that text of 13 units stays readable everywhere.
static const double width = 400, height = 240, left = 46, right = 392, top = 24, bottom = 198;

// ---- series and text ----

void series_add(Series *s, double x, double y) {
    if (s->n == s->capacity) {
        s->capacity = MAX((size_t)64, s->capacity * 2);
        s->x = xrealloc(s->x, s->capacity * sizeof *s->x);
        s->y = xrealloc(s->y, s->capacity * sizeof *s->y);
    }
    s->x[s->n] = x;
    s->y[s->n++] = y;
}

void series_free(Series *s) {
    free(s->x), free(s->y);
    *s = (Series){0};
}

// Sums over both sides, each in one pass: left = y[i] + keep * y[i-1] + keep^2 * y[i-2] ..., and the same from the
// right.
void series_smooth(const Series *s, double span, Series *out) {
    const double keep = 1 - 2 / (span + 1);
    for (size_t i = 0; i < s->n; i++)
        if (isfinite(s->x[i]) && isfinite(s->y[i])) series_add(out, s->x[i], s->y[i]);
    double *later = xcalloc(2 * out->n + 2, sizeof *later), *weight = later + out->n + 1, before = 0, before_weight = 0;
    for (size_t i = out->n; i-- > 0;) {
        later[i] = keep * (later[i + 1] + out->y[i]); // without the point itself: what lies to the right of i - 1
        weight[i] = keep * (weight[i + 1] + 1);
    }
    for (size_t i = 0; i < out->n; i++) {
        before = keep * before + out->y[i], before_weight = keep * before_weight + 1;
        out->y[i] = (before + later[i + 1]) / (before_weight + weight[i + 1]);
    }
    free(later);
}

static const char *entity(utf8proc_int32_t code) {
    switch (code) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    default:
        break;
    }
    bool control = (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7F && code < 0xA0);
    return control || (code & 0xFFFE) == 0xFFFE || (code >= 0xFDD0 && code <= 0xFDEF) ? "\uFFFD" : NULL;
}

void html_escape(Buf *out, const char *text) {
    buf_text(out, "");
    for (size_t size = strlen(text); size > 0;) {
        utf8proc_int32_t code;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)size, &code);
        const char *instead = n <= 0 ? "\uFFFD" : entity(code);
        if (n <= 0) n = 1;
        if (instead)
            buf_text(out, instead);
        else
            buf_add(out, text, (size_t)n);
        text += n, size -= (size_t)n;
    }
}

// ---- axes ----

double axis_scale(double x, double lo, double hi, double from, double to) {
    return hi > lo ? from + (x - lo) / (hi - lo) * (to - from) : (from + to) / 2;
}

size_t axis_ticks(double lo, double hi, int want, double out[16], double *step) {
    *step = 1;
    if (!isfinite(lo) || !isfinite(hi) || !(hi > lo) || !isfinite(hi - lo) || want < 1) return 0;
    double rough = (hi - lo) / want, power = pow(10, floor(log10(rough))), unit = rough / power;
    *step = (unit <= 1 ? 1 : unit <= 2 ? 2 : unit <= 5 ? 5 : 10) * power;
    double first = ceil(lo / *step - 1e-9);
    size_t n = 0;
    while (n < MAX_TICKS && (first + (double)n) * *step <= hi + 1e-9 * *step) {
        double tick = (first + (double)n) * *step;
        out[n++] = fabs(tick) < 1e-9 * *step ? 0 : tick;
    }
    return n;
}

const char *tick_text(double value, double step, char out[32]) {
    static const char *const units[] = {"", "k", "M", "G", "T"};
    size_t u = 0;
    double size = MAX(fabs(value), step);
    while (size >= 1000 && u + 1 < COUNT_OF(units)) size /= 1000, value /= 1000, step /= 1000, u++;
    int decimals = 0;
    for (double s = step; decimals < 6 && fabs(s - floor(s + 0.5)) > 1e-6 * s; decimals++) s *= 10;
    snprintf(out, 32, "%.*f%s", decimals, value, value == 0 ? "" : units[u]);
    return out;
}

static void text_at(Buf *out, double x, double y, const char *anchor, const char *text) {
    buf_printf(out, "<text x=\"%.1f\" y=\"%.1f\" text-anchor=\"%s\">", x, y, anchor);
    html_escape(out, text);
    buf_text(out, "</text>");
}

static void line_at(Buf *out, const char *class, double x1, double y1, double x2, double y2) {
    buf_printf(out, "<line class=\"%s\" x1=\"%.1f\" y1=\"%.1f\" x2=\"%.1f\" y2=\"%.1f\"/>", class, x1, y1, x2, y2);
}

// Which of the page's colours part i has.
static size_t colour_of(const unsigned char *colours, size_t i) { return colours ? colours[i] : i; }

static void rect_at(Buf *out, size_t colour, double x, double y, double w, double h) {
    buf_printf(out, "<rect fill=\"var(--c%zu)\" x=\"%.2f\" y=\"%.2f\" width=\"%.2f\" height=\"%.2f\">",
               colour % CHART_PARTS + 1, x, y, MAX(0, w), MAX(0, h));
}

typedef struct Frame {
    double x0, x1, y0, y1; // data range
} Frame;

static void y_axis(Buf *out, const Frame *f, bool percent, const char *label) {
    double ticks[16], step;
    size_t n = axis_ticks(f->y0, f->y1, 5, ticks, &step);
    char text[32];
    for (size_t i = 0; i < n; i++) {
        double y = axis_scale(ticks[i], f->y0, f->y1, bottom, top);
        line_at(out, "grid-line", left, y, right, y);
        tick_text(percent ? ticks[i] * 100 : ticks[i], percent ? step * 100 : step, text);
        text_at(out, left - 6, y + 4, "end", text);
    }
    text_at(out, 2, 12, "start", label);
}

static void x_axis(Buf *out, const Frame *f, const char *label) {
    double ticks[16], step;
    size_t n = axis_ticks(f->x0, f->x1, 5, ticks, &step);
    char text[32];
    line_at(out, "axis", left, bottom, right, bottom);
    for (size_t i = 0; i < n; i++) {
        double x = axis_scale(ticks[i], f->x0, f->x1, left, right);
        line_at(out, "axis", x, bottom, x, bottom + 4);
        text_at(out, CLAMP(x, left, right - 10), bottom + 18, "middle", tick_text(ticks[i], step, text));
    }
    text_at(out, (left + right) / 2, bottom + 36, "middle", label);
}

static void open_figure(Buf *out, const char *title) {
    buf_text(out, "<figure><figcaption>");
    html_escape(out, title);
    buf_text(out, "</figcaption>\n");
}

static void open_svg(Buf *out, const char *title, double h) {
    buf_printf(out, "<svg viewBox=\"0 0 %.0f %.0f\" role=\"img\" aria-label=\"", width, h);
    html_escape(out, title);
    buf_text(out, "\">");
}

static void close_figure(Buf *out) { buf_text(out, "</svg></figure>\n"); }

static void legend_item(Buf *out, size_t colour, const char *name, const char *amount) {
    buf_printf(out, "<span><i style=\"background:var(--c%zu)\"></i>", colour % CHART_PARTS + 1);
    html_escape(out, name);
    if (amount) buf_text(out, " <b>"), html_escape(out, amount), buf_text(out, "</b>");
    buf_text(out, "</span> ");
}

// Closes a legend, with a line of its own under it.
static void legend_note(Buf *out, const char *note) {
    buf_text(out, "</p>\n<p class=\"legend\">");
    html_escape(out, note);
    buf_text(out, "</p>\n");
}

// ---- lines ----

static Frame frame_of(const LineChart *c) {
    Frame f = {INFINITY, -INFINITY, c->from_zero ? 0 : INFINITY, c->from_zero ? 0 : -INFINITY};
    for (size_t s = 0; s < c->n_series; s++)
        for (size_t i = 0; i < c->series[s].n; i++) {
            double x = c->series[s].x[i], y = c->series[s].y[i];
            if (!isfinite(x) || !isfinite(y)) continue;
            f.x0 = MIN(f.x0, x), f.x1 = MAX(f.x1, x), f.y0 = MIN(f.y0, y), f.y1 = MAX(f.y1, y);
        }
    if (!(f.x1 >= f.x0)) return (Frame){0, 1, 0, 1};
    double room = f.y1 > f.y0 ? (f.y1 - f.y0) * 0.04 : MAX(fabs(f.y0) * 0.1, 1e-6);
    f.y1 += room;
    if (!c->from_zero) f.y0 -= room;
    if (f.x1 == f.x0) f.x0 -= 0.5, f.x1 += 0.5;
    return f;
}

// At most MAX_POINTS points, each the mean of its neighbours; a value that is no number breaks the line.
static void polyline(Buf *out, const Series *s, const Frame *f, const char *class, size_t colour) {
    size_t each = CEIL_DIV(MAX(s->n, (size_t)1), (size_t)MAX_POINTS);
    bool pen_down = false;
    buf_printf(out, "<path class=\"%s\" stroke=\"var(--c%zu)\" d=\"", class, colour % CHART_PARTS + 1);
    for (size_t i = 0; i < s->n; i += each) {
        double x = 0, y = 0;
        size_t n = MIN(each, s->n - i);
        for (size_t k = i; k < i + n; k++) x += s->x[k] / (double)n, y += s->y[k] / (double)n;
        bool good = isfinite(x) && isfinite(y);
        if (good)
            buf_printf(out, "%s%.1f %.1f", pen_down ? "L" : "M", axis_scale(x, f->x0, f->x1, left, right),
                       axis_scale(y, f->y0, f->y1, bottom, top));
        pen_down = good;
    }
    buf_text(out, "\"/>");
}

static void line_legend(Buf *out, const LineChart *c) {
    buf_text(out, "<p class=\"legend\">");
    for (size_t s = c->faint_first; s < c->n_series; s++) {
        const Series *one = &c->series[s];
        char text[32];
        double last = one->n ? one->y[one->n - 1] : NAN;
        if (isfinite(last))
            snprintf(text, sizeof text, c->percent ? "%.1f %%" : "%.4g", c->percent ? last * 100 : last);
        legend_item(out, colour_of(c->colours, s - c->faint_first), one->name, isfinite(last) ? text : "–");
    }
    buf_text(out, "</p>\n");
}

void chart_lines(Buf *out, const LineChart *c) {
    Frame f = frame_of(c);
    open_figure(out, c->title);
    line_legend(out, c);
    open_svg(out, c->title, height);
    y_axis(out, &f, c->percent, c->y_label);
    x_axis(out, &f, c->x_label);
    for (size_t s = 0; s < c->n_series; s++) {
        bool faint = c->faint_first && s == 0;
        size_t i = faint ? 0 : s - c->faint_first;
        polyline(out, &c->series[s], &f,
                 faint    ? "line faint"
                 : i >= 2 ? "line dashed"
                          : "line",
                 colour_of(c->colours, i));
    }
    close_figure(out);
}

// ---- bars ----

void chart_bars(Buf *out, const char *title, const Bar *bars, size_t n, double max) {
    const double row = 40;
    open_figure(out, title);
    open_svg(out, title, row * (double)n + 4);
    for (size_t i = 0; i < n; i++) {
        double y = row * (double)i, length = axis_scale(CLAMP(bars[i].value, 0, max), 0, max, 0, width - 8);
        char name[160];
        snprintf(name, sizeof name, "%s", bars[i].name);
        if (strlen(bars[i].name) > 40) { // the value stands at the right of the same line
            size_t cut = 37;
            while (cut > 0 && (name[cut] & 0xC0) == 0x80) cut--;
            snprintf(name + cut, sizeof name - cut, "…");
        }
        text_at(out, 2, y + 15, "start", name);
        buf_text(out, "<g class=\"amount\">");
        text_at(out, width - 4, y + 15, "end", bars[i].text);
        buf_printf(out, "</g><rect class=\"track\" x=\"2\" y=\"%.1f\" width=\"%.1f\" height=\"13\"/>", y + 21,
                   width - 8);
        rect_at(out, 0, 2, y + 21, length, 13);
        buf_text(out, "</rect>");
        double low = axis_scale(MAX(0, bars[i].value - bars[i].error), 0, max, 2, width - 6);
        double high = axis_scale(MIN(max, bars[i].value + bars[i].error), 0, max, 2, width - 6);
        if (bars[i].error > 0 && high > low) line_at(out, "whisker", low, y + 27.5, high, y + 27.5);
    }
    close_figure(out);
}

static void group_names(Buf *out, const Stack *stacks, size_t n, double one, double shift) {
    double last_end = -100;
    for (size_t i = 0, first = 0, groups = 0; i < n; i++) {
        if (i + 1 < n && !strcmp(stacks[i].group, stacks[i + 1].group)) continue;
        double middle = left + one * ((double)first + (double)(i + 1 - first) / 2) + shift * (double)groups;
        double half = 4.0 * (double)strlen(stacks[i].group);
        if (middle - half > last_end + 4) { // a name that would touch the one before is left out; the tooltips have it
            text_at(out, middle, bottom + 18, "middle", stacks[i].group);
            last_end = middle + half;
        }
        first = i + 1, groups++;
    }
}

void chart_stacks(Buf *out, const char *title, const Stack *stacks, size_t n, const char *const *parts, size_t n_parts,
                  const unsigned char *colours, const char *x_label, const char *note) {
    Frame f = {0, 1, 0, 1};
    size_t groups = n > 0, group = 0;
    for (size_t i = 1; i < n; i++) groups += strcmp(stacks[i].group, stacks[i - 1].group) != 0;
    double shift = groups > 1 ? MIN(6, (right - left) * 0.15 / (double)groups) : 0;
    double one = (right - left - shift * (double)(groups - 1)) / (double)MAX(n, (size_t)1);
    open_figure(out, title);
    buf_text(out, "<p class=\"legend\">");
    for (size_t p = 0; p < n_parts; p++) legend_item(out, colour_of(colours, p), parts[p], NULL);
    legend_note(out, note);
    open_svg(out, title, height);
    y_axis(out, &f, true, "percent");
    text_at(out, (left + right) / 2, bottom + 36, "middle", x_label);
    for (size_t i = 0; i < n; i++) {
        if (i && strcmp(stacks[i].group, stacks[i - 1].group)) group++;
        double x = left + one * (double)i + shift * (double)group, y = bottom;
        for (size_t p = 0; p < n_parts; p++) {
            double h = stacks[i].share[p] * (bottom - top);
            rect_at(out, colour_of(colours, p), x, y - h, one * 0.86, h);
            buf_text(out, "<title>");
            html_escape(out, stacks[i].name);
            buf_printf(out, ": %s %.1f %%</title></rect>", parts[p], stacks[i].share[p] * 100);
            y -= h;
        }
    }
    group_names(out, stacks, n, one, shift);
    close_figure(out);
}

void chart_parts(Buf *out, const char *title, const Part *parts, size_t n, const char *unit) {
    double total = 0, x = 0;
    for (size_t i = 0; i < n; i++) total += parts[i].amount;
    open_figure(out, title);
    buf_text(out, "<p class=\"legend\">");
    for (size_t i = 0; i < n; i++) {
        char text[96];
        snprintf(text, sizeof text, "%.0f %s, %.1f %%", parts[i].amount, unit,
                 total > 0 ? parts[i].amount / total * 100 : 0);
        legend_item(out, i, parts[i].name, text);
    }
    buf_text(out, "</p>\n");
    open_svg(out, title, 40);
    for (size_t i = 0; i < n && total > 0; i++) {
        double w = parts[i].amount / total * width;
        rect_at(out, i, x, 4, MAX(0, w - 1.5), 32);
        buf_text(out, "</rect>");
        x += w;
    }
    close_figure(out);
}

// ---- histogram ----

enum { MAX_BINS = 24 };

static void count_bins(const Sample *s, double lo, double bin, size_t n_bins, double *share) {
    for (size_t b = 0; b < n_bins; b++) share[b] = 0;
    for (size_t i = 0; i < s->n; i++) {
        if (!isfinite(s->values[i])) continue;
        double at = floor((s->values[i] - lo) / bin);
        share[(size_t)CLAMP(at, 0, (double)n_bins - 1)] += 1.0 / (double)s->n;
    }
}

void chart_histogram(Buf *out, const char *title, const char *x_label, const Sample *samples, size_t n) {
    double lo = INFINITY, hi = -INFINITY, ticks[16], bin, share[CHART_PARTS][MAX_BINS], most = 0;
    n = MIN(n, (size_t)CHART_PARTS);
    for (size_t s = 0; s < n; s++)
        for (size_t i = 0; i < samples[s].n; i++)
            if (isfinite(samples[s].values[i])) lo = MIN(lo, samples[s].values[i]), hi = MAX(hi, samples[s].values[i]);
    if (!(hi >= lo)) lo = 0, hi = 1;
    if (hi == lo) hi = lo + 1;
    axis_ticks(lo, hi, MAX_BINS - 4, ticks, &bin);
    lo = floor(lo / bin) * bin;
    size_t n_bins = (size_t)CLAMP(floor((hi - lo) / bin) + 1, 1, MAX_BINS);
    for (size_t s = 0; s < n; s++) {
        count_bins(&samples[s], lo, bin, n_bins, share[s]);
        for (size_t b = 0; b < n_bins; b++) most = MAX(most, share[s][b]);
    }
    Frame f = {lo, lo + bin * (double)n_bins, 0, most > 0 ? most * 1.05 : 1};
    open_figure(out, title);
    buf_text(out, "<p class=\"legend\">");
    for (size_t s = 0; s < n; s++) {
        char text[32];
        snprintf(text, sizeof text, "%zu", samples[s].n);
        legend_item(out, s, samples[s].name, text);
    }
    buf_text(out, "</p>\n");
    open_svg(out, title, height);
    y_axis(out, &f, true, "percent of its own");
    double one = (right - left) / (double)n_bins, thin = one * 0.9 / (double)MAX(n, (size_t)1);
    for (size_t s = 0; s < n; s++)
        for (size_t b = 0; b < n_bins; b++) {
            double y = axis_scale(share[s][b], 0, f.y1, bottom, top);
            rect_at(out, s, left + one * ((double)b + 0.05) + thin * (double)s, y, thin, bottom - y);
            buf_text(out, "</rect>");
        }
    x_axis(out, &f, x_label);
    close_figure(out);
}
