// report_table: one row per evaluation, the same cells for table.txt and for the page.
#include <math.h>
#include <stdio.h>
#include <string.h>

#include "tools/report.h"
#include "tools/text.h"

const char *const report_headers[REPORT_COLUMNS] = {"model",        "accuracy",     "tokens/answer",
                                                    "size on disk", "decode tok/s", "made in"};

static void add_row(const ReportData *d, const StageData *eval, StrList *cells) {
    char text[64], amount[32];
    double accuracy = stage_number(eval, "accuracy"), error = stage_number(eval, "standard_error");
    double speed = stage_number(eval, "decode_tok_per_sec");
    const json_t *tokens = json_object_get(stage_result(eval, "tokens_per_answer"), "mean");
    strlist_add(cells, eval_name(eval));
    snprintf(text, sizeof text, "%.1f ± %.1f %%", accuracy * 100, error * 100);
    strlist_add(cells, isfinite(accuracy) ? text : "–");
    snprintf(text, sizeof text, "%.1f", json_number_value(tokens));
    strlist_add(cells, json_is_number(tokens) ? text : "–");
    strlist_add(cells, say_bytes(stage_number(eval, "size_bytes"), amount));
    snprintf(text, sizeof text, "%.0f", speed);
    strlist_add(cells, isfinite(speed) ? text : "–");
    strlist_add(cells, say_duration(seconds_behind(d, eval), amount));
}

void report_cells(const ReportData *d, StrList *cells) {
    for (size_t i = 0; i < d->n_evals; i++) add_row(d, &d->stages[d->evals[i]], cells);
}

void report_text(const ReportData *d, Buf *out) {
    TextTable table = {.n_columns = REPORT_COLUMNS, .headers = report_headers, .align = "lrrrrr"};
    report_cells(d, &table.cells);
    text_table(&table, out);
    strlist_free(&table.cells);
    buf_text(out, "\naccuracy ± standard error; made in: time of all stages the model depends on\n");
}
