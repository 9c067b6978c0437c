// ask: a request goes to a model, its answer is durable when it arrives. For distill (traces), datagen (rewrites) and
// eval. Work is cut into groups of fixed composition; a group's answers are written and committed as one frame, so that
// a restart redoes at most one group and ends in the same bytes as a run that was never stopped.
#pragma once
#include "core/data/chat.h"
#include "core/data/record.h"
#include "core/model/infer.h"

typedef struct AskModel { // the local engine with its text side
    Model *model;
    Tokenizer *tokenizer;
    ChatTemplate *chat;
    Engine *engine;
    char *name;      // for the record: folder name
    char sha256[65]; // of the weights file; of "<sha256>  <name>" lines when the weights are in several files
    int64_t max_batch, max_context;
} AskModel;
// max_context 0: ask_all makes the engine for its requests: the longest prompt + max_tokens, at most the model's
// context.
bool ask_open(AskModel *a, const char *model_path, int64_t max_batch, int64_t max_context, Error *e);
void ask_close(AskModel *a);

typedef struct AskRequest {
    const json_t *prompt; // a prompt record: {"id","messages",...}; borrowed
    int64_t sample;       // 0 .. n-1
} AskRequest;

typedef struct AskOptions {
    Sampling sampling;        // seed: the run's; the stream of a request is derived from (prompt id, sample)
    const char *prefix;       // forced start of the answer ("<think>\n") or NULL
    int64_t group;            // requests per group (and per frame)
    const char *stage, *unit; // for the progress line
} AskOptions;

// Turns a finished generation into a record ("trace", "document", ...) whose "id" is `id`, by which a restart knows it
// again; returns a new reference or NULL + error. text: prefix + answer without its end token and without special
// tokens; NUL-terminated.
typedef json_t *(*AskMakeRecord)(void *context, const AskRequest *request, const char *id, const char *text,
                                 const GenResult *result, Error *e);
// Asks all requests whose group is not yet in `out_path` (a record file, resumed: committed groups are skipped, a torn
// tail is cut). Progress line; a stop signal drops the group at work (returns false with EXIT_STOPPED). *tokens
// receives tokens generated now. Every prompt is encoded and measured before the first is asked; one that does not fit
// is an error that names it.
bool ask_all(AskModel *a, const AskRequest *requests, int64_t n, const AskOptions *o, const char *out_path,
             AskMakeRecord make, void *context, int64_t *tokens, Error *e);
// id of the answer: hash of prompt id, model sha256, sampling, seed, sample.
void ask_id(const AskModel *a, const AskRequest *r, const AskOptions *o, char out[33]);
