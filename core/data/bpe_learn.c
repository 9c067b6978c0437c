// bpe_learn: the pair that occurs most often becomes a token, again and again. Must not know: texts, patterns, files.
#include "core/data/bpe_learn.h"

#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

// ---- sets of byte strings ----

static void byte_set_rehash(ByteSet *s) {
    size_t slots = MAX((size_t)1024, (s->mask + 1) * 2);
    free(s->slots);
    s->slots = xcalloc(slots, sizeof *s->slots);
    s->mask = slots - 1;
    for (size_t i = 0; i < s->count; i++) {
        size_t at = (size_t)XXH3_64bits(s->pool.data + s->items[i].offset, s->items[i].length) & s->mask;
        while (s->slots[at] != 0) at = (at + 1) & s->mask;
        s->slots[at] = (uint32_t)i + 1;
    }
}

size_t byte_set_add(ByteSet *s, const char *bytes, size_t length, int64_t times) {
    if (s->slots == NULL || s->count * 2 > s->mask) byte_set_rehash(s);
    size_t at = (size_t)XXH3_64bits(bytes, length) & s->mask;
    for (; s->slots[at] != 0; at = (at + 1) & s->mask) {
        struct ByteItem *item = &s->items[s->slots[at] - 1];
        if (item->length == length && memcmp(s->pool.data + item->offset, bytes, length) == 0) {
            item->count += times;
            return s->slots[at] - 1;
        }
    }
    check(s->count < UINT32_MAX - 1 && length < UINT32_MAX, "too many words");
    if (s->count == s->capacity) {
        s->capacity = MAX((size_t)1024, s->capacity * 2);
        s->items = xrealloc(s->items, s->capacity * sizeof *s->items);
    }
    s->items[s->count] = (struct ByteItem){s->pool.length, (uint32_t)length, times};
    buf_add(&s->pool, bytes, length);
    s->slots[at] = (uint32_t)++s->count;
    return s->count - 1;
}

const char *byte_set_at(const ByteSet *s, size_t index, size_t *length) {
    *length = s->items[index].length;
    return s->pool.data + s->items[index].offset;
}

void byte_set_free(ByteSet *s) {
    buf_free(&s->pool);
    free(s->items);
    free(s->slots);
    *s = (ByteSet){0};
}

// ---- learning ----

typedef struct Pair {
    int32_t left, right;
    int64_t count;
    uint32_t *words; // where it occurs, or occurred; a word may be there twice
    uint32_t n_words, capacity;
    bool grown;   // got occurrences in the merge at hand
    bool learned; // is a merge already; another way to its left or right token made it occur again
} Pair;

typedef struct Candidate {
    int64_t count;
    uint32_t pair;
} Candidate;

typedef struct Word {
    int32_t *symbols;
    uint32_t length;
    int64_t count;
} Word;

typedef struct Learner {
    Word *words;
    size_t n_words;
    int32_t *symbols; // of all words
    Pair *pairs;
    size_t n_pairs, pair_capacity;
    uint32_t *slots; // pair number + 1, by (left, right)
    size_t mask;
    Candidate *queue; // heap, best first; counts may be out of date
    size_t n_queue, queue_capacity;
    uint32_t *grown;
    size_t n_grown, grown_capacity;
    const ByteSet *tokens;
} Learner;

static size_t pair_hash(int32_t left, int32_t right) {
    return (size_t)((((uint64_t)(uint32_t)left << 32) | (uint32_t)right) * 0x9E3779B97F4A7C15u >> 20);
}

static void rehash_pairs(Learner *l) {
    size_t slots = MAX((size_t)4096, (l->mask + 1) * 2);
    free(l->slots);
    l->slots = xcalloc(slots, sizeof *l->slots);
    l->mask = slots - 1;
    for (size_t i = 0; i < l->n_pairs; i++) {
        size_t at = pair_hash(l->pairs[i].left, l->pairs[i].right) & l->mask;
        while (l->slots[at] != 0) at = (at + 1) & l->mask;
        l->slots[at] = (uint32_t)i + 1;
    }
}

