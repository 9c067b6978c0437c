// bpe: the merges of a vocabulary, and their application to one word: a linked list of symbols and a queue of
// candidates. Must not know: texts, patterns, files.
#include "core/data/bpe.h"

#include <stdlib.h>
#include <string.h>

#define NONE UINT32_MAX

static uint64_t pair_of(int32_t left, int32_t right) { return (uint64_t)(uint32_t)left << 32 | (uint32_t)right; }

static size_t slot_of(const Bpe *b, uint64_t pair) { return (size_t)(pair * 0x9E3779B97F4A7C15u >> b->shift); }

void bpe_add(Bpe *b, Merge m) {
    if (b->n_merges == b->capacity) {
        b->capacity = MAX((size_t)1024, b->capacity * 2);
        b->merges = xrealloc(b->merges, b->capacity * sizeof *b->merges);
    }
    b->merges[b->n_merges++] = m;
}

int64_t bpe_index(Bpe *b) {
    unsigned bits = 4;
    while (((size_t)1 << bits) < b->n_merges * 2) bits++;
    size_t n = (size_t)1 << bits;
    b->shift = 64 - bits;
    b->slots = xmalloc(n * sizeof *b->slots);
    memset(b->slots, 0xFF, n * sizeof *b->slots);
    for (size_t rank = 0; rank < b->n_merges; rank++) {
        const Merge *m = &b->merges[rank];
        uint64_t pair = pair_of(m->left, m->right);
        size_t at = slot_of(b, pair);
        while (b->slots[at].pair != UINT64_MAX && b->slots[at].pair != pair) at = (at + 1) & (n - 1);
        if (b->slots[at].pair == pair) return (int64_t)rank;
        b->slots[at] = (MergeSlot){pair, (uint32_t)rank, m->result};
    }
    return -1;
}

void bpe_free(Bpe *b) {
    free(b->merges);
    free(b->slots);
    *b = (Bpe){0};
}

static const MergeSlot *find_merge(const Bpe *b, int32_t left, int32_t right) {
    uint64_t pair = pair_of(left, right);
    size_t mask = ((size_t)1 << (64 - b->shift)) - 1;
    for (size_t at = slot_of(b, pair); b->slots[at].pair != UINT64_MAX; at = (at + 1) & mask) {
        if (b->slots[at].pair == pair) return &b->slots[at];
    }
    return NULL;
}

void bpe_scratch_free(BpeScratch *s) {
    free(s->symbols);
    free(s->queue);
    *s = (BpeScratch){0};
}

// ---- the queue: a binary heap, smallest order first ----

static void queue_push(BpeScratch *s, BpeCandidate c) {
    size_t at = s->n_queue++;
    for (; at > 0 && s->queue[(at - 1) / 2].order > c.order; at = (at - 1) / 2, s->steps++) {
        s->queue[at] = s->queue[(at - 1) / 2];
    }
    s->queue[at] = c;
}

static BpeCandidate queue_pop(BpeScratch *s) {
    BpeCandidate top = s->queue[0], last = s->queue[--s->n_queue];
    size_t at = 0;
    for (;; s->steps++) {
        size_t child = at * 2 + 1;
        if (child >= s->n_queue) break;
        if (child + 1 < s->n_queue && s->queue[child + 1].order < s->queue[child].order) child++;
        if (s->queue[child].order >= last.order) break;
        s->queue[at] = s->queue[child];
        at = child;
    }
    if (s->n_queue > 0) s->queue[at] = last;
    return top;
}

// Offers the pair (at, its next) if there is a merge for it.
static void offer(const Bpe *b, BpeScratch *s, uint32_t at) {
    uint32_t next = s->symbols[at].next;
    if (next == NONE) return;
    const MergeSlot *m = find_merge(b, s->symbols[at].id, s->symbols[next].id);
    if (m != NULL) queue_push(s, (BpeCandidate){(uint64_t)m->rank << 32 | at, m->result});
}

// A word of n symbols offers n - 1 pairs and each of at most n - 1 merges offers two more.
static void reserve(BpeScratch *s, size_t length) {
    check(length < UINT32_MAX / 4, "a word of %zu bytes\nhint: the pre-tokenizer found no place to cut; split the text",
          length);
    if (s->capacity >= length) return;
    s->capacity = MAX(length, (size_t)64);
    s->symbols = xrealloc(s->symbols, s->capacity * sizeof *s->symbols);
    s->queue = xrealloc(s->queue, s->capacity * 3 * sizeof *s->queue);
}

static void fill(const Bpe *b, BpeScratch *s, const uint8_t *word, size_t length) {
    reserve(s, length);
    for (size_t i = 0; i < length; i++) {
        s->symbols[i] =
            (BpeSymbol){b->byte_ids[word[i]], i > 0 ? (uint32_t)i - 1 : NONE, i + 1 < length ? (uint32_t)i + 1 : NONE};
    }
    s->n_queue = 0;
    for (size_t i = 0; i < length; i++) offer(b, s, (uint32_t)i);
}

// A candidate is stale when its symbols were merged away meanwhile, told by id: -1 marks a symbol that is gone.
static bool is_current(const Bpe *b, const BpeScratch *s, uint32_t at, int32_t result) {
    const BpeSymbol *left = &s->symbols[at];
    if (left->id < 0 || left->next == NONE) return false;
    const MergeSlot *m = find_merge(b, left->id, s->symbols[left->next].id);
    return m != NULL && m->result == result;
}

void bpe_encode(const Bpe *b, BpeScratch *s, const uint8_t *word, size_t length, TokenList *out) {
    if (length == 0) return;
    fill(b, s, word, length);
    while (s->n_queue > 0) {
        BpeCandidate top = queue_pop(s);
        uint32_t at = (uint32_t)top.order;
        if (!is_current(b, s, at, top.result)) continue;
        BpeSymbol *left = &s->symbols[at], *right = &s->symbols[left->next];
        left->id = top.result;
        left->next = right->next;
        right->id = -1;
        if (left->next != NONE) s->symbols[left->next].previous = at;
        if (left->previous != NONE) offer(b, s, left->previous);
        offer(b, s, at);
    }
    for (uint32_t at = 0; at != NONE; at = s->symbols[at].next) tokens_add(out, s->symbols[at].id);
}
