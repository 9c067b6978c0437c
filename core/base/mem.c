// mem: checked allocation, arenas, growable buffers and lists. Must not know: what is kept in them.
#include "core/base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static _Noreturn void out_of_memory(const char *what, size_t bytes) {
    Error e = {0};
    fail(&e, EXIT_MEMORY, "out of memory: %s wants %zu bytes (%.1f MiB)\n"
         "hint: make the batch, the context or the model smaller, or free memory on this machine",
         what, bytes, (double)bytes / (1 << 20));
    die_of(&e);
}

void *xmalloc(size_t bytes) {
    void *p = malloc(bytes > 0 ? bytes : 1);
    if (p == NULL) out_of_memory("an allocation", bytes);
    return p;
}

void *xcalloc(size_t count, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(count, bytes, &total)) out_of_memory("an array", SIZE_MAX);
    void *p = calloc(total > 0 ? total : 1, 1);
    if (p == NULL) out_of_memory("an array", total);
    return p;
}

void *xrealloc(void *old, size_t bytes) {
    void *p = realloc(old, bytes > 0 ? bytes : 1);
    if (p == NULL) out_of_memory("a growing array", bytes);
    return p;
}

char *xstrndup(const char *text, size_t length) {
    size_t n = strnlen(text, length);
    char *copy = xmalloc(n + 1);
    memcpy(copy, text, n);
    copy[n] = '\0';
    return copy;
}

char *xstrdup(const char *text) { return xstrndup(text, strlen(text)); }

char *xasprintf(const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    check(n >= 0, "format '%s' cannot be printed", format);
    char *text = xmalloc((size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    return text;
}

// ---- arenas ----

// Anonymous pages: zeroed by the kernel when first touched, so a plan larger than what is used costs nothing.
void arena_init(Arena *a, const char *name, size_t bytes) {
    if (bytes > SIZE_MAX - ARENA_ALIGN) out_of_memory(name, bytes);
    size_t size = MAX(ROUND_UP(bytes, (size_t)ARENA_ALIGN), (size_t)ARENA_ALIGN);
    void *base = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (base == MAP_FAILED) out_of_memory(name, bytes);
    madvise(base, size, MADV_HUGEPAGE); // fewer TLB misses; refused on kernels without it, which is fine
    *a = (Arena){.name = name, .base = base, .size = size, .used = 0};
}

void *arena_take(Arena *a, size_t bytes) {
    size_t left = a->size - a->used;
    check(bytes <= left && ROUND_UP(bytes, (size_t)ARENA_ALIGN) <= left,
          "arena '%s': %zu bytes wanted, %zu of %zu left: the plan is wrong", a->name, bytes, left, a->size);
    void *p = a->base + a->used;
    a->used += ROUND_UP(bytes, (size_t)ARENA_ALIGN);
    return p;
}

void arena_free(Arena *a) {
    if (a->base != NULL) munmap(a->base, a->size);
    *a = (Arena){0};
}

// ---- growing things ----

// The capacity for `need` items: doubles, so that n additions cost O(n).
static size_t grown(size_t capacity, size_t need, size_t item) {
    size_t next = MAX(capacity, (size_t)16);
    while (next < need) {
        if (next > SIZE_MAX / 2 / item) out_of_memory("a growing array", SIZE_MAX);
        next *= 2;
    }
    return next;
}

static void buf_reserve(Buf *b, size_t count) {
    if (count >= SIZE_MAX - b->length) out_of_memory("a text", SIZE_MAX);
    size_t need = b->length + count + 1;
    if (need <= b->capacity) return;
    b->capacity = grown(b->capacity, need, 1);
    b->data = xrealloc(b->data, b->capacity);
}

void buf_add(Buf *b, const void *bytes, size_t count) {
    buf_reserve(b, count);
    if (count > 0) memcpy(b->data + b->length, bytes, count);
    b->length += count;
    b->data[b->length] = '\0';
}

void buf_text(Buf *b, const char *text) { buf_add(b, text, strlen(text)); }

void buf_char(Buf *b, char c) { buf_add(b, &c, 1); }

void buf_printf(Buf *b, const char *format, ...) {
    va_list args, again;
    va_start(args, format);
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    va_end(args);
    check(n >= 0, "format '%s' cannot be printed", format);
    buf_reserve(b, (size_t)n);
    vsnprintf(b->data + b->length, (size_t)n + 1, format, again);
    va_end(again);
    b->length += (size_t)n;
}

void buf_clear(Buf *b) {
    b->length = 0;
    if (b->data != NULL) b->data[0] = '\0';
}

void buf_free(Buf *b) {
    free(b->data);
    *b = (Buf){0};
}

void strlist_add(StrList *l, const char *text) {
    if (l->count == l->capacity) {
        l->capacity = grown(l->capacity, l->count + 1, sizeof *l->items);
        l->items = xrealloc(l->items, l->capacity * sizeof *l->items);
    }
    l->items[l->count++] = xstrdup(text);
}

void strlist_free(StrList *l) {
    for (size_t i = 0; i < l->count; i++) free(l->items[i]);
    free(l->items);
    *l = (StrList){0};
}

static void tokens_reserve(TokenList *l, size_t count) {
    if (count > SIZE_MAX - l->count) out_of_memory("a token list", SIZE_MAX);
    if (l->count + count <= l->capacity) return;
    l->capacity = grown(l->capacity, l->count + count, sizeof *l->items);
    l->items = xrealloc(l->items, l->capacity * sizeof *l->items);
}

void tokens_add(TokenList *l, int32_t id) {
    tokens_reserve(l, 1);
    l->items[l->count++] = id;
}

void tokens_append(TokenList *l, const int32_t *ids, size_t count) {
    if (count == 0) return;
    tokens_reserve(l, count);
    memcpy(l->items + l->count, ids, count * sizeof *ids);
    l->count += count;
}

void tokens_free(TokenList *l) {
    free(l->items);
    *l = (TokenList){0};
}
