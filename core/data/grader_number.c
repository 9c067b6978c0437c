// grader_number: digits in texts -> canonical decimal texts -> exact comparison. Must not know: answers, verdicts.
#include "core/data/grader_number.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/grader.h"

enum { FRACTION_DIGITS = 1000 }; // of a part of a fraction; longer ones equal only themselves

static bool is_digit(const char *text, size_t length, size_t at) {
    return at < length && text[at] >= '0' && text[at] <= '9';
}

static bool has(const char *text, size_t length, size_t at, const char *what) {
    size_t n = strlen(what);
    return at + n <= length && memcmp(text + at, what, n) == 0;
}

static size_t digits_end(const char *text, size_t length, size_t at) {
    while (is_digit(text, length, at)) at++;
    return at;
}

// A thousands separator at `at` with exactly three digits behind it: where those begin, else 0.
static size_t group_begin(const char *text, size_t length, size_t at) {
    size_t from = has(text, length, at, "{,}")   ? at + 3
                  : has(text, length, at, "\\,") ? at + 2
                  : has(text, length, at, ",")   ? at + 1
                                                 : 0;
    return from > 0 && digits_end(text, length, MIN(from, length)) == from + 3 ? from : 0;
}

// An unsigned number of digits: 12  1,234  0.5  .5; 0 when none begins at `at`.
static size_t plain_end(const char *text, size_t length, size_t at) {
    size_t end = digits_end(text, length, at);
    if (end > at && end - at <= 3 && text[at] != '0') {
        for (size_t group; (group = group_begin(text, length, end)) > 0;) end = group + 3;
    }
    if (end < length && text[end] == '.' && is_digit(text, length, end + 1)) end = digits_end(text, length, end + 1);
    return end > at ? end : 0;
}

static size_t minus_length(const char *text, size_t length, size_t at) {
    return has(text, length, at, "-") ? 1 : has(text, length, at, "\xE2\x88\x92") ? 3 : 0; // U+2212
}

// What stands before `at`, spaces left out, ends an operand: then a minus at `at` is an operator.
static bool operand_before(const char *text, size_t at) {
    while (at > 0 && text[at - 1] == ' ') at--;
    return at > 0 && (isalnum((unsigned char)text[at - 1]) || strchr(")}]%", text[at - 1]) != NULL);
}

// One part of a fraction: {12}, {-3}, or a single digit. 0: neither.
static size_t part_end(const char *text, size_t length, size_t at) {
    if (!has(text, length, at, "{")) return is_digit(text, length, at) ? at + 1 : 0;
    size_t from = at + 1;
    while (from < length && text[from] == ' ') from++;
    from += minus_length(text, length, from);
    size_t end = plain_end(text, length, from);
    while (end > 0 && end < length && text[end] == ' ') end++;
    return end > 0 && has(text, length, end, "}") ? end + 1 : 0;
}

// \frac{a}{b} and its kin at `at`; *first: where its parts begin. 0: none, or its parts are no plain numbers.
static size_t frac_end(const char *text, size_t length, size_t at, size_t *first) {
    static const char *const names[] = {"\\frac", "\\dfrac", "\\tfrac"};
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        if (!has(text, length, at, names[i])) continue;
        *first = at + strlen(names[i]);
        size_t middle = part_end(text, length, *first);
        return middle > 0 ? part_end(text, length, middle) : 0;
    }
    return 0;
}

// a/b without spaces and not a piece of a/b/c: the end of b, else 0.
static size_t slash_end(const char *text, size_t length, size_t at) {
    if (!has(text, length, at, "/") || !is_digit(text, length, at + 1)) return 0;
    size_t end = plain_end(text, length, at + 1);
    return has(text, length, end, "/") && is_digit(text, length, end + 1) ? 0 : end;
}

// The end of the unsigned number at `at`, fractions included; 0: none.
static size_t unsigned_end(const char *text, size_t length, size_t at) {
    size_t parts, end = frac_end(text, length, at, &parts);
    if (end > 0) return end;
    end = plain_end(text, length, at);
    if (end == 0) return 0;
    size_t mixed = frac_end(text, length, end, &parts), slash = slash_end(text, length, end);
    bool dated = at > 0 && text[at - 1] == '/' && at > 1 && is_digit(text, at, at - 2);
    return mixed > 0 ? mixed : slash > 0 && !dated ? slash : end;
}

static bool word_begins(const char *text, size_t at) {
    return isalpha((unsigned char)text[at]) && (at == 0 || !(isalnum((unsigned char)text[at - 1])));
}

