// hash: SHA-256 (FIPS 180-4) and record ids (XXH3-128). Must not know: what is hashed.
#include "core/base/hash.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#define XXH_INLINE_ALL
#include <xxhash.h>

static const uint32_t sha256_constants[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4, 0xab1c5ed5,
    0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe, 0x9bdc06a7, 0xc19bf174,
    0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f, 0x4a7484aa, 0x5cb0a9dc, 0x76f988da,
    0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7, 0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967,
    0x27b70a85, 0x2e1b2138, 0x4d2c6dfc, 0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85,
    0xa2bfe8a1, 0xa81a664b, 0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070,
    0x19a4c116, 0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7, 0xc67178f2};

static uint32_t rotr(uint32_t x, int n) { return x >> n | x << (32 - n); }

static uint32_t load_be32(const uint8_t *p) {
    uint32_t x;
    memcpy(&x, p, sizeof x);
    return __BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__ ? __builtin_bswap32(x) : x;
}

static uint32_t schedule(uint32_t w16, uint32_t w15, uint32_t w7, uint32_t w2) {
    uint32_t s0 = rotr(w15, 7) ^ rotr(w15, 18) ^ w15 >> 3;
    uint32_t s1 = rotr(w2, 17) ^ rotr(w2, 19) ^ w2 >> 10;
    return w16 + s0 + w7 + s1;
}

// One round without moving the eight words: the caller turns their names instead.
#define SHA256_ROUND(a, b, c, d, e, f, g, h, i)                                                                    \
    do {                                                                                                           \
        uint32_t t1 = h + (rotr(e, 6) ^ rotr(e, 11) ^ rotr(e, 25)) + (g ^ (e & (f ^ g))) + sha256_constants[i] + w[i]; \
        uint32_t t2 = (rotr(a, 2) ^ rotr(a, 13) ^ rotr(a, 22)) + ((a & b) | (c & (a | b)));                        \
        d += t1;                                                                                                   \
        h = t1 + t2;                                                                                               \
    } while (0)

static void compress(uint32_t state[8], const uint8_t *block) {
    uint32_t w[64];
    for (int i = 0; i < 16; i++) w[i] = load_be32(block + 4 * i);
    for (int i = 16; i < 64; i++) w[i] = schedule(w[i - 16], w[i - 15], w[i - 7], w[i - 2]);
    uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (int i = 0; i < 64; i += 8) {
        SHA256_ROUND(a, b, c, d, e, f, g, h, i);
        SHA256_ROUND(h, a, b, c, d, e, f, g, i + 1);
        SHA256_ROUND(g, h, a, b, c, d, e, f, i + 2);
        SHA256_ROUND(f, g, h, a, b, c, d, e, i + 3);
        SHA256_ROUND(e, f, g, h, a, b, c, d, i + 4);
        SHA256_ROUND(d, e, f, g, h, a, b, c, i + 5);
        SHA256_ROUND(c, d, e, f, g, h, a, b, i + 6);
        SHA256_ROUND(b, c, d, e, f, g, h, a, i + 7);
    }
    state[0] += a, state[1] += b, state[2] += c, state[3] += d;
    state[4] += e, state[5] += f, state[6] += g, state[7] += h;
}

void sha256_start(Sha256 *h) {
    *h = (Sha256){.state = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                            0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19}};
}

void sha256_add(Sha256 *h, const void *data, size_t size) {
    const uint8_t *p = data;
    size_t held = h->bytes % 64;
    h->bytes += size;
    if (held > 0) {
        size_t take = MIN(size, 64 - held);
        if (take > 0) memcpy(h->block + held, p, take);
        if (held + take < 64) return;
        compress(h->state, h->block);
        p += take, size -= take;
    }
    for (; size >= 64; p += 64, size -= 64) compress(h->state, p);
    if (size > 0) memcpy(h->block, p, size);
}

