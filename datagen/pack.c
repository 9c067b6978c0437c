// datagen pack: documents and messages as token shards. Owns: which tokens of a record are trained, and what is
// refused. Must not know: batches, losses.
#include "core/data/chat.h"
#include "core/data/shard.h"
#include "datagen/commands.h"
#include "datagen/encode.h"
#include "datagen/stage.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct PackConfig {
#define CFG_FILE "datagen/pack.def"
#include "core/base/config_struct.h"
} PackConfig;
static const ConfigRow rows[] = {
#define CFG_FILE "datagen/pack.def"
#define CFG_STRUCT PackConfig
#include "core/base/config_rows.h"
};

#define SHARDS_FOLDER "shards"
enum { MAX_MESSAGES = 256 };

typedef struct Inputs { // "NAME=FILE" or FILE, split
    StrList paths, names;
} Inputs;

typedef struct Pack {
    const PackConfig *config;
    DocumentEncoder encoder;
    ChatTemplate *chat; // NULL when there are no messages
    ShardWriter *shards;
    const Inputs *inputs; // being read
    TokenList ids;
    Buf mask;
    int32_t *lengths; // of what was kept
    int64_t n_read, n_kept, n_tokens, n_trained, room;
    Drops drops;
} Pack;

// The stem of "out/natural/records.jsonl.zst" is "records".
static char *stem_of(const char *path) {
    const char *base = path_base(path);
    return xstrndup(base, strcspn(base, "."));
}

static bool split_inputs(const StrList *list, Inputs *out, Error *e) {
    for (size_t i = 0; i < list->count; i++) {
        const char *item = list->items[i], *equals = strchr(item, '=');
        bool named = equals && !file_exists(item); // a file whose own name holds '=' stays one
        char *name = named ? xstrndup(item, (size_t)(equals - item)) : stem_of(item);
        bool empty = *name == 0;
        strlist_add(&out->names, name);
        strlist_add(&out->paths, named ? equals + 1 : item);
        free(name);
        if (empty) return fail(e, EXIT_USAGE, "\"%s\": no name before the first '=' or '.'; write NAME=FILE", item);
    }
    return true;
}

static void inputs_free(Inputs *in) {
    strlist_free(&in->paths);
    strlist_free(&in->names);
}

static void keep_length(Pack *p, int64_t n) {
    if (p->n_kept == p->room) {
        p->room = MAX(2 * p->room, 1024);
        p->lengths = xrealloc(p->lengths, (size_t)p->room * sizeof *p->lengths);
    }
    p->lengths[p->n_kept++] = (int32_t)n;
    p->n_tokens += n;
}

// What is in ids goes into the shard, or is dropped with its reason. mask NULL: all but the first token are trained.
static bool keep_or_drop(Pack *p, const uint8_t *mask, const char *id, const RecordPlace *place, Error *e) {
    int64_t n = (int64_t)p->ids.count, trained = mask ? 0 : n - 1;
    for (int64_t i = 1; mask && i < n; i++)
        trained += mask[i]; // the first token has nothing that it could be predicted from
    char detail[64];
    snprintf(detail, sizeof detail, "%lld tokens", (long long)n);
    if (n > p->config->max_length && !strcmp(p->config->overlong, "error"))
        return fail(e, EXIT_DATA, "%s: %lld tokens, more than max_length %lld; raise max_length, or overlong: drop",
                    place->text, (long long)n, (long long)p->config->max_length);
    if (n > p->config->max_length) return drops_add(&p->drops, id, "longer than max_length", detail, e);
    if (trained <= 0) return drops_add(&p->drops, id, "no trained tokens", detail, e);
    keep_length(p, n);
    p->n_trained += trained;
    return shard_add(p->shards, p->ids.items, mask, n, p->inputs->names.items[place->file], id, e);
}

static bool is_hex_id(const char *id) { return strlen(id) == 32 && strspn(id, "0123456789abcdef") == 32; }

// Shards hold 16 bytes of id: a foreign one enters as its hash.
static void shard_id(const char *id, char out[33]) {
    if (is_hex_id(id))
        snprintf(out, 33, "%s", id);
    else
        record_id(id, strlen(id), out);
}

static bool pack_document(void *context, json_t *record, const RecordPlace *place, Error *e) {
    Pack *p = context;
    const char *name, *text;
    if (!record_name(record, place, &name, e) || !json_get_text(record, "text", place->text, &text, e)) return false;
    char id[33];
    shard_id(name, id);
    p->n_read++;
    document_encode(&p->encoder, text, &p->ids);
    return keep_or_drop(p, NULL, id, place, e);
}

static bool pack_messages(void *context, json_t *record, const RecordPlace *place, Error *e) {
    Pack *p = context;
    const char *name;
    ChatMessage messages[MAX_MESSAGES];
    size_t n;
    if (!record_name(record, place, &name, e) ||
        !chat_messages(json_object_get(record, "messages"), place->text, messages, MAX_MESSAGES, &n, e))
        return false;
    char id[33];
    shard_id(name, id);
    p->n_read++;
    p->ids.count = 0;
    buf_clear(&p->mask);
    if (!chat_encode(p->chat, messages, n, false, NULL, &p->ids, &p->mask, e)) return fail_in(e, "%s", place->text);
    check(p->mask.length == p->ids.count, "%zu mask bytes for %zu tokens", p->mask.length, p->ids.count);
    if (p->mask.length) p->mask.data[0] = 0; // never a target
    return keep_or_drop(p, (const uint8_t *)p->mask.data, id, place, e);
}

