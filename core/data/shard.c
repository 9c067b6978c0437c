// shard: owns writing packed token shards. Must not know: what the tokens say. Reading is in shard_read.c.
#include "core/data/shard.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/data/shard_format.h"

typedef struct SourceCount {
    int64_t n_documents, n_tokens;
} SourceCount;

struct ShardWriter {
    char *folder;
    int64_t vocab_size, n_documents, n_tokens, n_trained;
    uint32_t token_bytes;
    AtomicFile files[SHARD_FILES];
    int n_open;
    StrList sources;
    SourceCount *counts;  // per source
    json_t *source_index; // name -> position
    Buf scratch;
};

static uint32_t item_bytes(const ShardWriter *w, int file) {
    return file == SHARD_TOKENS ? w->token_bytes : file == SHARD_MASK ? 1 : (uint32_t)sizeof(ShardEntry);
}

static void writer_free(ShardWriter *w) {
    for (int i = 0; i < w->n_open; i++) atomic_abandon(&w->files[i]);
    json_decref(w->source_index);
    strlist_free(&w->sources);
    buf_free(&w->scratch);
    free(w->counts);
    free(w->folder);
    free(w);
}

void shard_abandon(ShardWriter *w) {
    if (w != NULL) writer_free(w);
}

// Headers are written first with n_items 0 and again, with the truth, at the end.
static bool write_header(ShardWriter *w, int file, int64_t n_items, Error *e) {
    ShardHeader h = {.version = SHARD_VERSION, .item_bytes = item_bytes(w, file), .n_items = (uint64_t)n_items};
    memcpy(h.magic, shard_magic[file], sizeof h.magic);
    return atomic_write(&w->files[file], &h, sizeof h, e);
}

ShardWriter *shard_create(const char *folder, int64_t vocab_size, Error *e) {
    check(vocab_size > 0 && vocab_size <= INT32_MAX, "vocab_size %lld", (long long)vocab_size);
    ShardWriter *w = xcalloc(1, sizeof *w);
    w->folder = xstrdup(folder);
    w->vocab_size = vocab_size;
    w->token_bytes = vocab_size <= 65536 ? 2 : 4;
    w->source_index = json_object();
    char *manifest = path_join(folder, "manifest.json");
    bool ok = make_folders(folder, e);
    // Without its manifest an older shard is no shard: files of two shards can never be taken for one.
    if (ok && file_exists(manifest) && unlink(manifest) != 0)
        ok = fail(e, EXIT_FAIL, "%s: cannot remove the old manifest", manifest);
    free(manifest);
    for (int i = 0; ok && i < SHARD_FILES; i++) {
        char *path = path_join(folder, shard_file_names[i]);
        ok = atomic_open(&w->files[i], path, e);
        if (ok) w->n_open++;
        ok = ok && write_header(w, i, 0, e);
        free(path);
    }
    if (ok) return w;
    writer_free(w);
    return NULL;
}

static uint32_t source_position(ShardWriter *w, const char *source) {
    const json_t *known = json_object_get(w->source_index, source);
    if (known != NULL) return (uint32_t)json_integer_value(known);
    size_t n = w->sources.count;
    strlist_add(&w->sources, source);
    json_object_set_new(w->source_index, source, json_integer((json_int_t)n));
    w->counts = xrealloc(w->counts, (n + 1) * sizeof *w->counts);
    w->counts[n] = (SourceCount){0};
    return (uint32_t)n;
}

static int hex_digit(char c) { return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1; }

static bool parse_id(const char *id, uint8_t out[16], Error *e) {
    memset(out, 0, 16);
    if (id == NULL) return true;
    bool ok = strlen(id) == 32;
    for (int i = 0; ok && i < 16; i++) {
        int high = hex_digit(id[2 * i]), low = hex_digit(id[2 * i + 1]);
        ok = high >= 0 && low >= 0;
        out[i] = ok ? (uint8_t)(high << 4 | low) : 0;
    }
    return ok || fail(e, EXIT_DATA, "id \"%.64s\" is not 32 lower-case hex digits", id);
}

static bool check_document(const ShardWriter *w, const int32_t *tokens, const uint8_t *mask, int64_t n,
                           const char *source, Error *e) {
    if (n < 1 || n > UINT32_MAX) return fail(e, EXIT_DATA, "a document of %lld tokens cannot be stored", (long long)n);
    if (source == NULL || json_object_get(w->source_index, source) == NULL) {
        json_t *text = json_string(source); // NULL or invalid UTF-8 give NULL
        json_decref(text);
        if (text == NULL) return fail(e, EXIT_DATA, "the source's name is missing or no valid UTF-8");
    }
    for (int64_t i = 0; i < n; i++)
        if (tokens[i] < 0 || tokens[i] >= w->vocab_size)
            return fail(e, EXIT_DATA, "token %lld of the document: id %d is outside the vocabulary of %lld",
                        (long long)i, tokens[i], (long long)w->vocab_size);
    for (int64_t i = 0; mask && i < n; i++)
        if (mask[i] > 1) return fail(e, EXIT_DATA, "mask[%lld] is %d; 0 or 1 expected", (long long)i, mask[i]);
    if (mask && mask[0])
        return fail(e, EXIT_DATA, "mask[0] is 1, but nothing precedes the first token that could predict it");
    return true;
}

