// bpe: byte pair encoding of one word: the merge of lowest rank first, leftmost among equals, until none applies.
// Source: Sennrich et al., ACL 2016; order and ties as Hugging Face tokenizers' Word::merge_all. Internal to the
// tokenizer. Must not know: texts, patterns, files.
#pragma once
#include "core/base/mem.h"

typedef struct Merge {
    int32_t left, right, result;
} Merge;

typedef struct MergeSlot {
    uint64_t pair; // left << 32 | right; UINT64_MAX: empty
    uint32_t rank;
    int32_t result;
} MergeSlot;

typedef struct Bpe {
    Merge *merges; // [n_merges], by rank
    size_t n_merges, capacity;
    MergeSlot *slots; // open addressing
    unsigned shift;   // 64 - log2(number of slots)
    int32_t byte_ids[256];
} Bpe;

void bpe_add(Bpe *b, Merge m);
// Builds the lookup. Returns the rank of a merge whose pair occurred before, or -1.
int64_t bpe_index(Bpe *b);
void bpe_free(Bpe *b);

// Memory for one word at a time, kept between words. steps: queue operations so far (what the linear-time test counts).
typedef struct BpeSymbol {
    int32_t id;
    uint32_t previous, next; // UINT32_MAX: none
} BpeSymbol;
typedef struct BpeCandidate {
    uint64_t order; // rank << 32 | position
    int32_t result;
} BpeCandidate;
typedef struct BpeScratch {
    BpeSymbol *symbols;
    BpeCandidate *queue; // binary heap
    size_t capacity, n_queue;
    uint64_t steps;
} BpeScratch;
void bpe_scratch_free(BpeScratch *s);

// Appends the ids of word[0..length): O(length log length).
void bpe_encode(const Bpe *b, BpeScratch *s, const uint8_t *word, size_t length, TokenList *out);
