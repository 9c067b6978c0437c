// err: filling errors and the one way to die. Must not know: any format, any program.
#include "core/base/base.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char cut_mark[] = " [... cut]";

// Copies text into e; what does not fit is cut visibly.
static void store(Error *e, const char *text) {
    size_t length = strlen(text);
    if (length < sizeof e->text) {
        memcpy(e->text, text, length + 1);
        return;
    }
    size_t keep = sizeof e->text - sizeof cut_mark;
    while (keep > 0 && ((unsigned char)text[keep] & 0xC0) == 0x80) keep--; // never inside a UTF-8 sequence
    memcpy(e->text, text, keep);
    memcpy(e->text + keep, cut_mark, sizeof cut_mark);
}

// The arguments may point into e->text, so the new text is made beside it.
bool fail(Error *e, int code, const char *format, ...) {
    if (e == NULL) return false;
    char text[sizeof e->text + 64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    store(e, text);
    e->code = code;
    return false;
}

bool fail_in(Error *e, const char *format, ...) {
    if (e == NULL) return false;
    char text[2 * sizeof e->text + 64];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof e->text, format, args);
    va_end(args);
    size_t used = strlen(text);
    snprintf(text + used, sizeof text - used, ": %s", e->text);
    store(e, text);
    if (e->code == 0) e->code = EXIT_FAIL;
    return false;
}

// A status line may stand on the terminal: it is wiped first.
static void print_last_words(const char *kind, const char *text) {
    fflush(stdout);
    fprintf(stderr, "%s%s: %s\n", isatty(STDERR_FILENO) ? "\r\033[K" : "", kind, text);
    fflush(stderr);
}

// _exit: other threads may still run, and exit handlers would pull the ground from under them.
_Noreturn void die_of(const Error *e) {
    print_last_words("error", e->text[0] != '\0' ? e->text : "failed without saying why");
    _exit(e->code != 0 ? e->code : EXIT_FAIL);
}

_Noreturn void die_at(const char *file, int line, const char *format, ...) {
    Error e = {0};
    char text[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    fail(&e, EXIT_FAIL, "%s:%d: %s\nhint: this is a defect of tristill " TRISTILL_VERSION
         ", not of your data; please report it with the command line and this text", file, line, text);
    print_last_words("internal error", e.text);
    _exit(EXIT_FAIL);
}
