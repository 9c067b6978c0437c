// chat: a conversation with one model: on a terminal with a prompt and dimmed thinking, else line by line from stdin.
#include "tools/tools.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/talk.h"

typedef struct ChatConfig {
#define CFG_FILE "tools/chat.def"
#include "core/base/config_struct.h"
} ChatConfig;

static const ConfigRow chat_rows[] = {
#define CFG_FILE "tools/chat.def"
#define CFG_STRUCT ChatConfig
#include "core/base/config_rows.h"
};
const ConfigTable chat_table = CONFIG_TABLE(chat_rows, ChatConfig);

typedef struct Conversation {
    const ChatConfig *config;
    Talk talk;
    StrList turns; // user, assistant, user, ...
    TalkView view;
    bool on_terminal;
} Conversation;

static volatile sig_atomic_t interrupted;

static void on_interrupt(int number) { interrupted = 1; }
static bool was_interrupted(void *context) { return interrupted; }

// Ctrl-C ends the answer that is being written; at the prompt it ends the program as usual.
static void catch_interrupts(bool on) {
    struct sigaction action = {.sa_handler = on ? on_interrupt : SIG_DFL};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    interrupted = 0;
}

static void print_piece(void *context, const char *text, size_t length) {
    Conversation *c = context;
    Buf shown = {0};
    view_piece(&c->view, text, length, &shown);
    fwrite(shown.data, 1, shown.length, stdout);
    fflush(stdout);
    buf_free(&shown);
}

static bool encode(const Conversation *c, TokenList *ids, Error *e) {
    size_t n = 0;
    ChatMessage *messages = xcalloc(c->turns.count + 1, sizeof *messages);
    if (c->config->system[0]) messages[n++] = (ChatMessage){"system", c->config->system};
    for (size_t i = 0; i < c->turns.count; i++)
        messages[n++] = (ChatMessage){i % 2 ? "assistant" : "user", c->turns.items[i]};
    ids->count = 0;
    bool ok =
        chat_encode(c->talk.chat, messages, n, true, c->config->prefix[0] ? c->config->prefix : NULL, ids, NULL, e);
    free(messages);
    return ok;
}

static void forget(StrList *turns, size_t first, size_t n) {
    for (size_t i = first; i < first + n; i++) free(turns->items[i]);
    memmove(turns->items + first, turns->items + first + n, (turns->count - first - n) * sizeof *turns->items);
    turns->count -= n;
}

// The conversation as tokens; the oldest turns go when it does not fit any more, and that is said.
static bool encode_fitting(Conversation *c, TokenList *ids, Error *e) {
    if (!encode(c, ids, e)) return false;
    while ((int64_t)ids->count >= c->talk.context && c->turns.count > 2) {
        log_warn("the context of %lld tokens is full: the oldest question and answer are forgotten",
                 (long long)c->talk.context);
        forget(&c->turns, 0, 2);
        if (!encode(c, ids, e)) return false;
    }
    return true;
}

static bool answer(Conversation *c, Error *e) {
    TokenList ids = {0};
    Buf text = {0}, rest = {0};
    TalkStats stats;
    TalkWatch watch = {.piece = print_piece, .stop = was_interrupted, .context = c};
    Sampling sampling = SAMPLING_OF(c->config);
    const char *prefix = c->config->prefix;
    buf_text(&text, prefix);
    catch_interrupts(true);
    c->view = (TalkView){.styled = c->on_terminal && terminal_styled(STDOUT_FILENO)};
    if (prefix[0]) print_piece(c, prefix, strlen(prefix));
    bool ok = encode_fitting(c, &ids, e) && talk_answer(&c->talk, &ids, &sampling, &watch, &text, &stats, e);
    catch_interrupts(false);
    view_end(&c->view, &rest);
    printf("%s\n", rest.data ? rest.data : "");
    if (ok) strlist_add(&c->turns, text.data);
    if (ok && c->on_terminal) log_info("(%lld tokens, %.1f tok/s)", (long long)stats.tokens, talk_speed(&stats));
    tokens_free(&ids);
    buf_free(&text), buf_free(&rest);
    return ok;
}

typedef enum Said { SAID_TEXT, SAID_DONE, SAID_NOTHING } Said;

// What a line means. Commands begin with '/'.
static Said understand(Conversation *c, const char *line) {
    if (!line[0]) return SAID_NOTHING;
    if (line[0] != '/') return SAID_TEXT;
    if (!strcmp(line, "/exit")) return SAID_DONE;
    if (!strcmp(line, "/reset")) {
        forget(&c->turns, 0, c->turns.count);
        log_info("the conversation begins anew");
    } else {
        log_info("%s/exit ends, /reset forgets the conversation, /help shows this; Ctrl-C stops an answer",
                 strcmp(line, "/help") ? "unknown command; " : "");
    }
    return SAID_NOTHING;
}

static bool converse(Conversation *c, Error *e) {
    char *line = NULL;
    size_t capacity = 0;
    for (;;) {
        if (c->on_terminal) printf("> "), fflush(stdout);
        ssize_t n = getline(&line, &capacity, stdin);
        if (n < 0) break;
        while (n > 0 && (line[n - 1] == '\n' || line[n - 1] == '\r')) line[--n] = 0;
        Said said = understand(c, line);
        if (said == SAID_DONE) break;
        if (said == SAID_NOTHING) continue;
        strlist_add(&c->turns, line);
        if (answer(c, e)) continue;
        if (!c->on_terminal) {
            free(line);
            return false;
        }
        log_warn("%s", e->text); // such as a line too long for the context: the conversation can go on without it
        forget(&c->turns, c->turns.count - 1, 1);
    }
    free(line);
    return true;
}

int chat_command(const void *config, const Options *options, Error *e) {
    Conversation c = {.config = config, .on_terminal = isatty(STDIN_FILENO) && isatty(STDOUT_FILENO)};
    if (options->dry_run) {
        printf("talks with %s, context %lld tokens\n", c.config->model, (long long)c.config->max_context);
        return EXIT_OK;
    }
    bool ok = talk_open(&c.talk, c.config->model, false, e) && talk_engine(&c.talk, c.config->max_context, e);
    if (ok && c.on_terminal)
        log_info("%s, context %lld tokens; /help for commands", c.config->model, (long long)c.talk.context);
    ok = ok && converse(&c, e);
    talk_close(&c.talk);
    strlist_free(&c.turns);
    return ok ? EXIT_OK : e->code;
}
