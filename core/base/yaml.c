// yaml: strict YAML to JSON over libyaml's events. Must not know: which keys exist.
// Refused, because they make a config mean something that is not seen: anchors, aliases, tags, merge keys, duplicate
// keys, several documents in a file.
#include "core/base/yaml.h"

#include <ctype.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <yaml.h>

#include "core/base/config.h"

enum { MAX_NESTING = 32 };

// ---- problems ----

void problem_add(Problems *p, const char *place, int line, const char *key, const char *format, ...) {
    buf_text(&p->lines, place);
    if (line > 0) buf_printf(&p->lines, ":%d", line);
    buf_text(&p->lines, ": ");
    if (key[0] != '\0') buf_printf(&p->lines, "%.80s: ", key);
    char text[512];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    buf_text(&p->lines, text);
    buf_char(&p->lines, '\n');
    p->count++;
}

bool problems_report(Problems *p, Error *e) {
    if (p->count == 0) return true;
    const size_t room = sizeof e->text - 64; // for the count of what does not fit
    size_t used = 0, shown = 0;
    while (shown < p->count) {
        size_t line = (size_t)(strchr(p->lines.data + used, '\n') - (p->lines.data + used)) + 1;
        if (used + line > room && shown > 0) break;
        used += line, shown++;
    }
    p->lines.data[used - 1] = '\0';
    if (shown == p->count) fail(e, EXIT_USAGE, "%s", p->lines.data);
    else fail(e, EXIT_USAGE, "%s\n... and %zu more errors", p->lines.data, p->count - shown);
    buf_free(&p->lines);
    p->count = 0;
    return false;
}

// ---- secrets ----

// Keys: "token" alone is not among the names: eos_token and max_tokens are no secrets.
static bool is_secret_key(const char *key) {
    static const char *const names[] = {
        "api_key", "apikey", "access_key", "private_key", "secret_key", "token_secret", "secret", "password", "passwd",
        "passphrase", "access_token", "auth_token", "bearer_token", "hf_token", "authorization", "credential",
        "credentials"};
    char k[96];
    size_t n = strnlen(key, sizeof k - 1);
    for (size_t i = 0; i < n; i++) k[i] = key[i] == '-' ? '_' : (char)tolower((unsigned char)key[i]);
    k[n] = '\0';
    for (size_t i = 0; i < COUNT_OF(names); i++) {
        size_t m = strlen(names[i]);
        if (n >= m && strcmp(k + n - m, names[i]) == 0) return true; // api_key_env and api_key_file end otherwise
    }
    return false;
}

static bool is_secret_text(const char *text) {
    static const struct { const char *prefix; size_t at_least; } shapes[] = {
        {"sk-", 20}, {"Bearer ", 15}, {"hf_", 24}, {"ghp_", 24}, {"github_pat_", 24}, {"AKIA", 20}, {"xoxb-", 20},
        {"-----BEGIN ", 20}};
    for (size_t i = 0; i < COUNT_OF(shapes); i++) {
        size_t n = strlen(shapes[i].prefix);
        if (strncmp(text, shapes[i].prefix, n) != 0 || strlen(text) < shapes[i].at_least) continue;
        bool has_space = strpbrk(text + n, " \n") != NULL; // prose does, keys do not
        if (!has_space || shapes[i].prefix[0] == '-') return true;
    }
    const char *host = strstr(text, "://"); // https://user:password@host
    if (host == NULL) return false;
    host += 3;
    size_t authority = strcspn(host, "/?#");
    const char *at = memchr(host, '@', authority);
    return at != NULL && memchr(host, ':', (size_t)(at - host)) != NULL;
}

bool is_secret(const char *key, const char *text) {
    return is_secret_key(key) || (text != NULL && is_secret_text(text));
}

// ---- plain scalars: YAML 1.2, 10.3.2 ----

static bool is_one_of(const char *text, const char *const *words) {
    for (; *words != NULL; words++) {
        if (strcmp(text, *words) == 0) return true;
    }
    return false;
}

static const char *skip_digits(const char *p) {
    while (*p >= '0' && *p <= '9') p++;
    return p;
}

static bool is_made_of(const char *text, const char *letters) {
    return text[0] != '\0' && text[strspn(text, letters)] == '\0';
}

static int base_of_integer(const char *text) {
    if (strncmp(text, "0x", 2) == 0 && is_made_of(text + 2, "0123456789abcdefABCDEF")) return 16;
    if (strncmp(text, "0o", 2) == 0 && is_made_of(text + 2, "01234567")) return 8;
    const char *digits = text + (*text == '-' || *text == '+');
    const char *end = skip_digits(digits);
    return end > digits && *end == '\0' ? 10 : 0;
}

