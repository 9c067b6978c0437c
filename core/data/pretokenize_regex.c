// pretokenize_regex: an Oniguruma pattern (Ruby syntax, as Hugging Face tokenizers uses it) rewritten for PCRE2 so that
// both match the same text. Refused by name: whatever the two engines read differently and no rewriting here covers.
// Differences covered: \s (PCRE2 adds U+180E), \v (a class in PCRE2), \u1234, and the Unicode version of \p{..} and \d.
// Must not know: what the pattern is for.
#include <string.h>

#include "core/data/pretokenize.h"

typedef struct AddedRange {
    char category[3];
    uint32_t first, last;
} AddedRange;

static const AddedRange added_ranges[] = {
#define UNICODE_ADDED(category, first, last) {#category, first, last},
#include "core/data/pretokenize_unicode.def"
#undef UNICODE_ADDED
};

// White_Space of Unicode, and everything else.
#define SPACES "\\x09-\\x0d\\x20\\x85\\xa0\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{3000}"
#define NON_SPACES                                                                                                     \
    "\\x00-\\x08\\x0e-\\x1f\\x21-\\x84\\x86-\\x9f\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-\\x{2027}"              \
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}"

// What a translation reads and writes.
typedef struct Translation {
    const char *pattern, *at;
    bool in_class;
    Buf *out;
    Error *e;
} Translation;

static bool refuse(const Translation *t, const char *what) {
    return fail(t->e, EXIT_DATA, "the pattern has %s at byte %zu, which is not supported", what,
                (size_t)(t->at - t->pattern));
}

// Ranges that newer Unicode versions put into a category ("L" takes all of "Lu", "Ll" ...).
static size_t add_ranges(const char *category, size_t length, Buf *out) {
    size_t count = 0;
    if (length > 2) return 0;
    for (size_t i = 0; i < COUNT_OF(added_ranges); i++) {
        const AddedRange *r = &added_ranges[i];
        if (strncmp(r->category, category, length) != 0) continue;
        buf_printf(out, "\\x{%x}-\\x{%x}", r->first, r->last);
        count++;
    }
    return count;
}

// \p{name} or, when negative, \P{name}.
static bool put_property(Translation *t, const char *name, size_t length, bool negative) {
    Buf ranges = {0};
    size_t count = add_ranges(name, length, &ranges);
    bool ok = true;
    if (t->in_class && negative && count > 0) {
        ok = refuse(t, "a negated property inside a class");
    } else if (t->in_class || count == 0) {
        buf_printf(t->out, "\\%c{%.*s}%s", negative ? 'P' : 'p', (int)length, name, count > 0 ? ranges.data : "");
    } else {
        buf_printf(t->out, "[%s\\p{%.*s}%s]", negative ? "^" : "", (int)length, name, ranges.data);
    }
    buf_free(&ranges);
    return ok;
}

static bool translate_property(Translation *t) {
    bool negative = t->at[1] == 'P';
    const char *close = t->at[2] == '{' ? strchr(t->at, '}') : NULL;
    if (close == NULL || t->at[3] == '^') return refuse(t, "an unusual \\p");
    if (!put_property(t, t->at + 3, (size_t)(close - t->at - 3), negative)) return false;
    t->at = close + 1;
    return true;
}

static bool is_hex(char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }

static bool translate_escape(Translation *t) {
    char c = t->at[1];
    bool word = (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    if (c == '\0') return refuse(t, "a lonely backslash");
    if (c == 'p' || c == 'P') return translate_property(t);
    if (c == 'd' || c == 'D') {
        if (!put_property(t, "Nd", 2, c == 'D')) return false;
    } else if (c == 's') {
        buf_text(t->out, t->in_class ? SPACES : "[" SPACES "]");
    } else if (c == 'S') {
        buf_text(t->out, t->in_class ? NON_SPACES : "[^" SPACES "]");
    } else if (c == 'v') {
        buf_text(t->out, "\\x0b");
    } else if (c == 'u') {
        for (int i = 2; i < 6; i++) {
            if (!is_hex(t->at[i])) return refuse(t, "a \\u without four hex digits");
        }
        buf_printf(t->out, "\\x{%.4s}", t->at + 2);
        t->at += 4;
    } else if (!word || strchr("rntfaexAzZ", c) != NULL) {
        buf_add(t->out, t->at, 2);
    } else {
        char what[] = {'\\', c, '\0'};
        return refuse(t, what);
    }
    t->at += 2;
    return true;
}

static bool translate_class_char(Translation *t) {
    if (*t->at == '[') return refuse(t, "a [ inside a class");
    if (t->at[0] == '&' && t->at[1] == '&') return refuse(t, "&& inside a class");
    if (*t->at == ']') t->in_class = false;
    buf_char(t->out, *t->at++);
    return true;
}

static bool translate_group(Translation *t) {
    static const char *const same[] = {"(?:", "(?=", "(?!", "(?<=", "(?<!", "(?>", "(?i:"};
    if (t->at[1] == '*') return refuse(t, "(*");
    if (t->at[1] == '?') {
        bool known = t->at == t->pattern && strncmp(t->at, "(?i)", 4) == 0;
        for (size_t i = 0; i < COUNT_OF(same); i++) known = known || strncmp(t->at, same[i], strlen(same[i])) == 0;
        if (!known) return refuse(t, "an unusual group");
        buf_char(t->out, *t->at++);
    }
    buf_char(t->out, *t->at++);
    return true;
}

static bool translate_char(Translation *t) {
    if (*t->at == '\\') return translate_escape(t);
    if (t->in_class) return translate_class_char(t);
    if (*t->at == '(') return translate_group(t);
    if (*t->at == '[') {
        size_t n = t->at[1] == '^' ? 2 : 1;
        if (t->at[n] == ']') return refuse(t, "an empty class");
        t->in_class = true;
        buf_add(t->out, t->at, n);
        t->at += n;
        return true;
    }
    if (t->at[0] == '{' && t->at[1] == ',') return refuse(t, "{,");
    if (t->at[0] == '}' && (t->at[1] == '+' || t->at[1] == '?')) return refuse(t, "}+ or }?");
    buf_char(t->out, *t->at++);
    return true;
}

bool regex_translate(const char *pattern, Buf *out, Error *e) {
    Translation t = {.pattern = pattern, .at = pattern, .out = out, .e = e};
    while (*t.at != '\0') {
        if (!translate_char(&t)) return false;
    }
    return true;
}
