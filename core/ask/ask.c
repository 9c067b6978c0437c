// ask: requests to the local engine, group by group, each group's answers durable before the next begins.
// Owns: the text side of a model, the order of groups, resuming. Must not know: what an answer is for, who grades it.
#include "core/ask/ask.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/run.h" // stop_requested

// ---- the model with its text side ----

static bool ends_with(const char *text, const char *ending) {
    size_t n = strlen(text), m = strlen(ending);
    return n >= m && !strcmp(text + n - m, ending);
}

static bool hash_shards(const char *folder, HexDigest *out, Error *e) {
    StrList names = {0};
    Sha256 all;
    sha256_start(&all);
    bool ok = folder_list(folder, &names, e);
    for (size_t i = 0; ok && i < names.count; i++) {
        if (!ends_with(names.items[i], ".safetensors")) continue;
        char *path = path_join(folder, names.items[i]);
        HexDigest one;
        ok = sha256_file(path, &one, e);
        free(path);
        if (!ok) break;
        sha256_add(&all, one.text, strlen(one.text));
        sha256_add(&all, "  ", 2);
        sha256_add(&all, names.items[i], strlen(names.items[i]));
        sha256_add(&all, "\n", 1);
    }
    strlist_free(&names);
    *out = sha256_end(&all);
    return ok;
}

static bool hash_weights(const char *path, HexDigest *out, Error *e) {
    if (!is_folder(path)) return sha256_file(path, out, e);
    char *single = path_join(path, "model.safetensors");
    bool ok = file_exists(single) ? sha256_file(single, out, e) : hash_shards(path, out, e);
    free(single);
    return ok;
}

// "a/b/" -> "b"
static char *folder_name(const char *path) {
    size_t n = strlen(path);
    while (n > 1 && path[n - 1] == '/') n--;
    char *trimmed = xstrndup(path, n), *name = xstrdup(path_base(trimmed));
    free(trimmed);
    return name;
}

static bool make_engine(AskModel *a, int64_t max_context, int64_t max_batch, Error *e) {
    EngineOptions options = {.max_batch = max_batch, .max_context = max_context};
    a->max_context = max_context;
    a->engine = engine_create(a->model, &options, e);
    return a->engine != NULL;
}

static bool open_parts(AskModel *a, const char *path, Error *e) {
    HexDigest weights;
    if (!(a->model = model_load(path, e)) || !hash_weights(path, &weights, e)) return false;
    memcpy(a->sha256, weights.text, sizeof a->sha256);
    if (!(a->tokenizer = tokenizer_load(path, e)) || !(a->chat = chat_load(path, a->tokenizer, e))) return false;
    int64_t ids = tokenizer_vocab_size(a->tokenizer), rows = a->model->config.vocab_size;
    return ids <= rows ||
           fail(e, EXIT_DATA, "%s: the tokenizer has %lld ids, the model %lld embeddings; they do not belong together",
                path, (long long)ids, (long long)rows);
}

bool ask_open(AskModel *a, const char *model_path, int64_t max_batch, int64_t max_context, Error *e) {
    *a = (AskModel){.name = folder_name(model_path), .max_batch = max_batch};
    if (open_parts(a, model_path, e) && (max_context == 0 || make_engine(a, max_context, max_batch, e))) return true;
    ask_close(a);
    return false;
}

void ask_close(AskModel *a) {
    engine_free(a->engine);
    if (a->chat) chat_free(a->chat);
    if (a->tokenizer) tokenizer_free(a->tokenizer);
    model_free(a->model);
    free(a->name);
    *a = (AskModel){0};
}

// ---- names ----

static const char *prompt_id(const AskRequest *r) {
    const char *id = json_string_value(json_object_get(r->prompt, "id"));
    check(id != NULL, "a prompt record without an id; whoever reads prompts checks them");
    return id;
}

void ask_id(const AskModel *a, const AskRequest *r, const AskOptions *o, char out[33]) {
    const Sampling *s = &o->sampling;
    char *text =
        xasprintf("%s/%s/%.17g/%.17g/%lld/%.17g/%.17g/%lld/%llu/%lld/%s", prompt_id(r), a->sha256, s->temperature,
                  s->top_p, (long long)s->top_k, s->min_p, s->repetition_penalty, (long long)s->max_tokens,
                  (unsigned long long)s->seed, (long long)r->sample, o->prefix ? o->prefix : "");
    record_id(text, strlen(text), out);
    free(text);
}

// First 56 bits of the hash of "(prompt id)/(sample)": a stream of its own for each answer, whatever else is asked
// beside it.
static uint64_t stream_of(const AskRequest *r) {
    char *text = xasprintf("%s/%lld", prompt_id(r), (long long)r->sample), id[33];
    record_id(text, strlen(text), id);
    free(text);
    id[14] = '\0';
    return strtoull(id, NULL, 16);
}

