// datagen mix: natural and synthetic documents in a share counted in tokens. Owns: which documents enter.
// The share counts: 60 / 40 of documents would be another mix than 60 / 40 of tokens, since rewrites have lengths of
// their own. Two passes over the files, so that memory grows with the number of documents (some 100 bytes each), not
// with their texts; the order of the files is kept, since the trainer shuffles.
#include "core/base/rng.h"
#include "datagen/commands.h"
#include "datagen/encode.h"
#include "datagen/stage.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct MixConfig {
#define CFG_FILE "datagen/mix.def"
#include "core/base/config_struct.h"
} MixConfig;
static const ConfigRow rows[] = {
#define CFG_FILE "datagen/mix.def"
#define CFG_STRUCT MixConfig
#include "core/base/config_rows.h"
};

#define MIX_FILE "mix.jsonl.zst"
static const double share_tolerance = 0.005; // half a percent of all tokens

enum { NATURAL, SYNTHETIC, SIDES };
static const char *const side_names[SIDES] = {"natural", "synthetic"};
typedef enum Fate { NOT_NEEDED, TAKEN, DUPLICATE } Fate;

typedef struct Candidate {
    uint64_t key; // place in the random order
    int64_t n_tokens;
    uint8_t side, fate;
} Candidate;

typedef struct Mix {
    const MixConfig *config;
    DocumentEncoder encoder;
    TokenList ids; // scratch
    int side;      // of the files being read
    Candidate *candidates;
    int64_t n, room, at; // at: the candidate being written
    json_t *seen;        // ids
    int64_t available[SIDES], budget[SIDES], tokens[SIDES], documents[SIDES];
    json_t *strategies; // name -> {"documents","tokens"}
    Sink sink;
    Drops drops;
} Mix;

// ---- pass 1: count ----

static bool count_document(void *context, json_t *record, const RecordPlace *place, Error *e) {
    Mix *m = context;
    const char *id, *text, *kind;
    if (!record_name(record, place, &id, e) || !json_get_text(record, "text", place->text, &text, e) ||
        !json_get_text(record, "kind", place->text, &kind, e))
        return false;
    if (strcmp(kind, side_names[m->side]) != 0)
        return fail(e, EXIT_DATA, "%s: kind: \"%s\" in the list of %s documents; move the file to the other list",
                    place->text, kind, side_names[m->side]);
    if (m->n == m->room) {
        m->room = MAX(2 * m->room, 1024);
        m->candidates = xrealloc(m->candidates, (size_t)m->room * sizeof *m->candidates);
    }
    Candidate *c = &m->candidates[m->n];
    *c = (Candidate){rng_u64((uint64_t)m->config->seed, RNG_MIX, (uint64_t)m->n), 0, (uint8_t)m->side, NOT_NEEDED};
    m->n++;
    if (json_object_get(m->seen, id)) {
        c->fate = DUPLICATE;
        return true;
    }
    json_object_set_new(m->seen, id, json_true());
    document_encode(&m->encoder, text, &m->ids);
    c->n_tokens = (int64_t)m->ids.count;
    m->available[m->side] += c->n_tokens;
    return true;
}

static bool each_side(Mix *m, StageRecordFn fn, Error *e) {
    const StrList *lists[SIDES] = {&m->config->natural, &m->config->synthetic};
    for (m->side = 0; m->side < SIDES; m->side++)
        if (!stage_each_record(lists[m->side], fn, m, e)) return false;
    return true;
}

// ---- the choice ----

static int by_key(const void *left, const void *right) {
    const Candidate *a = *(Candidate *const *)left, *b = *(Candidate *const *)right;
    if (a->key != b->key) return a->key < b->key ? -1 : 1;
    return a < b ? -1 : a > b; // their places in the files
}

