// generate: one prompt, one answer: text on stdout as it comes, numbers on stderr.
#include "tools/tools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/talk.h"
#include "tools/text.h"

typedef struct GenerateConfig {
#define CFG_FILE "tools/generate.def"
#include "core/base/config_struct.h"
} GenerateConfig;

static const ConfigRow generate_rows[] = {
#define CFG_FILE "tools/generate.def"
#define CFG_STRUCT GenerateConfig
#include "core/base/config_rows.h"
};
const ConfigTable generate_table = CONFIG_TABLE(generate_rows, GenerateConfig);

enum { MAX_PROMPT = 16 << 20 };

typedef struct Printer {
    TalkView view;
    bool silent; // --json: the text is printed at the end
} Printer;

static void print_piece(void *context, const char *text, size_t length) {
    Printer *p = context;
    Buf shown = {0};
    if (p->silent) return;
    // A pipe gets the bytes as the model made them; only a terminal must be protected.
    if (isatty(STDOUT_FILENO))
        view_piece(&p->view, text, length, &shown);
    else
        buf_add(&shown, text, length);
    fwrite(shown.data, 1, shown.length, stdout);
    fflush(stdout);
    buf_free(&shown);
}

static bool stop_asked(void *context) { return stop_requested(); }

static bool read_stdin(Buf *text, Error *e) {
    char part[4096];
    if (isatty(STDIN_FILENO)) log_info("type the prompt; end it with Ctrl-D");
    for (size_t n; (n = fread(part, 1, sizeof part, stdin)) > 0;) {
        if (text->length + n > MAX_PROMPT)
            return fail(e, EXIT_USAGE, "stdin: the prompt is longer than %d MiB", MAX_PROMPT >> 20);
        buf_add(text, part, n);
    }
    while (text->length && text->data[text->length - 1] == '\n') text->data[--text->length] = 0;
    if (!text->length) return fail(e, EXIT_USAGE, "no prompt: give prompt=\"...\" or text on stdin");
    if (memchr(text->data, 0, text->length)) return fail(e, EXIT_DATA, "stdin: the prompt holds a NUL byte");
    return true;
}

static bool encode(const GenerateConfig *c, const Talk *t, const char *prompt, TokenList *ids, Error *e) {
    if (c->raw) {
        tokenizer_encode(t->tokenizer, prompt, strlen(prompt), true, ids);
        return true;
    }
    ChatMessage messages[2];
    size_t n = 0;
    if (c->system[0]) messages[n++] = (ChatMessage){"system", c->system};
    messages[n++] = (ChatMessage){"user", prompt};
    return chat_encode(t->chat, messages, n, true, c->prefix[0] ? c->prefix : NULL, ids, NULL, e);
}

static void print_json(const Buf *text, const TalkStats *s) {
    Buf valid = {0}, line = {0};
    text_valid(text->data, text->length, &valid);
    json_t *o = json_pack("{s:s, s:I, s:I, s:f, s:s}", "text", valid.data, "prompt_tokens",
                          (json_int_t)s->prompt_tokens, "tokens", (json_int_t)s->tokens, "tok_per_sec", talk_speed(s),
                          "finish_reason", s->stopped ? "stop" : "length");
    json_write(&line, o, 0, false);
    puts(line.data);
    buf_free(&line), buf_free(&valid);
    json_decref(o);
}

static bool answer(const GenerateConfig *c, Talk *t, const TokenList *ids, bool as_json, Error *e) {
    Printer printer = {.view = {.styled = terminal_styled(STDOUT_FILENO)}, .silent = as_json};
    TalkWatch watch = {.piece = print_piece, .stop = stop_asked, .context = &printer};
    TalkStats stats;
    Buf text = {0}, rest = {0};
    Sampling sampling = SAMPLING_OF(c);
    buf_text(&text, c->prefix); // it is part of the answer
    print_piece(&printer, c->prefix, strlen(c->prefix));
    bool ok = talk_engine(t, (int64_t)ids->count + c->max_tokens, e) &&
              talk_answer(t, ids, &sampling, &watch, &text, &stats, e);
    if (ok && as_json) print_json(&text, &stats);
    if (ok && !as_json) {
        view_end(&printer.view, &rest);
        printf("%s\n", rest.data ? rest.data : "");
        log_info("prompt %lld tokens in %.2f s; answer %lld tokens%s, %.1f tok/s", (long long)stats.prompt_tokens,
                 stats.prompt_seconds, (long long)stats.tokens, stats.stopped ? "" : " (cut off)", talk_speed(&stats));
    }
    buf_free(&text), buf_free(&rest);
    if (ok && stop_requested()) return fail(e, EXIT_STOPPED, "stopped on request");
    return ok;
}

int generate_command(const void *config, const Options *options, Error *e) {
    const GenerateConfig *c = config;
    if (c->raw && (c->prefix[0] || c->system[0]))
        return fail(e, EXIT_USAGE, "raw: true continues the prompt alone; leave out prefix and system"), EXIT_USAGE;
    if (options->dry_run) {
        printf("answers one prompt with %s, at most %lld tokens\n", c->model, (long long)c->max_tokens);
        return EXIT_OK;
    }
    Talk talk = {0};
    TokenList ids = {0};
    Buf prompt = {0};
    buf_text(&prompt, c->prompt);
    bool ok = (prompt.length || read_stdin(&prompt, e)) && talk_open(&talk, c->model, c->raw, e);
    stop_install();
    ok = ok && encode(c, &talk, prompt.data, &ids, e) && answer(c, &talk, &ids, options->json, e);
    talk_close(&talk);
    tokens_free(&ids);
    buf_free(&prompt);
    return ok ? EXIT_OK : e->code;
}
