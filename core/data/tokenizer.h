// tokenizer: text <-> ids, identical to Hugging Face tokenizers for what tokenizer.json declares.
// Supported now: byte-level BPE with Split (any PCRE2-compatible Regex) / ByteLevel / Digits / Sequence pre-tokenizers,
// NFC / Sequence normalizers, added and special tokens with lstrip, rstrip, normalized, single_word; ignore_merges.
// What is not supported is refused by name ("tokenizer.json: model.type: ..."). From a model folder, a tokenizer.json,
// or a .gguf.
#pragma once
#include "core/base/hash.h"

typedef struct Tokenizer Tokenizer;
Tokenizer *tokenizer_load(const char *path, Error *e);
Tokenizer *tokenizer_from_gguf(const void *gguf, const char *path, Error *e); // const Gguf *, path for messages
void tokenizer_free(Tokenizer *t);

int64_t tokenizer_vocab_size(const Tokenizer *t);            // largest id + 1, added tokens included
int32_t tokenizer_id(const Tokenizer *t, const char *token); // by its content ("<|im_end|>"); -1 when absent
// Bytes of one token (not NUL-terminated text: length in *n). NULL for an unused id.
const char *tokenizer_bytes(const Tokenizer *t, int32_t id, size_t *n);
bool tokenizer_is_special(const Tokenizer *t, int32_t id);
// The token that the model's own tools put before every text (TemplateProcessing, add_bos_token), -1: none.
// tokenizer_encode never adds it: whoever puts whole texts together does, once per text.
int32_t tokenizer_bos(const Tokenizer *t);
HexDigest tokenizer_hash(const Tokenizer *t); // SHA-256 over vocabulary, merges, added tokens and pre-tokenizer: equal
                                              // = same ids for same text

// Appends ids. `parse_special`: added special tokens in the text become their ids (true for templates, false for users'
// text: then only non-special added tokens are matched). Invalid UTF-8 becomes U+FFFD as Hugging Face's input would.
void tokenizer_encode(const Tokenizer *t, const char *text, size_t length, bool parse_special, TokenList *out);
void tokenizer_decode(const Tokenizer *t, const int32_t *ids, size_t n, bool skip_special, Buf *out);

// Streaming decode that never cuts a code point: bytes that do not yet form one are kept back.
typedef struct DecodeStream {
    char pending[8];
    size_t n_pending;
} DecodeStream;
void tokenizer_stream(const Tokenizer *t, DecodeStream *s, int32_t id, bool skip_special, Buf *out);
void tokenizer_stream_end(DecodeStream *s, Buf *out); // what is still kept back becomes U+FFFD

// GGUF metadata of this tokenizer (tokenizer.ggml.model, pre, tokens, token_type, merges, bos/eos/pad): set on a
// GgufWriter *.
bool tokenizer_to_gguf(const Tokenizer *t, void *gguf_writer, const char *folder, Error *e);

// Learns a byte-level BPE (Qwen2's NFC and split: every digit alone) of exactly vocab_size ids and writes
// tokenizer.json and tokenizer_config.json (with chat_template) into `folder`. Ids: the 256 bytes in order, learned
// tokens, plain_added, special. texts: n byte strings; added tokens in them are cut out first. Deterministic: the most
// frequent pair first, ties by its bytes. Errors: vocab_size too small (EXIT_USAGE), texts too poor for it (EXIT_DATA),
// eos or pad not among special, files.
typedef struct TokenizerTraining {
    int64_t vocab_size;
    const char *const *special; // e.g. <|endoftext|>, <|im_start|>, <|im_end|>; get the last ids
    size_t n_special;
    const char *const *plain_added; // added but not special, e.g. <think>, </think>
    size_t n_plain_added;
    const char *eos, *pad;
    const char *chat_template; // Jinja text
} TokenizerTraining;
bool tokenizer_train(const TokenizerTraining *how, const char *const *texts, const size_t *lengths, size_t n,
                     const char *folder, Error *e);