static bool is_real(const char *p) {
    p += *p == '-' || *p == '+';
    const char *whole = skip_digits(p);
    const char *end = whole;
    if (*end == '.') end = skip_digits(end + 1);
    if (end - p < 1 || (end - p == 1 && *p == '.')) return false;
    if (*end == 'e' || *end == 'E') {
        const char *exponent = end + 1 + (end[1] == '-' || end[1] == '+');
        end = skip_digits(exponent);
        if (end == exponent) return false;
    }
    return *end == '\0';
}

static json_t *integer_of(const char *text, int base) {
    errno = 0;
    long long n = strtoll(base == 8 ? text + 2 : text, NULL, base);
    return errno == ERANGE ? NULL : json_integer(n);
}

json_t *yaml_plain_scalar(const char *text) {
    static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
    static const char *const trues[] = {"true", "True", "TRUE", NULL};
    static const char *const falses[] = {"false", "False", "FALSE", NULL};
    if (is_one_of(text, nulls)) return json_null();
    if (is_one_of(text, trues)) return json_true();
    if (is_one_of(text, falses)) return json_false();
    int base = base_of_integer(text);
    if (base > 0) return integer_of(text, base);
    // .inf and .nan stay text: no value here may be either. An overflow to infinity is text to jansson, too.
    json_t *real = is_real(text) ? json_real(strtod(text, NULL)) : NULL;
    return real != NULL ? real : json_string(text);
}

// ---- documents ----

typedef struct Reader {
    yaml_parser_t parser;
    const char *place;
    json_t *lines; // may be NULL
    Problems *problems;
    Buf path; // of the node that is being read: "a.b[2].c"
} Reader;

static int line_of(const yaml_event_t *event) { return (int)event->start_mark.line + 1; }

#define refuse(r, event, key, ...) problem_add((r)->problems, (r)->place, line_of(event), key, __VA_ARGS__)

// The next event; on false a syntax error was added. Every event must be yaml_event_delete'd.
static bool next_event(Reader *r, yaml_event_t *event) {
    if (yaml_parser_parse(&r->parser, event)) return true;
    size_t line = r->parser.problem_mark.line;
    const char *text = r->parser.problem != NULL ? r->parser.problem : "unreadable";
    const char *context = r->parser.context != NULL ? r->parser.context : "";
    problem_add(r->problems, r->place, (int)line + 1, "", "not valid YAML: %s %s", text, context);
    return false;
}

static void refuse_anchor_and_tag(Reader *r, const yaml_event_t *event, const yaml_char_t *anchor,
                                  const yaml_char_t *tag) {
    if (anchor != NULL) refuse(r, event, r->path.data, "anchors (&%s) are refused; write the value out", anchor);
    if (tag != NULL) refuse(r, event, r->path.data, "tags (%s) are refused; write a plain value", tag);
}

static json_t *read_scalar(Reader *r, const yaml_event_t *event) {
    const char *text = (const char *)event->data.scalar.value;
    refuse_anchor_and_tag(r, event, event->data.scalar.anchor, event->data.scalar.tag);
    if (strlen(text) != event->data.scalar.length) {
        refuse(r, event, r->path.data, "holds a NUL character");
        return json_null();
    }
    bool plain = event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    json_t *value = plain ? yaml_plain_scalar(text) : json_string(text);
    if (value != NULL) return value;
    refuse(r, event, r->path.data, "'%.40s' does not fit into 64 bits", text);
    return json_null();
}

static void enter(Reader *r, const yaml_event_t *event, const char *key, size_t index) {
    if (key == NULL) buf_printf(&r->path, "[%zu]", index);
    else buf_printf(&r->path, "%s%s", r->path.length > 0 ? "." : "", key);
    if (r->lines != NULL) json_object_set_new(r->lines, r->path.data, json_integer(line_of(event)));
}

static void leave(Reader *r, size_t length) {
    r->path.length = length;
    r->path.data[length] = '\0';
}

static json_t *read_node(Reader *r, const yaml_event_t *event, int depth);

static json_t *read_sequence(Reader *r, int depth) {
    json_t *array = json_array();
    size_t length = r->path.length;
    for (size_t i = 0;; i++) {
        yaml_event_t event;
        if (!next_event(r, &event)) break;
        bool end = event.type == YAML_SEQUENCE_END_EVENT;
        if (!end) enter(r, &event, NULL, i);
        json_t *item = end ? NULL : read_node(r, &event, depth);
        if (is_secret("", json_string_value(item))) refuse(r, &event, r->path.data, SECRET_PROBLEM);
        yaml_event_delete(&event);
        leave(r, length);
        if (end) return array;
        if (item == NULL) break;
        json_array_append_new(array, item);
    }
    json_decref(array);
    return NULL;
}

