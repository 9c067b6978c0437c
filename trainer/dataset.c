#include "trainer/dataset.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/rng.h"
#include "core/data/record.h"

struct Dataset {
    Shard **shards; // of c->data
    size_t n_shards;
    int64_t *first; // [n_shards + 1] global index of a shard's first document
    // pairs, tokenized: document 2i is the chosen, 2i+1 the rejected one of item i
    TokenList tokens;
    Buf mask;
    int64_t *begins; // [2 * n_items + 1]
    StrList ids;
    int64_t n_items, n_tokens, batch_tokens, batch_pairs, longest;
    uint64_t seed;
    int64_t *order, order_epoch; // permutation of the items, of the epoch it was made for
    bool pairs;
};

static bool open_shard(Dataset *d, const char *path, const char *tokenizer_sha256, Error *e) {
    Shard *s = shard_open(path, false, e);
    if (!s) return false;
    d->shards[d->n_shards++] = s;
    const char *made_with = json_string_value(json_object_get(s->manifest, "tokenizer_sha256"));
    if (!made_with || strcmp(made_with, tokenizer_sha256))
        return fail(
            e, EXIT_DATA,
            "%s: made with tokenizer %.12s, the model's is %.12s; pack the data again with the model's tokenizer", path,
            made_with ? made_with : "(unknown)", tokenizer_sha256);
    d->n_items += s->n_documents;
    d->n_tokens += s->n_tokens;
    d->first[d->n_shards] = d->n_items;
    return true;
}

static bool open_shards(Dataset *d, const TrainConfig *c, const char *tokenizer_sha256, Error *e) {
    if (!c->data.count) return fail(e, EXIT_USAGE, "data: loss %s trains on token shards; name at least one", c->loss);
    d->shards = xcalloc(c->data.count, sizeof *d->shards);
    d->first = xcalloc(c->data.count + 1, sizeof *d->first);
    for (size_t i = 0; i < c->data.count; i++)
        if (!open_shard(d, c->data.items[i], tokenizer_sha256, e)) return false;
    return true;
}

typedef struct PairLoad {
    Dataset *d;
    const ChatTemplate *chat;
    const char *path;
    size_t capacity;
} PairLoad;

// One side of a pair: prompt turns + the given assistant text.
static bool add_side(PairLoad *load, const json_t *record, const char *side, const char *place, Error *e) {
    Dataset *d = load->d;
    ChatMessage messages[64];
    size_t n;
    const char *text = NULL;
    if (!chat_messages(json_object_get(record, "messages"), place, messages, COUNT_OF(messages) - 1, &n, e) ||
        !json_get_text(record, side, place, &text, e))
        return false;
    messages[n] = (ChatMessage){"assistant", text};
    Buf mask = {0};
    size_t before = d->tokens.count;
    bool ok = chat_encode(load->chat, messages, n + 1, false, NULL, &d->tokens, &mask, e);
    // earlier assistant turns belong to the prompt: only the last span is y
    size_t end = mask.length;
    while (end && !mask.data[end - 1]) end--;
    size_t begin = end;
    while (begin && mask.data[begin - 1]) begin--;
    if (ok && begin == end) ok = fail(e, EXIT_DATA, "%s: %s: no token to train on", place, side);
    if (ok) memset(mask.data, 0, begin);
    buf_add(&d->mask, mask.data, mask.length);
    check(!ok || d->tokens.count - before == mask.length, "mask and tokens differ in length");
    buf_free(&mask);
    return ok;
}

static bool add_pair(void *context, json_t *record, int64_t index, Error *e) {
    PairLoad *load = context;
    Dataset *d = load->d;
    char place[512];
    const char *id = NULL;
    snprintf(place, sizeof place, "%s: record %lld", load->path, (long long)index + 1);
    if (!json_get_text(record, "id", place, &id, e)) return false;
    if ((size_t)d->n_items * 2 + 3 > load->capacity) {
        load->capacity = MAX(1024, load->capacity * 2);
        d->begins = xrealloc(d->begins, load->capacity * sizeof *d->begins);
        d->begins[0] = 0;
    }
    for (int side = 0; side < 2; side++) {
        if (!add_side(load, record, side ? "rejected" : "chosen", place, e)) return false;
        d->begins[2 * d->n_items + side + 1] = (int64_t)d->tokens.count;
    }
    strlist_add(&d->ids, id);
    d->n_items++;
    d->n_tokens = (int64_t)d->tokens.count;
    return true;
}

static bool open_pairs(Dataset *d, const TrainConfig *c, const char *tokenizer_folder, const Tokenizer *t, Error *e) {
    if (!*c->pairs) return fail(e, EXIT_USAGE, "pairs: loss redi trains on pair records; name the file");
    ChatTemplate *chat = chat_load(tokenizer_folder, t, e);
    if (!chat) return false;
    PairLoad load = {.d = d, .chat = chat, .path = c->pairs};
    bool ok = record_each(c->pairs, add_pair, &load, e);
    chat_free(chat);
    return ok;
}

static int64_t document_length(const Dataset *d, int64_t item, int which) {
    if (d->pairs) return d->begins[2 * item + which + 1] - d->begins[2 * item + which];
    size_t s = 0;
    while (item >= d->first[s + 1]) s++;
    return shard_document(d->shards[s], item - d->first[s]).length;
}