// ---- the work ----

typedef struct Work {
    AskModel *a;
    const AskRequest *requests;
    int64_t n;
    const AskOptions *o;
    AskMakeRecord make;
    void *context;
    RecordWriter *out;
    TokenList ids;   // of all prompts, end to end
    int64_t *begin;  // [n] into ids
    int64_t *length; // [n]
    int64_t longest; // request with the longest prompt
    int32_t stop[2];
    int64_t n_stop;
    int64_t finished, tokens; // answers committed; tokens generated now
    Progress progress;
    double started;
} Work;

static bool encode(Work *w, const json_t *prompt, const char *place, Error *e) {
    const json_t *array = json_object_get(prompt, "messages");
    size_t room = json_array_size(array), n;
    ChatMessage *messages = xcalloc(room + 1, sizeof *messages);
    bool ok = chat_messages(array, place, messages, room + 1, &n, e);
    if (ok && !chat_encode(w->a->chat, messages, n, true, w->o->prefix, &w->ids, NULL, e)) ok = fail_in(e, "%s", place);
    free(messages);
    return ok;
}

static bool encode_all(Work *w, Error *e) {
    w->begin = xcalloc((size_t)w->n, sizeof *w->begin);
    w->length = xcalloc((size_t)w->n, sizeof *w->length);
    for (int64_t i = 0; i < w->n; i++) {
        bool again = i > 0 && w->requests[i].prompt == w->requests[i - 1].prompt;
        w->begin[i] = again ? w->begin[i - 1] : (int64_t)w->ids.count;
        char *place = again ? NULL : xasprintf("prompt %s", prompt_id(&w->requests[i]));
        bool ok = again || encode(w, w->requests[i].prompt, place, e);
        free(place);
        if (!ok) return false;
        w->length[i] = (int64_t)w->ids.count - w->begin[i];
        if (w->length[i] > w->length[w->longest]) w->longest = i;
    }
    return true;
}

static bool ready_engine(Work *w, Error *e) {
    AskModel *a = w->a;
    int64_t longest = w->length[w->longest],
            limit = a->engine ? a->max_context : a->model->config.max_position_embeddings;
    int64_t want = longest + w->o->sampling.max_tokens;
    if (longest + 1 > limit)
        return fail(
            e, EXIT_DATA,
            "prompt %s: %lld tokens, the context holds %lld and the answer needs one; shorten it or leave it out",
            prompt_id(&w->requests[w->longest]), (long long)longest, (long long)limit);
    if (want > limit)
        log_warn("%s: a prompt of %lld tokens and max_tokens %lld pass the context of %lld: such answers end there, as "
                 "\"length\"",
                 w->o->stage, (long long)longest, (long long)w->o->sampling.max_tokens, (long long)limit);
    return a->engine || make_engine(a, MIN(want, limit), MIN(MIN(a->max_batch, w->o->group), w->n), e);
}

static void set_stop_tokens(Work *w) {
    int32_t end = chat_end_token(w->a->chat), eos = w->a->model->config.eos_token_id;
    if (end >= 0) w->stop[w->n_stop++] = end;
    if (eos >= 0 && eos != end) w->stop[w->n_stop++] = eos;
}

// How many answers the file already holds. They must be the first of the requests, whole groups of them.
static bool count_answers(Work *w, const char *path, Error *e) {
    RecordReader *r = record_open(path, e);
    if (!r) return false;
    json_t *record;
    int got = 1;
    while (got == 1 && (got = record_next(r, &record, e)) == 1) {
        char expected[33];
        const char *id = json_string_value(json_object_get(record, "id"));
        if (w->finished < w->n) ask_id(w->a, &w->requests[w->finished], w->o, expected);
        if (w->finished >= w->n || !id || strcmp(id, expected)) {
            fail(e, EXIT_DATA,
                 "%s: record %lld is not the answer to request %lld; it was asked with other prompts, model or "
                 "sampling. "
                 "Give another folder, or --overwrite",
                 path, (long long)record_index(r), (long long)w->finished + 1);
            got = -1;
        }
        w->finished += got == 1;
        json_decref(record);
    }
    record_reader_close(r);
    if (got < 0) return false;
    return w->finished == w->n || w->finished % w->o->group == 0 ||
           fail(e, EXIT_DATA,
                "%s: holds %lld answers, no multiple of the group of %lld; give another folder, or --overwrite", path,
                (long long)w->finished, (long long)w->o->group);
}

static bool on_step(void *context, int64_t done, int64_t tokens) {
    Work *w = context;
    char note[64];
    snprintf(note, sizeof note, "%.0f tok/s", (double)(w->tokens + tokens) / (now_seconds() - w->started + 1e-9));
    progress_update(&w->progress, (double)(w->finished + done), note);
    return !stop_requested();
}

