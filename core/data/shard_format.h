// shard_format: the bytes that shard.c writes and shard_read.c reads (see shard.h). Internal to core/data.
#pragma once
#include "core/base/base.h"

#define SHARD_FORMAT "tristill-shard"
enum { SHARD_VERSION = 1, SHARD_TOKENS = 0, SHARD_MASK = 1, SHARD_DOCUMENTS = 2, SHARD_FILES = 3 };

typedef struct ShardHeader {
    char magic[8];
    uint32_t version, item_bytes; // item_bytes: of one token, 1 of a mask, 32 of a document
    uint64_t n_items;
    uint8_t zero[40];
} ShardHeader;
_Static_assert(sizeof(ShardHeader) == 64, "the header is part of the file format");

typedef struct ShardEntry {
    uint64_t begin;
    uint32_t length, source;
    uint8_t id[16];
} ShardEntry;
_Static_assert(sizeof(ShardEntry) == 32, "the entry is part of the file format");

static const char *const shard_file_names[SHARD_FILES] = {"tokens.bin", "mask.bin", "documents.bin"};
static const char shard_magic[SHARD_FILES][9] = {"TRISHARD", "TRIMASK\0", "TRIDOCS\0"};
