// chat: messages -> token ids with the assistant's spans, for the templates of chat_templates.def. Must not know: files
// of records, models, what ids are used for.
//
// Where texts are cut for BPE: control tokens are ids of their own, and a role with its content is one run of text, as
// in apply_chat_template. The one difference: "assistant\n" and the assistant's text are encoded apart, in training and
// in generation alike, because generation has to stop between them. An answer that begins with a line break is the only
// case in which a token could have straddled that point. Control tokens written inside a message never become control
// tokens.
#define _GNU_SOURCE // memmem
#include "core/data/chat.h"

#include <stdlib.h>
#include <string.h>

#include "core/data/gguf.h"

typedef struct ChatRow {
    const char *name, *open, *close, *jinja;
} ChatRow;

static const ChatRow chat_rows[] = {
#define CHAT_TEMPLATE(name, open, close, jinja) {name, open, close, jinja},
#include "core/data/chat_templates.def"
#undef CHAT_TEMPLATE
};

struct ChatTemplate {
    const ChatRow *row;
    const Tokenizer *t;
    int32_t open, close;
};

const char *chat_builtin_jinja(const char *name) {
    for (size_t i = 0; i < COUNT_OF(chat_rows); i++) {
        if (strcmp(chat_rows[i].name, name) == 0) return chat_rows[i].jinja;
    }
    return NULL;
}

const char *chat_name(const ChatTemplate *c) { return c->row->name; }

const char *chat_jinja(const ChatTemplate *c) { return c->row->jinja; }

int32_t chat_end_token(const ChatTemplate *c) { return c->close; }

void chat_free(ChatTemplate *c) { free(c); }

// ---- which template a model has ----

// The text of "chat_template": text, or a list of {"name", "template"} with one named default.
static const char *template_text(const json_t *value) {
    const json_t *item;
    size_t i;
    if (!json_is_array(value)) return json_string_value(value);
    json_array_foreach(value, i, item) {
        const char *name = json_string_value(json_object_get(item, "name"));
        if (name != NULL && strcmp(name, "default") == 0) return json_string_value(json_object_get(item, "template"));
    }
    return NULL;
}

static bool template_from_gguf(const char *path, Buf *out, Error *e) {
    Gguf *g = gguf_open(path, e);
    if (g == NULL) return false;
    const char *text = template_text(gguf_get(g, "tokenizer.chat_template"));
    if (text != NULL) buf_text(out, text);
    gguf_close(g);
    return text != NULL || fail(e, EXIT_DATA, "%s: tokenizer.chat_template: missing", path);
}

static bool template_from_config(const char *path, Buf *out, Error *e) {
    json_t *config = json_read_file(path, e);
    if (config == NULL) return false;
    const char *text = template_text(json_object_get(config, "chat_template"));
    if (text != NULL) buf_text(out, text);
    json_decref(config);
    return text != NULL ||
           fail(e, EXIT_DATA, "%s: chat_template: missing; this model does not say how to talk to it", path);
}

// A file of its own goes before tokenizer_config.json, as in transformers.
static bool template_from_folder(const char *folder, Buf *out, Error *e) {
    char *own = path_join(folder, "chat_template.jinja"), *config = path_join(folder, "tokenizer_config.json");
    bool ok = file_exists(own) ? file_read(own, 1 << 20, out, e) : template_from_config(config, out, e);
    free(own);
    free(config);
    return ok;
}

// Jinja drops one line break at the end of a template.
static const ChatRow *find_row(Buf *text) {
    if (text->length > 0 && text->data[text->length - 1] == '\n') text->data[--text->length] = '\0';
    for (size_t i = 0; i < COUNT_OF(chat_rows) && text->data != NULL; i++) {
        if (strcmp(chat_rows[i].jinja, text->data) == 0) return &chat_rows[i];
    }
    return NULL;
}