static bool set_budget(Mix *m, Error *e) {
    double share[SIDES] = {1 - m->config->synthetic_share, m->config->synthetic_share},
           total = (double)m->config->total_tokens;
    if (total == 0) {
        total = INFINITY;
        for (int s = 0; s < SIDES; s++)
            if (share[s] > 0) total = fmin(total, floor((double)m->available[s] / share[s]));
    }
    m->budget[SYNTHETIC] = llround(share[SYNTHETIC] * total);
    m->budget[NATURAL] = (int64_t)total - m->budget[SYNTHETIC];
    for (int s = 0; s < SIDES; s++) {
        int64_t missing = m->budget[s] - m->available[s];
        if (m->config->total_tokens && missing > 0)
            return fail(e, EXIT_DATA,
                        "%s: %lld tokens are missing: %lld of the mix shall be %s and the files hold %lld; give more "
                        "%s documents, "
                        "lower total_tokens (0 = as many as there are) or change synthetic_share",
                        side_names[s], (long long)missing, (long long)m->budget[s], side_names[s],
                        (long long)m->available[s], side_names[s]);
        if (share[s] > 0 && m->available[s] == 0)
            return fail(
                e, EXIT_DATA,
                "%s: no tokens at all, so a synthetic_share of %g cannot be met: for the %lld tokens of the other side "
                "%.0f are missing; give %s documents",
                side_names[s], m->config->synthetic_share, (long long)m->available[!s],
                ceil((double)m->available[!s] / share[!s] * share[s]), side_names[s]);
    }
    return true;
}

// Walks the documents in random order; each enters while its side has room for it.
static void choose(Mix *m) {
    Candidate **order = xcalloc((size_t)MAX(m->n, 1), sizeof(Candidate *));
    for (int64_t i = 0; i < m->n; i++) order[i] = &m->candidates[i];
    qsort(order, (size_t)m->n, sizeof *order, by_key);
    for (int64_t i = 0; i < m->n; i++) {
        Candidate *c = order[i];
        if (c->fate == DUPLICATE || m->tokens[c->side] + c->n_tokens > m->budget[c->side]) continue;
        c->fate = TAKEN;
        m->tokens[c->side] += c->n_tokens;
        m->documents[c->side]++;
    }
    free(order);
}

static double share_of(const Mix *m) {
    return (double)m->tokens[SYNTHETIC] / (double)MAX(m->tokens[NATURAL] + m->tokens[SYNTHETIC], 1);
}

static bool check_share(const Mix *m, Error *e) {
    double share = share_of(m);
    int64_t total = m->tokens[NATURAL] + m->tokens[SYNTHETIC];
    if (total > 0 && fabs(share - m->config->synthetic_share) <= share_tolerance) return true;
    int scarce = share < m->config->synthetic_share ? SYNTHETIC : NATURAL;
    return fail(
        e, EXIT_DATA,
        "%s: %lld of %lld tokens could be filled, %lld are missing: the documents are too few or too long to meet a "
        "synthetic_share of %g (it would be %.4f); give more or shorter documents, or a larger total_tokens",
        side_names[scarce], (long long)m->tokens[scarce], (long long)m->budget[scarce],
        (long long)(m->budget[scarce] - m->tokens[scarce]), m->config->synthetic_share, share);
}

// ---- pass 2: write ----

static void count_strategy(Mix *m, const char *name, int64_t n_tokens) {
    json_t *entry = json_object_get(m->strategies, name);
    if (!entry) {
        entry = json_pack("{s:i, s:i}", "documents", 0, "tokens", 0);
        json_object_set_new(m->strategies, name, entry);
    }
    json_object_set_new(entry, "documents", json_integer(json_integer_value(json_object_get(entry, "documents")) + 1));
    json_object_set_new(entry, "tokens", json_integer(json_integer_value(json_object_get(entry, "tokens")) + n_tokens));
}

