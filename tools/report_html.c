// report_html: the page around the sections: style, heading, results. One file, no scripts, nothing from outside.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/report.h"
#include "tools/text.h"

// Colours after Okabe and Ito ("Color Universal Design", 2008), which people with every common kind of colour vision
// can tell apart; lighter ones on the dark ground.
static const char style[] =
    ":root{color-scheme:light "
    "dark;--bg:#ffffff;--fg:#1a1d21;--muted:#59636e;--line:#d5dbe1;--card:#f7f8fa;--track:#e6e9ed;\n"
    "--c1:#0072b2;--c2:#d55e00;--c3:#009e73;--c4:#b0468c;--c5:#a87400;--c6:#3a9bd6;--c7:#6b4fbb;--c8:#7a7a7a;--heat:0,"
    "114,178;\n"
    "--good:#00795a;--bad:#b84a00}\n"
    "@media "
    "(prefers-color-scheme:dark){:root{--bg:#14171b;--fg:#e5e9ee;--muted:#9aa6b2;--line:#343b44;--card:#1c2127;--track:"
    "#2b323a;\n"
    "--c1:#56a8e0;--c2:#f08b4b;--c3:#37c79c;--c4:#e08fc3;--c5:#e6b54a;--c6:#9bd3f5;--c7:#b5a2f0;--c8:#b0b0b0;--heat:86,"
    "168,224;\n"
    "--good:#37c79c;--bad:#f08b4b}}\n"
    "*{box-sizing:border-box}\n"
    "body{margin:0 auto;max-width:1180px;padding:20px 16px 60px;background:var(--bg);color:var(--fg);\n"
    "font:16px/1.5 system-ui,-apple-system,'Segoe UI',Roboto,'DejaVu Sans',sans-serif}\n"
    "h1{font-size:1.7rem;margin:.2em 0;overflow-wrap:anywhere}h2{font-size:1.25rem;margin:2.2em 0 .1em}\n"
    "h3{font-size:1rem;margin:0 0 .4em}h4{font-size:.8rem;margin:.7em 0 .15em;color:var(--muted);font-weight:600}\n"
    "p{margin:.3em "
    "0}.about{color:var(--muted);max-width:75ch;margin-bottom:.8em}small{color:var(--muted);font-weight:400}\n"
    ".grid{display:grid;grid-template-columns:repeat(auto-fill,minmax(min(100%,360px),1fr));gap:16px;align-items:start}"
    "\n"
    "figure,article{margin:0;padding:14px;background:var(--card);border:1px solid "
    "var(--line);border-radius:8px;min-width:0}\n"
    "figcaption{font-weight:600;overflow-wrap:anywhere}\n"
    "svg{display:block;width:100%;height:auto;margin-top:6px}svg text{font-size:13px;fill:var(--muted)}\n"
    ".amount text{fill:var(--fg);font-weight:600}\n"
    ".grid-line{stroke:var(--line);stroke-width:1}.axis{stroke:var(--muted);stroke-width:1}.track{fill:var(--track)}\n"
    ".whisker{stroke:var(--fg);stroke-width:2.5}.line{fill:none;stroke-width:2.2;stroke-linejoin:round}.faint{opacity:."
    "32;stroke-width:1}\n"
    ".dashed{stroke-dasharray:7 5}\n"
    ".legend{font-size:.85rem;color:var(--muted);display:flex;flex-wrap:wrap;gap:2px 16px;margin:.2em 0}\n"
    ".legend "
    "i{display:inline-block;width:.8em;height:.8em;border-radius:2px;margin-right:.45em;vertical-align:-.05em}\n"
    ".legend b{color:var(--fg);font-weight:600}\n"
    ".scroll{overflow-x:auto;border:1px solid var(--line);border-radius:8px;margin:.6em 0 1em}\n"
    "table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums}\n"
    "th,td{padding:7px 14px;text-align:right;white-space:nowrap;border-bottom:1px solid var(--line)}tr:last-child "
    "td{border-bottom:0}\n"
    "th{font-size:.82rem;color:var(--muted);font-weight:600}th:first-child,td:first-child{text-align:left;font-weight:"
    "600}\n"
    "td small{display:block;font-size:.72rem}\n"
    "pre{margin:0;white-space:pre-wrap;overflow-wrap:anywhere;font:.84rem/1.45 ui-monospace,'DejaVu Sans "
    "Mono',Menlo,Consolas,monospace}\n"
    "article.right{border-top:3px solid var(--good)}article.wrong{border-top:3px solid "
    "var(--bad)}article.rewrite{border-top:3px solid "
    "var(--c1)}\n"
    "details{border:1px solid var(--line);border-radius:8px;margin:8px 0;padding:8px 14px;background:var(--card)}\n"
    "summary{cursor:pointer;font-weight:600;overflow-wrap:anywhere}footer{margin-top:3em;color:var(--muted);font-size:."
    "85rem}\n"
    "@media (max-width:560px){th,td{padding:6px 9px}body{padding:12px 10px 40px}figure,article{padding:11px}\n"
    "th:first-child,td:first-child{white-space:normal;min-width:8.5em}}\n";

static void page_begin(const ReportData *d, Buf *out) {
    double seconds = 0;
    char time[32];
    for (size_t i = 0; i < d->n_stages; i++) seconds += d->stages[i].seconds;
    buf_text(out, "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n"
                  "<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n<title>");
    html_escape(out, d->title);
    buf_printf(out, " – tristill report</title>\n<style>\n%s</style></head>\n<body>\n<header><h1>", style);
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