static bool refuse_template(const char *path, Error *e) {
    Buf known = {0};
    for (size_t i = 0; i < COUNT_OF(chat_rows); i++) {
        bool first = chat_builtin_jinja(chat_rows[i].name) == chat_rows[i].jinja;
        if (first) buf_printf(&known, "%s%s", known.length > 0 ? ", " : "", chat_rows[i].name);
    }
    fail(e, EXIT_DATA, "%s: its chat template is none of those known (%s); give the model one of these", path,
         known.data);
    buf_free(&known);
    return false;
}

// ---- rendering ----

static void add_text(const ChatTemplate *c, const char *text, size_t length, TokenList *ids) {
    tokenizer_encode(c->t, text, length, false, ids);
}

// One mask byte per id that has none yet.
static void fill_mask(const TokenList *ids, size_t first, uint8_t value, Buf *mask) {
    for (size_t i = first; mask != NULL && i < ids->count; i++) buf_char(mask, (char)value);
}

static void add_header(const ChatTemplate *c, const char *role, const char *content, TokenList *ids) {
    Buf run = {0};
    tokens_add(ids, c->open);
    buf_printf(&run, "%s\n", role);
    buf_text(&run, content);
    add_text(c, run.data, run.length, ids);
    buf_free(&run);
}

static void add_message(const ChatTemplate *c, const ChatMessage *m, TokenList *ids, Buf *mask) {
    bool trained = strcmp(m->role, "assistant") == 0;
    size_t first = ids->count;
    add_header(c, m->role, trained ? "" : m->content, ids);
    if (trained) {
        fill_mask(ids, first, 0, mask);
        first = ids->count;
        add_text(c, m->content, strlen(m->content), ids);
    }
    tokens_add(ids, c->close);
    fill_mask(ids, first, trained, mask);
    first = ids->count;
    add_text(c, "\n", 1, ids);
    fill_mask(ids, first, 0, mask);
}

static bool is_role(const char *role) {
    return strcmp(role, "system") == 0 || strcmp(role, "user") == 0 || strcmp(role, "assistant") == 0;
}

bool chat_encode(const ChatTemplate *c, const ChatMessage *messages, size_t n, bool generation_prompt,
                 const char *prefix, TokenList *ids, Buf *mask, Error *e) {
    for (size_t i = 0; i < n; i++) {
        if (messages[i].role == NULL || messages[i].content == NULL || !is_role(messages[i].role)) {
            return fail(e, EXIT_DATA,
                        "messages[%zu]: role \"%.32s\" is not system, user or assistant, or there is no content", i,
                        messages[i].role != NULL ? messages[i].role : "");
        }
    }
    for (size_t i = 0; i < n; i++) add_message(c, &messages[i], ids, mask);
    size_t first = ids->count;
    if (generation_prompt) add_header(c, "assistant", "", ids);
    if (prefix != NULL) add_text(c, prefix, strlen(prefix), ids);
    fill_mask(ids, first, 0, mask);
    return true;
}

// The rendered text of a small talk, encoded whole, has to give the same ids; added tokens with lstrip or rstrip would
// not.
static bool check_boundaries(const ChatTemplate *c, const char *path, Error *e) {
    static const ChatMessage talk[] = {{"system", "a"}, {"user", "b"}, {"assistant", "c"}, {"user", "d"}};
    TokenList ours = {0}, whole = {0};
    Buf text = {0};
    for (size_t i = 0; i < COUNT_OF(talk); i++) {
        buf_printf(&text, "%s%s\n%s%s\n", c->row->open, talk[i].role, talk[i].content, c->row->close);
    }
    tokenizer_encode(c->t, text.data, text.length, true, &whole);
    bool ok = chat_encode(c, talk, COUNT_OF(talk), false, NULL, &ours, NULL, e) &&
              ((ours.count == whole.count && memcmp(ours.items, whole.items, ours.count * sizeof *ours.items) == 0) ||
               fail(e, EXIT_DATA, "%s: the tokenizer does not keep %s and %s apart from the text around them", path,
                    c->row->open, c->row->close));
    tokens_free(&ours);
    tokens_free(&whole);
    buf_free(&text);
    return ok;
}

