#include "tools/text.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <utf8proc.h>

// The next code point of text[left]; a broken byte is one U+FFFD.
static utf8proc_ssize_t next_code(const char *text, size_t left, utf8proc_int32_t *code) {
    utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)left, code);
    if (n > 0) return n;
    *code = 0xFFFD;
    return 1;
}

size_t text_width(const char *text) {
    size_t columns = 0;
    utf8proc_int32_t code;
    for (size_t left = strlen(text); left > 0;) {
        size_t n = (size_t)next_code(text, left, &code);
        columns += (size_t)MAX(0, utf8proc_charwidth(code));
        text += n, left -= n;
    }
    return columns;
}

static void pad(Buf *out, size_t n, const char *with) {
    while (n-- > 0) buf_text(out, with);
}

static void cell(Buf *out, const char *text, size_t width, char align, bool last) {
    size_t gap = width - text_width(text);
    if (align == 'r') pad(out, gap, " ");
    buf_text(out, text);
    if (align != 'r' && !last) pad(out, gap, " ");
    if (!last) buf_text(out, "  ");
}

static void end_line(Buf *out) {
    while (out->length && out->data[out->length - 1] == ' ') out->data[--out->length] = 0;
    buf_char(out, '\n');
}

void text_table(const TextTable *t, Buf *out) {
    check(t->n_columns > 0 && t->cells.count % t->n_columns == 0, "a table with a torn row");
    size_t *width = xcalloc(t->n_columns, sizeof *width);
    for (size_t c = 0; c < t->n_columns; c++) width[c] = text_width(t->headers[c]);
    for (size_t i = 0; i < t->cells.count; i++)
        width[i % t->n_columns] = MAX(width[i % t->n_columns], text_width(t->cells.items[i]));
    for (size_t c = 0; c < t->n_columns; c++) cell(out, t->headers[c], width[c], t->align[c], c + 1 == t->n_columns);
    end_line(out);
    for (size_t c = 0; c < t->n_columns; c++) {
        pad(out, width[c], "─");
        if (c + 1 < t->n_columns) buf_text(out, "  ");
    }
    buf_char(out, '\n');
    for (size_t i = 0; i < t->cells.count; i++) {
        size_t c = i % t->n_columns;
        cell(out, t->cells.items[i], width[c], t->align[c], c + 1 == t->n_columns);
        if (c + 1 == t->n_columns) end_line(out);
    }
    free(width);
}

const char *say_bytes(double n, char out[32]) {
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB"};
    size_t u = 0;
    if (!isfinite(n)) return "–";
    while (n >= 1023.95 && u + 1 < COUNT_OF(units)) n /= 1024, u++;
    snprintf(out, 32, u && n < 99.95 ? "%.1f %s" : "%.0f %s", n, units[u]);
    return out;
}

const char *say_duration(double s, char out[32]) {
    if (!isfinite(s)) return "–";
    long long whole = (long long)(s + 0.5);
    if (s < 59.95)
        snprintf(out, 32, "%.1f s", s);
    else if (whole < 3600)
        snprintf(out, 32, "%lld min %02lld s", whole / 60, whole % 60);
    else
        snprintf(out, 32, "%lld h %02lld min", whole / 3600, whole / 60 % 60);
    return out;
}

const char *say_count(double n, char out[32]) {
    static const char *const units[] = {"", "k", "M", "G", "T"};
    size_t u = 0;
    if (!isfinite(n)) return "–";
    while (fabs(n) >= 999.5 && u + 1 < COUNT_OF(units)) n /= 1000, u++;
    snprintf(out, 32, fabs(n) < 99.95 && (u || n != floor(n)) ? "%.1f%s" : "%.0f%s", n, units[u]);
    return out;
}

void text_for_terminal(const char *text, size_t length, Buf *out) {
    buf_text(out, "");
    while (length > 0) {
        utf8proc_int32_t code;
        size_t n = (size_t)next_code(text, length, &code);
        bool control = (code < 0x20 && code != '\n' && code != '\t') || (code >= 0x7F && code < 0xA0) || code == 0xFFFD;
        // Marks that reorder what is around them could hide text.
        control |= (code >= 0x202A && code <= 0x202E) || (code >= 0x2066 && code <= 0x2069);
        if (control)
            buf_text(out, "\uFFFD");
        else
            buf_add(out, text, n);
        text += n, length -= n;
    }
}

void text_valid(const char *text, size_t length, Buf *out) {
    buf_text(out, "");
    while (length > 0) {
        utf8proc_int32_t code;
        utf8proc_ssize_t n = utf8proc_iterate((const utf8proc_uint8_t *)text, (utf8proc_ssize_t)length, &code);
        if (n > 0)
            buf_add(out, text, (size_t)n);
        else
            buf_text(out, "\uFFFD"), n = 1;
        text += n, length -= (size_t)n;
    }
}
