// pretokenize_scan: the three patterns that nearly all byte-level models use, as scanners: one pass, no backtracking.
// Equal to PCRE2 on the same pattern (tests/unit/test_tokenizer.c compares them on random Unicode). The classes of code
// points are read out of PCRE2 once per process. Must not know: tokens, vocabularies, files.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/pretokenize.h"
#include "core/data/tokenizer_utf8.h"
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

enum { OTHER, LETTER, NUMBER, SPACE, CODE_POINTS = 0x110000, PLANES_WITH_LETTERS = 0x40000 };
static uint8_t *class_table; // [CODE_POINTS]
static pthread_once_t class_once = PTHREAD_ONCE_INIT;

static void candidates(Buf *out) {
    char bytes[4];
    for (uint32_t c = 0; c < PLANES_WITH_LETTERS; c++) {
        if (c >= 0xD800 && c < 0xE000) continue;
        buf_add(out, bytes, utf8_write(c, bytes));
    }
}

// Marks every code point that the one-character pattern matches.
static void mark_class(const char *pattern, uint8_t class, const Buf *text) {
    PreTokenizer p = {.prefix_at = -1};
    Error e = {0};
    check(pretokenize_add(&p, pattern, false, SPLIT_ISOLATED, false, &e), "%s: %s", pattern, e.text);
    pcre2_match_data *match = pcre2_match_data_create(1, NULL);
    check(match != NULL, "PCRE2 gives no match data");
    size_t from = 0;
    while (pcre2_match(p.steps[0].code, (PCRE2_SPTR)text->data, text->length, from, PCRE2_NO_UTF_CHECK, match, NULL) >
           0) {
        const PCRE2_SIZE *ends = pcre2_get_ovector_pointer(match);
        for (size_t i = ends[0]; i < ends[1];) {
            uint32_t c;
            i += utf8_next((const uint8_t *)text->data + i, &c);
            class_table[c] = class;
        }
        from = ends[1];
    }
    pcre2_match_data_free(match);
    pretokenize_free(&p);
}

static void make_classes(void) {
    class_table = xcalloc(CODE_POINTS, 1); // OTHER; lives as long as the process
    Buf text = {0};
    candidates(&text);
    mark_class("\\p{L}+", LETTER, &text);
    mark_class("\\p{N}+", NUMBER, &text);
    mark_class("\\s+", SPACE, &text);
    buf_free(&text);
}

static inline uint8_t class_at(const uint8_t *text, size_t at, size_t *length) {
    uint32_t c = text[at];
    *length = 1;
    if (c >= 0x80) *length = utf8_next(text + at, &c);
    return class_table[c];
}

static inline size_t run_end(const uint8_t *text, size_t at, size_t length, uint8_t class) {
    size_t n;
    while (at < length && class_at(text, at, &n) == class) at += n;
    return at;
}

// 's 't 're 've 'm 'll 'd behind the apostrophe at `at`; 0 when there is none. Folded: any case, and U+017F is an s.
static size_t contraction(const uint8_t *text, size_t at, size_t length, bool fold) {
    uint8_t a = at + 1 < length ? text[at + 1] : 0, b = at + 2 < length ? text[at + 2] : 0;
    if (fold && a == 0xC5 && b == 0xBF) return 3;
    if (fold && a >= 'A' && a <= 'Z') a |= 0x20;
    if (fold && b >= 'A' && b <= 'Z') b |= 0x20;
    if (a == 's' || a == 't' || a == 'm' || a == 'd') return 2;
    if ((a == 'r' && b == 'e') || (a == 'v' && b == 'e') || (a == 'l' && b == 'l')) return 3;
    return 0;
}

// \s*[\r\n]+ (when lines) | \s+(?!\S) | \s+ : at whitespace.
static size_t scan_space(const uint8_t *text, size_t at, size_t length, bool lines) {
    size_t end = at, last = at, line_end = 0, n;
    while (end < length && class_at(text, end, &n) == SPACE) {
        if (text[end] == '\r' || text[end] == '\n') line_end = end + 1;
        last = end;
        end += n;
    }
    if (lines && line_end > 0) return line_end;
    return end == length || last == at ? end : last;
}

static inline size_t scan_cl100k(const uint8_t *text, size_t at, size_t length, int max_digits) {
    size_t n, next;
    uint8_t first = class_at(text, at, &n);
    if (first == LETTER) return run_end(text, at + n, length, LETTER);
    if (text[at] == '\'' && (next = contraction(text, at, length, true)) > 0) return at + next;
    if (first == NUMBER) {
        size_t end = at + n;
        for (int i = 1; i < max_digits && end < length && class_at(text, end, &n) == NUMBER; i++) end += n;
        return end;
    }
    bool newline = text[at] == '\r' || text[at] == '\n';
    uint8_t second = at + n < length ? class_at(text, at + n, &next) : SPACE;
    if (!newline && second == LETTER) return run_end(text, at + n, length, LETTER);
    if (first == OTHER || (text[at] == ' ' && second == OTHER)) {
        size_t end = run_end(text, at + n, length, OTHER);
        while (end < length && (text[end] == '\r' || text[end] == '\n')) end++;
        return end;
    }
    return scan_space(text, at, length, true);
}

static size_t scan_qwen2(const uint8_t *text, size_t at, size_t length) { return scan_cl100k(text, at, length, 1); }

static size_t scan_llama3(const uint8_t *text, size_t at, size_t length) { return scan_cl100k(text, at, length, 3); }

static size_t scan_gpt2(const uint8_t *text, size_t at, size_t length) {
    size_t n, next;
    uint8_t first = class_at(text, at, &n);
    if (text[at] == '\'' && (next = contraction(text, at, length, false)) > 0) return at + next;
    if (text[at] == ' ' && at + 1 < length) {
        uint8_t second = class_at(text, at + 1, &next);
        if (second != SPACE) return run_end(text, at + 1, length, second);
    }
    return first != SPACE ? run_end(text, at, length, first) : scan_space(text, at, length, false);
}

ScanFn scanner_for(const char *pattern) {
    ScanFn scan = strcmp(pattern, PATTERN_QWEN2) == 0    ? scan_qwen2
                  : strcmp(pattern, PATTERN_LLAMA3) == 0 ? scan_llama3
                  : strcmp(pattern, PATTERN_GPT2) == 0   ? scan_gpt2
                                                         : NULL;
    if (scan != NULL) pthread_once(&class_once, make_classes);
    return scan;
}
