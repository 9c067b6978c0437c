// log: messages and one status line on stderr for a person, log.jsonl for machines. Must not know: what is measured.
// On a terminal the status line ends with the cursor at its start, so that whatever is printed next writes over it.
#include "core/base/log.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

static const double interval_terminal = 0.2, interval_plain = 5.0; // seconds between two status lines

static struct {
    bool quiet;
    int events; // descriptor + 1; 0 = closed
    char *events_path;
    bool events_failed; // a full disk is told once, not for each line
} sink;

double now_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

void log_set_quiet(bool quiet) { sink.quiet = quiet; }

// ---- for a person ----

static bool on_terminal(void) { return isatty(STDERR_FILENO) == 1; }

static bool with_colour(void) {
    const char *no = getenv("NO_COLOR"), *term = getenv("TERM");
    return on_terminal() && (no == NULL || no[0] == '\0') && term != NULL && strcmp(term, "dumb") != 0;
}

static void print_message(const char *mark, const char *format, va_list args) {
    char *text = NULL;
    va_list again;
    va_copy(again, args);
    int n = vsnprintf(NULL, 0, format, args);
    check(n >= 0, "format '%s' cannot be printed", format);
    text = xmalloc((size_t)n + 1);
    vsnprintf(text, (size_t)n + 1, format, again);
    va_end(again);
    fprintf(stderr, "%s%s%s\n", on_terminal() ? "\r\033[K" : "", mark, text);
    free(text);
}

void log_info(const char *format, ...) {
    if (sink.quiet) return;
    va_list args;
    va_start(args, format);
    print_message("", format, args);
    va_end(args);
}

void log_warn(const char *format, ...) {
    if (sink.quiet) return;
    va_list args;
    va_start(args, format);
    print_message(with_colour() ? "\033[33mwarning:\033[0m " : "warning: ", format, args);
    va_end(args);
}

void log_error(const char *format, ...) {
    va_list args;
    va_start(args, format);
    print_message(with_colour() ? "\033[31merror:\033[0m " : "error: ", format, args);
    va_end(args);
}

// ---- for machines ----

bool log_open_events(const char *path, Error *e) {
    if (sink.events > 0) close(sink.events - 1);
    free(sink.events_path);
    sink.events = 0, sink.events_path = NULL, sink.events_failed = false;
    if (path == NULL) return true;
    int fd = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
    if (fd < 0) return fail(e, EXIT_FAIL, "%s: cannot open for appending: %s", path, strerror(errno));
    sink.events = fd + 1, sink.events_path = xstrdup(path);
    return true;
}

static void write_line(const char *line, size_t length) {
    ssize_t n;
    do n = write(sink.events - 1, line, length);
    while (n < 0 && errno == EINTR);
    if (n == (ssize_t)length || sink.events_failed) return;
    sink.events_failed = true;
    log_warn("%s: event not written whole: %s", sink.events_path, n < 0 ? strerror(errno) : "disk full?");
}

void log_event(const char *event, json_t *fields) {
    if (sink.events > 0) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        json_t *line = json_pack("{s:s}", "event", event);
        if (fields != NULL) json_object_update(line, fields);
        else json_object_set_new(line, "fields", json_null());
        json_object_set_new(line, "event", json_string(event));
        json_object_del(line, "time");
        json_object_set_new(line, "time", json_real((double)t.tv_sec + 1e-3 * (double)(t.tv_nsec / 1000000)));
        Buf b = {0};
        json_write(&b, line, 0, false);
        buf_char(&b, '\n');
        write_line(b.data, b.length);
        buf_free(&b);
        json_decref(line);
    }
    json_decref(fields);
}

// ---- the status line ----

// 1234567 -> "1.23M"; whole numbers below 10000 stay as they are.
static void put_amount(Buf *b, double x) {
    static const char units[] = "kMGT";
    if (fabs(x) < 10000) {
        buf_printf(b, x == floor(x) || fabs(x) >= 100 ? "%.0f" : fabs(x) >= 10 ? "%.1f" : "%.2f", x);
        return;
    }
    int unit = -1;
    while (fabs(x) >= 999.5 && unit < 3) x /= 1000, unit++;
    buf_printf(b, "%.3g%c", x, units[unit]);
}

static void put_duration(Buf *b, double seconds) {
    long s = (long)CLAMP(seconds + 0.5, 0, 1e9);
    if (s >= 86400) buf_printf(b, "%ldd%02ldh", s / 86400, s / 3600 % 24);
    else if (s >= 3600) buf_printf(b, "%ldh%02ldm", s / 3600, s / 60 % 60);
    else if (s >= 60) buf_printf(b, "%ldm%02lds", s / 60, s % 60);
    else buf_printf(b, "%lds", s);
}

static double rate_of(const Progress *p) {
    double seconds = now_seconds() - p->started;
    return seconds > 0 ? (p->done - p->done_before) / seconds : 0;
}

static void put_status(Buf *b, const Progress *p, const char *note) {
    buf_printf(b, "%s  ", p->stage);
    put_amount(b, p->done);
    if (p->total > 0) {
        buf_char(b, '/');
        put_amount(b, p->total);
    }
    buf_printf(b, " %s", p->unit);
    if (p->total > 0) buf_printf(b, "  %.1f%%", 100 * p->done / p->total);
    double rate = rate_of(p);
    buf_text(b, "  ");
    put_amount(b, rate);
    buf_text(b, "/s");
    if (p->total > p->done && rate > 0) {
        buf_text(b, "  ETA ");
        put_duration(b, (p->total - p->done) / rate);
    }
    if (note != NULL && note[0] != '\0') buf_printf(b, "  %s", note);
}

// A line longer than the terminal is wide would wrap and could not be written over.
static void fit_terminal(Buf *b) {
    struct winsize w;
    size_t columns = ioctl(STDERR_FILENO, TIOCGWINSZ, &w) == 0 && w.ws_col > 0 ? w.ws_col : 80;
    if (b->length < columns) return;
    b->length = columns - 1;
    while (b->length > 0 && ((unsigned char)b->data[b->length] & 0xC0) == 0x80) b->length--;
    b->data[b->length] = '\0';
}

void progress_start(Progress *p, const char *stage, const char *unit, double total, double done_before) {
    double now = now_seconds();
    *p = (Progress){.stage = stage, .unit = unit, .total = total, .done = done_before, .done_before = done_before,
                    .started = now, .printed = now};
}

void progress_update(Progress *p, double done, const char *note) {
    p->done = done;
    bool terminal = on_terminal();
    double now = now_seconds();
    if (sink.quiet || now - p->printed < (terminal ? interval_terminal : interval_plain)) return;
    p->printed = now;
    Buf b = {0};
    put_status(&b, p, note);
    if (terminal) fit_terminal(&b);
    fprintf(stderr, terminal ? "\r\033[K%s\r" : "%s\n", b.data);
    fflush(stderr);
    buf_free(&b);
}

void progress_end(Progress *p, const char *note) {
    if (sink.quiet) return;
    Buf b = {0};
    buf_printf(&b, "%s  ", p->stage);
    put_amount(&b, p->done);
    buf_printf(&b, " %s in ", p->unit);
    put_duration(&b, now_seconds() - p->started);
    buf_text(&b, "  ");
    put_amount(&b, rate_of(p));
    buf_text(&b, "/s");
    if (note != NULL && note[0] != '\0') buf_printf(&b, "  %s", note);
    fprintf(stderr, "%s%s\n", on_terminal() ? "\r\033[K" : "", b.data);
    buf_free(&b);
}