bool number_next(const char *text, size_t length, size_t from, bool words, NumberSpan *out) {
    for (size_t at = from; at < length; at++) {
        int value;
        size_t end;
        if (words && word_begins(text, at) && words_number(text, length, at, &value, &end)) {
            *out = (NumberSpan){at, end, true};
            return true;
        }
        bool point = text[at] == '.' && (at == 0 || !isalnum((unsigned char)text[at - 1])); // ".5", but not "1.2.5"
        bool begins = is_digit(text, length, at) || text[at] == '\\' || point;
        end = begins ? unsigned_end(text, length, at) : 0;
        if (end == 0) continue;
        size_t begin = at;
        for (size_t n = 1; n <= 3; n += 2) { // a minus of one byte or three
            if (at >= from + n && minus_length(text, length, at - n) == n && !operand_before(text, at - n))
                begin = at - n;
        }
        *out = (NumberSpan){begin, end, false};
        return true;
    }
    return false;
}

// ---- canonical texts ----

// Digits without separators, leading zeros or trailing zeros behind the point. Nothing for a text without digits.
static void put_plain(const char *text, size_t length, Buf *out) {
    size_t first = out->length;
    bool point = false;
    for (size_t i = 0; i < length; i++) {
        if (text[i] == '.' && !point) {
            if (out->length == first) buf_char(out, '0');
            point = true;
            buf_char(out, '.');
        } else if (text[i] >= '0' && text[i] <= '9') {
            bool leading = !point && out->length == first + 1 && out->data[first] == '0';
            if (leading) out->length = first;
            buf_char(out, text[i]);
        }
    }
    while (point && out->data[out->length - 1] == '0') out->length--;
    if (point && out->data[out->length - 1] == '.') out->length--;
    if (point) out->data[out->length] = '\0';
}

static bool is_zero(const char *text) { return strcmp(text, "0") == 0; }

// The inside of a fraction's part, braces and minus off; flips *negative for a minus.
static size_t put_part(const char *text, size_t length, size_t at, bool *negative, Buf *out) {
    size_t end = part_end(text, length, at);
    for (size_t i = at; i < end; i++) {
        if (minus_length(text, length, i) > 0) *negative = !*negative;
    }
    put_plain(text + at, end - at, out);
    return end;
}

// whole * bottom + top, all canonical integers of at most 9 digits; false when they are not.
static bool mix(const char *whole, const char *top, const char *bottom, Buf *out) {
    const char *const all[] = {whole, top, bottom};
    for (size_t i = 0; i < COUNT_OF(all); i++) {
        if (strlen(all[i]) > 9 || strchr(all[i], '.') != NULL) return false;
    }
    buf_printf(out, "%lld/%s", atoll(whole) * atoll(bottom) + atoll(top), bottom);
    return true;
}

// "w\frac{a}{b}" (w may be empty) at text[at..end).
static void put_frac(const char *text, size_t at, size_t end, bool *negative, Buf *out) {
    Buf whole = {0}, top = {0}, bottom = {0};
    size_t slash = at, parts = 0;
    while (text[slash] != '\\' || frac_end(text, end, slash, &parts) == 0) slash++;
    put_plain(text + at, slash - at, &whole);
    size_t middle = put_part(text, end, parts, negative, &top);
    put_part(text, end, middle, negative, &bottom);
    bool mixed = whole.length > 0 && mix(whole.data, top.data, bottom.data, out);
    if (!mixed) buf_printf(out, "%s/%s", top.data, bottom.data);
    buf_free(&whole);
    buf_free(&top);
    buf_free(&bottom);
}

void number_canonical(const char *text, const NumberSpan *span, Buf *out) {
    size_t at = span->begin, end = span->end, minus = span->in_words ? 0 : minus_length(text, end, at);
    bool negative = minus > 0;
    Buf value = {0};
    const char *slash = memchr(text + at, '/', end - at);
    if (span->in_words) {
        int number = 0;
        words_number(text, end, at, &number, &end);
        buf_printf(&value, "%d", number);
    } else if (memchr(text + at, 'f', end - at) != NULL) {
        put_frac(text, at + minus, end, &negative, &value);
    } else if (slash != NULL) {
        put_plain(text + at + minus, (size_t)(slash - text) - at - minus, &value);
        buf_char(&value, '/');
        Buf bottom = {0};
        put_plain(slash + 1, (size_t)(text + end - slash - 1), &bottom);
        buf_text(&value, bottom.data);
        buf_free(&bottom);
    } else {
        put_plain(text + at + minus, end - at - minus, &value);
    }
    if (negative && !is_zero(value.data)) buf_char(out, '-');
    buf_text(out, value.data);
    buf_free(&value);
}

