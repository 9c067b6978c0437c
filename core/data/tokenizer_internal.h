// tokenizer_internal: what a Tokenizer is made of, for the files core/data/tokenizer*.c and their tests only.
#pragma once
#include <pthread.h>

#include "core/base/json.h"
#include "core/data/bpe.h"
#include "core/data/pretokenize.h"
#include "core/data/tokenizer.h"
#include "core/data/tokenizer_utf8.h"

enum {
    TOKENIZER_MAX_ID = 1 << 22, // what a foreign id may make us allocate
    ADDED_MAX_BYTES = 1024      // of one added token: matching costs text x longest added token
};

// Token kinds. A raw token's text is in no byte alphabet: BPE cannot make it, decoding gives it as it is.
typedef enum TokenKind { TOKEN_UNUSED, TOKEN_NORMAL, TOKEN_RAW, TOKEN_ADDED } TokenKind;

typedef struct Token {
    size_t offset; // into the pool
    uint32_t length;
    uint8_t kind;
    bool special;
} Token;

typedef struct AddedToken {
    int32_t id;
    bool special, lstrip, rstrip, single_word, normalized;
    char *content; // UTF-8, NUL-terminated
    size_t length;
} AddedToken;

// A byte trie over the contents of added tokens. Node 0 is the root.
typedef struct TrieNode {
    uint32_t child, sibling; // 0: none
    int32_t added;           // index into Tokenizer.added, -1: none
    uint8_t byte;
} TrieNode;
typedef struct Trie {
    TrieNode *nodes;
    size_t count, capacity;
    uint32_t first[256]; // children of the root
} Trie;

struct Encoder;

struct Tokenizer {
    // vocabulary
    Token *tokens; // [vocab_size]
    int64_t vocab_size, capacity;
    Buf pool;
    uint32_t *index; // bytes -> id + 1, TOKEN_NORMAL only; open addressing
    size_t index_mask;
    // model
    Bpe bpe;
    bool ignore_merges;
    bool nfc;
    PreTokenizer pre;
    int32_t bos; // opens every text, -1: none
    // added tokens
    AddedToken *added;
    size_t n_added;
    Trie raw, normalized; // matched before and after normalization
    // encoders not in use
    pthread_mutex_t lock;
    struct Encoder *encoders;
};

// ---- tokenizer_vocab.c: building. Errors say no place; the caller puts it before. ----
Tokenizer *tokenizer_new(void);
// GPT-2's alphabet: one printable character per byte. False when the text has another character.
bool alphabet_to_bytes(const char *text, size_t length, Buf *out);
void alphabet_from_bytes(const char *bytes, size_t length, Buf *out);
// A token of the model as it is written in files (in the byte alphabet).
bool vocab_add(Tokenizer *t, int64_t id, const char *text, size_t length, Error *e);
bool vocab_index(Tokenizer *t, Error *e); // after the last vocab_add: no two alike, every byte that UTF-8 uses is there
int32_t vocab_find(const Tokenizer *t, const char *bytes, size_t length); // model tokens; -1
bool vocab_merge(Tokenizer *t, const char *left, size_t left_length, const char *right, size_t right_length, Error *e);
// An added token; `added` is copied. It may repeat a model token's id and content.
bool vocab_add_added(Tokenizer *t, int64_t id, const AddedToken *added, Error *e);
bool tokenizer_finish(Tokenizer *t, Error *e); // after everything

// ---- tokenizer_added.c ----
void trie_add(Trie *trie, const char *content, size_t length, int32_t added);
void trie_free(Trie *trie);
typedef struct AddedMatch {
    size_t begin, end; // with the white space that lstrip and rstrip take
    const AddedToken *token;
} AddedMatch;
// The next added token in the valid text at or after *cursor, which moves behind it; `done`: how far text is used up.
bool added_next(const Tokenizer *t, const Trie *trie, const char *text, size_t length, bool parse_special, size_t done,
                size_t *cursor, AddedMatch *out);

// ---- tokenizer_json.c ----
// `place` opens the error texts.
Tokenizer *tokenizer_from_json(const json_t *root, const char *place, Error *e);

// ---- tokenizer_encode.c ----
void encoders_free(Tokenizer *t);
// The words that BPE would see, added tokens left out.
void tokenizer_words(const Tokenizer *t, const char *text, size_t length, WordFn word, void *context);
