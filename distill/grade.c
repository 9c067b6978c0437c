// distill grade: traces + answers -> graded.jsonl.zst (traces with a verdict). Owns: what a cut-off trace is worth,
// pass rates. Must not know: how an answer is found and compared (core/data/grader.h).
#include <stdio.h>
#include <string.h>

#include "distill/distill.h"

typedef struct GradeConfig {
#define CFG_FILE "distill/grade.def"
#include "core/base/config_struct.h"
} GradeConfig;
static const ConfigRow rows[] = {
#define CFG_FILE "distill/grade.def"
#define CFG_STRUCT GradeConfig
#include "core/base/config_rows.h"
};
static const ConfigTable table = CONFIG_TABLE(rows, GradeConfig);

typedef struct PromptScore {
    int64_t verified, right; // traces with a verdict; positive ones
} PromptScore;

typedef struct Grading {
    const char *prompts_path;
    Prompts prompts;
    PromptScore *scores; // one per prompt
    TraceSink out;
    json_t *labels, *reasons;
} Grading;

static Verdict judge(const Trace *trace, const char *gold) {
    Verdict v = {.label = LABEL_NEGATIVE, .reason = CUT_OFF_REASON};
    if (!trace->cut_off) grade(trace->content, gold, &v);
    return v;
}

// Text from a buffer of fixed size, which may have cut a character: its whole characters.
static json_t *whole_characters(const char *text) {
    size_t n = strlen(text);
    json_t *value = json_stringn(text, n);
    for (int cut = 0; !value && cut < 3 && n > 0; cut++) value = json_stringn(text, --n);
    return value ? value : json_string("");
}

static bool grade_trace(void *context, const json_t *record, const Trace *trace, int64_t index, const char *place,
                        Error *e) {
    Grading *g = context;
    const char *gold = NULL;
    int64_t at = prompts_find(&g->prompts, trace->prompt_id);
    if (at < 0)
        return fail(e, EXIT_DATA, "%s: prompt_id: \"%.64s\" is not in %s", place, trace->prompt_id, g->prompts_path);
    if (!json_opt_text(prompts_at(&g->prompts, at), "answer", trace->prompt_id, &gold, e))
        return fail_in(e, "%s", g->prompts_path);
    Verdict v = judge(trace, gold);
    g->scores[at].verified += v.label != LABEL_UNVERIFIED;
    g->scores[at].right += v.label == LABEL_POSITIVE;
    tally(g->labels, label_name(v.label));
    tally(g->reasons, v.reason);
    json_t *graded = json_copy((json_t *)record); // shallow: only the new member is ours
    json_object_set_new(graded, "verdict",
                        json_pack("{s:s, s:s, s:o, s:s}", "label", label_name(v.label), "grader", GRADER_NAME,
                                  "extracted", whole_characters(v.extracted), "reason", v.reason));
    return trace_sink_write(&g->out, graded, e);
}

// ---- pass rates ----

typedef struct PassRate {
    int64_t prompts, none, all; // prompts with verdicts; without a right trace; with nothing else
    double sum;
} PassRate;

static void add_prompt(PassRate *p, const PromptScore *s) {
    p->prompts++;
    p->none += s->right == 0;
    p->all += s->right == s->verified;
    p->sum += (double)s->right / (double)s->verified;
}

static json_t *pass_rate_json(const PassRate *p) {
    return json_pack("{s:I, s:f, s:I, s:I, s:I}", "prompts", (json_int_t)p->prompts, "pass_rate",
                     p->sum / (double)p->prompts, "none_right", (json_int_t)p->none, "some_right",
                     (json_int_t)(p->prompts - p->none - p->all), "all_right", (json_int_t)p->all);
}

enum { MAX_STEPS = 64 }; // harder problems are counted with these

static void report(Run *run, const Grading *g) {
    PassRate all = {0}, by_steps[MAX_STEPS + 1] = {0};
    for (int64_t i = 0; i < prompts_count(&g->prompts); i++) {
        if (g->scores[i].verified == 0) continue;
        add_prompt(&all, &g->scores[i]);
        const json_t *steps = json_object_get(json_object_get(prompts_at(&g->prompts, i), "meta"), "steps");
        if (json_is_integer(steps))
            add_prompt(&by_steps[CLAMP(json_integer_value(steps), 0, MAX_STEPS)], &g->scores[i]);
    }
    run_result(run, "labels", json_incref(g->labels));
    run_result(run, "reasons", json_incref(g->reasons));
    run_result(run, "pass_rate", all.prompts ? json_real(all.sum / (double)all.prompts) : json_null());
    if (all.prompts) run_result(run, "prompts", pass_rate_json(&all));
    json_t *table_of_steps = json_object();
    for (int i = 0; i <= MAX_STEPS; i++) {
        char name[16];
        snprintf(name, sizeof name, "%d", i);
        if (by_steps[i].prompts) json_object_set_new(table_of_steps, name, pass_rate_json(&by_steps[i]));
    }
    if (json_object_size(table_of_steps))
        run_result(run, "by_steps", table_of_steps);
    else
        json_decref(table_of_steps);
    log_info("%lld traces of %lld prompts: %lld positive, %lld negative; pass rate %.3f", (long long)g->out.n,
             (long long)all.prompts, (long long)json_integer_value(json_object_get(g->labels, "positive")),
             (long long)json_integer_value(json_object_get(g->labels, "negative")),
             all.prompts ? all.sum / (double)all.prompts : 0.0);
}

static void count(Run *run, const Grading *g) {
    run_count(run, "read", g->out.n);
    run_count(run, "kept", g->out.n);
    run_count(run, "dropped", 0);
    for (int l = LABEL_POSITIVE; l <= LABEL_UNVERIFIED; l++)
        run_count(run, label_name((Label)l), json_integer_value(json_object_get(g->labels, label_name((Label)l))));
}

static bool work(Run *run, const void *config, Error *e) {
    const GradeConfig *c = config;
    Grading g = {.prompts_path = c->prompts, .labels = json_object(), .reasons = json_object()};
    bool ok = prompts_read(&g.prompts, c->prompts, 0, e) && trace_sink_open(&g.out, run, "graded.jsonl.zst", e);
    if (ok) {
        g.scores = xcalloc((size_t)prompts_count(&g.prompts), sizeof *g.scores);
        ok = trace_each(c->traces, grade_trace, &g, e);
    }
    ok = trace_sink_close(&g.out, ok ? e : NULL) && ok;
    if (ok) count(run, &g), report(run, &g);
    free(g.scores);
    json_decref(g.labels);
    json_decref(g.reasons);
    prompts_free(&g.prompts);
    return ok;
}

static int run_grade(const void *config, const Options *options, Error *e) {
    const GradeConfig *c = config;
    DistillStage stage = {.program = "distill grade",
                          .table = &table,
                          .out = c->out,
                          .inputs = {c->traces, c->prompts},
                          .outputs = {"graded.jsonl.zst"},
                          .work = work};
    return distill_run(&stage, config, options, e);
}

const Command distill_grade_command = {
    .name = "grade",
    .about = "compares each trace's answer with the known one",
    .examples = "distill grade traces=traces/traces.jsonl.zst prompts=problems/records.jsonl.zst out=graded",
    .table = CONFIG_TABLE(rows, GradeConfig),
    .run = run_grade,
};
