// grader: the answer in a text, and whether it is the right one. Numbers are compared exactly; what is no number can
// only be found equal as a text, never different. Must not know: records, models, where texts come from.
#define _GNU_SOURCE // memmem, strcasestr
#include "core/data/grader.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/grader_number.h"

static const char *const label_names[] = {[LABEL_POSITIVE] = "positive",
                                          [LABEL_NEGATIVE] = "negative",
                                          [LABEL_AMBIGUOUS] = "ambiguous",
                                          [LABEL_UNVERIFIED] = "unverified"};

const char *label_name(Label l) { return label_names[l]; }

bool label_parse(const char *name, Label *out) {
    for (size_t i = 0; i < COUNT_OF(label_names); i++) {
        if (strcmp(name, label_names[i]) == 0) {
            *out = (Label)i;
            return true;
        }
    }
    return false;
}

// A piece of a text.
typedef struct Piece {
    const char *begin;
    size_t length;
} Piece;

static Piece trimmed(Piece p) {
    while (p.length > 0 && isspace((unsigned char)p.begin[0])) p = (Piece){p.begin + 1, p.length - 1};
    while (p.length > 0 && isspace((unsigned char)p.begin[p.length - 1])) p.length--;
    return p;
}

static bool starts(Piece p, const char *what) {
    size_t n = strlen(what);
    return p.length >= n && memcmp(p.begin, what, n) == 0;
}

static Piece skip(Piece p, size_t n) { return (Piece){p.begin + n, p.length - n}; }

// ---- reading one answer ----

// LaTeX that says nothing about the value: dropped, or replaced by a space, in this order of lookup.
static const struct {
    const char *from, *to;
} rewrites[] = {
    {"\\left", ""},        {"\\right", ""},       {"\\$", ""},           {"$", ""},          {"\\(", ""},
    {"\\)", ""},           {"\\[", ""},           {"\\]", ""},           {"\\!", ""},        {"\\;", " "},
    {"\\:", " "},          {"\\ ", " "},          {"\\quad", " "},       {"~", " "},         {"\\%", "%"},
    {"^{\\circ}", " "},    {"^\\circ", " "},      {"\\circ", " "},       {"\\textbf{", "{"}, {"\\text{", "{"},
    {"\\mathrm{", "{"},    {"\\mbox{", "{"},      {"\\mathbf{", "{"},    {"**", ""},         {"\\textnormal{", "{"},
    {"\\dfrac", "\\frac"}, {"\\tfrac", "\\frac"}, {"\\cfrac", "\\frac"}, {"\\approx", "="},  {"\xE2\x89\x88", "="}};

static void clean_latex(Piece p, Buf *out) {
    while (p.length > 0) {
        size_t plain = 0, i = 0; // nearly all of a text begins no rewrite
        while (plain < p.length && strchr("\\$~^*\xE2", p.begin[plain]) == NULL) plain++;
        buf_add(out, p.begin, plain);
        p = skip(p, plain);
        if (p.length == 0) break;
        bool thin = starts(p, "\\,") && !(p.length > 2 && isdigit((unsigned char)p.begin[2])); // no thousands separator
        while (i < COUNT_OF(rewrites) && !starts(p, rewrites[i].from)) i++;
        bool known = i < COUNT_OF(rewrites);
        if (known)
            buf_text(out, rewrites[i].to);
        else
            buf_char(out, thin ? ' ' : p.begin[0]);
        p = skip(p, known ? strlen(rewrites[i].from) : thin ? 2 : 1);
    }
}

static Piece without_end_mark(Piece p) {
    p = trimmed(p);
    while (p.length > 0 && strchr(".,;:", p.begin[p.length - 1]) != NULL) p = trimmed((Piece){p.begin, p.length - 1});
    return p;
}

static Piece without_parentheses(Piece p) {
    p = trimmed(p);
    bool round = p.length >= 2 && p.begin[0] == '(' && p.begin[p.length - 1] == ')';
    bool inner = round && memchr(p.begin + 1, '(', p.length - 2) == NULL;
    return inner ? trimmed((Piece){p.begin + 1, p.length - 2}) : p;
}