static uint32_t pair_number(Learner *l, int32_t left, int32_t right) {
    if (l->slots == NULL || l->n_pairs * 2 > l->mask) rehash_pairs(l);
    size_t at = pair_hash(left, right) & l->mask;
    for (; l->slots[at] != 0; at = (at + 1) & l->mask) {
        const Pair *p = &l->pairs[l->slots[at] - 1];
        if (p->left == left && p->right == right) return l->slots[at] - 1;
    }
    if (l->n_pairs == l->pair_capacity) {
        l->pair_capacity = MAX((size_t)4096, l->pair_capacity * 2);
        l->pairs = xrealloc(l->pairs, l->pair_capacity * sizeof *l->pairs);
    }
    l->pairs[l->n_pairs] = (Pair){.left = left, .right = right};
    l->slots[at] = (uint32_t)++l->n_pairs;
    return (uint32_t)l->n_pairs - 1;
}

static int compare_tokens(const Learner *l, int32_t a, int32_t b) {
    size_t n, m;
    const char *x = byte_set_at(l->tokens, (size_t)a, &n), *y = byte_set_at(l->tokens, (size_t)b, &m);
    int order = memcmp(x, y, MIN(n, m));
    return order != 0 ? order : (n > m) - (n < m);
}

static bool is_better(const Learner *l, Candidate a, Candidate b) {
    if (a.count != b.count) return a.count > b.count;
    const Pair *p = &l->pairs[a.pair], *q = &l->pairs[b.pair];
    int order = compare_tokens(l, p->left, q->left);
    return order != 0 ? order < 0 : compare_tokens(l, p->right, q->right) < 0;
}

static void queue_push(Learner *l, Candidate c) {
    if (l->n_queue == l->queue_capacity) {
        l->queue_capacity = MAX((size_t)4096, l->queue_capacity * 2);
        l->queue = xrealloc(l->queue, l->queue_capacity * sizeof *l->queue);
    }
    size_t at = l->n_queue++;
    for (; at > 0 && is_better(l, c, l->queue[(at - 1) / 2]); at = (at - 1) / 2) l->queue[at] = l->queue[(at - 1) / 2];
    l->queue[at] = c;
}

static Candidate queue_pop(Learner *l) {
    Candidate top = l->queue[0], last = l->queue[--l->n_queue];
    size_t at = 0;
    for (size_t child; (child = at * 2 + 1) < l->n_queue; at = child) {
        if (child + 1 < l->n_queue && is_better(l, l->queue[child + 1], l->queue[child])) child++;
        if (!is_better(l, l->queue[child], last)) break;
        l->queue[at] = l->queue[child];
    }
    if (l->n_queue > 0) l->queue[at] = last;
    return top;
}

static void note_grown(Learner *l, uint32_t number) {
    if (l->pairs[number].grown) return;
    l->pairs[number].grown = true;
    if (l->n_grown == l->grown_capacity) {
        l->grown_capacity = MAX((size_t)1024, l->grown_capacity * 2);
        l->grown = xrealloc(l->grown, l->grown_capacity * sizeof *l->grown);
    }
    l->grown[l->n_grown++] = number;
}

static void add_pair(Learner *l, int32_t left, int32_t right, uint32_t word) {
    uint32_t number = pair_number(l, left, right);
    Pair *p = &l->pairs[number];
    p->count += l->words[word].count;
    if (p->n_words == 0 || p->words[p->n_words - 1] != word) {
        if (p->n_words == p->capacity) {
            p->capacity = MAX(4u, p->capacity * 2);
            p->words = xrealloc(p->words, p->capacity * sizeof *p->words);
        }
        p->words[p->n_words++] = word;
    }
    note_grown(l, number);
}

// Offers the pairs that got occurrences since the last call.
static void offer_grown(Learner *l) {
    for (size_t i = 0; i < l->n_grown; i++) {
        Pair *p = &l->pairs[l->grown[i]];
        p->grown = false;
        if (p->count > 0) queue_push(l, (Candidate){p->count, l->grown[i]});
    }
    l->n_grown = 0;
}

