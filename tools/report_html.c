// report_html: the page around the sections: style, heading, results. One file, no scripts, nothing from outside.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/report.h"
#include "tools/text.h"

static void page_begin(const ReportData *d, Buf *out) {
    double seconds = 0;
    char time[32];
    for (size_t i = 0; i < d->n_stages; i++) seconds += d->stages[i].seconds;
    buf_text(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    html_escape(out, d->title);
    buf_printf(out, " – tristill report</title>\n<style>\n%s</style></head>\n<body>\n<header><h1>", report_style);
    html_escape(out, d->title);
    buf_printf(out, "</h1><p class=\"about\">%zu stages, %s of work, made with tristill %s</p></header>\n", d->n_stages,
               say_duration(seconds, time), TRISTILL_VERSION);
}

static void results_table(const ReportData *d, Buf *out) {
    StrList cells = {0};
    report_cells(d, &cells);
    buf_text(out, "<div class=\"scroll\"><table><thead><tr>");
    for (size_t c = 0; c < REPORT_COLUMNS; c++)
        buf_text(out, "<th>"), html_escape(out, report_headers[c]), buf_text(out, "</th>");
    buf_text(out, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < cells.count; i++) {
        buf_text(out, i % REPORT_COLUMNS ? "<td>" : "<tr><td>");
        html_escape(out, cells.items[i]);
        buf_text(out, i % REPORT_COLUMNS == REPORT_COLUMNS - 1 ? "</td></tr>\n" : "</td>");
    }
    buf_text(out, "</tbody></table></div>\n");
    strlist_free(&cells);
}

static void accuracy_chart(const ReportData *d, Buf *out) {
    Bar *bars = xcalloc(d->n_evals, sizeof *bars);
    char(*texts)[64] = xcalloc(d->n_evals, sizeof *texts);
    for (size_t i = 0; i < d->n_evals; i++) {
        const StageData *s = &d->stages[d->evals[i]];
        double p = stage_number(s, "accuracy"), error = stage_number(s, "standard_error");
        snprintf(texts[i], sizeof texts[i], "%.1f ± %.1f %%", p * 100, error * 100);
        bars[i] = (Bar){
            .name = eval_name(s), .value = isfinite(p) ? p : 0, .error = isfinite(error) ? error : 0, .text = texts[i]};
    }
    chart_bars(out, "Accuracy, with standard error", bars, d->n_evals, 1);
    free(bars), free(texts);
}

// ---- accuracy by number of steps ----

static bool has_steps(const ReportData *d, const char *key) {
    for (size_t i = 0; i < d->n_evals; i++)
        if (json_object_get(stage_result(&d->stages[d->evals[i]], "by_steps"), key)) return true;
    return false;
}

static void steps_cell(const json_t *entry, Buf *out) {
    double p = json_number_value(json_object_get(entry, "accuracy"));
    if (!entry) {
        buf_text(out, "<td>–</td>");
        return;
    }
    buf_printf(out, "<td style=\"background:rgba(var(--heat),%.2f)\">%.0f %%<small>of %lld</small></td>", p * 0.45,
               p * 100, (long long)json_integer_value(json_object_get(entry, "n")));
}

static void steps_table(const ReportData *d, Buf *out) {
    enum { MAX_STEPS = 65 };
    char keys[MAX_STEPS][16];
    size_t n = 0;
    for (int steps = 1; steps < MAX_STEPS; steps++) {
        snprintf(keys[n], sizeof keys[n], "%d", steps);
        n += has_steps(d, keys[n]);
    }
    if (n == 0) return;
    buf_text(out, "<h3>Accuracy by number of steps</h3>\n<div class=\"scroll\"><table><thead><tr><th>model</th>");
    for (size_t k = 0; k < n; k++) buf_printf(out, "<th>%s steps</th>", keys[k]);
    buf_text(out, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < d->n_evals; i++) {
        const StageData *s = &d->stages[d->evals[i]];
        buf_text(out, "<tr><td>");
        html_escape(out, eval_name(s));
        buf_text(out, "</td>");
        for (size_t k = 0; k < n; k++) steps_cell(json_object_get(stage_result(s, "by_steps"), keys[k]), out);
        buf_text(out, "</tr>\n");
    }
    buf_text(out, "</tbody></table></div>\n");
}

static void section_results(const ReportData *d, Buf *out) {
    buf_text(out, "<section><h2>Results</h2>\n<p class=\"about\">Greedy or sampled answers to problems held out from "
                  "all training. An answer "
                  "that was cut off counts as wrong. Made in: time of all stages that the model depends on.</p>\n");
    results_table(d, out);
    steps_table(d, out);
    buf_text(out, "<div class=\"grid\">");
    accuracy_chart(d, out);
    buf_text(out, "</div></section>\n");
}

bool report_html(const ReportData *d, int64_t n_samples, Buf *out, Error *e) {
    page_begin(d, out);
    if (d->n_evals) section_results(d, out);
    if (!section_training(d, out, e) || !section_ternary(d, out, e) || !section_data(d, out, e) ||
        !section_samples(d, n_samples, out, e))
        return false;
    section_stages(d, out);
    buf_text(out, "<footer>Every number on this page comes from run.json, log.jsonl and the record files of the "
                  "stages.</footer>\n"
                  "</body></html>\n");
    return true;
}