// "x = 5", "f(x) = 5", "2 + 3 = 5" -> "5"; "2x + z = 5" stays: that is no number.
static Piece behind_equals(Piece p) {
    const char *last = memrchr(p.begin, '=', p.length);
    bool letters = false, sums = false;
    for (const char *at = p.begin; last != NULL && at < last; at++) {
        letters = letters || isalpha((unsigned char)*at);
        sums = sums || isdigit((unsigned char)*at) || strchr("+-*/^", *at) != NULL;
    }
    return last == NULL || (letters && sums) ? p : skip(p, (size_t)(last + 1 - p.begin));
}

// Words, currency signs and such before a number do not change it; operators, braces and commands would.
static bool is_harmless_prefix(Piece p) {
    p = trimmed(p);
    if (p.length == 1 && p.begin[0] == '+') return true;
    for (size_t i = 0; i < p.length; i++) {
        if (strchr("+-*/^_<>|\\([", p.begin[i]) != NULL || starts(skip(p, i), "\xE2\x88\x9A") ||
            starts(skip(p, i), "\xE2\x88\x92")) { // U+221A root, U+2212 minus
            return false;
        }
    }
    return true;
}

// A single letter that is a variable, not a unit: attached to the number, or with nothing but an operator behind it.
static bool is_variable(Piece p) {
    bool attached = p.length > 0 && !isspace((unsigned char)p.begin[0]);
    p = trimmed(p);
    if (p.length == 0 || strchr("xyznkabtpqrije", p.begin[0]) == NULL) return false;
    if (p.length == 1) return true;
    return !isalpha((unsigned char)p.begin[1]) && (attached || strchr("^_+-*/=)", p.begin[1]) != NULL);
}

// Units behind a number: words, "%", "km/h", "cm^2". Not: a factor, a power, an operator.
static bool is_harmless_suffix(Piece p) {
    static const char *const factors[] = {"\xCF\x80", "\xC2\xB2", "\xC2\xB3", "\xE2\x88\x9A"}; // pi, squares, root
    if (is_variable(p)) return false;
    for (size_t i = 0; i < COUNT_OF(factors); i++) {
        if (starts(trimmed(p), factors[i])) return false;
    }
    for (size_t i = 0; i < p.length; i++) {
        char before = i > 0 ? p.begin[i - 1] : '\0', after = i + 1 < p.length ? p.begin[i + 1] : '\0';
        bool per = p.begin[i] == '/' && isalpha((unsigned char)after);
        bool square = p.begin[i] == '^' && (isalpha((unsigned char)before) || before == '}');
        if (!per && !square && strchr("+-*/^_<>|\\([!", p.begin[i]) != NULL) return false;
    }
    return true;
}

static bool find_number(Piece p, size_t from, NumberSpan *span) {
    return number_next(p.begin, p.length, from, false, span);
}

// A number behind `from` that is no power of a unit.
static bool has_another(Piece p, size_t from) {
    NumberSpan span;
    for (; find_number(p, from, &span); from = span.end) {
        size_t at = span.begin;
        while (at > 0 && p.begin[at - 1] == '{') at--;
        if (at == 0 || p.begin[at - 1] != '^') return true;
    }
    return false;
}

// The canonical number that an answer is, when it is one number and its dressing.
static bool read_number(Piece answer, Buf *out) {
    Buf clean = {0};
    clean_latex(answer, &clean);
    Piece p = {clean.data != NULL ? clean.data : "", clean.length};
    p = without_parentheses(without_end_mark(behind_equals(without_end_mark(p))));
    NumberSpan span;
    bool ok = find_number(p, 0, &span) && !has_another(p, span.end) &&
              is_harmless_prefix((Piece){p.begin, span.begin}) && is_harmless_suffix(skip(p, span.end));
    if (ok) number_canonical(p.begin, &span, out);
    buf_free(&clean);
    return ok;
}

// Spelling that does not matter taken away: spaces, braces of \text, outer parentheses, a closing full stop.
static void plain_text(Piece answer, Buf *out) {
    Buf clean = {0};
    clean_latex(answer, &clean);
    Piece p = {clean.data != NULL ? clean.data : "", clean.length};
    p = without_parentheses(without_end_mark(p));
    for (size_t i = 0; i < p.length; i++) {
        if (!isspace((unsigned char)p.begin[i])) buf_char(out, p.begin[i]);
    }
    if (out->length > 2 && out->data[0] == '{' && out->data[out->length - 1] == '}') { // "\text{yes}"
        memmove(out->data, out->data + 1, out->length - 2);
        out->length -= 2;
        out->data[out->length] = '\0';
    }
    buf_free(&clean);
}

