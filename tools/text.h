// text: aligned tables and amounts for people, shared by the commands. Must not know where a number comes from.
#pragma once
#include "core/base/mem.h"

typedef struct TextTable {
    size_t n_columns;
    const char *const *headers; // [n_columns]
    const char *align;          // "lrr": left or right, a letter per column
    StrList cells;              // row by row
} TextTable;
// Two spaces between columns, width counted in terminal columns of UTF-8 text, a line under the headers, no trailing
// blanks.
void text_table(const TextTable *t, Buf *out);
size_t text_width(const char *text);

// "18 B", "1.4 KiB", "23.1 MiB"; "1.2 s", "3 min 04 s", "2 h 05 min"; "950", "12.3k", "1.2M"; "–" for a NaN. Each into
// out[32].
const char *say_bytes(double n, char out[32]);
const char *say_duration(double seconds, char out[32]);
const char *say_count(double n, char out[32]);

// Appends text that a model or a file made, safe for a terminal: no control characters but line break and tab (ESC,
// CSI, BEL, DEL, C1 and broken UTF-8 become U+FFFD), so that no escape sequence can reach it.
void text_for_terminal(const char *text, size_t length, Buf *out);
// Appends text with every broken byte of UTF-8 as U+FFFD: what JSON strings are made of.
void text_valid(const char *text, size_t length, Buf *out);
