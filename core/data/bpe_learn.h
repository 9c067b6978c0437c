// bpe_learn: learning merges from counted words. Internal to the tokenizer. Must not know: texts, patterns, files.
// Source: Sennrich et al., ACL 2016; counts are kept per pair and changed only where a merge changes words.
#pragma once
#include "core/data/bpe.h"

// A set of byte strings numbered in order of arrival.
typedef struct ByteSet {
    Buf pool;
    struct ByteItem {
        size_t offset;
        uint32_t length;
        int64_t count; // how often it was added
    } * items;
    size_t count, capacity;
    uint32_t *slots; // index + 1
    size_t mask;
} ByteSet;
size_t byte_set_add(ByteSet *s, const char *bytes, size_t length, int64_t times); // its number
const char *byte_set_at(const ByteSet *s, size_t index, size_t *length);
void byte_set_free(ByteSet *s);

// tokens: holds the 256 single bytes at 0..255 and grows to `n_tokens` (fewer when the words hold no more pairs).
// Merges are appended in the order they were learned; among pairs of equal count the one whose bytes (left, then right)
// come first wins. Two merges may give the same token.
void bpe_learn(const ByteSet *words, size_t n_tokens, ByteSet *tokens, Bpe *merges);