static bool pack_all(Pack *p, const Inputs *documents, const Inputs *messages, Error *e) {
    p->inputs = documents;
    if (!stage_each_record(&documents->paths, pack_document, p, e)) return false;
    p->inputs = messages;
    return stage_each_record(&messages->paths, pack_messages, p, e);
}

// ---- results ----

static int by_value(const void *left, const void *right) {
    int32_t a = *(const int32_t *)left, b = *(const int32_t *)right;
    return (a > b) - (a < b);
}

static void report(Stage *stage, Pack *p) {
    static const struct {
        const char *name;
        double at;
    } quantiles[] = {{"min", 0}, {"p10", 0.1}, {"p50", 0.5}, {"p90", 0.9}, {"p99", 0.99}, {"max", 1}};
    qsort(p->lengths, (size_t)p->n_kept, sizeof *p->lengths, by_value);
    json_t *lengths = json_object();
    for (size_t i = 0; i < COUNT_OF(quantiles) && p->n_kept; i++) {
        int64_t at = (int64_t)(quantiles[i].at * (double)(p->n_kept - 1) + 0.5);
        json_object_set_new(lengths, quantiles[i].name, json_integer(p->lengths[at]));
    }
    run_result(&stage->run, "lengths", lengths);
    run_result(&stage->run, "tokens", json_integer(p->n_tokens));
    run_result(&stage->run, "trained_tokens", json_integer(p->n_trained));
    stage_count(stage, p->n_read, p->n_kept, &p->drops);
    log_info("pack: %lld of %lld records, %lld tokens, %lld of them trained", (long long)p->n_kept,
             (long long)p->n_read, (long long)p->n_tokens, (long long)p->n_trained);
}

static bool finish_shards(Stage *stage, Pack *p, Error *e) {
    if (p->n_kept == 0)
        return fail(e, EXIT_DATA, "not one of %lld records could be kept; the reasons are in %s/" DROPPED_FILE,
                    (long long)p->n_read, stage->run.folder);
    json_t *extra =
        json_pack("{s:s, s:o, s:O}", "tokenizer_sha256", tokenizer_hash(p->encoder.tokenizer).text, "template",
                  p->chat ? json_string(chat_name(p->chat)) : json_null(), "inputs", stage->run.inputs);
    ShardWriter *w = p->shards;
    p->shards = NULL;
    return shard_finish(w, extra, e);
}

// ---- the stage ----

static bool open_shards(Stage *stage, Pack *p, Error *e) {
    char *folder = stage_path(stage, SHARDS_FOLDER);
    // What an interrupted run left is redone whole.
    bool ok = !is_folder(folder) || remove_tree(folder, e);
    if (ok) p->shards = shard_create(folder, tokenizer_vocab_size(p->encoder.tokenizer), e);
    free(folder);
    return ok && p->shards;
}

static bool pack_inputs(Stage *stage, Pack *p, const Inputs *documents, const Inputs *messages, Error *e) {
    if (messages->paths.count && !(p->chat = chat_load(p->config->tokenizer, p->encoder.tokenizer, e))) return false;
    if (!open_shards(stage, p, e) || !drops_open(&p->drops, stage, "pack", e)) return false;
    if (!pack_all(p, documents, messages, e) || !drops_close(&p->drops, e) || !finish_shards(stage, p, e)) return false;
    report(stage, p);
    return true;
}

static bool pack_work(Stage *stage, const void *config, Error *e) {
    const PackConfig *c = config;
    Pack p = {.config = c};
    Inputs documents = {0}, messages = {0};
    bool ok = split_inputs(&c->documents, &documents, e) && split_inputs(&c->messages, &messages, e) &&
              document_encoder_open(&p.encoder, c->tokenizer, c->end_token, e) &&
              pack_inputs(stage, &p, &documents, &messages, e);
    if (p.shards) shard_abandon(p.shards);
    if (p.chat) chat_free(p.chat);
    document_encoder_close(&p.encoder);
    drops_free(&p.drops);
    tokens_free(&p.ids);
    buf_free(&p.mask);
    free(p.lengths);
    inputs_free(&documents);
    inputs_free(&messages);
    return ok;
}

static int pack_run(const void *config, const Options *options, Error *e) {
    const PackConfig *c = config;
    Inputs inputs = {0};
    if (c->documents.count + c->messages.count == 0)
        fail(e, EXIT_USAGE, "documents, messages: name at least one record file");
    else if (split_inputs(&c->documents, &inputs, e))
        split_inputs(&c->messages, &inputs, e);
    if (e->code) {
        inputs_free(&inputs);
        return e->code;
    }
    Stage stage;
    static const ConfigTable table = CONFIG_TABLE(rows, PackConfig);
    stage_open(&stage, "datagen pack", &table, config, c->out, options);
    stage_reads_all(&stage, &inputs.paths);
    stage_reads(&stage, c->tokenizer);
    stage_writes(&stage, SHARDS_FOLDER);
    stage_writes(&stage, DROPPED_FILE);
    inputs_free(&inputs);
    return stage_run(&stage, pack_work, config, e);
}

const Command command_pack = {
    .name = "pack",
    .about = "documents and messages as token shards with loss masks",
    .examples = "  datagen pack out=out/packed documents=out/mix/mix.jsonl.zst tokenizer=out/tokenizer\n"
                "  datagen pack out=out/packed messages=sft=out/select/positive.jsonl.zst tokenizer=student "
                "max_length=2k overlong=error\n",
    .table = CONFIG_TABLE(rows, PackConfig),
    .run = pack_run,
};
