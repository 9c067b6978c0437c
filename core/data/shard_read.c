// shard_read: owns reading packed token shards: mapping, and the proof that they are what their manifest says.
// Everything is checked once when the shard is opened, token ids and mask values included, so that reading a document
// cannot fail.
#include <stdlib.h>
#include <string.h>

#include "core/data/names.h"
#include "core/data/shard.h"
#include "core/data/shard_format.h"

typedef struct ShardMaps {
    Mapping maps[SHARD_FILES];
    uint32_t token_bytes;
} ShardMaps;

static const uint8_t *items(const Shard *s, int file) {
    return ((const ShardMaps *)s->impl)->maps[file].data + sizeof(ShardHeader);
}

static bool read_sources(Shard *s, const char *place, Error *e) {
    const json_t *list = json_object_get(s->manifest, "sources");
    int64_t documents = 0, tokens = 0, n;
    if (!json_is_array(list)) return fail(e, EXIT_DATA, "%s: sources: expected a list", place);
    for (size_t i = 0; i < json_array_size(list); i++) {
        const json_t *source = json_array_get(list, i);
        const char *name;
        if (!json_get_text(source, "name", place, &name, e)) return false;
        strlist_add(&s->sources, name);
        if (!json_get_int(source, "n_documents", place, 0, s->n_documents - documents, &n, e)) return false;
        documents += n;
        if (!json_get_int(source, "n_tokens", place, 0, s->n_tokens - tokens, &n, e)) return false;
        tokens += n;
    }
    return (documents == s->n_documents && tokens == s->n_tokens) ||
           fail(e, EXIT_DATA, "%s: sources: the counts do not add up to n_documents and n_tokens", place);
}

static bool read_manifest(Shard *s, const char *place, Error *e) {
    const char *format;
    int64_t version, most = INT64_MAX / 64;
    s->manifest = json_read_file(place, e);
    if (s->manifest == NULL) return fail_in(e, "no finished token shard");
    if (!json_get_text(s->manifest, "format", place, &format, e)) return false;
    if (strcmp(format, SHARD_FORMAT) != 0) {
        char shown[NAME_SHOWN];
        return fail(e, EXIT_DATA, "%s: format: \"%s\", expected \"" SHARD_FORMAT "\"", place,
                    name_shown(format, strlen(format), shown));
    }
    return json_get_int(s->manifest, "version", place, SHARD_VERSION, SHARD_VERSION, &version, e) &&
           json_get_int(s->manifest, "vocab_size", place, 1, INT32_MAX, &s->vocab_size, e) &&
           json_get_int(s->manifest, "n_documents", place, 0, most, &s->n_documents, e) &&
           json_get_int(s->manifest, "n_tokens", place, 0, most, &s->n_tokens, e) && read_sources(s, place, e);
}

static bool check_header(const Mapping *m, int file, const char *path, uint32_t item_bytes, int64_t n_items, Error *e) {
    ShardHeader h, expected = {.version = SHARD_VERSION, .item_bytes = item_bytes, .n_items = (uint64_t)n_items};
    memcpy(expected.magic, shard_magic[file], sizeof expected.magic);
    uint64_t bytes = sizeof h + (uint64_t)n_items * item_bytes;
    if (m->size != bytes)
        return fail(e, EXIT_DATA,
                    "%s: %zu bytes, the manifest asks for %llu: cut off or of another shard; pack the data again", path,
                    m->size, (unsigned long long)bytes);
    memcpy(&h, m->data, sizeof h);
    return memcmp(&h, &expected, sizeof h) == 0 ||
           fail(e, EXIT_DATA, "%s: the header differs from the manifest; pack the data again", path);
}

static bool check_hash(const Shard *s, int file, const char *path, const char *place, Error *e) {
    const json_t *entry = json_array_get(json_object_get(s->manifest, "files"), (size_t)file);
    const char *name, *sha256;
    HexDigest found;
    if (!json_get_text(entry, "name", place, &name, e) || !json_get_text(entry, "sha256", place, &sha256, e))
        return fail_in(e, "files");
    if (strcmp(name, shard_file_names[file]) != 0)
        return fail(e, EXIT_DATA, "%s: files: %s expected", place, shard_file_names[file]);
    if (!sha256_file(path, &found, e)) return false;
    return strcmp(found.text, sha256) == 0 ||
           fail(e, EXIT_DATA,
                "%s: SHA-256 differs from the manifest: the file was changed or damaged; pack the data again", path);
}

