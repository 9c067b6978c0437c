// report_sections: the parts of the page, each left out when the recipe has nothing for it. Must not know: where
// numbers come from.
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/report.h"
#include "tools/text.h"

static void heading(Buf *out, const char *title, const char *about) {
    buf_printf(out, "<section><h2>%s</h2>\n<p class=\"about\">%s</p>\n", title, about);
}

// ---- training ----

// The raw curve behind its mean over 5 % of the points.
static bool loss_chart(const StageData *s, Buf *out, Error *e) {
    Series series[2] = {{.name = "raw"}, {.name = "loss, smoothed"}};
    char title[160];
    snprintf(title, sizeof title, "%s: %s loss", s->name, stage_config_text(s, "loss"));
    bool ok = stage_series(s, "tokens", "loss", -1, &series[0], e);
    if (ok && series[0].n > 1) {
        series_smooth(&series[0], MAX(3, 0.05 * (double)series[0].n), &series[1]);
        chart_lines(out, &(LineChart){.title = title,
                                      .x_label = "tokens",
                                      .y_label = "loss (nats)",
                                      .series = series,
                                      .n_series = 2,
                                      .faint_first = true});
    }
    series_free(&series[0]), series_free(&series[1]);
    return ok;
}

static bool redi_series(const StageData *s, Series raw[2], Error *e) {
    return stage_series(s, "step", "chosen_logprob", -1, &raw[0], e) &&
           stage_series(s, "step", "rejected_logprob", -1, &raw[1], e);
}

static void redi_charts(const StageData *s, const Series raw[2], Buf *out) {
    Series lines[2] = {{.name = "chosen (right) traces"}, {.name = "rejected (wrong) traces"}},
           margin = {.name = "chosen − rejected"};
    char title[160];
    double span = MAX(3, 0.05 * (double)raw[0].n);
    Series difference = {0};
    for (size_t i = 0; i < MIN(raw[0].n, raw[1].n); i++)
        series_add(&difference, raw[0].x[i], raw[0].y[i] - raw[1].y[i]);
    series_smooth(&raw[0], span, &lines[0]), series_smooth(&raw[1], span, &lines[1]),
        series_smooth(&difference, span, &margin);
    snprintf(title, sizeof title, "%s: log-probability per token", s->name);
    chart_lines(out, &(LineChart){.title = title,
                                  .x_label = "step",
                                  .y_label = "mean log-probability per token (nats)",
                                  .series = lines,
                                  .n_series = 2});
    snprintf(title, sizeof title, "%s: margin", s->name);
    chart_lines(out, &(LineChart){.title = title,
                                  .x_label = "step",
                                  .y_label = "chosen − rejected (nats per token)",
                                  .series = &margin,
                                  .n_series = 1});
    series_free(&difference), series_free(&lines[0]), series_free(&lines[1]), series_free(&margin);
}

bool section_training(const ReportData *d, Buf *out, Error *e) {
    bool ok = true;
    Buf charts = {0};
    for (size_t i = 0; ok && i < d->n_stages; i++) {
        const StageData *s = &d->stages[i];
        Series raw[2] = {0};
        if (!stage_is(s, "trainer")) continue;
        ok = loss_chart(s, &charts, e) && redi_series(s, raw, e);
        if (ok && raw[0].n > 1 && raw[1].n > 1) redi_charts(s, raw, &charts);
        series_free(&raw[0]), series_free(&raw[1]);
    }
    if (ok && charts.length) {
        heading(
            out, "Training",
            "Loss as logged (faint) and as a moving average, over the tokens seen. Where wrong traces were used, what "
            "the model thinks of both kinds.");
        buf_printf(out, "<div class=\"grid\">%s</div></section>\n", charts.data);
    }
    buf_free(&charts);
    return ok;
}

// ---- ternary ----

static const char *const code_names[] = {"−1", "0", "+1"};
static const unsigned char code_colours[] = {0, 7, 1}; // zero is grey

static bool codes_over_training(const StageData *s, Buf *out, Error *e) {
    Series lines[3] = {{.name = code_names[0]}, {.name = code_names[1]}, {.name = code_names[2]}};
    char title[160];
    bool ok = true;
    for (int c = 0; ok && c < 3; c++) ok = stage_series(s, "step", "code_fractions", c, &lines[c], e);
    snprintf(title, sizeof title, "%s: codes while training", s->name);
    if (ok && lines[0].n > 1)
        chart_lines(out, &(LineChart){.title = title,
                                      .x_label = "step",
                                      .y_label = "percent of all codes",
                                      .series = lines,
                                      .n_series = 3,
                                      .from_zero = true,
                                      .percent = true,
                                      .colours = code_colours});
    for (int c = 0; c < 3; c++) series_free(&lines[c]);
    return ok;
}

// The names of the first layer's matrices, in the order of the columns.
static void name_columns(const Stack *stacks, size_t n, Buf *out) {
    buf_text(out, "columns:");
    for (size_t i = 0; i < n && !strcmp(stacks[i].group, stacks[0].group); i++) {
        const char *name = stacks[i].name + (strncmp(stacks[i].name, "blk.", 4) ? 0 : 5 + strlen(stacks[i].group));
        buf_printf(out, "%s %.*s", i ? "," : "", (int)strcspn(name, "."), name);
    }
}

