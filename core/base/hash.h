// hash: SHA-256 for what must be proven (artefacts, checkpoints), XXH3-128 for names of records.
#pragma once
#include "core/base/file.h"

typedef struct Sha256 {
    uint32_t state[8];
    uint64_t bytes;
    uint8_t block[64];
} Sha256;
typedef struct HexDigest {
    char text[65]; // lower-case hex, NUL-terminated
} HexDigest;

void sha256_start(Sha256 *h);
void sha256_add(Sha256 *h, const void *data, size_t size);
HexDigest sha256_end(Sha256 *h);
HexDigest sha256_of(const void *data, size_t size);
bool sha256_file(const char *path, HexDigest *out, Error *e);
// A file, or a folder: SHA-256 over the sorted lines "<sha256>  <relative path>\n" of its files.
bool sha256_path(const char *path, HexDigest *out, Error *e);

// Record id: XXH3-128 of the text, 32 hex digits.
void record_id(const char *text, size_t length, char out[33]);
