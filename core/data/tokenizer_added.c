// tokenizer_added: finding added tokens in a text: the leftmost, the longest there, with the white space they take.
// Source of the semantics: Hugging Face tokenizers, AddedVocabulary::find_matches. Must not know: what becomes of the
// rest.
#include <stdlib.h>
#include <string.h>

#include "core/data/tokenizer_internal.h"

static uint32_t trie_child(const Trie *trie, uint32_t node, uint8_t byte) {
    if (node == 0) return trie->first[byte];
    uint32_t at = trie->nodes[node].child;
    while (at != 0 && trie->nodes[at].byte != byte) at = trie->nodes[at].sibling;
    return at;
}

static uint32_t trie_grow(Trie *trie, uint32_t parent, uint8_t byte) {
    if (trie->count + 2 > trie->capacity) { // room for the root and the new node
        trie->capacity = MAX((size_t)64, trie->capacity * 2);
        trie->nodes = xrealloc(trie->nodes, trie->capacity * sizeof *trie->nodes);
    }
    if (trie->count == 0) trie->nodes[trie->count++] = (TrieNode){.added = -1}; // the root
    uint32_t at = (uint32_t)trie->count++;
    trie->nodes[at] = (TrieNode){.added = -1, .byte = byte};
    if (parent == 0) {
        trie->first[byte] = at;
    } else {
        trie->nodes[at].sibling = trie->nodes[parent].child;
        trie->nodes[parent].child = at;
    }
    return at;
}

void trie_add(Trie *trie, const char *content, size_t length, int32_t added) {
    uint32_t node = 0;
    for (size_t i = 0; i < length; i++) {
        uint32_t next = trie_child(trie, node, (uint8_t)content[i]);
        node = next != 0 ? next : trie_grow(trie, node, (uint8_t)content[i]);
    }
    if (trie->nodes[node].added < 0) trie->nodes[node].added = added;
}

void trie_free(Trie *trie) {
    free(trie->nodes);
    *trie = (Trie){0};
}

// The longest content that begins at `at`; its index, or -1.
static int32_t longest_at(const Trie *trie, const uint8_t *text, size_t at, size_t length, size_t *end) {
    int32_t best = -1;
    uint32_t node = trie->first[text[at]];
    while (node != 0) {
        at++;
        if (trie->nodes[node].added >= 0) {
            best = trie->nodes[node].added;
            *end = at;
        }
        node = at < length ? trie_child(trie, node, text[at]) : 0;
    }
    return best;
}

static bool word_before(const uint8_t *text, size_t at) {
    uint32_t c;
    if (at == 0) return false;
    utf8_next(text + at - utf8_back(text, at), &c);
    return unicode_is_word(c);
}

static bool word_after(const uint8_t *text, size_t at, size_t length) {
    uint32_t c;
    if (at == length) return false;
    utf8_next(text + at, &c);
    return unicode_is_word(c);
}

static size_t strip_left(const uint8_t *text, size_t at, size_t floor) {
    while (at > floor) {
        uint32_t c;
        size_t n = utf8_back(text, at);
        utf8_next(text + at - n, &c);
        if (!unicode_is_space(c)) break;
        at -= n;
    }
    return at;
}

static size_t strip_right(const uint8_t *text, size_t at, size_t length) {
    while (at < length) {
        uint32_t c;
        size_t n = utf8_next(text + at, &c);
        if (!unicode_is_space(c)) break;
        at += n;
    }
    return at;
}

bool added_next(const Tokenizer *t, const Trie *trie, const char *text, size_t length, bool parse_special, size_t done,
                size_t *cursor, AddedMatch *out) {
    const uint8_t *bytes = (const uint8_t *)text;
    while (trie->count > 0 && *cursor < length) {
        size_t begin = *cursor, end = 0;
        int32_t found = longest_at(trie, bytes, begin, length, &end);
        *cursor = found < 0 ? begin + 1 : end;
        if (found < 0) continue;
        const AddedToken *a = &t->added[found];
        if (a->special && !parse_special) continue;
        if (a->single_word && (word_before(bytes, begin) || word_after(bytes, end, length))) continue;
        out->begin = a->lstrip ? MAX(strip_left(bytes, begin, MIN(done, begin)), done) : begin;
        out->end = a->rstrip ? strip_right(bytes, end, length) : end;
        out->token = a;
        return true;
    }
    return false;
}
