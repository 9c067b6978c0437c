// talk: one loaded model answering one request at a time, streamed as whole code points; and the view of it on a
// terminal.
#pragma once
#include "core/data/chat.h"
#include "core/model/infer.h"

typedef struct Talk {
    Model *model;
    Tokenizer *tokenizer;
    ChatTemplate *chat; // NULL when opened raw
    Engine *engine;
    int64_t context; // tokens the engine has room for
} Talk;
// The model with its text side; no engine yet. raw: no chat template needed. On failure nothing needs talk_close.
bool talk_open(Talk *t, const char *path, bool raw, Error *e);
// Room for `context` tokens, at most what the model can.
bool talk_engine(Talk *t, int64_t context, Error *e);
void talk_close(Talk *t);

typedef struct TalkWatch {
    void (*piece)(void *context, const char *text, size_t length); // whole code points, special tokens left out
    bool (*stop)(void *context);                                   // may be NULL
    void *context;
} TalkWatch;
typedef struct TalkStats {
    int64_t prompt_tokens, tokens;
    double prompt_seconds, decode_seconds; // up to the first token; after it
    bool stopped;                          // by a stop token; false = length or the person
} TalkStats;
// Appends the answer's text to `text`.
bool talk_answer(Talk *t, const TokenList *prompt, const Sampling *sampling, const TalkWatch *watch, Buf *text,
                 TalkStats *stats, Error *e);
double talk_speed(const TalkStats *s); // decoded tokens per second, 0 when too few

// What a person sees: thinking dimmed, its tags hidden, control characters removed (tools/text.h). Plain: the text as
// it is, but for control characters.
typedef struct TalkView {
    bool styled;   // on a terminal, with colours allowed
    bool thinking; // between <think> and </think>
    char held[16]; // what may become a tag
    size_t n_held;
} TalkView;
void view_piece(TalkView *v, const char *text, size_t length, Buf *out);
void view_end(TalkView *v, Buf *out); // what was held back, and the end of dimming
bool terminal_styled(int descriptor); // a terminal and no NO_COLOR

#define SAMPLING_OF(c)                                                                                                 \
    (Sampling) {                                                                                                       \
        .temperature = (c)->temperature, .top_p = (c)->top_p, .top_k = (c)->top_k, .min_p = (c)->min_p,                \
        .repetition_penalty = (c)->repetition_penalty, .max_tokens = (c)->max_tokens, .seed = (uint64_t)(c)->seed      \
    }
