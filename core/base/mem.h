// mem: memory that cannot fail silently: checked allocation, arenas with a printed plan, growable buffers.
// Rule: one arena per lifetime (parameters, gradients, activations, ...); nothing is allocated inside a training step.
#pragma once
#include "core/base/base.h"

// Checked allocation: these die with EXIT_MEMORY instead of returning NULL. Free with free().
void *xmalloc(size_t bytes);
void *xcalloc(size_t count, size_t bytes); // zeroed, overflow-checked
void *xrealloc(void *old, size_t bytes);
char *xstrdup(const char *text);
char *xstrndup(const char *text, size_t length);
char *xasprintf(const char *format, ...) __attribute__((format(printf, 1, 2)));

// An arena: one block, carved front to back, freed whole. `name` appears in the memory plan.
typedef struct Arena {
    const char *name;
    char *base;
    size_t size, used;
} Arena;
void arena_init(Arena *a, const char *name, size_t bytes); // zeroed, 64-byte aligned
void *arena_take(Arena *a, size_t bytes);                  // 64-byte aligned; dies past the plan
void arena_free(Arena *a);
#define ARENA_ALIGN 64

// A growable run of bytes, always followed by a NUL that is not counted in `length`.
typedef struct Buf {
    char *data;
    size_t length, capacity;
} Buf;
void buf_add(Buf *b, const void *bytes, size_t count);
void buf_text(Buf *b, const char *text);
void buf_char(Buf *b, char c);
void buf_printf(Buf *b, const char *format, ...) __attribute__((format(printf, 2, 3)));
void buf_clear(Buf *b); // keeps the memory
void buf_free(Buf *b);

// A list of owned strings (config lists, file lists).
typedef struct StrList {
    char **items;
    size_t count, capacity;
} StrList;
void strlist_add(StrList *l, const char *text); // copies
void strlist_free(StrList *l);

// A list of token ids with room to grow.
typedef struct TokenList {
    int32_t *items;
    size_t count, capacity;
} TokenList;
void tokens_add(TokenList *l, int32_t id);
void tokens_append(TokenList *l, const int32_t *ids, size_t count);
void tokens_free(TokenList *l);