static bool codes_of_export(const StageData *s, Buf *out, Error *e) {
    Stack *stacks;
    size_t n;
    char title[160];
    if (!code_stacks(s, &stacks, &n, e)) return false;
    snprintf(title, sizeof title, "%s: codes of each matrix, by layer", s->name);
    Buf columns = {0};
    if (n > 0) {
        name_columns(stacks, n, &columns);
        chart_stacks(out, title, stacks, n, code_names, 3, code_colours, "layer", columns.data);
    }
    buf_free(&columns);
    stacks_free(stacks, n);
    return true;
}

bool section_ternary(const ReportData *d, Buf *out, Error *e) {
    Buf charts = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < d->n_stages; i++)
        ok = (!stage_is(&d->stages[i], "trainer") || codes_over_training(&d->stages[i], &charts, e)) &&
             (!stage_is(&d->stages[i], "quant export") || codes_of_export(&d->stages[i], &charts, e));
    if (ok && charts.length) {
        heading(
            out, "Ternary weights",
            "Every weight of a linear layer is −1, 0 or +1 times one scale per matrix. The shares of the three codes.");
        buf_printf(out, "<div class=\"grid\">%s</div></section>\n", charts.data);
    }
    buf_free(&charts);
    return ok;
}

// ---- data ----

static bool lengths_chart(const StageData *grade, Buf *out, Error *e) {
    Lengths positive = {0}, negative = {0};
    bool ok = trace_lengths(grade, &positive, &negative, e);
    char title[160];
    snprintf(title, sizeof title, "%s: length of the traces", grade->name);
    Sample samples[] = {{"right", positive.values, positive.n}, {"wrong", negative.values, negative.n}};
    if (ok && positive.n + negative.n > 0) chart_histogram(out, title, "tokens", samples, 2);
    free(positive.values), free(negative.values);
    return ok;
}

static void mix_chart(const StageData *mix, Buf *out) {
    Part parts[CHART_PARTS];
    size_t n = 0;
    char title[160];
    const char *name;
    json_t *entry;
    snprintf(title, sizeof title, "%s: composition by tokens", mix->name);
    parts[n++] = (Part){"natural", json_number_value(json_object_get(stage_result(mix, "natural"), "tokens"))};
    json_object_foreach((json_t *)stage_result(mix, "strategies"), name, entry) {
        double tokens = json_number_value(json_object_get(entry, "tokens"));
        if (n == CHART_PARTS) {
            parts[n - 1].name = "others", parts[n - 1].amount += tokens;
            continue;
        }
        parts[n++] = (Part){name, tokens};
    }
    chart_parts(out, title, parts, n, "tokens");
}

bool section_data(const ReportData *d, Buf *out, Error *e) {
    Buf charts = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < d->n_stages; i++) {
        if (stage_is(&d->stages[i], "distill grade")) ok = lengths_chart(&d->stages[i], &charts, e);
        if (stage_is(&d->stages[i], "datagen mix")) mix_chart(&d->stages[i], &charts);
    }
    if (ok && charts.length) {
        heading(out, "Data", "The teacher's traces after grading, and what the training mix is made of.");
        buf_printf(out, "<div class=\"grid\">%s</div></section>\n", charts.data);
    }
    buf_free(&charts);
    return ok;
}

// ---- samples ----

static void text_block(Buf *out, const char *label, const char *text) {
    if (!text) return;
    buf_printf(out, "<h4>%s</h4><pre>", label);
    html_escape(out, text);
    buf_text(out, "</pre>");
}

static const char *member(const json_t *o, const char *key) { return json_string_value(json_object_get(o, key)); }

static const char *question_of(const json_t *record) {
    const json_t *messages = json_object_get(record, "messages");
    return member(json_array_get(messages, json_array_size(messages) - 1), "content");
}

static void open_card(Buf *out, const char *class, const char *title, const char *detail) {
    buf_printf(out, "<article class=\"%s\"><h3>%s", class, title);
    if (detail && detail[0]) buf_text(out, " <small>"), html_escape(out, detail), buf_text(out, "</small>");
    buf_text(out, "</h3>");
}

static void answer_card(Buf *out, const json_t *record, bool right) {
    open_card(out, right ? "right" : "wrong", right ? "Right answer" : "Wrong answer",
              member(json_object_get(record, "verdict"), "reason"));
    text_block(out, "Problem", question_of(record));
    text_block(out, "Model", member(record, "text"));
    text_block(out, "Known answer", member(record, "answer"));
    buf_text(out, "</article>\n");
}

static void trace_card(Buf *out, const json_t *record, bool right) {
    open_card(out, right ? "right" : "wrong", right ? "Teacher, right" : "Teacher, wrong",
              member(json_object_get(record, "verdict"), "reason"));
    text_block(out, "Problem", question_of(record));
    text_block(out, "Reasoning", member(record, "reasoning"));
    text_block(out, "Answer", member(record, "content"));
    buf_text(out, "</article>\n");
}

