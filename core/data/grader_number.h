// grader_number: numbers as they stand in texts: finding them, their canonical form, exact comparison. Internal to the
// grader. Must not know: answers, verdicts.
#pragma once
#include "core/base/mem.h"

// A number found at text[begin..end).
typedef struct NumberSpan {
    size_t begin, end;
    bool in_words;
} NumberSpan;

// The first number that begins at or after `from`. Digits with thousands commas ("1,000", LaTeX "1{,}000") and
// decimals, "a/b" without spaces, \frac{a}{b} (with a whole number right before it: a mixed number), a minus sign where
// it cannot be an operator; `words`: also English number words up to 999 and dozens.
bool number_next(const char *text, size_t length, size_t from, bool words, NumberSpan *out);
// Appends the canonical text of a span found by number_next: "-1234.5", "3/4" (not reduced).
void number_canonical(const char *text, const NumberSpan *span, Buf *out);
// Canonical texts equal as rationals; exact for any length of decimals, and for fractions up to 1000 digits a part.
bool number_same(const char *a, const char *b);

// ---- grader_words.c ----
// A number word or phrase at text[at..): its value and end. False: none begins here.
bool words_number(const char *text, size_t length, size_t at, int *value, size_t *end);
