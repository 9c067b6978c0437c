// report_data: finds the stages of a recipe and what depends on what. Must not know: HTML, what a stage computes.
#include "tools/report.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tools/events.h"

// ---- finding the stages ----

static char *file_in(const char *folder, const char *name) { return path_join(folder, name); }

static bool same_path(const char *a, const char *b) {
    char *x = realpath(a, NULL), *y = realpath(b, NULL);
    bool same = x && y && !strcmp(x, y);
    free(x), free(y);
    return same;
}

static bool add_stage(ReportData *d, const char *name, const char *skip, Error *e) {
    char *folder = file_in(d->runs, name), *seal = file_in(folder, "COMPLETE"), *record = file_in(folder, "run.json");
    bool wanted = is_folder(folder) && file_exists(seal) && !(skip && same_path(folder, skip)), ok = true;
    if (wanted) {
        json_t *run = json_read_file(record, e);
        ok = run != NULL;
        if (ok && !json_is_string(json_object_get(run, "program"))) {
            ok = fail(e, EXIT_DATA, "%s: program: expected text; is this a run folder?", record);
            json_decref(run);
        }
        if (ok) {
            d->stages = xrealloc(d->stages, (d->n_stages + 1) * sizeof *d->stages);
            d->stages[d->n_stages++] = (StageData){.name = xstrdup(name),
                                                   .folder = xstrdup(folder),
                                                   .run = run,
                                                   .seconds = json_number_value(json_object_get(run, "seconds"))};
        }
    }
    free(folder), free(seal), free(record);
    return ok;
}

static const json_t *plan_sorted_by; // the plan's stages, for qsort

static size_t place_in_plan(const char *name) {
    size_t n = json_array_size(plan_sorted_by), i = 0;
    while (i < n) {
        const char *other = json_string_value(json_object_get(json_array_get(plan_sorted_by, i), "stage"));
        if (other && !strcmp(other, name)) break;
        i++;
    }
    return i;
}

// The recipe's order; what is not in it after that, by the time it began.
static int by_plan(const void *a, const void *b) {
    const StageData *x = a, *y = b;
    size_t i = place_in_plan(x->name), j = place_in_plan(y->name);
    if (i != j) return i < j ? -1 : 1;
    const char *s = json_string_value(json_object_get(x->run, "started")),
               *t = json_string_value(json_object_get(y->run, "started"));
    int order = strcmp(s ? s : "", t ? t : "");
    return order ? order : strcmp(x->name, y->name);
}

static bool read_plan(ReportData *d, Error *e) {
    char *path = file_in(d->runs, ".stages/plan.json");
    bool there = file_exists(path);
    if (there) d->plan = json_read_file(path, e);
    free(path);
    return !there || d->plan;
}

static bool choose_evals(ReportData *d, const StrList *names, Error *e) {
    d->evals = xcalloc(d->n_stages + names->count + 1, sizeof *d->evals);
    for (size_t i = 0; names->count == 0 && i < d->n_stages; i++)
        if (stage_is(&d->stages[i], "tristill eval")) d->evals[d->n_evals++] = i;
    for (size_t k = 0; k < names->count; k++) {
        size_t i = 0;
        while (i < d->n_stages && strcmp(d->stages[i].name, names->items[k])) i++;
        if (i == d->n_stages || !stage_is(&d->stages[i], "tristill eval"))
            return fail(e, EXIT_USAGE, "evals: '%s' is no complete `tristill eval` stage in %s", names->items[k],
                        d->runs);
        d->evals[d->n_evals++] = i;
    }
    return true;
}

bool report_load(ReportData *d, const char *runs, const char *title, const StrList *evals, const char *skip, Error *e) {
    StrList names = {0};
    *d = (ReportData){.runs = xstrdup(runs)};
    bool ok = folder_list(runs, &names, e) && read_plan(d, e);
    for (size_t i = 0; ok && i < names.count; i++)
        ok = names.items[i][0] == '.' || add_stage(d, names.items[i], skip, e);
    strlist_free(&names);
    if (ok && d->n_stages == 0) ok = fail(e, EXIT_DATA, "%s: holds no complete run folder; run the recipe first", runs);
    plan_sorted_by = json_object_get(d->plan, "stages");
    if (ok) qsort(d->stages, d->n_stages, sizeof *d->stages, by_plan);
    ok = ok && choose_evals(d, evals, e);
    const char *named = json_string_value(json_object_get(d->plan, "name"));
    d->title = xstrdup(title[0] ? title : named ? named : path_base(runs));
    if (!ok) report_free(d);
    return ok;
}

