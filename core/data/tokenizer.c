// tokenizer: the public face: loading by path, looking up, ids -> text, the hash. Must not know: how words are cut or
// merged.
#include "core/data/tokenizer.h"

#include <stdlib.h>
#include <string.h>

#include "core/data/gguf.h"
#include "core/data/tokenizer_internal.h"

static Tokenizer *load_gguf(const char *path, Error *e) {
    Gguf *g = gguf_open(path, e);
    if (g == NULL) return NULL;
    Tokenizer *t = tokenizer_from_gguf(g, path, e);
    gguf_close(g);
    return t;
}

static Tokenizer *load_json(const char *path, Error *e) {
    json_t *root = json_read_file(path, e);
    if (root == NULL) return NULL;
    Tokenizer *t = tokenizer_from_json(root, path, e);
    json_decref(root);
    return t;
}

Tokenizer *tokenizer_load(const char *path, Error *e) {
    size_t n = strlen(path);
    if (n > 5 && strcmp(path + n - 5, ".gguf") == 0) return load_gguf(path, e);
    if (!is_folder(path)) return load_json(path, e);
    char *file = path_join(path, "tokenizer.json");
    Tokenizer *t = NULL;
    if (file_exists(file))
        t = load_json(file, e);
    else
        fail(e, EXIT_DATA, "%s: no tokenizer.json in this folder", path);
    free(file);
    return t;
}

int64_t tokenizer_vocab_size(const Tokenizer *t) { return t->vocab_size; }

int32_t tokenizer_bos(const Tokenizer *t) { return t->bos; }

int32_t tokenizer_id(const Tokenizer *t, const char *token) {
    size_t n = strlen(token);
    for (size_t i = 0; i < t->n_added; i++) {
        if (t->added[i].length == n && memcmp(t->added[i].content, token, n) == 0) return t->added[i].id;
    }
    return vocab_find(t, token, n);
}

static const Token *token_at(const Tokenizer *t, int32_t id) {
    return id >= 0 && id < t->vocab_size && t->tokens[id].kind != TOKEN_UNUSED ? &t->tokens[id] : NULL;
}

const char *tokenizer_bytes(const Tokenizer *t, int32_t id, size_t *n) {
    const Token *k = token_at(t, id);
    *n = k != NULL ? k->length : 0;
    return k != NULL ? t->pool.data + k->offset : NULL;
}

bool tokenizer_is_special(const Tokenizer *t, int32_t id) {
    const Token *k = token_at(t, id);
    return k != NULL && k->special;
}

// ---- ids -> text ----

void tokenizer_decode(const Tokenizer *t, const int32_t *ids, size_t n, bool skip_special, Buf *out) {
    Buf bytes = {0};
    for (size_t i = 0; i < n; i++) {
        const Token *k = token_at(t, ids[i]);
        if (k != NULL && !(skip_special && k->special)) buf_add(&bytes, t->pool.data + k->offset, k->length);
    }
    utf8_clean(bytes.data, bytes.length, out);
    buf_free(&bytes);
}

// Appends what is certain of bytes[0..n) and returns how many were used; at most 3 stay.
static size_t write_certain(const uint8_t *bytes, size_t n, Buf *out) {
    size_t at = 0;
    while (at < n) {
        int k = utf8_take(bytes + at, n - at);
        if (k == 0) break;
        if (k > 0)
            buf_add(out, bytes + at, (size_t)k);
        else
            buf_text(out, "\xEF\xBF\xBD");
        at += (size_t)abs(k);
    }
    return at;
}

void tokenizer_stream(const Tokenizer *t, DecodeStream *s, int32_t id, bool skip_special, Buf *out) {
    const Token *k = token_at(t, id);
    if (k == NULL || (skip_special && k->special)) return;
    Buf bytes = {0};
    buf_add(&bytes, s->pending, s->n_pending);
    buf_add(&bytes, t->pool.data + k->offset, k->length);
    size_t used = write_certain((const uint8_t *)bytes.data, bytes.length, out);
    s->n_pending = bytes.length - used;
    check(s->n_pending < sizeof s->pending, "%zu bytes kept back", s->n_pending);
    memcpy(s->pending, bytes.data + used, s->n_pending);
    buf_free(&bytes);
}

void tokenizer_stream_end(DecodeStream *s, Buf *out) {
    utf8_clean(s->pending, s->n_pending, out);
    s->n_pending = 0;
}

// ---- the hash ----

static void hash_buf(Sha256 *h, Buf *b) {
    sha256_add(h, b->data, b->length);
    buf_clear(b);
}

static void hash_added(Sha256 *h, const Tokenizer *t, Buf *b) {
    for (size_t i = 0; i < t->n_added; i++) {
        const AddedToken *a = &t->added[i];
        buf_printf(b, "added %d %d%d%d%d%d %zu:", a->id, a->special, a->lstrip, a->rstrip, a->single_word,
                   a->normalized, a->length);
        buf_add(b, a->content, a->length);
        buf_char(b, '\n');
        hash_buf(h, b);
    }
}

HexDigest tokenizer_hash(const Tokenizer *t) {
    Sha256 h;
    Buf b = {0};
    sha256_start(&h);
    buf_printf(&b, "tokenizer nfc=%d ignore_merges=%d bos=%d\n", t->nfc, t->ignore_merges, t->bos);
    pretokenize_describe(&t->pre, &b);
    hash_buf(&h, &b);
    for (int64_t id = 0; id < t->vocab_size; id++) {
        const Token *k = &t->tokens[id];
        if (k->kind == TOKEN_UNUSED) continue;
        buf_printf(&b, "%lld %u:", (long long)id, k->length);
        buf_add(&b, t->pool.data + k->offset, k->length);
        hash_buf(&h, &b);
    }
    for (size_t i = 0; i < t->bpe.n_merges; i++) {
        const Merge *m = &t->bpe.merges[i];
        buf_printf(&b, "merge %d %d %d\n", m->left, m->right, m->result);
        hash_buf(&h, &b);
    }
    hash_added(&h, t, &b);
    buf_free(&b);
    return sha256_end(&h);
}