// An answer read once: as a number when it is one, and as a text.
typedef struct Reading {
    bool is_number;
    Buf number, text;
} Reading;

static Reading read_answer(Piece answer) {
    Reading r = {0};
    r.is_number = read_number(answer, &r.number);
    plain_text(answer, &r.text);
    return r;
}

static void reading_free(Reading *r) {
    buf_free(&r->number);
    buf_free(&r->text);
}

// Numbers are the same or different; anything else is the same or unknown.
typedef enum Sameness { SAME, DIFFERENT, UNKNOWN } Sameness;
static Sameness compare(const Reading *a, const Reading *b) {
    if (a->is_number && b->is_number) return number_same(a->number.data, b->number.data) ? SAME : DIFFERENT;
    size_t n = a->text.length;
    return n > 0 && n == b->text.length && memcmp(a->text.data, b->text.data, n) == 0 ? SAME : UNKNOWN;
}

// ---- finding answers ----

// The contents of all balanced \boxed{...}, outermost ones only, in order: an array of Piece in *out.
static size_t find_boxed(Piece text, Buf *out) {
    Buf open = {0}; // Piece per open brace; begin NULL when it is no box
    for (size_t i = 0; i < text.length; i++) {
        Piece rest = skip(text, i), box = {0};
        if (starts(rest, "\\boxed{")) {
            i += strlen("\\boxed{") - 1;
            box = skip(text, i + 1);
            buf_add(&open, &box, sizeof box);
        } else if (rest.begin[0] == '\\') {
            i++; // an escaped brace is no brace
        } else if (rest.begin[0] == '{') {
            buf_add(&open, &box, sizeof box);
        } else if (rest.begin[0] == '}' && open.length > 0) {
            open.length -= sizeof box;
            memcpy(&box, open.data + open.length, sizeof box);
            if (box.begin == NULL) continue;
            box = trimmed((Piece){box.begin, (size_t)(rest.begin - box.begin)});
            for (Piece last; out->length > 0; out->length -= sizeof last) { // those inside this one
                memcpy(&last, out->data + out->length - sizeof last, sizeof last);
                if (last.begin < box.begin) break;
            }
            if (box.length > 0) buf_add(out, &box, sizeof box);
        }
    }
    buf_free(&open);
    return out->length / sizeof(Piece);
}

// The line behind the last "answer is" or "answer:".
static bool find_stated(Piece text, Piece *out) {
    size_t last = 0;
    for (size_t i = 0; i + strlen("answer:") <= text.length; i++) {
        Piece rest = skip(text, i);
        if (strncasecmp(rest.begin, "answer", 6) != 0) continue;
        if (rest.begin[6] == ':')
            last = i + 7;
        else if (rest.length >= 9 && strncasecmp(rest.begin + 6, " is", 3) == 0)
            last = i + 9;
    }
    *out = skip(text, last);
    const char *end = memchr(out->begin, '\n', out->length);
    if (end != NULL) out->length = (size_t)(end - out->begin);
    return last > 0;
}

// The number a statement gives: "32, because ..." is 32, "14 + 18 = 32" is 32; "14 + 18" alone is none.
static bool stated_number(Piece line, NumberSpan *out) {
    NumberSpan next;
    if (!find_number(line, 0, out)) return false;
    bool sum = false;
    while (find_number(line, out->end, &next)) {
        bool math = true, equals = false, any = false;
        for (size_t i = out->end; i < next.begin; i++) {
            char c = line.begin[i];
            equals = equals || c == '=';
            any = any || strchr("+-*/=^", c) != NULL;
            math = math && strchr("+-*/=^() $\\", c) != NULL;
        }
        if (!math || !any) break;
        sum = !equals;
        *out = next;
    }
    return !sum;
}

static bool last_number(Piece text, NumberSpan *out) {
    bool found = false;
    NumberSpan span;
    for (size_t from = 0; find_number(text, from, &span); from = span.end) {
        *out = span;
        found = true;
    }
    return found;
}

// ---- verdicts ----

static void set(Verdict *v, Label label, const char *reason) {
    v->label = label;
    snprintf(v->reason, sizeof v->reason, "%s", reason);
}

// Cut at a character, never inside one.
static void set_extracted(Verdict *v, Piece answer) {
    size_t n = MIN(answer.length, sizeof v->extracted - 1);
    while (n < answer.length && n > 0 && ((unsigned char)answer.begin[n] & 0xC0) == 0x80) n--;
    memcpy(v->extracted, answer.begin, n);
    v->extracted[n] = '\0';
}

