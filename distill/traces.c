// traces: prompt and trace records, read and checked field by field. Must not know: what is done with them.
#include <stdio.h>
#include <string.h>

#include "core/data/chat.h"
#include "distill/distill.h"

// ---- prompts ----

static bool check_messages(const json_t *record, const char *place, Error *e) {
    const json_t *array = json_object_get(record, "messages");
    size_t room = json_array_size(array), n;
    ChatMessage *messages = xcalloc(room + 1, sizeof *messages);
    bool ok = chat_messages(array, place, messages, room + 1, &n, e);
    if (ok && (n == 0 || strcmp(messages[n - 1].role, "user")))
        ok = fail(e, EXIT_DATA, "%s: messages: the last one must be the user's, so that there is something to answer",
                  place);
    free(messages);
    return ok;
}

typedef struct PromptFile {
    Prompts *prompts;
    const char *path;
} PromptFile;

static bool add_prompt(PromptFile *f, json_t *record, int64_t index, Error *e) {
    Prompts *p = f->prompts;
    char place[600];
    const char *id;
    snprintf(place, sizeof place, "%s: record %lld", f->path, (long long)index + 1);
    if (!json_get_text(record, "id", place, &id, e)) return false;
    if (!id[0]) return fail(e, EXIT_DATA, "%s: id: is empty; each prompt needs one of its own", place);
    int64_t twin = prompts_find(p, id);
    if (twin >= 0)
        return fail(e, EXIT_DATA, "%s: id: \"%s\" is already record %lld; ids must be unique", place, id,
                    (long long)twin + 1);
    if (!check_messages(record, place, e)) return false;
    json_object_set_new(p->by_id, id, json_integer(index));
    json_array_append(p->records, record);
    return true;
}

bool prompts_read(Prompts *p, const char *path, int64_t limit, Error *e) {
    *p = (Prompts){.records = json_array(), .by_id = json_object()};
    PromptFile file = {p, path};
    RecordReader *reader = record_open(path, e);
    json_t *record;
    int got = reader ? 1 : -1;
    while (got == 1 && (limit == 0 || prompts_count(p) < limit) && (got = record_next(reader, &record, e)) == 1) {
        if (!add_prompt(&file, record, record_index(reader) - 1, e)) got = -1;
        json_decref(record);
    }
    record_reader_close(reader);
    if (got >= 0 && prompts_count(p) == 0) got = fail(e, EXIT_DATA, "%s: holds no prompts", path) - 1;
    if (got < 0) prompts_free(p);
    return got >= 0;
}

int64_t prompts_count(const Prompts *p) { return (int64_t)json_array_size(p->records); }

const json_t *prompts_at(const Prompts *p, int64_t index) { return json_array_get(p->records, (size_t)index); }

int64_t prompts_find(const Prompts *p, const char *id) {
    const json_t *index = json_object_get(p->by_id, id);
    return index ? (int64_t)json_integer_value(index) : -1;
}

void prompts_free(Prompts *p) {
    json_decref(p->records);
    json_decref(p->by_id);
    *p = (Prompts){0};
}

// ---- traces ----

static bool finish_read(const json_t *record, const char *place, bool *cut_off, Error *e) {
    const char *reason;
    if (!json_get_text(record, "finish_reason", place, &reason, e)) return false;
    *cut_off = !strcmp(reason, "length");
    return *cut_off || !strcmp(reason, "stop") ||
           fail(e, EXIT_DATA, "%s: finish_reason: \"%.40s\"; expected \"stop\" or \"length\"", place, reason);
}

bool trace_read(const json_t *record, const char *place, Trace *out, Error *e) {
    *out = (Trace){.thinking_closed = true};
    return json_get_text(record, "id", place, &out->id, e) &&
           json_get_text(record, "prompt_id", place, &out->prompt_id, e) &&
           json_get_text(record, "reasoning", place, &out->reasoning, e) &&
           json_get_text(record, "content", place, &out->content, e) && finish_read(record, place, &out->cut_off, e) &&
           json_opt_bool(record, "thinking_closed", place, &out->thinking_closed, e) &&
           json_get_int(json_object_get(record, "usage"), "completion_tokens", place, 0, INT64_MAX, &out->n_tokens, e);
}

void trace_text(const Trace *t, Buf *out) {
    if (t->reasoning[0])
        buf_printf(out, t->thinking_closed ? "<think>\n%s\n</think>\n\n" : "<think>\n%s", t->reasoning);
    buf_text(out, t->content);
}

bool trace_each(const char *path, TraceFn fn, void *context, Error *e) {
    RecordReader *reader = record_open(path, e);
    if (!reader) return false;
    json_t *record;
    int got = 1;
    while (got == 1 && (got = record_next(reader, &record, e)) == 1) {
        char place[600];
        Trace trace;
        snprintf(place, sizeof place, "%s: record %lld", path, (long long)record_index(reader));
        bool ok = stop_requested() ? fail(e, EXIT_STOPPED, "stopped; run the same command again to redo this stage")
                                   : trace_read(record, place, &trace, e) &&
                                         fn(context, record, &trace, record_index(reader) - 1, place, e);
        if (!ok) got = -1;
        json_decref(record);
    }
    record_reader_close(reader);
    return got == 0;
}
