#include "tools/events.h"

#include <string.h>

#include "core/base/log.h"

bool events_each(const char *path, EventFn fn, void *context, Error *e) {
    Buf text = {0};
    if (!file_exists(path)) return true;
    bool ok = file_read(path, (size_t)1 << 30, &text, e);
    const char *at = text.data, *stop = text.data ? text.data + text.length : NULL, *end;
    size_t unreadable = 0;
    for (; ok && at < stop && (end = memchr(at, '\n', (size_t)(stop - at))); at = end + 1) {
        json_t *fields = json_parse(at, (size_t)(end - at), path, NULL);
        const char *event = json_string_value(json_object_get(fields, "event"));
        if (event)
            fn(context, event, fields);
        else
            unreadable++;
        json_decref(fields);
    }
    if (unreadable) log_warn("%s: %zu lines are no events, passed over", path, unreadable);
    buf_free(&text);
    return ok;
}