// The key of a pair; problems are added and "" returned when it cannot be one. NULL: the file cannot be read on.
static const char *check_key(Reader *r, const yaml_event_t *event, const json_t *object) {
    if (event->type != YAML_SCALAR_EVENT) {
        refuse(r, event, r->path.data, "a key must be plain text");
        return NULL;
    }
    const char *key = (const char *)event->data.scalar.value;
    refuse_anchor_and_tag(r, event, event->data.scalar.anchor, event->data.scalar.tag);
    if (json_object_get(object, key) != NULL) refuse(r, event, key, "appears twice; keep one");
    else if (strcmp(key, "<<") == 0) refuse(r, event, key, "merge keys are refused; write the values out");
    else if (strlen(key) == event->data.scalar.length) return key;
    else refuse(r, event, key, "holds a NUL character");
    return "";
}

// Reads the value of `key` and stores it, unless it is a secret.
static bool read_pair(Reader *r, json_t *object, const yaml_event_t *key_event, int depth) {
    const char *key = check_key(r, key_event, object);
    yaml_event_t event;
    if (key == NULL || !next_event(r, &event)) return false;
    size_t length = r->path.length;
    if (key[0] != '\0') enter(r, key_event, key, 0);
    json_t *value = read_node(r, &event, depth);
    yaml_event_delete(&event);
    if (value != NULL && is_secret(key, json_string_value(value))) {
        refuse(r, key_event, r->path.data, SECRET_PROBLEM);
    } else if (value != NULL && key[0] != '\0') {
        json_object_set(object, key, value);
    }
    leave(r, length);
    json_decref(value);
    return value != NULL;
}

static json_t *read_mapping(Reader *r, int depth) {
    json_t *object = json_object();
    for (;;) {
        yaml_event_t event;
        if (!next_event(r, &event)) break;
        bool end = event.type == YAML_MAPPING_END_EVENT;
        bool ok = end || read_pair(r, object, &event, depth);
        yaml_event_delete(&event);
        if (end) return object;
        if (!ok) break;
    }
    json_decref(object);
    return NULL;
}

// The value that starts with `event`, or NULL when the file cannot be read further.
static json_t *read_node(Reader *r, const yaml_event_t *event, int depth) {
    if (depth >= MAX_NESTING) {
        refuse(r, event, "", "nested deeper than %d", MAX_NESTING);
        return NULL;
    }
    switch (event->type) {
    case YAML_SCALAR_EVENT: return read_scalar(r, event);
    case YAML_SEQUENCE_START_EVENT:
        refuse_anchor_and_tag(r, event, event->data.sequence_start.anchor, event->data.sequence_start.tag);
        return read_sequence(r, depth + 1);
    case YAML_MAPPING_START_EVENT:
        refuse_anchor_and_tag(r, event, event->data.mapping_start.anchor, event->data.mapping_start.tag);
        return read_mapping(r, depth + 1);
    case YAML_ALIAS_EVENT:
        refuse(r, event, r->path.data, "aliases (*%s) are refused; write the value out",
               event->data.alias.anchor);
        return json_null();
    default: die("libyaml sent event %d where a value belongs", (int)event->type);
    }
}

// Stream and document events around the one value.
static json_t *read_stream(Reader *r) {
    json_t *value = json_null();
    int documents = 0;
    for (bool end = false; !end && value != NULL;) {
        yaml_event_t event;
        if (!next_event(r, &event)) {
            json_decref(value);
            return NULL;
        }
        end = event.type == YAML_STREAM_END_EVENT;
        if (event.type == YAML_DOCUMENT_START_EVENT && ++documents == 2) {
            refuse(r, &event, "", "a second document begins; a file holds one");
            end = true;
        } else if (event.type != YAML_STREAM_START_EVENT && event.type != YAML_DOCUMENT_START_EVENT &&
                   event.type != YAML_DOCUMENT_END_EVENT && !end) {
            value = read_node(r, &event, 0);
        }
        yaml_event_delete(&event);
    }
    return value;
}

json_t *yaml_parse(const char *text, size_t length, const char *place, json_t *lines, Problems *problems) {
    Reader r = {.place = place, .lines = lines, .problems = problems};
    check(yaml_parser_initialize(&r.parser), "libyaml has no memory");
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text, length);
    buf_text(&r.path, "");
    json_t *value = read_stream(&r);
    yaml_parser_delete(&r.parser);
    buf_free(&r.path);
    return value;
}

json_t *yaml_read_file(const char *path, json_t **lines, Error *e) {
    Buf text = {0};
    if (!file_read(path, YAML_MAX_FILE, &text, e)) {
        if (e != NULL) e->code = EXIT_USAGE;
        buf_free(&text);
        return NULL;
    }
    Problems problems = {0};
    json_t *line_numbers = lines != NULL ? json_object() : NULL;
    json_t *value = yaml_parse(text.data, text.length, path, line_numbers, &problems);
    buf_free(&text);
    if (!problems_report(&problems, e)) {
        json_decref(value);
        json_decref(line_numbers);
        return NULL;
    }
    if (lines != NULL) *lines = line_numbers;
    return value;
}
