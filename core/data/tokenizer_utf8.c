// tokenizer_utf8: UTF-8 and Unicode as the tokenizer needs them (utf8proc knows the characters).
// Must not know: tokens, patterns, files.
#include "core/data/tokenizer_utf8.h"

#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

// Source: Unicode 16.0, table 3-7 (well-formed byte sequences) and "U+FFFD substitution of maximal subparts".
int utf8_take(const uint8_t *text, size_t n) {
    uint8_t a = text[0];
    if (a < 0x80) return 1;
    int length = a >= 0xC2 && a <= 0xDF ? 2 : (a & 0xF0) == 0xE0 ? 3 : a >= 0xF0 && a <= 0xF4 ? 4 : 0;
    if (length == 0) return -1;
    uint8_t lo = a == 0xE0 ? 0xA0 : a == 0xF0 ? 0x90 : 0x80;
    uint8_t hi = a == 0xED ? 0x9F : a == 0xF4 ? 0x8F : 0xBF;
    for (int i = 1; i < length; i++) {
        if ((size_t)i >= n) return 0;
        if (text[i] < lo || text[i] > hi) return -i;
        lo = 0x80;
        hi = 0xBF;
    }
    return length;
}

bool utf8_valid(const char *text, size_t length) {
    const uint8_t *at = (const uint8_t *)text;
    for (size_t i = 0; i < length;) {
        uint64_t eight;
        if (i + 8 <= length && (memcpy(&eight, at + i, 8), (eight & 0x8080808080808080u) == 0)) {
            i += 8;
            continue;
        }
        int n = utf8_take(at + i, length - i);
        if (n <= 0) return false;
        i += (size_t)n;
    }
    return true;
}

void utf8_clean(const char *text, size_t length, Buf *out) {
    const uint8_t *at = (const uint8_t *)text;
    size_t good = 0; // where the run of valid text began
    for (size_t i = 0; i < length;) {
        int n = utf8_take(at + i, length - i);
        if (n > 0) {
            i += (size_t)n;
            continue;
        }
        buf_add(out, text + good, i - good);
        buf_text(out, "\xEF\xBF\xBD");
        i = n == 0 ? length : i + (size_t)-n; // a part that the end cuts off is one maximal subpart
        good = i;
    }
    if (good < length) buf_add(out, text + good, length - good);
}

size_t utf8_write(uint32_t c, char out[4]) {
    if (c < 0x80) {
        out[0] = (char)c;
        return 1;
    }
    size_t n = c < 0x800 ? 2 : c < 0x10000 ? 3 : 4;
    for (size_t i = n - 1; i > 0; i--, c >>= 6) out[i] = (char)(0x80 | (c & 0x3F));
    out[0] = (char)((0xF00u >> n & 0xF0) | c);
    return n;
}

bool unicode_is_space(uint32_t c) {
    return (c >= 9 && c <= 13) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) ||
           c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool unicode_is_word(uint32_t c) {
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    if (k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_NL) return true; // L, M, Nd, Nl
    bool enclosed = (c >= 0x24B6 && c <= 0x24E9) || (c >= 0x1F130 && c <= 0x1F149) || (c >= 0x1F150 && c <= 0x1F169) ||
                    (c >= 0x1F170 && c <= 0x1F189); // the symbols that are alphabetic
    return k == UTF8PROC_CATEGORY_PC || c == 0x200C || c == 0x200D || enclosed;
}

// ---- NFC ----

// Below U+0300 everything is NFC. Above, a character is certain when it has no canonical decomposition, does not
// combine with what precedes it and does not move: no mark, no conjoining jamo.
static bool point_is_certain(uint32_t c) {
    if (c < 0x300 || (c >= 0x3400 && c <= 0x9FFF)) return true;
    if ((c >= 0x1160 && c <= 0x11FF) || c >= 0x2F800) return c >= 0x30000 && c < 0xE0000;
    if (c >= 0xAC00 && c <= 0xD7A3) return true; // a syllable; only a jamo behind it could change it
    utf8proc_category_t k = utf8proc_category((utf8proc_int32_t)c);
    if (k >= UTF8PROC_CATEGORY_MN && k <= UTF8PROC_CATEGORY_ME) return false;
    utf8proc_int32_t parts[8];
    int class = 0;
    utf8proc_ssize_t n = utf8proc_decompose_char((utf8proc_int32_t)c, parts, 8, UTF8PROC_STABLE, &class);
    return n == 1 && parts[0] == (utf8proc_int32_t)c;
}

bool nfc_is_certain(const char *text, size_t length) {
    const uint8_t *at = (const uint8_t *)text;
    for (size_t i = 0; i < length;) {
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

static int combining_class(int32_t c) { return (int)utf8proc_get_property(c)->combining_class; }

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

void nfc_append(NfcScratch *s, const char *text, size_t length, Buf *out) {
    size_t most = length * 2 + 16; // a character of b bytes decomposes into at most 2 b (U+1D160 and U+0390 come closest)
    if (s->capacity < most) {
        s->capacity = most;
        s->points = xrealloc(s->points, most * sizeof *s->points);
        s->sorted = xrealloc(s->sorted, most * sizeof *s->sorted);
    }
    size_t n = 0;
    for (size_t i = 0; i < length;) {
        uint32_t c;
        int class = 0;
        i += utf8_next((const uint8_t *)text + i, &c);
        utf8proc_ssize_t k = utf8proc_decompose_char((utf8proc_int32_t)c, s->points + n, (utf8proc_ssize_t)(most - n),
                                                     UTF8PROC_STABLE, &class);
        check(k > 0 && (size_t)k <= most - n, "decomposition of U+%04X", c);
        n += (size_t)k;
    }
    order_marks(s->points, n, s->sorted);
    utf8proc_ssize_t left = utf8proc_normalize_utf32(s->points, (utf8proc_ssize_t)n, UTF8PROC_STABLE | UTF8PROC_COMPOSE);
    check(left >= 0, "NFC: %s", utf8proc_errmsg(left));
    char bytes[4];
    for (utf8proc_ssize_t i = 0; i < left; i++) buf_add(out, bytes, utf8_write((uint32_t)s->points[i], bytes));
}

void nfc_scratch_free(NfcScratch *s) {
    free(s->points);
    free(s->sorted);
    *s = (NfcScratch){0};
}
