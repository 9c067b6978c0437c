// run_history: what earlier sessions left in log.jsonl. Must not know: which stage wrote it.
#include "core/base/run_history.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"

// Cuts off what follows the last newline: the process died while writing that line.
static bool cut_torn_line(const char *path, Buf *text, Error *e) {
    size_t whole = text->length;
    while (whole > 0 && text->data[whole - 1] != '\n') whole--;
    if (whole == text->length) return true;
    log_warn("%s: the last line is torn (%zu bytes), cut off", path, text->length - whole);
    text->length = whole;
    text->data[whole] = '\0';
    if (truncate(path, (off_t)whole) == 0) return true;
    return fail(e, EXIT_FAIL, "%s: cannot cut off the torn last line: %s", path, strerror(errno));
}

// A session lasts from its "start" to its last event.
static double seconds_of_sessions(const char *path, const Buf *text) {
    double total = 0, start = 0, last = 0;
    size_t unreadable = 0;
    for (const char *line = text->data; *line != '\0';) {
        const char *end = strchr(line, '\n'); // there is one: the torn line was cut
        if (end == NULL) break;               // a NUL byte inside the file hides the rest
        json_t *event = json_parse(line, (size_t)(end - line), path, NULL);
        const char *name = NULL;
        double time = 0;
        if (json_get_text(event, "event", path, &name, NULL) && json_get_real(event, "time", path, &time, NULL)) {
            if (strcmp(name, "start") == 0) {
                total += last - start;
                start = last = time;
            }
            last = MAX(last, time); // a clock that was set back takes nothing away
        } else {
            unreadable++;
        }
        json_decref(event);
        line = end + 1;
    }
    if (unreadable > 0) log_warn("%s: %zu lines are no events, passed over", path, unreadable);
    return total + last - start;
}

bool run_history(const char *path, double *seconds, Error *e) {
    *seconds = 0;
    if (!file_exists(path)) return true;
    Buf text = {0};
    bool ok = file_read(path, 0, &text, e) && cut_torn_line(path, &text, e);
    if (ok) *seconds = seconds_of_sessions(path, &text);
    buf_free(&text);
    return ok;
}
