// tokenizer_utf8: UTF-8 and Unicode as the tokenizer needs them: cleaning, NFC, white space and word characters.
// Internal to core/data. Must not know: tokens, patterns, files.
#pragma once
#include <string.h>

#include "core/base/mem.h"

// One step over foreign bytes (n >= 1): > 0 the length of a valid character; < 0 minus the length of a part that can
// never become one (the maximal subpart: what one U+FFFD stands for); 0 when more bytes are needed to tell.
int utf8_take(const uint8_t *text, size_t n);
// Appends valid UTF-8: each maximal invalid part becomes U+FFFD, as Python's errors="replace" does.
void utf8_clean(const char *text, size_t length, Buf *out);
bool utf8_valid(const char *text, size_t length);
// Of a code point: 1 to 4 bytes.
size_t utf8_write(uint32_t c, char out[4]);

// The character at `text`, which is valid UTF-8; returns its length.
static inline size_t utf8_next(const uint8_t *text, uint32_t *c) {
    uint8_t a = text[0];
    if (a < 0x80) {
        *c = a;
        return 1;
    }
    if (a < 0xE0) {
        *c = (uint32_t)(a & 0x1F) << 6 | (text[1] & 0x3F);
        return 2;
    }
    if (a < 0xF0) {
        *c = (uint32_t)(a & 0x0F) << 12 | (uint32_t)(text[1] & 0x3F) << 6 | (text[2] & 0x3F);
        return 3;
    }
    *c = (uint32_t)(a & 0x07) << 18 | (uint32_t)(text[1] & 0x3F) << 12 | (uint32_t)(text[2] & 0x3F) << 6 |
         (text[3] & 0x3F);
    return 4;
}
// The length of the character that ends at `end` > 0 in valid UTF-8.
static inline size_t utf8_back(const uint8_t *text, size_t end) {
    size_t n = 1;
    while (n < end && (text[end - n] & 0xC0) == 0x80) n++;
    return n;
}

// Where the run of ASCII at `at` ends, to within 8 bytes: a quick way over most texts.
static inline size_t ascii_end(const char *text, size_t at, size_t length) {
    uint64_t eight;
    while (at + 8 <= length && (memcpy(&eight, text + at, 8), (eight & 0x8080808080808080u) == 0)) at += 8;
    return at;
}

bool unicode_is_space(uint32_t c); // White_Space
bool unicode_is_word(uint32_t c);  // \w of UTS #18: Alphabetic, M, Nd, Pc, Join_Control

// ---- tokenizer_nfc.c ----
// NFC. The quick check says true only for texts that are NFC for sure.
bool nfc_is_certain(const char *text, size_t length);
typedef struct NfcScratch {
    int32_t *points, *sorted;
    size_t capacity;
} NfcScratch;
void nfc_append(NfcScratch *s, const char *text, size_t length, Buf *out); // valid UTF-8; linear in time
void nfc_scratch_free(NfcScratch *s);
