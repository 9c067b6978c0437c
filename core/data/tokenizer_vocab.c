// tokenizer_vocab: building a Tokenizer: tokens, merges, added tokens, and the checks that make the encoder safe.
// Must not know: files and their formats.
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/data/tokenizer_internal.h"

Tokenizer *tokenizer_new(void) {
    Tokenizer *t = xcalloc(1, sizeof *t);
    t->bos = -1;
    t->pre.prefix_at = -1;
    pthread_mutex_init(&t->lock, NULL);
    return t;
}

void tokenizer_free(Tokenizer *t) {
    if (t == NULL) return;
    encoders_free(t);
    pthread_mutex_destroy(&t->lock);
    for (size_t i = 0; i < t->n_added; i++) free(t->added[i].content);
    free(t->added);
    trie_free(&t->raw);
    trie_free(&t->normalized);
    pretokenize_free(&t->pre);
    bpe_free(&t->bpe);
    free(t->index);
    free(t->tokens);
    buf_free(&t->pool);
    free(t);
}

// ---- the byte alphabet (Radford et al., GPT-2, encoder.py: bytes_to_unicode) ----

// Printable bytes stand for themselves; the others take U+0100, U+0101, ... in order: 0x00-0x20, 0x7F-0xA0, 0xAD.
static uint32_t point_of_byte(uint8_t b) {
    return b <= 0x20 ? 0x100u + b : b == 0xAD ? 0x143 : b >= 0x7F && b <= 0xA0 ? 0x121u + b - 0x7F : b;
}

// The inverse; -1 for a character outside the alphabet.
static int byte_of_point(uint32_t c) {
    if (c >= 0x100) return c <= 0x120 ? (int)c - 0x100 : c <= 0x142 ? (int)c - 0x121 + 0x7F : c == 0x143 ? 0xAD : -1;
    return point_of_byte((uint8_t)c) == c ? (int)c : -1;
}

bool alphabet_to_bytes(const char *text, size_t length, Buf *out) {
    for (size_t i = 0; i < length;) {
        uint32_t c;
        i += utf8_next((const uint8_t *)text + i, &c);
        int b = byte_of_point(c);
        if (b < 0) return false;
        buf_char(out, (char)b);
    }
    return true;
}

void alphabet_from_bytes(const char *bytes, size_t length, Buf *out) {
    for (size_t i = 0; i < length; i++) {
        char text[4];
        buf_add(out, text, utf8_write(point_of_byte((uint8_t)bytes[i]), text));
    }
}

// ---- tokens ----

static bool reserve_id(Tokenizer *t, int64_t id, Error *e) {
    if (id < 0 || id >= TOKENIZER_MAX_ID) {
        return fail(e, EXIT_DATA, "id %" PRId64 " is outside 0..%d", id, TOKENIZER_MAX_ID - 1);
    }
    if (id >= t->capacity) {
        int64_t capacity = MAX(id + 1, MAX(t->capacity * 2, (int64_t)1024));
        t->tokens = xrealloc(t->tokens, (size_t)capacity * sizeof *t->tokens);
        memset(t->tokens + t->capacity, 0, (size_t)(capacity - t->capacity) * sizeof *t->tokens);
        t->capacity = capacity;
    }
    t->vocab_size = MAX(t->vocab_size, id + 1);
    return true;
}

static void put_token(Tokenizer *t, int64_t id, TokenKind kind, const char *bytes, size_t length) {
    t->tokens[id] = (Token){.offset = t->pool.length, .length = (uint32_t)length, .kind = (uint8_t)kind};
    buf_add(&t->pool, bytes, length);
}

bool vocab_add(Tokenizer *t, int64_t id, const char *text, size_t length, Error *e) {
    if (length == 0) return fail(e, EXIT_DATA, "a token is empty");
    if (length > INT32_MAX) return fail(e, EXIT_DATA, "a token has %zu bytes", length);
    if (!utf8_valid(text, length)) return fail(e, EXIT_DATA, "a token is not valid UTF-8");
    if (!reserve_id(t, id, e)) return false;
    if (t->tokens[id].kind != TOKEN_UNUSED) return fail(e, EXIT_DATA, "id %" PRId64 " is used twice", id);
    Buf bytes = {0};
    bool normal = alphabet_to_bytes(text, length, &bytes);
    if (normal)
        put_token(t, id, TOKEN_NORMAL, bytes.data, bytes.length);
    else
        put_token(t, id, TOKEN_RAW, text, length);
    buf_free(&bytes);
    return true;
}

static size_t index_slot(const Tokenizer *t, const char *bytes, size_t length) {
    size_t at = (size_t)XXH3_64bits(bytes, length) & t->index_mask;
    for (; t->index[at] != 0; at = (at + 1) & t->index_mask) {
        const Token *k = &t->tokens[t->index[at] - 1];
        if (k->length == length && memcmp(t->pool.data + k->offset, bytes, length) == 0) break;
    }
    return at;
}

int32_t vocab_find(const Tokenizer *t, const char *bytes, size_t length) {
    return (int32_t)t->index[index_slot(t, bytes, length)] - 1;
}

// Bytes that no valid UTF-8 contains may lack a token.
static bool find_byte_tokens(Tokenizer *t, Error *e) {
    for (int b = 0; b < 256; b++) {
        char byte = (char)b;
        t->bpe.byte_ids[b] = vocab_find(t, &byte, 1);
        if (t->bpe.byte_ids[b] < 0 && b != 0xC0 && b != 0xC1 && b < 0xF5) {
            return fail(e, EXIT_DATA, "no token for the byte 0x%02X: this is not a byte-level vocabulary", b);
        }
    }
    return true;
}

