// tokenizer_nfc: normalization form C as Hugging Face tokenizers does it. utf8proc knows decompositions, classes and
// pairs; the ordering and composing are here so that they are linear in time and independent of utf8proc's Unicode
// version. Source: Unicode Standard Annex 15, and section 3.11 of the standard. Must not know: tokens, patterns, files.
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

#include "core/data/tokenizer_utf8.h"

static const struct {
    int32_t first, last;
} late_ranges[] = {
#define NFC_LATE(first, last) {first, last},
#include "core/data/tokenizer_nfc.def"
#undef NFC_LATE
};

static bool is_late(int32_t c) {
    size_t lo = 0, hi = COUNT_OF(late_ranges); // the first range that ends at c or behind it
    while (lo < hi) {
        size_t middle = (lo + hi) / 2;
        if (late_ranges[middle].last < c)
            lo = middle + 1;
        else
            hi = middle;
    }
    return lo < COUNT_OF(late_ranges) && late_ranges[lo].first <= c;
}

static int combining_class(int32_t c) { return is_late(c) ? 0 : (int)utf8proc_get_property(c)->combining_class; }

// The full canonical decomposition of c into out[room]; returns how many parts.
static size_t decompose(int32_t c, int32_t *out, size_t room) {
    int class = 0;
    out[0] = c;
    if (is_late(c)) return 1;
    utf8proc_ssize_t n =
        utf8proc_decompose_char(c, out, (utf8proc_ssize_t)room, UTF8PROC_STABLE | UTF8PROC_DECOMPOSE, &class);
    check(n > 0 && (size_t)n <= room, "decomposition of U+%04X", (unsigned)c);
    return (size_t)n;
}

// What the two make together, or 0.
static int32_t compose(int32_t a, int32_t b) {
    int32_t pair[2] = {a, b};
    if (is_late(b) || utf8proc_normalize_utf32(pair, 2, UTF8PROC_STABLE | UTF8PROC_COMPOSE) != 1) return 0;
    return is_late(pair[0]) ? 0 : pair[0];
}

// Below U+0300 everything is NFC. Above, a character is certain when it has no canonical decomposition, does not
// combine with what precedes it and does not move: no mark, no conjoining jamo.
static bool point_is_certain(uint32_t c) {
    if (c < 0x300 || (c >= 0x3400 && c <= 0x9FFF)) return true;
    if (c >= 0x1160 && c <= 0x11FF) return false;
    if (c >= 0xAC00 && c <= 0xD7A3) return true; // a syllable; only a jamo behind it could change it
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    if (k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME) return false;
    int32_t parts[8];
    return decompose((int32_t)c, parts, 8) == 1 && parts[0] == (int32_t)c;
}

bool nfc_is_certain(const char *text, size_t length) {
    const uint8_t *at = (const uint8_t *)text;
    for (size_t i = ascii_end(text, 0, length); i < length; i = ascii_end(text, i, length)) {
        if (at[i] < 0xCC) { // U+0000 to U+02FF
            i += at[i] < 0x80 ? 1 : 2;
            continue;
        }
        uint32_t c;
        i += utf8_next(at + i, &c);
        if (!point_is_certain(c)) return false;
    }
    return true;
}

// Stable counting sort of points[0..n) by combining class: the canonical order of a run of marks, in linear time.
static void sort_marks(int32_t *points, size_t n, int32_t *sorted) {
    size_t begin[257] = {0};
    for (size_t i = 0; i < n; i++) begin[combining_class(points[i]) + 1]++;
    for (int k = 0; k < 256; k++) begin[k + 1] += begin[k];
    for (size_t i = 0; i < n; i++) sorted[begin[combining_class(points[i])]++] = points[i];
    memcpy(points, sorted, n * sizeof *points);
}

static void order_marks(int32_t *points, size_t n, int32_t *sorted) {
    for (size_t i = 0; i < n;) {
        size_t end = i;
        bool ordered = true;
        for (int last = 0, k; end < n && (k = combining_class(points[end])) > 0; end++) {
            ordered = ordered && k >= last;
            last = k;
        }
        if (!ordered) sort_marks(points + i, end - i, sorted);
        i = end + 1;
    }
}

// In place; returns how many are left. A character joins the last starter unless one kept between them blocks it.
static size_t compose_all(int32_t *points, size_t n) {
    size_t kept = 0, starter = SIZE_MAX;
    int last = 0; // class of the last one kept behind the starter
    for (size_t i = 0; i < n; i++) {
        int k = combining_class(points[i]);
        bool open = starter != SIZE_MAX && (kept == starter + 1 || (last != 0 && last < k));
        int32_t joined = open ? compose(points[starter], points[i]) : 0;
        if (joined != 0) {
            points[starter] = joined;
            continue;
        }
        if (k == 0) starter = kept;
        last = k;
        points[kept++] = points[i];
    }
    return kept;
}

void nfc_append(NfcScratch *s, const char *text, size_t length, Buf *out) {
    size_t most = length * 2 + 16; // no character of b bytes decomposes into more than 2 b
    if (s->capacity < most) {
        s->capacity = most;
        s->points = xrealloc(s->points, most * sizeof *s->points);
        s->sorted = xrealloc(s->sorted, most * sizeof *s->sorted);
    }
    size_t n = 0;
    for (size_t i = 0; i < length;) {
        uint32_t c;
        i += utf8_next((const uint8_t *)text + i, &c);
        n += decompose((int32_t)c, s->points + n, most - n);
    }
    order_marks(s->points, n, s->sorted);
    n = compose_all(s->points, n);
    char bytes[4];
    for (size_t i = 0; i < n; i++) buf_add(out, bytes, utf8_write((uint32_t)s->points[i], bytes));
}

void nfc_scratch_free(NfcScratch *s) {
    free(s->points);
    free(s->sorted);
    *s = (NfcScratch){0};
}
