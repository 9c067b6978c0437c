#include "tools/talk.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "tools/text.h"

bool talk_open(Talk *t, const char *path, bool raw, Error *e) {
    *t = (Talk){0};
    t->tokenizer = tokenizer_load(path, e);
    if (t->tokenizer && !raw) t->chat = chat_load(path, t->tokenizer, e);
    if (t->tokenizer && (raw || t->chat)) t->model = model_load(path, e);
    if (!t->model) talk_close(t);
    return t->model != NULL;
}

bool talk_engine(Talk *t, int64_t context, Error *e) {
    t->context = MIN(context, t->model->config.max_position_embeddings);
    t->engine = engine_create(t->model, &(EngineOptions){.max_batch = 1, .max_context = t->context}, e);
    return t->engine != NULL;
}

void talk_close(Talk *t) {
    if (t->engine) engine_free(t->engine);
    if (t->model) model_free(t->model);
    if (t->chat) chat_free(t->chat);
    if (t->tokenizer) tokenizer_free(t->tokenizer);
    *t = (Talk){0};
}

typedef struct Stream {
    const Talk *talk;
    const TalkWatch *watch;
    TalkStats *stats;
    DecodeStream decode;
    Buf *text;
    double begin, first;
} Stream;

static bool on_token(void *context, int64_t request, int32_t token) {
    Stream *s = context;
    size_t before = s->text->length;
    if (s->stats->tokens++ == 0) s->first = now_seconds();
    tokenizer_stream(s->talk->tokenizer, &s->decode, token, true, s->text);
    if (s->text->length > before) s->watch->piece(s->watch->context, s->text->data + before, s->text->length - before);
    return !s->watch->stop || !s->watch->stop(s->watch->context);
}

bool talk_answer(Talk *t, const TokenList *prompt, const Sampling *sampling, const TalkWatch *watch, Buf *text,
                 TalkStats *stats, Error *e) {
    if ((int64_t)prompt->count >= t->context)
        return fail(e, EXIT_USAGE, "the prompt has %zu tokens, but the context holds %lld; shorten it", prompt->count,
                    (long long)t->context);
    int32_t ends[2];
    int64_t n_ends = 0;
    if (t->chat) ends[n_ends++] = chat_end_token(t->chat);
    if (t->model->config.eos_token_id >= 0) ends[n_ends++] = t->model->config.eos_token_id;
    *stats = (TalkStats){.prompt_tokens = (int64_t)prompt->count};
    Stream stream = {.talk = t, .watch = watch, .stats = stats, .text = text, .begin = now_seconds()};
    GenRequest request = {.prompt = prompt->items,
                          .n_prompt = (int64_t)prompt->count,
                          .sampling = *sampling,
                          .stop_tokens = ends,
                          .n_stop = n_ends};
    GenResult result = {0};
    GenWatch gen_watch = {.on_token = on_token, .context = &stream};
    bool ok = engine_generate(t->engine, &request, 1, &result, &gen_watch, e);
    double end = now_seconds();
    if (stats->tokens == 0) stream.first = end;
    stats->prompt_seconds = stream.first - stream.begin;
    stats->decode_seconds = end - stream.first;
    stats->stopped = ok && result.tokens && result.stopped;
    gen_result_free(&result);
    return ok;
}

double talk_speed(const TalkStats *s) {
    return s->tokens > 1 && s->decode_seconds > 0 ? (double)(s->tokens - 1) / s->decode_seconds : 0;
}

// ---- the view ----

static const char dim[] = "\033[2m", normal[] = "\033[0m";

static void show(TalkView *v, const char *text, size_t length, Buf *out) { text_for_terminal(text, length, out); }

// Text is held back while it may be the beginning of the tag that would end the present state.
void view_piece(TalkView *v, const char *text, size_t length, Buf *out) {
    if (!v->styled) {
        show(v, text, length, out);
        return;
    }
    size_t plain = 0; // begin of what is known to be no tag
    for (size_t i = 0; i < length; i++) {
        const char *tag = v->thinking ? "</think>" : "<think>";
        if (v->n_held && tag[v->n_held] != text[i]) {
            show(v, v->held, v->n_held, out);
            v->n_held = 0, plain = i;
        }
        if (tag[v->n_held] != text[i]) continue;
        if (v->n_held == 0) show(v, text + plain, i - plain, out);
        v->held[v->n_held++] = text[i];
        plain = i + 1;
        if (tag[v->n_held]) continue;
        buf_text(out, v->thinking ? normal : dim);
        v->thinking = !v->thinking, v->n_held = 0;
    }
    if (v->n_held == 0) show(v, text + plain, length - plain, out);
}

void view_end(TalkView *v, Buf *out) {
    show(v, v->held, v->n_held, out);
    if (v->styled && v->thinking) buf_text(out, normal);
    *v = (TalkView){.styled = v->styled};
}

bool terminal_styled(int descriptor) {
    const char *no_colour = getenv("NO_COLOR");
    return isatty(descriptor) && !(no_colour && no_colour[0]);
}