bool vocab_index(Tokenizer *t, Error *e) {
    size_t slots = 1024;
    while (slots < (size_t)t->vocab_size * 2) slots *= 2;
    t->index = xcalloc(slots, sizeof *t->index);
    t->index_mask = slots - 1;
    for (int64_t id = 0; id < t->vocab_size; id++) {
        const Token *k = &t->tokens[id];
        if (k->kind != TOKEN_NORMAL) continue;
        size_t at = index_slot(t, t->pool.data + k->offset, k->length);
        if (t->index[at] != 0) {
            return fail(e, EXIT_DATA, "ids %u and %" PRId64 " are the same token", t->index[at] - 1, id);
        }
        t->index[at] = (uint32_t)id + 1;
    }
    return find_byte_tokens(t, e);
}

// ---- merges ----

static int32_t find_text(const Tokenizer *t, const char *text, size_t length, Buf *bytes) {
    buf_clear(bytes);
    return length > 0 && utf8_valid(text, length) && alphabet_to_bytes(text, length, bytes)
               ? vocab_find(t, bytes->data, bytes->length)
               : -1;
}

bool vocab_merge(Tokenizer *t, const char *left, size_t left_length, const char *right, size_t right_length, Error *e) {
    Buf a = {0}, b = {0};
    Merge m = {find_text(t, left, left_length, &a), find_text(t, right, right_length, &b), -1};
    bool ok = false;
    if (m.left < 0) {
        fail(e, EXIT_DATA, "left part \"%.*s\" is not in the vocabulary", (int)MIN(left_length, 64), left);
    } else if (m.right < 0) {
        fail(e, EXIT_DATA, "right part \"%.*s\" is not in the vocabulary", (int)MIN(right_length, 64), right);
    } else {
        buf_add(&a, b.data, b.length);
        m.result = vocab_find(t, a.data, a.length);
        ok = m.result >= 0;
        if (ok)
            bpe_add(&t->bpe, m);
        else
            fail(e, EXIT_DATA, "result \"%.*s%.*s\" is not in the vocabulary", (int)MIN(left_length, 64), left,
                 (int)MIN(right_length, 64), right);
    }
    buf_free(&a);
    buf_free(&b);
    return ok;
}

// ---- added tokens ----

// The place of an added token among the model's tokens: the same content under the same id, or an id of its own.
static bool place_added(Tokenizer *t, int64_t id, const AddedToken *a, Error *e) {
    Buf bytes = {0};
    int32_t same = find_text(t, a->content, a->length, &bytes);
    buf_free(&bytes);
    if (same >= 0 && same != id) {
        return fail(e, EXIT_DATA, "\"%s\" has id %" PRId64 " here and %d in the vocabulary", a->content, id, same);
    }
    if (!reserve_id(t, id, e)) return false;
    Token *k = &t->tokens[id];
    bool raw_same =
        k->kind == TOKEN_RAW && k->length == a->length && memcmp(t->pool.data + k->offset, a->content, a->length) == 0;
    if (k->kind != TOKEN_UNUSED && !raw_same && same != id) {
        return fail(e, EXIT_DATA, "\"%s\" has id %" PRId64 ", which is another token's", a->content, id);
    }
    return true;
}

bool vocab_add_added(Tokenizer *t, int64_t id, const AddedToken *a, Error *e) {
    if (a->length == 0) return fail(e, EXIT_DATA, "an added token is empty");
    if (a->length > ADDED_MAX_BYTES) {
        return fail(e, EXIT_DATA, "an added token has %zu bytes; at most %d are supported", a->length, ADDED_MAX_BYTES);
    }
    if (!utf8_valid(a->content, a->length)) return fail(e, EXIT_DATA, "an added token is not valid UTF-8");
    if (!place_added(t, id, a, e)) return false;
    if (t->tokens[id].kind != TOKEN_NORMAL) put_token(t, id, TOKEN_ADDED, a->content, a->length);
    t->tokens[id].kind = TOKEN_ADDED; // a model token keeps its bytes: the index knows it by them
    t->tokens[id].special = a->special;
    if ((t->n_added & (t->n_added - 1)) == 0) { // grows at powers of two
        t->added = xrealloc(t->added, MAX((size_t)1, t->n_added * 2) * sizeof *t->added);
    }
    AddedToken *own = &t->added[t->n_added++];
    *own = *a;
    own->id = (int32_t)id;
    own->content = xstrndup(a->content, a->length);
    return true;
}

static int by_id(const void *a, const void *b) {
    int32_t x = ((const AddedToken *)a)->id, y = ((const AddedToken *)b)->id;
    return (x > y) - (x < y);
}

// What text the token is matched against: before normalization as it is written, after it in its normal form.
static void add_to_trie(Tokenizer *t, size_t i) {
    const AddedToken *a = &t->added[i];
    Buf form = {0};
    NfcScratch s = {0};
    if (a->normalized && t->nfc)
        nfc_append(&s, a->content, a->length, &form);
    else
        buf_add(&form, a->content, a->length);
    trie_add(a->normalized ? &t->normalized : &t->raw, form.data, form.length, (int32_t)i);
    nfc_scratch_free(&s);
    buf_free(&form);
}

bool tokenizer_finish(Tokenizer *t, Error *e) {
    int64_t twice = bpe_index(&t->bpe);
    if (twice >= 0) return fail(e, EXIT_DATA, "merge %" PRId64 " repeats an earlier one", twice);
    if (t->n_added > 0) qsort(t->added, t->n_added, sizeof *t->added, by_id);
    for (size_t i = 1; i < t->n_added; i++) {
        if (t->added[i].id == t->added[i - 1].id) {
            return fail(e, EXIT_DATA, "added token id %d is used twice", t->added[i].id);
        }
    }
    for (size_t i = 0; i < t->n_added; i++) add_to_trie(t, i);
    return true;
}
