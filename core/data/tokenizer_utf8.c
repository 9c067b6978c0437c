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
    for (size_t i = ascii_end(text, 0, length); i < length; i = ascii_end(text, i, length)) {
        int n = utf8_take((const uint8_t *)text + i, length - i);
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