HexDigest sha256_end(Sha256 *h) {
    uint64_t bits = h->bytes * 8;
    uint8_t tail[72] = {0x80};
    size_t zeros = (h->bytes % 64 < 56 ? 56 : 120) - h->bytes % 64;
    for (int i = 0; i < 8; i++) tail[zeros + (size_t)i] = (uint8_t)(bits >> (56 - 8 * i));
    sha256_add(h, tail, zeros + 8);
    HexDigest out;
    for (int i = 0; i < 8; i++) snprintf(out.text + 8 * i, 9, "%08x", h->state[i]);
    return out;
}

HexDigest sha256_of(const void *data, size_t size) {
    Sha256 h;
    sha256_start(&h);
    sha256_add(&h, data, size);
    return sha256_end(&h);
}

bool sha256_file(const char *path, HexDigest *out, Error *e) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) return fail(e, EXIT_DATA, "%s: cannot open: %s", path, strerror(errno));
    Sha256 h;
    sha256_start(&h);
    size_t capacity = 1 << 18;
    uint8_t *chunk = xmalloc(capacity);
    ssize_t n;
    while ((n = read(fd, chunk, capacity)) > 0 || (n < 0 && errno == EINTR)) {
        if (n > 0) sha256_add(&h, chunk, (size_t)n);
    }
    bool ok = n == 0 || fail(e, EXIT_DATA, "%s: cannot read: %s", path, strerror(errno));
    free(chunk);
    close(fd);
    if (ok) *out = sha256_end(&h);
    return ok;
}

enum { MAX_DEPTH = 64 }; // links are followed, so a loop of links must end somewhere

static bool hash_tree(const char *root, const char *relative, int depth, StrList *lines, Error *e);

static bool hash_entry(const char *root, const char *relative, int depth, StrList *lines, Error *e) {
    char *path = path_join(root, relative);
    struct stat s;
    bool ok;
    if (stat(path, &s) != 0) {
        ok = fail(e, EXIT_DATA, "%s: cannot look at: %s", path, strerror(errno));
    } else if (S_ISDIR(s.st_mode)) {
        ok = hash_tree(root, relative, depth + 1, lines, e);
    } else if (!S_ISREG(s.st_mode)) {
        ok = fail(e, EXIT_DATA, "%s: neither a file nor a folder, cannot be hashed", path);
    } else {
        HexDigest digest;
        ok = sha256_file(path, &digest, e);
        char *line = ok ? xasprintf("%s  %s\n", digest.text, relative) : NULL;
        if (ok) strlist_add(lines, line);
        free(line);
    }
    free(path);
    return ok;
}

// Adds a line for each file under root/relative.
static bool hash_tree(const char *root, const char *relative, int depth, StrList *lines, Error *e) {
    if (depth > MAX_DEPTH) {
        return fail(e, EXIT_DATA, "%s: folders nest deeper than %d; a loop of links?", root, MAX_DEPTH);
    }
    char *folder = path_join(root, relative);
    StrList names = {0};
    bool ok = folder_list(folder, &names, e);
    for (size_t i = 0; ok && i < names.count; i++) {
        char *child = path_join(relative, names.items[i]);
        ok = hash_entry(root, child, depth, lines, e);
        free(child);
    }
    strlist_free(&names);
    free(folder);
    return ok;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

bool sha256_path(const char *path, HexDigest *out, Error *e) {
    if (!is_folder(path)) return sha256_file(path, out, e);
    StrList lines = {0};
    bool ok = hash_tree(path, "", 0, &lines, e);
    if (ok) {
        if (lines.count > 1) qsort(lines.items, lines.count, sizeof *lines.items, by_bytes);
        Sha256 h;
        sha256_start(&h);
        for (size_t i = 0; i < lines.count; i++) sha256_add(&h, lines.items[i], strlen(lines.items[i]));
        *out = sha256_end(&h);
    }
    strlist_free(&lines);
    return ok;
}

void record_id(const char *text, size_t length, char out[33]) {
    XXH128_hash_t h = XXH3_128bits(text, length);
    snprintf(out, 33, "%016llx%016llx", (unsigned long long)h.high64, (unsigned long long)h.low64);
}