static bool check_lengths(Dataset *d, int64_t max_tokens, Error *e) {
    if (!d->n_items) return fail(e, EXIT_DATA, "the data holds no sample to train on");
    for (int64_t i = 0; i < d->n_items; i++)
        for (int which = 0; which < (d->pairs ? 2 : 1); which++) {
            int64_t n = document_length(d, i, which);
            d->longest = MAX(d->longest, n);
            char name[256];
            dataset_item_name(d, i, name, sizeof name);
            if (n > max_tokens)
                return fail(
                    e, EXIT_DATA,
                    "sample %s: %lld tokens, micro_batch_tokens is %lld; raise it, or pack with a smaller max_length",
                    name, (long long)n, (long long)max_tokens);
        }
    return true;
}

Dataset *dataset_open(const TrainConfig *c, const char *tokenizer_folder, int64_t max_tokens, Error *e) {
    Dataset *d = xcalloc(1, sizeof *d);
    d->seed = (uint64_t)c->seed;
    d->batch_tokens = c->batch_tokens;
    d->batch_pairs = c->batch_pairs;
    d->pairs = !strcmp(c->loss, "redi");
    d->order_epoch = -1;
    Tokenizer *t = tokenizer_load(tokenizer_folder, e);
    bool ok = t != NULL;
    if (ok) {
        HexDigest hash = tokenizer_hash(t);
        ok = d->pairs ? open_pairs(d, c, tokenizer_folder, t, e) : open_shards(d, c, hash.text, e);
    }
    tokenizer_free(t);
    if (!ok || !check_lengths(d, max_tokens, e)) {
        dataset_close(d);
        return NULL;
    }
    d->batch_tokens = MAX(d->batch_tokens, d->longest);
    d->order = xcalloc((size_t)d->n_items, sizeof *d->order);
    return d;
}

void dataset_close(Dataset *d) {
    if (!d) return;
    for (size_t i = 0; i < d->n_shards; i++) shard_close(d->shards[i]);
    free(d->shards), free(d->first), free(d->begins), free(d->order);
    tokens_free(&d->tokens), buf_free(&d->mask), strlist_free(&d->ids);
    free(d);
}

bool dataset_is_pairs(const Dataset *d) { return d->pairs; }
int64_t dataset_items(const Dataset *d) { return d->n_items; }
int64_t dataset_tokens(const Dataset *d) { return d->n_tokens; }

int64_t dataset_item_tokens(const Dataset *d, int64_t item) {
    return document_length(d, item, 0) + (d->pairs ? document_length(d, item, 1) : 0);
}

int64_t dataset_read(const Dataset *d, int64_t item, int which, int32_t *tokens, uint8_t *mask) {
    int64_t n = document_length(d, item, which);
    if (d->pairs) {
        int64_t begin = d->begins[2 * item + which];
        if (tokens) memcpy(tokens, d->tokens.items + begin, (size_t)n * sizeof *tokens);
        if (mask) memcpy(mask, d->mask.data + begin, (size_t)n);
        return n;
    }
    size_t s = 0;
    while (item >= d->first[s + 1]) s++;
    if (tokens) shard_read(d->shards[s], item - d->first[s], tokens, mask);
    return n;
}

void dataset_item_name(const Dataset *d, int64_t item, char *out, size_t size) {
    if (d->pairs) {
        snprintf(out, size, "%s", d->ids.items[item]);
        return;
    }
    size_t s = 0;
    while (item >= d->first[s + 1]) s++;
    ShardDocument doc = shard_document(d->shards[s], item - d->first[s]);
    snprintf(out, size, "%s#%lld", d->shards[s]->sources.items[doc.source], (long long)(item - d->first[s]));
}

// Fisher-Yates with the epoch as sub-stream.
static void shuffle(Dataset *d, int64_t epoch) {
    if (d->order_epoch == epoch) return;
    Rng r = {d->seed, RNG_SHUFFLE | (uint64_t)epoch << 8, 0};
    for (int64_t i = 0; i < d->n_items; i++) d->order[i] = i;
    for (int64_t i = d->n_items - 1; i > 0; i--) {
        int64_t j = (int64_t)rng_below(&r, (uint64_t)i + 1), swap = d->order[i];
        d->order[i] = d->order[j];
        d->order[j] = swap;
    }
    d->order_epoch = epoch;
}

int64_t dataset_step_items(const Dataset *d) { return d->pairs ? d->batch_pairs : d->batch_tokens; }

int64_t dataset_next(Dataset *d, Cursor *at, int64_t *items) {
    int64_t n = 0, tokens = 0, most = dataset_step_items(d);
    while (n < most) {
        shuffle(d, at->epoch);
        int64_t item = d->order[at->position], length = dataset_item_tokens(d, item);
        if (!d->pairs && n && tokens + length > d->batch_tokens) break;
        items[n++] = item;
        tokens += length;
        if (++at->position == d->n_items) at->position = 0, at->epoch++;
    }
    return n;
}

int64_t dataset_steps(Dataset *d, double epochs) {
    int64_t *items = xcalloc((size_t)dataset_step_items(d), sizeof *items), steps = 0;
    double goal = epochs * (double)d->n_items;
    Cursor at = {0};
    while ((double)(at.epoch * d->n_items + at.position) < goal) {
        dataset_next(d, &at, items);
        steps++;
    }
    free(items);
    return steps;
}