// ---- comparison ----

// A canonical number as top / bottom, both strings of digits without a point.
typedef struct Rational {
    bool negative;
    Buf top, bottom;
} Rational;

// Appends the digits of a part to `to` and as many zeros to `scaled` as it has digits behind the point.
static void put_scaled(const char *part, size_t length, Buf *to, Buf *scaled) {
    bool behind = false;
    for (size_t i = 0; i < length; i++) {
        if (part[i] == '.')
            behind = true;
        else
            buf_char(to, part[i]);
        if (part[i] != '.' && behind) buf_char(scaled, '0');
    }
}

static Rational rational_of(const char *text) {
    Rational r = {.negative = text[0] == '-'};
    text += r.negative;
    const char *slash = strchr(text, '/');
    Buf zeros = {0};
    put_scaled(text, slash != NULL ? (size_t)(slash - text) : strlen(text), &r.top, &zeros);
    if (slash != NULL)
        put_scaled(slash + 1, strlen(slash + 1), &r.bottom, &r.top); // a/0.5 = 10 a/5
    else
        buf_char(&r.bottom, '1');
    buf_text(&r.bottom, zeros.data != NULL ? zeros.data : ""); // 0.5/b = 5/10 b
    buf_free(&zeros);
    return r;
}

static void rational_free(Rational *r) {
    buf_free(&r->top);
    buf_free(&r->bottom);
}

static bool all_zero(const Buf *digits) { return strspn(digits->data, "0") == digits->length; }

// Schoolbook product, least digit first, in product[n + m].
static uint8_t *multiply(const Buf *a, const Buf *b) {
    uint8_t *product = xcalloc(a->length + b->length, 1);
    for (size_t i = 0; i < a->length; i++) {
        unsigned carry = 0, digit = (unsigned)(a->data[a->length - 1 - i] - '0');
        for (size_t k = 0; k < b->length; k++) {
            unsigned sum = product[i + k] + digit * (unsigned)(b->data[b->length - 1 - k] - '0') + carry;
            product[i + k] = (uint8_t)(sum % 10);
            carry = sum / 10;
        }
        product[i + b->length] = (uint8_t)carry;
    }
    return product;
}

static bool same_product(const Buf *a, const Buf *b, const Buf *c, const Buf *d) {
    uint8_t *x = multiply(a, b), *y = multiply(c, d);
    size_t n = a->length + b->length, m = c->length + d->length;
    bool same = true;
    for (size_t i = 0; i < MAX(n, m) && same; i++) same = (i < n ? x[i] : 0) == (i < m ? y[i] : 0);
    free(x);
    free(y);
    return same;
}

bool number_same(const char *a, const char *b) {
    Rational x = rational_of(a), y = rational_of(b);
    bool bounded = MAX(MAX(x.top.length, x.bottom.length), MAX(y.top.length, y.bottom.length)) <= FRACTION_DIGITS;
    bool valid = !all_zero(&x.bottom) && !all_zero(&y.bottom);
    bool zero = all_zero(&x.top), both_zero = zero && all_zero(&y.top);
    bool same = strcmp(a, b) == 0;
    if (!same && valid && bounded) {
        same = both_zero || (x.negative == y.negative && same_product(&x.top, &y.bottom, &y.top, &x.bottom));
    }
    rational_free(&x);
    rational_free(&y);
    return same;
}

void numbers_in(const char *text, bool words, StrList *out) {
    size_t length = strlen(text);
    NumberSpan span;
    Buf canonical = {0};
    for (size_t from = 0; number_next(text, length, from, words, &span); from = span.end) {
        buf_clear(&canonical);
        number_canonical(text, &span, &canonical);
        strlist_add(out, canonical.data);
    }
    buf_free(&canonical);
}

// The text is one number and nothing else but spaces around it.
static bool whole_number(const char *text, Buf *out) {
    size_t length = strlen(text), at = strspn(text, " \n\t");
    NumberSpan span;
    if (!number_next(text, length, 0, false, &span) || span.begin != at) return false;
    if (span.end + strspn(text + span.end, " \n\t") != length) return false;
    number_canonical(text, &span, out);
    return true;
}

bool numbers_equal(const char *a, const char *b) {
    Buf x = {0}, y = {0};
    bool equal = whole_number(a, &x) && whole_number(b, &y) && number_same(x.data, y.data);
    buf_free(&x);
    buf_free(&y);
    return equal;
}
