// shard: packed token shards. A folder:
//   manifest.json   {"format":"tristill-shard","version","vocab_size","n_documents","n_tokens","n_trained_tokens",
//                    "sources":[{"name","n_documents","n_tokens"}],"files":[{"name","bytes","sha256"}],
//                    "tokenizer_sha256","template","inputs":[...]}
//   tokens.bin      header (64 bytes: magic "TRISHARD", u32 version, u32 token_bytes, u64 n_tokens, zero padding), then
//                   token ids, little-endian, 2 bytes when the vocabulary fits in 65536, else 4
//   mask.bin        same header with magic "TRIMASK\0", one byte per token: 1 = this token is a trained target
//   documents.bin   header "TRIDOCS\0", then per document u64 begin, u32 length, u32 source, u8 id[16]
// Targets are the tokens themselves (shifted by the trainer): mask[t] = 1 means "predict token t from its past".
#pragma once
#include "core/base/hash.h"
#include "core/base/json.h"

typedef struct ShardWriter ShardWriter;
ShardWriter *shard_create(const char *folder, int64_t vocab_size, Error *e);
// One document; mask may be NULL (= all ones but the first token). id: 32 hex digits or NULL.
bool shard_add(ShardWriter *w, const int32_t *tokens, const uint8_t *mask, int64_t n, const char *source,
               const char *id, Error *e);
// Writes the manifest last (atomic). extra: members merged into the manifest (tokenizer_sha256, template, inputs);
// reference taken. Frees the writer, also on failure.
bool shard_finish(ShardWriter *w, json_t *extra, Error *e);
void shard_abandon(ShardWriter *w); // frees a writer that will not be finished; nothing is left in the folder

typedef struct ShardDocument {
    int64_t begin;
    int64_t length;
    int32_t source; // index into Shard.sources
} ShardDocument;

typedef struct Shard {
    json_t *manifest;
    int64_t n_documents, n_tokens, vocab_size;
    StrList sources;
    const void *impl; // mappings
} Shard;
Shard *shard_open(const char *folder, bool verify_hashes, Error *e);
ShardDocument shard_document(const Shard *s, int64_t index);
// Copies document `index` into tokens[length] and mask[length].
void shard_read(const Shard *s, int64_t index, int32_t *tokens, uint8_t *mask);
void shard_close(Shard *s);