static bool write_document(void *context, json_t *record, const RecordPlace *place, Error *e) {
    Mix *m = context;
    const char *id, *strategy = "none";
    if (m->at == m->n) return fail(e, EXIT_DATA, "%s: the file has grown since it was counted; run again", place->text);
    const Candidate *c = &m->candidates[m->at++];
    if (!record_name(record, place, &id, e)) return false;
    if (c->fate != TAKEN)
        return drops_add(&m->drops, id, c->fate == DUPLICATE ? "duplicate id" : "not needed for the share", NULL, e);
    if (m->side == SYNTHETIC) {
        if (!json_opt_text(record, "strategy", place->text, &strategy, e)) return false;
        count_strategy(m, strategy, c->n_tokens);
    }
    json_object_set_new(record, "n_tokens", json_integer(c->n_tokens));
    return sink_write(&m->sink, json_incref(record), e);
}

static void report(Stage *stage, const Mix *m) {
    for (int s = 0; s < SIDES; s++)
        run_result(&stage->run, side_names[s],
                   json_pack("{s:I, s:I, s:I}", "documents", (json_int_t)m->documents[s], "tokens",
                             (json_int_t)m->tokens[s], "tokens_available", (json_int_t)m->available[s]));
    run_result(&stage->run, "strategies", json_incref(m->strategies));
    run_result(&stage->run, "tokens", json_integer(m->tokens[NATURAL] + m->tokens[SYNTHETIC]));
    run_result(&stage->run, "synthetic_share", json_real(share_of(m)));
    log_info("mix: %lld natural + %lld synthetic tokens, synthetic share %.4f", (long long)m->tokens[NATURAL],
             (long long)m->tokens[SYNTHETIC], share_of(m));
    stage_count(stage, m->n, m->sink.n, &m->drops);
}

static bool mix_files(Stage *stage, Mix *m, Error *e) {
    if (!each_side(m, count_document, e) || !set_budget(m, e)) return false;
    choose(m);
    if (!check_share(m, e) || !sink_open(&m->sink, stage, MIX_FILE, e) || !drops_open(&m->drops, stage, "mix", e))
        return false;
    if (!each_side(m, write_document, e) || !sink_close(&m->sink, e) || !drops_close(&m->drops, e)) return false;
    report(stage, m);
    return true;
}

static bool mix_work(Stage *stage, const void *config, Error *e) {
    const MixConfig *c = config;
    Mix m = {.config = c, .seen = json_object(), .strategies = json_object()};
    bool ok = document_encoder_open(&m.encoder, c->tokenizer, c->end_token, e) && mix_files(stage, &m, e);
    document_encoder_close(&m.encoder);
    tokens_free(&m.ids);
    sink_abandon(&m.sink);
    drops_free(&m.drops);
    json_decref(m.seen);
    json_decref(m.strategies);
    free(m.candidates);
    return ok;
}

static int mix_run(const void *config, const Options *options, Error *e) {
    const MixConfig *c = config;
    if (c->natural.count + c->synthetic.count == 0) {
        fail(e, EXIT_USAGE, "natural, synthetic: name at least one record file");
        return e->code;
    }
    Stage stage;
    static const ConfigTable table = CONFIG_TABLE(rows, MixConfig);
    stage_open(&stage, "datagen mix", &table, config, c->out, options);
    stage_reads_all(&stage, &c->natural);
    stage_reads_all(&stage, &c->synthetic);
    stage_reads(&stage, c->tokenizer);
    stage_writes(&stage, MIX_FILE);
    stage_writes(&stage, DROPPED_FILE);
    return stage_run(&stage, mix_work, config, e);
}

const Command command_mix = {
    .name = "mix",
    .about = "natural and synthetic documents in a share counted in tokens",
    .examples =
        "  datagen mix out=out/mix natural=out/natural/records.jsonl.zst synthetic=out/rephrase/synthetic.jsonl.zst "
        "tokenizer=out/tokenizer synthetic_share=0.4\n",
    .table = CONFIG_TABLE(rows, MixConfig),
    .run = mix_run,
};
