// base: what every other file stands on: integer types, errors that parsers return, the one way to die.
// Must not know: any format, any model, any program.
//
// Two kinds of failure (docs/architecture.md, "Errors"):
//   - whatever depends on the outside (files, configs, servers, users) returns false/NULL and fills an Error;
//   - a broken invariant of our own dies at once with file:line and a hint.
#pragma once
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define TRISTILL_VERSION "0.1.0"

// Exit codes of every program.
enum {
    EXIT_OK = 0,
    EXIT_FAIL = 1,    // anything without a code of its own
    EXIT_USAGE = 2,   // command line or config
    EXIT_DATA = 3,    // bad data in a file or an answer
    EXIT_MEMORY = 4,  // the plan does not fit
    EXIT_STOPPED = 75 // stopped on request, saved; run again to go on (EX_TEMPFAIL, what Slurm requeues)
};

typedef struct Error {
    int code;        // one of the exit codes; 0 = no error
    char text[1536]; // one or more lines: place, field, what is wrong, what to do
} Error;

// Fills e (which may be NULL) and returns false, so that `return fail(e, EXIT_DATA, "...")` reads well.
bool fail(Error *e, int code, const char *format, ...) __attribute__((format(printf, 3, 4)));
// Puts "prefix: " before the text that e already holds; returns false.
bool fail_in(Error *e, const char *format, ...) __attribute__((format(printf, 2, 3)));
// Prints "error: <text>" on stderr and ends with e->code (EXIT_FAIL when it is 0).
_Noreturn void die_of(const Error *e);

// Broken invariants only.
_Noreturn void die_at(const char *file, int line, const char *format, ...) __attribute__((format(printf, 3, 4)));
#define die(...) die_at(__FILE__, __LINE__, __VA_ARGS__)
#define check(condition, ...) ((condition) ? (void)0 : die_at(__FILE__, __LINE__, __VA_ARGS__))

#define MIN(a, b) ((a) < (b) ? (a) : (b))
#define MAX(a, b) ((a) > (b) ? (a) : (b))
#define CLAMP(x, lo, hi) ((x) < (lo) ? (lo) : (x) > (hi) ? (hi) : (x))
#define CEIL_DIV(a, b) (((a) + (b) - 1) / (b))
#define ROUND_UP(a, b) (CEIL_DIV(a, b) * (b))
#define COUNT_OF(array) (sizeof(array) / sizeof((array)[0]))