void report_free(ReportData *d) {
    for (size_t i = 0; i < d->n_stages; i++) {
        free(d->stages[i].name), free(d->stages[i].folder);
        json_decref(d->stages[i].run);
    }
    free(d->stages), free(d->evals), free(d->title), free(d->runs);
    json_decref(d->plan);
    *d = (ReportData){0};
}

// ---- what a stage says of itself ----

bool stage_is(const StageData *s, const char *program) {
    return !strcmp(json_string_value(json_object_get(s->run, "program")), program);
}

const json_t *stage_config(const StageData *s, const char *key) {
    return json_object_get(json_object_get(s->run, "config"), key);
}

const char *stage_config_text(const StageData *s, const char *key) {
    const char *text = json_string_value(stage_config(s, key));
    return text ? text : "";
}

const json_t *stage_result(const StageData *s, const char *key) {
    return json_object_get(json_object_get(s->run, "results"), key);
}

double stage_number(const StageData *s, const char *key) {
    const json_t *value = stage_result(s, key);
    return json_is_number(value) ? json_number_value(value) : NAN;
}

const StageData *stage_last(const ReportData *d, const char *program) {
    for (size_t i = d->n_stages; i-- > 0;)
        if (stage_is(&d->stages[i], program)) return &d->stages[i];
    return NULL;
}

const char *eval_name(const StageData *eval) {
    const char *name = stage_config_text(eval, "name");
    return name[0] ? name : eval->name;
}

// ---- what depends on what ----

// The stage whose folder holds `path`, as the paths were written when the stages ran.
static size_t maker_of(const ReportData *d, const char *path) {
    for (size_t i = 0; path && i < d->n_stages; i++) {
        const char *out = stage_config_text(&d->stages[i], "out");
        size_t n = strlen(out);
        if (n > 0 && !strncmp(path, out, n) && (path[n] == '/' || !path[n])) return i;
    }
    return d->n_stages;
}

static double add_seconds(const ReportData *d, size_t stage, bool *seen) {
    if (stage == d->n_stages || seen[stage]) return 0;
    seen[stage] = true;
    double sum = d->stages[stage].seconds;
    const json_t *inputs = json_object_get(d->stages[stage].run, "inputs");
    for (size_t i = 0; i < json_array_size(inputs); i++)
        sum += add_seconds(d, maker_of(d, json_string_value(json_object_get(json_array_get(inputs, i), "path"))), seen);
    return sum;
}

double seconds_behind(const ReportData *d, const StageData *eval) {
    size_t maker = maker_of(d, stage_config_text(eval, "model"));
    if (maker == d->n_stages) return NAN;
    bool *seen = xcalloc(d->n_stages, sizeof *seen);
    double sum = add_seconds(d, maker, seen);
    free(seen);
    return sum;
}

// ---- curves ----

typedef struct Curve {
    const char *x_field, *field;
    int index;
    Series *out;
    Series steps; // step of each point
} Curve;

static void add_point(void *context, const char *event, const json_t *fields) {
    Curve *c = context;
    const json_t *x = json_object_get(fields, c->x_field), *y = json_object_get(fields, c->field);
    if (c->index >= 0) y = json_array_get(y, (size_t)c->index);
    if (strcmp(event, "step") || !json_is_number(x) || !json_is_number(y)) return;
    double step = json_number_value(json_object_get(fields, "step"));
    while (c->steps.n > 0 && c->steps.x[c->steps.n - 1] >= step)
        c->steps.n--, c->out->n--; // logged again after a restart
    series_add(&c->steps, step, 0);
    series_add(c->out, json_number_value(x), json_number_value(y));
}

bool stage_series(const StageData *s, const char *x_field, const char *field, int index, Series *out, Error *e) {
    Curve curve = {.x_field = x_field, .field = field, .index = index, .out = out};
    char *path = file_in(s->folder, "log.jsonl");
    bool ok = events_each(path, add_point, &curve, e);
    series_free(&curve.steps);
    free(path);
    return ok;
}
