// grader_words: English number words from zero to 999, and dozens. Must not know: digits, answers.
#include <ctype.h>
#include <string.h>

#include "core/data/grader_number.h"

typedef struct Word {
    const char *text;
    int value;
} Word;

static const Word small_words[] = {
    {"zero", 0},      {"one", 1},       {"two", 2},       {"three", 3},    {"four", 4},     {"five", 5},
    {"six", 6},       {"seven", 7},     {"eight", 8},     {"nine", 9},     {"ten", 10},     {"eleven", 11},
    {"twelve", 12},   {"thirteen", 13}, {"fourteen", 14}, {"fifteen", 15}, {"sixteen", 16}, {"seventeen", 17},
    {"eighteen", 18}, {"nineteen", 19}, {"twenty", 20},   {"thirty", 30},  {"forty", 40},   {"fifty", 50},
    {"sixty", 60},    {"seventy", 70},  {"eighty", 80},   {"ninety", 90}};

// The word at `at`, lower-cased into out[16]; its end, or 0 when it is none (or longer than any number word).
static size_t take_word(const char *text, size_t length, size_t at, char out[16]) {
    size_t n = 0;
    while (at + n < length && isalpha((unsigned char)text[at + n])) {
        if (n == 15) return 0;
        out[n] = (char)tolower((unsigned char)text[at + n]);
        n++;
    }
    out[n] = '\0';
    return n > 0 ? at + n : 0;
}

static size_t take_this(const char *text, size_t length, size_t at, const char *word) {
    char found[16];
    size_t end = take_word(text, length, at, found);
    return end > 0 && strcmp(found, word) == 0 ? end : 0;
}

static size_t take_small(const char *text, size_t length, size_t at, int *value) {
    char found[16];
    size_t end = take_word(text, length, at, found);
    for (size_t i = 0; end > 0 && i < COUNT_OF(small_words); i++) {
        if (strcmp(small_words[i].text, found) == 0) {
            *value = small_words[i].value;
            return end;
        }
    }
    return 0;
}

static size_t skip_gap(const char *text, size_t length, size_t at) {
    return at < length && (text[at] == ' ' || text[at] == '-') ? at + 1 : at;
}

// 0 to 99: "seven", "forty", "forty-two", "forty two".
static size_t take_below_100(const char *text, size_t length, size_t at, int *value) {
    size_t end = take_small(text, length, at, value);
    if (end == 0 || *value < 20) return end;
    int units;
    size_t gap = skip_gap(text, length, end), more = gap > end ? take_small(text, length, gap, &units) : 0;
    if (more == 0 || units < 1 || units > 9) return end;
    *value += units;
    return more;
}

// Behind "hundred": "[and] 1 to 99", or nothing.
static size_t take_rest(const char *text, size_t length, size_t at, int *value) {
    size_t gap = skip_gap(text, length, at);
    if (gap == at) return at;
    size_t and = take_this(text, length, gap, "and"), from = and > 0 ? skip_gap(text, length, and) : gap;
    int rest;
    size_t end = and > 0 && from == and? 0 : take_below_100(text, length, from, &rest);
    if (end == 0 || rest == 0) return at;
    *value += rest;
    return end;
}

// "hundred" or "dozen" at `at`: what it multiplies by.
static size_t take_unit(const char *text, size_t length, size_t at, int *factor) {
    size_t hundred = take_this(text, length, at, "hundred"), dozen = take_this(text, length, at, "dozen");
    *factor = hundred > 0 ? 100 : 12;
    return MAX(hundred, dozen);
}

bool words_number(const char *text, size_t length, size_t at, int *value, size_t *end) {
    int factor, count = 1;
    size_t unit = take_unit(text, length, at, &factor); // "a dozen", "hundred"
    if (unit == 0) {
        *end = take_below_100(text, length, at, value);
        if (*end == 0) return false;
        size_t gap = skip_gap(text, length, *end);
        unit = gap > *end && *value >= 1 && *value <= 9 ? take_unit(text, length, gap, &factor) : 0;
        if (unit == 0) return true;
        count = *value;
    }
    *value = count * factor;
    *end = factor == 100 ? take_rest(text, length, unit, value) : unit;
    return true;
}