static bool map_files(Shard *s, const char *folder, const char *place, bool verify_hashes, Error *e) {
    ShardMaps *maps = (ShardMaps *)(uintptr_t)s->impl;
    maps->token_bytes = s->vocab_size <= 65536 ? 2 : 4;
    const uint32_t item_bytes[SHARD_FILES] = {maps->token_bytes, 1, sizeof(ShardEntry)};
    const int64_t n_items[SHARD_FILES] = {s->n_tokens, s->n_tokens, s->n_documents};
    bool ok = true;
    for (int i = 0; ok && i < SHARD_FILES; i++) {
        char *path = path_join(folder, shard_file_names[i]);
        ok = file_map(path, &maps->maps[i], e) && check_header(&maps->maps[i], i, path, item_bytes[i], n_items[i], e) &&
             (!verify_hashes || check_hash(s, i, path, place, e));
        free(path);
    }
    return ok;
}

static ShardEntry entry_at(const Shard *s, int64_t index) {
    ShardEntry entry;
    memcpy(&entry, items(s, SHARD_DOCUMENTS) + index * (int64_t)sizeof entry, sizeof entry);
    return entry;
}

static bool check_documents(const Shard *s, const char *folder, Error *e) {
    uint64_t begin = 0;
    for (int64_t i = 0; i < s->n_documents; i++) {
        ShardEntry d = entry_at(s, i);
        if (d.begin != begin || d.length == 0 || d.length > (uint64_t)s->n_tokens - begin ||
            d.source >= s->sources.count)
            return fail(e, EXIT_DATA,
                        "%s/documents.bin: document %lld: its place or source is wrong; pack the data again", folder,
                        (long long)i);
        begin += d.length;
    }
    return begin == (uint64_t)s->n_tokens ||
           fail(e, EXIT_DATA, "%s/documents.bin: the documents do not cover all tokens", folder);
}

static uint32_t token_at(const Shard *s, int64_t index) {
    const uint8_t *tokens = items(s, SHARD_TOKENS);
    uint16_t two;
    uint32_t four;
    if (((const ShardMaps *)s->impl)->token_bytes == 2) return memcpy(&two, tokens + 2 * index, 2), two;
    return memcpy(&four, tokens + 4 * index, 4), four;
}

static bool check_tokens(const Shard *s, const char *folder, const char *place, Error *e) {
    const uint8_t *mask = items(s, SHARD_MASK);
    int64_t trained = 0, said;
    for (int64_t i = 0; i < s->n_tokens; i++) {
        if (token_at(s, i) >= s->vocab_size)
            return fail(e, EXIT_DATA,
                        "%s/tokens.bin: token %lld: id %u is outside the vocabulary of %lld; pack the data again",
                        folder, (long long)i, token_at(s, i), (long long)s->vocab_size);
        if (mask[i] > 1) return fail(e, EXIT_DATA, "%s/mask.bin: byte %lld is neither 0 nor 1", folder, (long long)i);
        trained += mask[i];
    }
    return json_get_int(s->manifest, "n_trained_tokens", place, 0, s->n_tokens, &said, e) &&
           (said == trained || fail(e, EXIT_DATA, "%s: n_trained_tokens is %lld, mask.bin has %lld", place,
                                    (long long)said, (long long)trained));
}

Shard *shard_open(const char *folder, bool verify_hashes, Error *e) {
    Shard *s = xcalloc(1, sizeof *s);
    s->impl = xcalloc(1, sizeof(ShardMaps));
    char *place = path_join(folder, "manifest.json");
    bool ok = read_manifest(s, place, e) && map_files(s, folder, place, verify_hashes, e) &&
              check_documents(s, folder, e) && check_tokens(s, folder, place, e);
    free(place);
    if (ok) return s;
    shard_close(s);
    return NULL;
}

ShardDocument shard_document(const Shard *s, int64_t index) {
    check(index >= 0 && index < s->n_documents, "document %lld of %lld", (long long)index, (long long)s->n_documents);
    ShardEntry entry = entry_at(s, index);
    return (ShardDocument){.begin = (int64_t)entry.begin, .length = entry.length, .source = (int32_t)entry.source};
}

void shard_read(const Shard *s, int64_t index, int32_t *tokens, uint8_t *mask) {
    ShardDocument d = shard_document(s, index);
    for (int64_t i = 0; i < d.length; i++) tokens[i] = (int32_t)token_at(s, d.begin + i);
    memcpy(mask, items(s, SHARD_MASK) + d.begin, (size_t)d.length);
}

void shard_close(Shard *s) {
    if (s == NULL) return;
    ShardMaps *maps = (ShardMaps *)(uintptr_t)s->impl;
    for (int i = 0; i < SHARD_FILES; i++) file_unmap(&maps->maps[i]);
    free(maps);
    strlist_free(&s->sources);
    json_decref(s->manifest);
    free(s);
}
