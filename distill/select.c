// distill select: graded traces -> positive.jsonl.zst, pairs.jsonl.zst, dropped.jsonl.zst. Owns: which traces are used,
// and as what. Must not know: how they were asked or graded.
//
// A trace is kept when it is a positive or the rejected side of a pair (the chosen side always is one of the
// positives); it counts once. Every other trace is dropped with one reason, the first that holds. The file is read
// twice: once for what decides, once to write, so that memory holds no texts but those that wait for the other half of
// their pair.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "distill/distill.h"

typedef struct SelectConfig {
#define CFG_FILE "distill/select.def"
#include "core/base/config_struct.h"
} SelectConfig;
static const ConfigRow rows[] = {
#define CFG_FILE "distill/select.def"
#define CFG_STRUCT SelectConfig
#include "core/base/config_rows.h"
};
static const ConfigTable table = CONFIG_TABLE(rows, SelectConfig);

typedef struct Candidate {
    int64_t index, prompt; // place in the file; number of its prompt, by first appearance
    int64_t n_tokens, n_pairs;
    Label label;
    bool cut_off, positive;
    const char *reason; // of being dropped; NULL = kept
    char text[33];      // hash of reasoning and content
    json_t *waiting;    // the trace, until its pairs are written
} Candidate;

typedef struct Pair {
    int64_t chosen, rejected;
} Pair;

typedef struct Selection {
    const SelectConfig *config;
    Candidate *all;
    int64_t n, capacity;
    json_t *prompts; // id -> number
    Pair *pairs;
    int64_t n_pairs, pairs_capacity, pairs_written;
    TraceSink positive, paired, dropped;
    json_t *reasons;
    int64_t with_positive, with_pair, positive_tokens;
} Selection;

// ---- first reading: what decides ----

static int64_t prompt_number(Selection *s, const char *id) {
    const json_t *known = json_object_get(s->prompts, id);
    if (known) return (int64_t)json_integer_value(known);
    int64_t number = (int64_t)json_object_size(s->prompts);
    json_object_set_new(s->prompts, id, json_integer(number));
    return number;
}

static void hash_text(const Trace *t, char out[33]) {
    Buf text = {0};
    trace_text(t, &text);
    buf_text(&text, "");
    record_id(text.data, text.length, out);
    buf_free(&text);
}

static bool collect(void *context, const json_t *record, const Trace *trace, int64_t index, const char *place,
                    Error *e) {
    Selection *s = context;
    const json_t *verdict = json_object_get(record, "verdict");
    const char *label;
    Candidate c = {.index = index, .n_tokens = trace->n_tokens, .cut_off = trace->cut_off};
    if (!verdict) return fail(e, EXIT_DATA, "%s: verdict: missing; run `distill grade` on these traces first", place);
    if (!json_get_text(verdict, "label", place, &label, e)) return false;
    if (!label_parse(label, &c.label))
        return fail(e, EXIT_DATA, "%s: verdict.label: \"%.40s\" is no label", place, label);
    c.prompt = prompt_number(s, trace->prompt_id);
    hash_text(trace, c.text);
    if (s->n == s->capacity) {
        s->capacity = s->capacity ? 2 * s->capacity : 1024;
        s->all = xrealloc(s->all, (size_t)s->capacity * sizeof *s->all);
    }
    s->all[s->n++] = c;
    return true;
}

// ---- the decision, prompt by prompt ----

static const char *why_not(const SelectConfig *c, const Candidate *t) {
    if (t->label == LABEL_UNVERIFIED) return "unverified";
    if (t->label == LABEL_AMBIGUOUS) return "ambiguous";
    if (t->cut_off && !c->allow_length_negatives) return CUT_OFF_REASON;
    if (t->n_tokens < c->min_tokens) return "shorter than min_tokens";
    if (c->max_tokens > 0 && t->n_tokens > c->max_tokens) return "longer than max_tokens";
    return NULL;
}

