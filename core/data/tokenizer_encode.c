// tokenizer_encode: text -> ids: clean UTF-8, added tokens, NFC, added tokens again, words, BPE.
// Source of the order: Hugging Face tokenizers, AddedVocabulary::extract_and_normalize. Owns the encoders: what one
// caller at a time needs, kept in the tokenizer so that many threads may encode at once. Must not know: files.
#include <stdlib.h>
#include <string.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

#include "core/data/tokenizer_internal.h"

// Words seen before, with their ids: a cache of fixed size, one place per hash, newest wins. It cannot change a result.
enum { WORD_BYTES = 30, WORD_IDS = 8, WORD_SLOTS = 1 << 15 };
typedef struct WordSlot {
    uint8_t length, count; // length 0: empty
    char bytes[WORD_BYTES];
    int32_t ids[WORD_IDS];
} WordSlot;

typedef struct Encoder {
    struct Encoder *next;
    const Tokenizer *t;
    TokenList *out; // NULL when only words are wanted
    WordFn word;    // what happens to each word
    void *context;
    WordSlot *words; // [WORD_SLOTS]
    BpeScratch bpe;
    PreScratch pre;
    NfcScratch nfc;
    Buf clean, normal;
} Encoder;

static Encoder *encoder_take(const Tokenizer *t) {
    Tokenizer *owner = (Tokenizer *)t; // the list of encoders is no part of what a tokenizer means
    pthread_mutex_lock(&owner->lock);
    Encoder *w = owner->encoders;
    if (w != NULL) owner->encoders = w->next;
    pthread_mutex_unlock(&owner->lock);
    if (w == NULL) {
        w = xcalloc(1, sizeof *w);
        w->t = t;
        w->words = xcalloc(WORD_SLOTS, sizeof *w->words);
    }
    return w;
}

static void encoder_give_back(Encoder *w) {
    Tokenizer *owner = (Tokenizer *)w->t;
    pthread_mutex_lock(&owner->lock);
    w->next = owner->encoders;
    owner->encoders = w;
    pthread_mutex_unlock(&owner->lock);
}

void encoders_free(Tokenizer *t) {
    for (Encoder *w = t->encoders, *next; w != NULL; w = next) {
        next = w->next;
        free(w->words);
        bpe_scratch_free(&w->bpe);
        pre_scratch_free(&w->pre);
        nfc_scratch_free(&w->nfc);
        buf_free(&w->clean);
        buf_free(&w->normal);
        free(w);
    }
    t->encoders = NULL;
}

static void encode_new_word(Encoder *w, const char *word, size_t length) {
    int32_t whole = w->t->ignore_merges ? vocab_find(w->t, word, length) : -1;
    if (whole >= 0)
        tokens_add(w->out, whole);
    else
        bpe_encode(&w->t->bpe, &w->bpe, (const uint8_t *)word, length, w->out);
}

static void encode_word(void *context, const char *word, size_t length) {
    Encoder *w = context;
    if (length > WORD_BYTES) {
        encode_new_word(w, word, length);
        return;
    }
    WordSlot *slot = &w->words[XXH3_64bits(word, length) % WORD_SLOTS];
    if (slot->length == length && memcmp(slot->bytes, word, length) == 0) {
        tokens_append(w->out, slot->ids, slot->count);
        return;
    }
    size_t before = w->out->count;
    encode_new_word(w, word, length);
    size_t count = w->out->count - before;
    if (count > WORD_IDS) return;
    slot->length = (uint8_t)length;
    slot->count = (uint8_t)count;
    memcpy(slot->bytes, word, length);
    memcpy(slot->ids, w->out->items + before, count * sizeof *slot->ids);
}

// Cuts at the added tokens of `trie`; what lies between goes to `rest`.
static void encode_between(Encoder *w, const Trie *trie, const char *text, size_t length, bool parse_special,
                           void (*rest)(Encoder *, const char *, size_t, bool)) {
    size_t done = 0, cursor = 0;
    AddedMatch m;
    while (added_next(w->t, trie, text, length, parse_special, done, &cursor, &m)) {
        if (m.begin > done) rest(w, text + done, m.begin - done, parse_special);
        if (w->out != NULL) tokens_add(w->out, m.token->id);
        done = m.end;
    }
    if (done < length) rest(w, text + done, length - done, parse_special);
}

static void encode_words(Encoder *w, const char *text, size_t length, bool parse_special) {
    pretokenize(&w->t->pre, &w->pre, text, length, w->word, w->context);
}

static void encode_unnormalized(Encoder *w, const char *text, size_t length, bool parse_special) {
    if (w->t->nfc && !nfc_is_certain(text, length)) {
        buf_clear(&w->normal);
        nfc_append(&w->nfc, text, length, &w->normal);
        text = w->normal.data;
        length = w->normal.length;
    }
    encode_between(w, &w->t->normalized, text, length, parse_special, encode_words);
}

static void run(Encoder *w, const char *text, size_t length, bool parse_special) {
    if (!utf8_valid(text, length)) {
        buf_clear(&w->clean);
        utf8_clean(text, length, &w->clean);
        text = w->clean.data;
        length = w->clean.length;
    }
    encode_between(w, &w->t->raw, text, length, parse_special, encode_unnormalized);
    encoder_give_back(w);
}

void tokenizer_encode(const Tokenizer *t, const char *text, size_t length, bool parse_special, TokenList *out) {
    Encoder *w = encoder_take(t);
    w->out = out;
    w->word = encode_word;
    w->context = w;
    run(w, text, length, parse_special);
}

void tokenizer_words(const Tokenizer *t, const char *text, size_t length, WordFn word, void *context) {
    Encoder *w = encoder_take(t);
    w->out = NULL;
    w->word = word;
    w->context = context;
    run(w, text, length, true);
}