static void start(Learner *l, const ByteSet *words) {
    size_t total = 0, at = 0;
    for (size_t i = 0; i < words->count; i++) total += words->items[i].length;
    l->words = xcalloc(words->count, sizeof *l->words);
    l->symbols = xcalloc(total, sizeof *l->symbols);
    l->n_words = words->count;
    for (size_t i = 0; i < words->count; i++) {
        size_t n;
        const uint8_t *bytes = (const uint8_t *)byte_set_at(words, i, &n);
        l->words[i] = (Word){l->symbols + at, (uint32_t)n, words->items[i].count};
        for (size_t k = 0; k < n; k++) l->symbols[at++] = bytes[k];
        for (size_t k = 1; k < n; k++) add_pair(l, bytes[k - 1], bytes[k], (uint32_t)i);
    }
    offer_grown(l);
}

// Replaces the pair in one word. Pairs that stay keep their counts; the others move.
static void merge_in_word(Learner *l, uint32_t index, int32_t left, int32_t right, int32_t result) {
    Word *w = &l->words[index];
    uint32_t kept = 0;
    for (uint32_t i = 1; i < w->length; i++) {
        l->pairs[pair_number(l, w->symbols[i - 1], w->symbols[i])].count -= w->count;
    }
    for (uint32_t i = 0; i < w->length; kept++) {
        bool here = w->symbols[i] == left && i + 1 < w->length && w->symbols[i + 1] == right;
        w->symbols[kept] = here ? result : w->symbols[i];
        i += here ? 2 : 1;
    }
    w->length = kept;
    for (uint32_t i = 1; i < kept; i++) {
        int32_t a = w->symbols[i - 1], b = w->symbols[i];
        if (a == result || b == result)
            add_pair(l, a, b, index);
        else
            l->pairs[pair_number(l, a, b)].count += w->count;
    }
}

static void apply(Learner *l, uint32_t number, int32_t result) {
    int32_t left = l->pairs[number].left, right = l->pairs[number].right;
    uint32_t *where = l->pairs[number].words, n = l->pairs[number].n_words;
    l->pairs[number].words = NULL; // merging moves the array of pairs and may add to this one
    l->pairs[number].n_words = l->pairs[number].capacity = 0;
    for (uint32_t i = 0; i < n; i++) merge_in_word(l, where[i], left, right, result);
    free(where);
    offer_grown(l);
}

static void bytes_of(const ByteSet *tokens, const Pair *p, Buf *bytes) {
    size_t n;
    buf_clear(bytes);
    const char *left = byte_set_at(tokens, (size_t)p->left, &n);
    buf_add(bytes, left, n);
    const char *right = byte_set_at(tokens, (size_t)p->right, &n);
    buf_add(bytes, right, n);
}

static void learner_free(Learner *l) {
    for (size_t i = 0; i < l->n_pairs; i++) free(l->pairs[i].words);
    free(l->words);
    free(l->symbols);
    free(l->pairs);
    free(l->slots);
    free(l->queue);
    free(l->grown);
}

void bpe_learn(const ByteSet *words, size_t n_tokens, ByteSet *tokens, Bpe *merges) {
    Learner l = {.tokens = tokens};
    Buf bytes = {0};
    start(&l, words);
    while (tokens->count < n_tokens && l.n_queue > 0) {
        Candidate best = queue_pop(&l);
        Pair *p = &l.pairs[best.pair];
        if (best.count != p->count) { // out of date: the count fell since
            if (p->count > 0) queue_push(&l, (Candidate){p->count, best.pair});
            continue;
        }
        bytes_of(tokens, p, &bytes);
        int32_t result = (int32_t)byte_set_add(tokens, bytes.data, bytes.length, 1);
        if (!p->learned) bpe_add(merges, (Merge){p->left, p->right, result});
        p->learned = true;
        apply(&l, best.pair, result);
    }
    buf_free(&bytes);
    learner_free(&l);
}
