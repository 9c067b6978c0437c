// styles: the table of rewriting styles (styles.def), shared by the maker of the rephraser's training data and by its
// use. Must not know: models, files.
#pragma once
#include "core/base/mem.h"

typedef struct Style {
    const char *name;
    int world_style;
    const char *instruction, *format, *steps;
} Style;
enum { STYLES_MAX = 32 }; // room for the indices of a choice
extern const Style styles[];
extern const int n_styles;

// Index of a style, -1 with an error (did you mean; the names there are).
int style_find(const char *name, Error *e);
// Fills indices[STYLES_MAX] with the styles named; refuses an unknown, a repeated or no name. Returns how many, -1 on
// error.
int styles_chosen(const StrList *names, int *indices, Error *e);
// What the rephraser is asked: instruction, empty line, text.
void style_prompt(const Style *style, const char *text, Buf *out);