static void rewrite_card(Buf *out, const json_t *record) {
    open_card(out, "rewrite", "Rewrite", member(record, "strategy"));
    text_block(out, "Source", member(record, "original"));
    text_block(out, "Rewritten", member(record, "text"));
    buf_text(out, "</article>\n");
}

typedef bool (*SamplesFn)(const StageData *s, const char *label, int64_t n, json_t **out, Error *e);
typedef void (*CardFn)(Buf *out, const json_t *record, bool right);

static bool labelled_cards(const StageData *s, SamplesFn read, CardFn card, int64_t n, Buf *out, Error *e) {
    static const char *const labels[] = {"positive", "negative"};
    bool ok = true;
    for (size_t l = 0; ok && l < COUNT_OF(labels); l++) {
        json_t *records = NULL;
        ok = read(s, labels[l], n, &records, e);
        for (size_t i = 0; ok && i < json_array_size(records); i++) card(out, json_array_get(records, i), l == 0);
        json_decref(records);
    }
    return ok;
}

static bool rewrite_cards(const StageData *s, int64_t n, Buf *out, Error *e) {
    json_t *records = NULL;
    bool ok = rewrite_samples(s, n, &records, e);
    for (size_t i = 0; ok && i < json_array_size(records); i++) rewrite_card(out, json_array_get(records, i));
    json_decref(records);
    return ok;
}

bool section_samples(const ReportData *d, int64_t n, Buf *out, Error *e) {
    const StageData *eval = d->n_evals ? &d->stages[d->evals[d->n_evals - 1]] : NULL,
                    *grade = stage_last(d, "distill grade");
    const StageData *rephrase = stage_last(d, "datagen rephrase");
    Buf cards = {0};
    bool ok = n <= 0 || ((!eval || labelled_cards(eval, answer_samples, answer_card, n, &cards, e)) &&
                         (!grade || labelled_cards(grade, trace_samples, trace_card, n, &cards, e)) &&
                         (!rephrase || rewrite_cards(rephrase, n, &cards, e)));
    if (ok && cards.length) {
        Buf about = {0};
        buf_text(&about, "The first of each kind in the files, not chosen by hand.");
        if (eval)
            buf_text(&about, " The answers are those of the last row, "), html_escape(&about, eval_name(eval)),
                buf_char(&about, '.');
        heading(out, "Samples to read", about.data);
        buf_printf(out, "<div class=\"grid\">%s</div></section>\n", cards.data);
        buf_free(&about);
    }
    buf_free(&cards);
    return ok;
}

// ---- stages ----

static void pre_json(Buf *out, const char *label, const json_t *value) {
    Buf text = {0};
    if (!value || (json_is_object(value) && !json_object_size(value)) ||
        (json_is_array(value) && !json_array_size(value)))
        return;
    json_write(&text, value, 2, false);
    text_block(out, label, text.data);
    buf_free(&text);
}

static void stage_details(const StageData *s, Buf *out) {
    char time[32];
    buf_text(out, "<details><summary>");
    html_escape(out, s->name);
    buf_text(out, " <small>");
    html_escape(out, member(s->run, "program"));
    buf_printf(out, ", %s</small></summary>", say_duration(s->seconds, time));
    static const struct {
        const char *key, *label;
    } parts[] = {{"config", "Config, resolved"},
                 {"counts", "Counts"},
                 {"results", "Results"},
                 {"inputs", "Inputs"},
                 {"outputs", "Outputs"}};
    for (size_t i = 0; i < COUNT_OF(parts); i++) pre_json(out, parts[i].label, json_object_get(s->run, parts[i].key));
    buf_text(out, "</details>\n");
}

void section_stages(const ReportData *d, Buf *out) {
    Bar *bars = xcalloc(d->n_stages, sizeof *bars);
    char(*texts)[32] = xcalloc(d->n_stages, sizeof *texts);
    double most = 1e-9;
    for (size_t i = 0; i < d->n_stages; i++) {
        const StageData *s = &d->stages[i];
        bars[i] = (Bar){.name = s->name, .value = s->seconds, .text = say_duration(s->seconds, texts[i])};
        most = MAX(most, s->seconds);
    }
    heading(out, "Stages",
            "Wall time of each stage, then everything needed to make it again: resolved configs, counts, and the "
            "SHA-256 of what "
            "went in and came out.");
    buf_text(out, "<div class=\"grid\">");
    chart_bars(out, "Time per stage", bars, d->n_stages, most);
    buf_text(out, "</div>\n");
    for (size_t i = 0; i < d->n_stages; i++) stage_details(&d->stages[i], out);
    if (d->plan) {
        buf_text(out, "<details><summary>the recipe as it was run</summary>");
        pre_json(out, "Plan", d->plan);
        buf_text(out, "</details>\n");
    }
    buf_text(out, "</section>\n");
    free(bars), free(texts);
}