static bool write_tokens(ShardWriter *w, const int32_t *tokens, int64_t n, Error *e) {
    if (w->token_bytes == 4) return atomic_write(&w->files[SHARD_TOKENS], tokens, (size_t)n * 4, e);
    buf_clear(&w->scratch);
    for (int64_t i = 0; i < n; i++) {
        uint16_t id = (uint16_t)tokens[i];
        buf_add(&w->scratch, &id, sizeof id);
    }
    return atomic_write(&w->files[SHARD_TOKENS], w->scratch.data, w->scratch.length, e);
}

static bool write_mask(ShardWriter *w, const uint8_t *mask, int64_t n, int64_t *n_trained, Error *e) {
    *n_trained = 0;
    buf_clear(&w->scratch);
    for (int64_t i = 0; i < n; i++) {
        uint8_t trained = mask ? mask[i] : i > 0;
        *n_trained += trained;
        buf_char(&w->scratch, (char)trained);
    }
    return atomic_write(&w->files[SHARD_MASK], w->scratch.data, w->scratch.length, e);
}

bool shard_add(ShardWriter *w, const int32_t *tokens, const uint8_t *mask, int64_t n, const char *source,
               const char *id, Error *e) {
    ShardEntry entry = {.begin = (uint64_t)w->n_tokens, .length = (uint32_t)n};
    int64_t n_trained;
    if (!check_document(w, tokens, mask, n, source, e) || !parse_id(id, entry.id, e))
        return fail_in(e, "%s", w->folder);
    entry.source = source_position(w, source);
    if (!write_tokens(w, tokens, n, e) || !write_mask(w, mask, n, &n_trained, e) ||
        !atomic_write(&w->files[SHARD_DOCUMENTS], &entry, sizeof entry, e))
        return false;
    w->counts[entry.source].n_documents++;
    w->counts[entry.source].n_tokens += n;
    w->n_documents++;
    w->n_tokens += n;
    w->n_trained += n_trained;
    return true;
}

static json_t *sources_json(const ShardWriter *w) {
    json_t *list = json_array();
    for (size_t i = 0; i < w->sources.count; i++) {
        json_t *source = json_object();
        json_object_set_new(source, "name", json_string(w->sources.items[i]));
        json_object_set_new(source, "n_documents", json_integer(w->counts[i].n_documents));
        json_object_set_new(source, "n_tokens", json_integer(w->counts[i].n_tokens));
        json_array_append_new(list, source);
    }
    return list;
}

// Completes the three files; files: what the manifest says about them.
static bool finish_files(ShardWriter *w, json_t *files, Error *e) {
    const int64_t n_items[SHARD_FILES] = {w->n_tokens, w->n_tokens, w->n_documents};
    bool ok = true;
    for (int i = 0; ok && i < SHARD_FILES; i++) {
        rewind(w->files[i].file);
        ok = write_header(w, i, n_items[i], e);
    }
    for (int i = SHARD_FILES - 1; ok && i >= 0; i--) { // from the end, so that n_open keeps counting what is still open
        w->n_open = i;
        ok = atomic_commit(&w->files[i], e);
    }
    for (int i = 0; ok && i < SHARD_FILES; i++) {
        char *path = path_join(w->folder, shard_file_names[i]);
        HexDigest digest;
        ok = sha256_file(path, &digest, e);
        if (ok) {
            json_t *file = json_object();
            json_object_set_new(file, "name", json_string(shard_file_names[i]));
            json_object_set_new(file, "bytes", json_integer(file_size(path)));
            json_object_set_new(file, "sha256", json_string(digest.text));
            json_array_append_new(files, file);
        }
        free(path);
    }
    return ok;
}

static bool merge_extra(json_t *manifest, json_t *extra, Error *e) {
    const char *key;
    json_t *value;
    json_object_foreach(extra, key, value) {
        if (json_object_get(manifest, key) != NULL)
            return fail(e, EXIT_FAIL, "manifest: \"%s\" is the shard's own member", key);
        json_object_set(manifest, key, value);
    }
    return true;
}

bool shard_finish(ShardWriter *w, json_t *extra, Error *e) {
    json_t *manifest = json_object(), *files = json_array();
    json_object_set_new(manifest, "format", json_string(SHARD_FORMAT));
    json_object_set_new(manifest, "version", json_integer(SHARD_VERSION));
    json_object_set_new(manifest, "vocab_size", json_integer(w->vocab_size));
    json_object_set_new(manifest, "n_documents", json_integer(w->n_documents));
    json_object_set_new(manifest, "n_tokens", json_integer(w->n_tokens));
    json_object_set_new(manifest, "n_trained_tokens", json_integer(w->n_trained));
    json_object_set_new(manifest, "sources", sources_json(w));
    json_object_set_new(manifest, "files", files);
    char *path = path_join(w->folder, "manifest.json");
    bool ok = merge_extra(manifest, extra, e) && finish_files(w, files, e) && json_write_file(path, manifest, e);
    free(path);
    json_decref(extra);
    json_decref(manifest);
    writer_free(w);
    return ok;
}