// Prefix and answer as text; a zero byte, which texts in JSON cannot carry safely, becomes U+FFFD.
static void answer_text(const Work *w, const GenResult *result, Buf *out) {
    Buf decoded = {0};
    tokenizer_decode(w->a->tokenizer, result->tokens, (size_t)(result->n_tokens - result->stopped), true, &decoded);
    buf_text(out, w->o->prefix ? w->o->prefix : "");
    for (size_t at = 0; at < decoded.length;) {
        size_t n = strlen(decoded.data + at);
        buf_add(out, decoded.data + at, n);
        at += n + 1;
        if (at <= decoded.length) buf_text(out, "\xEF\xBF\xBD");
    }
    buf_free(&decoded);
}

static bool write_answer(Work *w, int64_t i, const GenResult *result, Error *e) {
    const AskRequest *request = &w->requests[i];
    Buf text = {0};
    char id[33];
    ask_id(w->a, request, w->o, id);
    answer_text(w, result, &text);
    json_t *record = w->make(w->context, request, id, text.data, result, e);
    buf_free(&text);
    if (!record) return false;
    const char *written = json_string_value(json_object_get(record, "id"));
    check(written && !strcmp(written, id), "the record of answer %s has another id", id);
    bool ok = record_write(w->out, record, e);
    json_decref(record);
    return ok;
}

static void set_requests(const Work *w, int64_t begin, int64_t n, GenRequest *to) {
    for (int64_t i = 0; i < n; i++)
        to[i] = (GenRequest){.prompt = w->ids.items + w->begin[begin + i],
                             .n_prompt = w->length[begin + i],
                             .sampling = w->o->sampling,
                             .stream = stream_of(&w->requests[begin + i]),
                             .stop_tokens = w->stop,
                             .n_stop = w->n_stop};
}

static void log_group(const Work *w) {
    double seconds = now_seconds() - w->started;
    log_event("progress", json_pack("{s:s, s:I, s:I, s:I, s:f}", "unit", w->o->unit, "done", (json_int_t)w->finished,
                                    "total", (json_int_t)w->n, "tokens", (json_int_t)w->tokens, "tok_per_sec",
                                    (double)w->tokens / (seconds + 1e-9)));
}

static bool ask_group(Work *w, Error *e) {
    int64_t begin = w->finished, n = MIN(w->o->group, w->n - begin);
    GenRequest *requests = xcalloc((size_t)n, sizeof *requests);
    GenResult *results = xcalloc((size_t)n, sizeof *results);
    GenWatch watch = {.on_step = on_step, .context = w};
    set_requests(w, begin, n, requests);
    bool ok = engine_generate(w->a->engine, requests, n, results, &watch, e);
    for (int64_t i = 0; ok && i < n; i++)
        if (!results[i].tokens) ok = fail(e, EXIT_STOPPED, "stopped; run the same command again to go on");
    for (int64_t i = 0; ok && i < n; i++) ok = write_answer(w, begin + i, &results[i], e);
    ok = ok && record_commit(w->out, e);
    if (ok) {
        w->finished += n;
        for (int64_t i = 0; i < n; i++) w->tokens += results[i].n_tokens;
        log_group(w);
    }
    for (int64_t i = 0; i < n; i++) gen_result_free(&results[i]);
    free(results);
    free(requests);
    return ok;
}

static bool ask_groups(Work *w, Error *e) {
    if (w->finished < w->n && !ready_engine(w, e)) return false;
    w->started = now_seconds();
    progress_start(&w->progress, w->o->stage, w->o->unit, (double)w->n, (double)w->finished);
    bool ok = true;
    while (ok && w->finished < w->n) {
        if (stop_requested()) ok = fail(e, EXIT_STOPPED, "stopped; run the same command again to go on");
        ok = ok && ask_group(w, e);
    }
    progress_end(&w->progress, NULL);
    return ok;
}

bool ask_all(AskModel *a, const AskRequest *requests, int64_t n, const AskOptions *o, const char *out_path,
             AskMakeRecord make, void *context, int64_t *tokens, Error *e) {
    check(o->group >= 1, "a group of %lld requests", (long long)o->group);
    Work w = {.a = a, .requests = requests, .n = n, .o = o, .make = make, .context = context};
    int64_t cut = 0;
    set_stop_tokens(&w);
    bool ok = encode_all(&w, e) && (w.out = record_append(out_path, &cut, e)) != NULL;
    if (ok && cut)
        log_warn("%s: %lld bytes of an unfinished group were cut off; it is asked again", out_path, (long long)cut);
    ok = ok && count_answers(&w, out_path, e) && ask_groups(&w, e);
    if (ok)
        ok = record_close(w.out, e);
    else
        record_abandon(w.out); // what a failed group left in it must not be committed
    *tokens = w.tokens;
    tokens_free(&w.ids);
    free(w.begin);
    free(w.length);
    return ok;
}