static ChatTemplate *bind(const ChatRow *row, const Tokenizer *t, const char *path, Error *e) {
    ChatTemplate *c = xcalloc(1, sizeof *c);
    *c = (ChatTemplate){row, t, tokenizer_id(t, row->open), tokenizer_id(t, row->close)};
    bool ok = (tokenizer_is_special(t, c->open) && tokenizer_is_special(t, c->close)) ||
              fail(e, EXIT_DATA, "%s: chat template %s needs the special tokens %s and %s, which the tokenizer lacks",
                   path, row->name, row->open, row->close);
    if (ok && check_boundaries(c, path, e)) return c;
    chat_free(c);
    return NULL;
}

ChatTemplate *chat_load(const char *model_path, const Tokenizer *t, Error *e) {
    Buf text = {0};
    ChatTemplate *c = NULL;
    if (is_folder(model_path) ? template_from_folder(model_path, &text, e) : template_from_gguf(model_path, &text, e)) {
        const ChatRow *row = find_row(&text);
        if (row != NULL)
            c = bind(row, t, model_path, e);
        else
            refuse_template(model_path, e);
    }
    buf_free(&text);
    return c;
}

// ---- texts and records ----

static const char *find_last(const char *text, size_t length, const char *what) {
    const char *found = NULL, *at = text, *next;
    size_t n = strlen(what);
    while ((next = memmem(at, length - (size_t)(at - text), what, n)) != NULL) {
        found = next;
        at = next + n;
    }
    return found;
}

static void add_trimmed(Buf *out, const char *begin, const char *end) {
    while (begin < end && *begin == '\n') begin++;
    while (begin < end && end[-1] == '\n') end--;
    buf_add(out, begin, (size_t)(end - begin));
}

void chat_split_thinking(const char *text, size_t length, Buf *reasoning, Buf *content, bool *complete) {
    static const char opener[] = "<think>", closer[] = "</think>";
    const char *end = text + length, *close = find_last(text, length, closer);
    const char *rest = close != NULL ? close + strlen(closer) : text;
    const char *again = memmem(rest, (size_t)(end - rest), opener, strlen(opener));
    *complete = again == NULL;
    if (close != NULL) {
        const char *begin = text;
        while (begin < close && (*begin == '\n' || *begin == ' ')) begin++;
        bool opened = (size_t)(close - begin) >= strlen(opener) && memcmp(begin, opener, strlen(opener)) == 0;
        add_trimmed(reasoning, opened ? begin + strlen(opener) : text, close);
    } else if (again != NULL) {
        add_trimmed(reasoning, again + strlen(opener), end);
    }
    const char *content_end = again != NULL ? again : end;
    while (close != NULL && rest < content_end && *rest == '\n') rest++;
    buf_add(content, rest, (size_t)(content_end - rest));
}

bool chat_messages(const json_t *array, const char *place, ChatMessage *out, size_t n_max, size_t *n, Error *e) {
    if (!json_is_array(array) || json_array_size(array) == 0) {
        return fail(e, EXIT_DATA, "%s: messages: expected a list of messages", place);
    }
    if (json_array_size(array) > n_max) {
        return fail(e, EXIT_DATA, "%s: messages: %zu messages, at most %zu are supported", place,
                    json_array_size(array), n_max);
    }
    *n = json_array_size(array);
    for (size_t i = 0; i < *n; i++) {
        const json_t *message = json_array_get(array, i);
        const char *role = json_string_value(json_object_get(message, "role"));
        const char *content = json_string_value(json_object_get(message, "content"));
        if (role == NULL || !is_role(role)) {
            return fail(e, EXIT_DATA, "%s: messages[%zu].role: expected system, user or assistant", place, i);
        }
        if (content == NULL) return fail(e, EXIT_DATA, "%s: messages[%zu].content: expected text", place, i);
        out[i] = (ChatMessage){role, content};
    }
    return true;
}
