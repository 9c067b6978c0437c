// report: the command: which run folders, which outputs. A report is derived from what the stages left and loses
// nothing by being made again, so that it does not need --overwrite when they changed.
#include "tools/report.h"

#include <stdlib.h>
#include <string.h>

#include "tools/tools.h"

typedef struct ReportConfig {
#define CFG_FILE "tools/report.def"
#include "core/base/config_struct.h"
} ReportConfig;

static const ConfigRow report_rows[] = {
#define CFG_FILE "tools/report.def"
#define CFG_STRUCT ReportConfig
#include "core/base/config_rows.h"
};
const ConfigTable report_table = CONFIG_TABLE(report_rows, ReportConfig);

// run.json names the hashes of all outputs, so that it stands for everything the report reads.
static bool add_inputs(Run *run, const ReportData *d, Error *e) {
    bool ok = true;
    for (size_t i = 0; ok && i < d->n_stages; i++) {
        char *path = path_join(d->stages[i].folder, "run.json");
        ok = run_input(run, path, e);
        free(path);
    }
    char *plan = path_join(d->runs, ".stages/plan.json");
    if (ok && d->plan) ok = run_input(run, plan, e);
    free(plan);
    return ok;
}

static bool is_a_report(const char *folder) {
    char *path = path_join(folder, "begun.json");
    json_t *begun = file_exists(path) ? json_read_file(path, NULL) : NULL;
    const char *program = json_string_value(json_object_get(begun, "program"));
    bool same = program && !strcmp(program, "tristill report");
    json_decref(begun);
    free(path);
    return same;
}

static bool write_page(const Run *run, const ReportData *d, const ReportConfig *c, Error *e) {
    Buf html = {0}, text = {0};
    char *page = path_join(run->folder, "report.html"), *table = path_join(run->folder, "table.txt");
    report_text(d, &text);
    bool ok = report_html(d, c->samples, &html, e) && file_replace(page, html.data, html.length, e) &&
              file_replace(table, text.data, text.length, e);
    buf_free(&html), buf_free(&text);
    free(page), free(table);
    return ok;
}

static bool make(Run *run, const ReportData *d, const ReportConfig *c, bool overwrite, Error *e) {
    if (!add_inputs(run, d, e)) return false;
    RunState state = run_begin(run, overwrite || is_a_report(run->folder), e);
    if (state == RUN_ERROR || state == RUN_COMPLETE) return state == RUN_COMPLETE;
    run_output(run, "report.html");
    run_output(run, "table.txt");
    run_count(run, "stages", (int64_t)d->n_stages);
    run_count(run, "evaluations", (int64_t)d->n_evals);
    if (!write_page(run, d, c, e) || !run_finish(run, e)) return false;
    log_info("report: %s/report.html", run->folder);
    return true;
}

int report_command(const void *config, const Options *options, Error *e) {
    const ReportConfig *c = config;
    ReportData data;
    Run run;
    if (!report_load(&data, c->runs, c->title, &c->evals, c->out, e)) return e->code;
    run_open(&run, "tristill report", &report_table, c, c->out);
    bool ok = true;
    if (options->dry_run)
        log_info("%zu stages, %zu evaluations -> %s/report.html", data.n_stages, data.n_evals, c->out);
    else
        ok = make(&run, &data, c, options->overwrite, e);
    run_close(&run);
    report_free(&data);
    return ok ? EXIT_OK : e->code;
}