static int by_length(const void *a, const void *b) {
    const Candidate *x = *(Candidate *const *)a, *y = *(Candidate *const *)b;
    if (x->n_tokens != y->n_tokens) return x->n_tokens < y->n_tokens ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

static int by_prompt(const void *a, const void *b) {
    const Candidate *x = *(Candidate *const *)a, *y = *(Candidate *const *)b;
    if (x->prompt != y->prompt) return x->prompt < y->prompt ? -1 : 1;
    return (x->index > y->index) - (x->index < y->index);
}

// The usable right (or wrong) traces of one prompt, moved to the front of `to`.
static int64_t usable(const SelectConfig *c, Candidate **of_prompt, int64_t n, Label label, Candidate **to) {
    json_t *seen = json_object();
    int64_t count = 0;
    for (int64_t i = 0; i < n; i++) {
        Candidate *t = of_prompt[i];
        if (t->label != label) continue;
        t->reason = why_not(c, t);
        if (!t->reason && json_object_get(seen, t->text)) t->reason = "duplicate text";
        if (t->reason) continue;
        json_object_set_new(seen, t->text, json_true());
        to[count++] = t;
    }
    json_decref(seen);
    return count;
}

static void add_pair(Selection *s, Candidate *chosen, Candidate *rejected) {
    if (s->n_pairs == s->pairs_capacity) {
        s->pairs_capacity = s->pairs_capacity ? 2 * s->pairs_capacity : 1024;
        s->pairs = xrealloc(s->pairs, (size_t)s->pairs_capacity * sizeof *s->pairs);
    }
    s->pairs[s->n_pairs++] = (Pair){chosen->index, rejected->index};
    chosen->n_pairs++;
    rejected->n_pairs++;
}

static void decide_prompt(Selection *s, Candidate **of_prompt, int64_t n, Candidate **list) {
    const SelectConfig *c = s->config;
    for (int64_t i = 0; i < n; i++) of_prompt[i]->reason = why_not(c, of_prompt[i]);
    int64_t n_right = usable(c, of_prompt, n, LABEL_POSITIVE, list);
    if (c->shortest_first) qsort(list, (size_t)n_right, sizeof(Candidate *), by_length);
    int64_t kept = MIN(n_right, c->max_positive);
    for (int64_t i = 0; i < n_right; i++) {
        list[i]->positive = i < kept;
        if (i >= kept) list[i]->reason = "enough positives of this prompt";
    }
    Candidate **wrong = list + n_right;
    int64_t n_wrong = usable(c, of_prompt, n, LABEL_NEGATIVE, wrong);
    for (int64_t i = 0; i < n_wrong; i++) {
        if (kept == 0)
            wrong[i]->reason = "no positive of this prompt";
        else if (i >= c->pairs_per_prompt)
            wrong[i]->reason = "enough pairs of this prompt";
        else
            add_pair(s, list[i % kept], wrong[i]);
    }
    s->with_positive += kept > 0;
    s->with_pair += kept > 0 && n_wrong > 0 && c->pairs_per_prompt > 0;
}

static int64_t later(const Pair *p) { return MAX(p->chosen, p->rejected); }
static int by_completion(const void *a, const void *b) {
    const Pair *x = a, *y = b;
    if (later(x) != later(y)) return later(x) < later(y) ? -1 : 1;
    return (x->rejected > y->rejected) - (x->rejected < y->rejected);
}

static void decide(Selection *s) {
    Candidate **sorted = xcalloc((size_t)s->n + 1, sizeof *sorted), **list = xcalloc((size_t)s->n + 1, sizeof *list);
    for (int64_t i = 0; i < s->n; i++) sorted[i] = &s->all[i];
    qsort(sorted, (size_t)s->n, sizeof *sorted, by_prompt);
    for (int64_t begin = 0, end; begin < s->n; begin = end) {
        for (end = begin; end < s->n && sorted[end]->prompt == sorted[begin]->prompt;) end++;
        decide_prompt(s, sorted + begin, end - begin, list);
    }
    if (s->n_pairs) qsort(s->pairs, (size_t)s->n_pairs, sizeof *s->pairs, by_completion);
    free(sorted);
    free(list);
}

// ---- second reading: writing ----

static bool write_positive(Selection *s, const json_t *record, const Trace *t, Error *e) {
    Buf text = {0};
    char *key = xasprintf("positive/%s", t->id), id[33];
    trace_text(t, &text);
    record_id(key, strlen(key), id);
    json_t *messages = json_copy(json_object_get(record, "messages"));
    json_array_append_new(messages, json_pack("{s:s, s:s}", "role", "assistant", "content", text.data));
    bool ok = trace_sink_write(&s->positive,
                               json_pack("{s:s, s:o, s:s, s:s, s:s}", "id", id, "messages", messages, "source",
                                         "distill", "prompt_id", t->prompt_id, "trace_id", t->id),
                               e);
    s->positive_tokens += t->n_tokens;
    free(key);
    buf_free(&text);
    return ok;
}

static json_t *side_of_pair(const json_t *record, const Trace *t) {
    Buf text = {0};
    trace_text(t, &text);
    buf_text(&text, "");
    json_t *side = json_pack("{s:s, s:s, s:O, s:s}", "id", t->id, "prompt_id", t->prompt_id, "messages",
                             json_object_get(record, "messages"), "text", text.data);
    buf_free(&text);
    return side;
}

static void release(Candidate *c) {
    if (--c->n_pairs > 0) return;
    json_decref(c->waiting);
    c->waiting = NULL;
}

static bool write_pair(Selection *s, const Pair *p, Error *e) {
    Candidate *chosen = &s->all[p->chosen], *rejected = &s->all[p->rejected];
    const char *chosen_id = json_string_value(json_object_get(chosen->waiting, "id"));
    const char *rejected_id = json_string_value(json_object_get(rejected->waiting, "id"));
    char *key = xasprintf("%s/%s", chosen_id, rejected_id), id[33];
    record_id(key, strlen(key), id);
    free(key);
    json_t *pair = json_pack(
        "{s:s, s:O, s:O, s:O, s:O, s:s, s:s}", "id", id, "prompt_id", json_object_get(chosen->waiting, "prompt_id"),
        "messages", json_object_get(chosen->waiting, "messages"), "chosen", json_object_get(chosen->waiting, "text"),
        "rejected", json_object_get(rejected->waiting, "text"), "chosen_id", chosen_id, "rejected_id", rejected_id);
    release(chosen);
    release(rejected);
    return trace_sink_write(&s->paired, pair, e);
}

static bool write_dropped(Selection *s, const Trace *t, const char *reason, Error *e) {
    tally(s->reasons, reason);
    return trace_sink_write(&s->dropped,
                            json_pack("{s:s, s:s, s:s}", "id", t->id, "stage", "distill select", "reason", reason), e);
}

static bool write_out(void *context, const json_t *record, const Trace *trace, int64_t index, const char *place,
                      Error *e) {
    Selection *s = context;
    if (index >= s->n) return fail(e, EXIT_DATA, "%s: the file grew while it was read; run again", place);
    Candidate *c = &s->all[index];
    if (c->reason) return write_dropped(s, trace, c->reason, e);
    if (!json_is_array(json_object_get(record, "messages")))
        return fail(e, EXIT_DATA, "%s: messages: expected an array", place);
    if (c->positive && !write_positive(s, record, trace, e)) return false;
    if (c->n_pairs) c->waiting = side_of_pair(record, trace);
    for (; s->pairs_written < s->n_pairs && later(&s->pairs[s->pairs_written]) == index; s->pairs_written++)
        if (!write_pair(s, &s->pairs[s->pairs_written], e)) return false;
    return true;
}

// ---- the stage ----

static void report(Run *run, const Selection *s) {
    int64_t kept = 0;
    for (int64_t i = 0; i < s->n; i++) kept += !s->all[i].reason;
    run_count(run, "read", s->n);
    run_count(run, "kept", kept);
    run_count(run, "dropped", s->dropped.n);
    run_count(run, "positives", s->positive.n);
    run_count(run, "pairs", s->paired.n);
    const char *reason;
    json_t *count;
    json_object_foreach(s->reasons, reason, count) {
        char name[160];
        snprintf(name, sizeof name, "dropped: %s", reason);
        run_count(run, name, json_integer_value(count));
    }
    run_result(run, "positives", json_integer(s->positive.n));
    run_result(run, "pairs", json_integer(s->paired.n));
    run_result(run, "positive_tokens", json_integer(s->positive_tokens));
    run_result(run, "dropped", json_incref(s->reasons));
    run_result(run, "prompts_traced", json_integer((json_int_t)json_object_size(s->prompts)));
    run_result(run, "prompts_with_positive", json_integer(s->with_positive));
    run_result(run, "prompts_with_pair", json_integer(s->with_pair));
    log_info("%lld traces: %lld positives (%lld of %zu prompts), %lld pairs, %lld dropped", (long long)s->n,
             (long long)s->positive.n, (long long)s->with_positive, json_object_size(s->prompts),
             (long long)s->paired.n, (long long)s->dropped.n);
}

// Prompts that have no right trace, asked or not.
static bool report_coverage(Run *run, const Selection *s, Error *e) {
    if (!s->config->prompts[0]) return true;
    Prompts prompts;
    if (!prompts_read(&prompts, s->config->prompts, 0, e)) return false;
    run_result(run, "prompts", json_integer(prompts_count(&prompts)));
    run_result(run, "prompts_without_positive", json_integer(prompts_count(&prompts) - s->with_positive));
    prompts_free(&prompts);
    return true;
}

static bool open_sinks(Selection *s, const Run *run, Error *e) {
    return trace_sink_open(&s->positive, run, "positive.jsonl.zst", e) &&
           trace_sink_open(&s->paired, run, "pairs.jsonl.zst", e) &&
           trace_sink_open(&s->dropped, run, "dropped.jsonl.zst", e);
}

static bool close_sinks(Selection *s, Error *e) {
    bool ok = trace_sink_close(&s->positive, e);
    ok = trace_sink_close(&s->paired, ok ? e : NULL) && ok;
    return trace_sink_close(&s->dropped, ok ? e : NULL) && ok;
}

static bool work(Run *run, const void *config, Error *e) {
    Selection s = {.config = config, .prompts = json_object(), .reasons = json_object()};
    bool ok = trace_each(s.config->traces, collect, &s, e) && open_sinks(&s, run, e);
    if (ok) {
        decide(&s);
        ok = trace_each(s.config->traces, write_out, &s, e);
    }
    ok = close_sinks(&s, ok ? e : NULL) && ok;
    ok = ok && report_coverage(run, &s, e);
    if (ok) report(run, &s);
    for (int64_t i = 0; i < s.n; i++) json_decref(s.all[i].waiting);
    free(s.all);
    free(s.pairs);
    json_decref(s.prompts);
    json_decref(s.reasons);
    return ok;
}

static int run_select(const void *config, const Options *options, Error *e) {
    const SelectConfig *c = config;
    DistillStage stage = {.program = "distill select",
                          .table = &table,
                          .out = c->out,
                          .inputs = {c->traces, c->prompts},
                          .outputs = {"positive.jsonl.zst", "pairs.jsonl.zst", "dropped.jsonl.zst"},
                          .work = work};
    return distill_run(&stage, config, options, e);
}

const Command distill_select_command = {
    .name = "select",
    .about = "chooses right traces, and pairs of right and wrong ones",
    .examples = "distill select traces=graded/graded.jsonl.zst out=selected max_positive=2 pairs_per_prompt=1",
    .table = CONFIG_TABLE(rows, SelectConfig),
    .run = run_select,
};