// Mathematics beyond a number, which this grader cannot work out.
static bool is_expression(Piece p) {
    for (size_t i = 0; i < p.length; i++) {
        if (strchr("\\^+*/=", p.begin[i]) != NULL || starts(skip(p, i), "\xE2\x88\x9A")) return true;
    }
    return false;
}

static void judge(Piece answer, const Reading *gold, Verdict *v) {
    Reading found = read_answer(answer);
    Sameness same = compare(&found, gold);
    reading_free(&found);
    set_extracted(v, answer);
    if (same == SAME)
        set(v, LABEL_POSITIVE, "equal");
    else if (same == DIFFERENT)
        set(v, LABEL_NEGATIVE, "different number");
    else if (!gold->is_number)
        set(v, LABEL_UNVERIFIED, "the gold answer is not a number");
    else if (is_expression(answer))
        set(v, LABEL_UNVERIFIED, "the answer is an expression");
    else
        set(v, LABEL_NEGATIVE, "the answer is not one number");
}

// A number in running text counts unless it is a piece of an expression: \sqrt{17}, x^2, 3x.
static void judge_number(Piece text, const NumberSpan *span, const Reading *gold, Verdict *v) {
    Piece number = {text.begin + span->begin, span->end - span->begin}, behind = skip(text, span->end);
    char before = span->begin > 0 ? text.begin[span->begin - 1] : ' ',
         after = behind.length > 0 ? behind.begin[0] : ' ';
    bool piece = strchr("^_{", before) != NULL || strchr("^_}", after) != NULL ||
                 (isalpha((unsigned char)after) && is_variable(behind));
    judge(number, gold, v);
    if (piece) set(v, LABEL_UNVERIFIED, "the answer is an expression");
}

static bool grade_boxed(Piece text, const Reading *gold, Verdict *v) {
    Buf boxes = {0};
    size_t n = find_boxed(text, &boxes);
    const Piece *all = (const Piece *)boxes.data;
    Reading last = n > 0 ? read_answer(all[n - 1]) : (Reading){0};
    bool differ = false;
    for (size_t i = 0; i + 1 < n && !differ; i++) {
        Reading other = read_answer(all[i]);
        differ = compare(&other, &last) != SAME;
        reading_free(&other);
    }
    if (n > 0) judge(all[n - 1], gold, v);
    if (differ) set(v, LABEL_AMBIGUOUS, "two different boxed answers");
    reading_free(&last);
    buf_free(&boxes);
    return n > 0;
}

static bool grade_stated(Piece text, const Reading *gold, Verdict *v) {
    Piece line;
    NumberSpan span;
    if (!find_stated(text, &line)) return false;
    if (stated_number(line, &span)) {
        judge_number(line, &span, gold, v);
        return true;
    }
    line = without_end_mark(line);
    if (find_number(line, 0, &span) || line.length == 0) return false; // a sum without its result, or nothing
    judge(line, gold, v);
    return true;
}

static void grade_content(Piece content, const Reading *gold, Verdict *out) {
    NumberSpan span;
    if (memmem(content.begin, content.length, "<think>", strlen("<think>")) != NULL) {
        set(out, LABEL_NEGATIVE, "thinking never closed");
    } else if (grade_boxed(content, gold, out) || grade_stated(content, gold, out)) {
        return;
    } else if (last_number(content, &span)) {
        judge_number(content, &span, gold, out);
    } else if (gold->is_number) {
        set(out, LABEL_NEGATIVE, "no answer found");
    } else {
        set(out, LABEL_UNVERIFIED, "the gold answer is not a number");
    }
}

void grade(const char *text, const char *gold, Verdict *out) {
    static const char closer[] = "</think>";
    *out = (Verdict){0};
    if (gold == NULL || gold[0] == '\0') {
        set(out, LABEL_UNVERIFIED, "no gold answer");
        return;
    }
    Piece content = {text, strlen(text)};
    for (const char *at; (at = memmem(content.begin, content.length, closer, strlen(closer))) != NULL;) {
        content = skip(content, (size_t)(at - content.begin) + strlen(closer));
    }
    Reading right = read_answer((Piece){gold, strlen(gold)});
    grade_content(content, &right, out);
    reading_free(&right);
}
