// generate: the schedule: which request sits in which slot, what is prefilled when, whose token is drawn. A pure
// function of the list of requests and the options. Must not know: how a layer computes (infer.c), how a token is
// chosen (sample.c), what text is.
//
// Continuous batching: all sequences that sit in a slot decode one token a step. Slots that fall free are refilled
// together, an eighth of the batch at a time, so that prefill stays a large matrix product. A prompt whose keys are
// still in some slot's cache (the other samples of the same prompt) is copied from there instead of being computed
// again.
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/thread.h"
#include "core/model/engine.h"

typedef struct Slot {
    int64_t request;    // in the list
    int64_t length;     // tokens of prompt and answer so far
    int64_t cached;     // request whose prompt stands at the front of this slot's cache, or -1
    int64_t copy_from;  // slot to take the prompt from once it is computed, or -1
    bool active, fresh; // fresh: admitted in this round, prompt not yet in the cache
} Slot;

typedef struct Schedule {
    Engine *g;
    const GenRequest *requests;
    int64_t n, next, n_active, done, tokens;
    GenResult *results;
    const GenWatch *watch;
    Slot *slots; // [max_batch]
    bool stopped;
} Schedule;

void gen_result_free(GenResult *r) {
    free(r->tokens);
    free(r->logprobs);
    *r = (GenResult){0};
}

// ---- requests are checked before anything runs ----

static bool refuse(Error *e, int64_t request, const char *what, double value, const char *expected) {
    return fail(e, EXIT_USAGE, "request %lld: %s: %g; expected %s", (long long)request, what, value, expected);
}

static bool check_sampling(const Sampling *s, int64_t i, Error *e) {
    if (!(s->temperature >= 0 && s->temperature < 1e6))
        return refuse(e, i, "temperature", s->temperature, "0 (greedy) or more");
    if (!(s->top_p > 0 && s->top_p <= 1)) return refuse(e, i, "top_p", s->top_p, "above 0, at most 1 (off)");
    if (s->top_k < 0) return refuse(e, i, "top_k", (double)s->top_k, "0 (off) or more");
    if (!(s->min_p >= 0 && s->min_p <= 1)) return refuse(e, i, "min_p", s->min_p, "0 (off) to 1");
    if (!(s->repetition_penalty > 0 && s->repetition_penalty < 1e6))
        return refuse(e, i, "repetition_penalty", s->repetition_penalty, "above 0; 1 is off");
    return s->max_tokens >= 1 || refuse(e, i, "max_tokens", (double)s->max_tokens, "at least 1");
}

static bool check_requests(const Engine *g, const GenRequest *requests, int64_t n, Error *e) {
    int64_t V = g->model->config.vocab_size, room = g->options.max_context - 1;
    for (int64_t i = 0; i < n; i++) {
        const GenRequest *r = &requests[i];
        if (r->n_prompt < 1) return refuse(e, i, "prompt tokens", (double)r->n_prompt, "at least 1");
        if (r->n_prompt > room)
            return fail(
                e, EXIT_DATA,
                "request %lld: the prompt has %lld tokens, the context of %lld leaves room for %lld; shorten it or "
                "raise the context",
                (long long)i, (long long)r->n_prompt, (long long)g->options.max_context, (long long)room);
        for (int64_t t = 0; t < r->n_prompt; t++)
            if (r->prompt[t] < 0 || r->prompt[t] >= V)
                return fail(e, EXIT_DATA, "request %lld: token %lld is %d; the model's vocabulary has %lld",
                            (long long)i, (long long)t, r->prompt[t], (long long)V);
        if (!check_sampling(&r->sampling, i, e)) return false;
    }
    return true;
}

// ---- admission and prefill ----

static bool same_prompt(const GenRequest *a, const GenRequest *b) {
    if (a->n_prompt != b->n_prompt) return false;
    return a->prompt == b->prompt || !memcmp(a->prompt, b->prompt, (size_t)a->n_prompt * sizeof *a->prompt);
}

// A slot that holds, or in this round will hold, the prompt; its own slot first. -1: none.
static int64_t find_prompt(const Schedule *s, int64_t own, const GenRequest *r) {
    const Slot *slots = s->slots;
    if (slots[own].cached >= 0 && same_prompt(&s->requests[slots[own].cached], r)) return own;
    for (int64_t i = 0; i < s->g->options.max_batch; i++)
        if (slots[i].cached >= 0 && same_prompt(&s->requests[slots[i].cached], r)) return i;
    return -1;
}

static void admit(Schedule *s, int64_t i) {
    Slot *slot = &s->slots[i];
    const GenRequest *r = &s->requests[s->next];
    int64_t from = find_prompt(s, i, r);
    slot->copy_from = -1;
    slot->fresh = from < 0;
    if (from >= 0 && from != i) {
        if (s->slots[from].fresh)
            slot->copy_from = from;
        else
            engine_copy_prompt(s->g, i, from, r->n_prompt);
    }
    slot->request = slot->cached = s->next++;
    slot->length = r->n_prompt;
    slot->active = true;
    s->n_active++;
    memcpy(s->g->history + i * s->g->options.max_context, r->prompt, (size_t)r->n_prompt * sizeof(int32_t));
}

// Tokens [from, to) of a slot's prompt become rows of the next step.
static int64_t add_rows(Engine *g, int64_t slot, int64_t from, int64_t to, int64_t row) {
    const int32_t *history = g->history + slot * g->options.max_context;
    for (int64_t t = from; t < to; t++, row++) {
        g->tokens[row] = history[t];
        g->positions[row] = (int32_t)t;
        g->slots[row] = (int32_t)slot;
    }
    return row;
}

static void keep_prompt_end(Engine *g, int64_t slot, int64_t row) {
    int64_t C = g->model->config.hidden_size;
    memcpy(g->prompt_end + slot * C, g->x + row * C, (size_t)C * sizeof(float));
}

// A prompt longer than a step: a first piece as a document of its own, the others against the cache.
static void prefill_long(Engine *g, int64_t slot, int64_t length) {
    for (int64_t from = 0; from < length; from += ENGINE_CHUNK) {
        int64_t to = MIN(length, from + ENGINE_CHUNK), rows = add_rows(g, slot, from, to, 0);
        g->starts[0] = 0, g->starts[1] = (int32_t)rows;
        engine_step(g, rows, from == 0);
        if (to == length) keep_prompt_end(g, slot, rows - 1);
    }
}

// As many whole prompts of the fresh slots from *slot on as fit into one step.
static void prefill_some(Schedule *s, int64_t *slot) {
    Engine *g = s->g;
    int64_t rows = 0, n_docs = 0, begin = *slot, i = begin;
    for (; i < g->options.max_batch; i++) {
        int64_t length = s->slots[i].length;
        if (!s->slots[i].fresh) continue;
        if (length > ENGINE_CHUNK && n_docs == 0) {
            prefill_long(g, i, length);
            *slot = i + 1;
            return;
        }
        if (rows + length > ENGINE_CHUNK) break;
        g->starts[n_docs++] = (int32_t)rows;
        rows = add_rows(g, i, 0, length, rows);
    }
    *slot = i;
    if (n_docs == 0) return;
    g->starts[n_docs] = (int32_t)rows;
    engine_step(g, rows, n_docs);
    for (int64_t d = 0; d < n_docs; d++) keep_prompt_end(g, g->slots[g->starts[d]], g->starts[d + 1] - 1);
}

// Rows of the drawing that follows: slots in g->slots, the stream's ends in g->x.
static int64_t gather_prompt_ends(Schedule *s, const bool *newcomer) {
    Engine *g = s->g;
    int64_t C = g->model->config.hidden_size, rows = 0;
    for (int64_t i = 0; i < g->options.max_batch; i++) {
        if (!newcomer[i]) continue;
        memcpy(g->x + rows * C, g->prompt_end + i * C, (size_t)C * sizeof(float));
        g->slots[rows++] = (int32_t)i;
    }
    return rows;
}

// Fills the free slots and brings the newcomers' prompts into the caches; returns the rows to draw first tokens for.
static int64_t refill(Schedule *s, bool *newcomer) {
    int64_t B = s->g->options.max_batch;
    for (int64_t i = 0; i < B; i++) {
        newcomer[i] = !s->slots[i].active && s->next < s->n;
        if (newcomer[i]) admit(s, i);
    }
    for (int64_t i = 0; i < B;) prefill_some(s, &i);
    for (int64_t i = 0; i < B; i++) {
        s->slots[i].fresh = false;
        if (newcomer[i] && s->slots[i].copy_from >= 0)
            engine_copy_prompt(s->g, i, s->slots[i].copy_from, s->slots[i].length);
    }
    return gather_prompt_ends(s, newcomer);
}

static bool time_to_refill(const Schedule *s) {
    int64_t B = s->g->options.max_batch, waiting = s->n - s->next, free_slots = B - s->n_active;
    return waiting > 0 && free_slots >= MIN(waiting, MAX(1, B / 8));
}

// ---- decoding ----

// One token of each active slot: the newest of its history, which is not yet in the cache.
static int64_t decode(Schedule *s) {
    int64_t rows = 0;
    for (int64_t i = 0; i < s->g->options.max_batch; i++)
        if (s->slots[i].active) rows = add_rows(s->g, i, s->slots[i].length - 1, s->slots[i].length, rows);
    engine_step(s->g, rows, 0);
    return rows;
}

static void draw_rows(void *context, int64_t begin, int64_t end) {
    const Schedule *s = context;
    Engine *g = s->g;
    int64_t V = g->model->config.vocab_size;
    for (int64_t row = begin; row < end; row++) {
        const Slot *slot = &s->slots[g->slots[row]];
        const GenRequest *r = &s->requests[slot->request];
        g->chosen[row] =
            sample_token(g->logits + row * V, V, &r->sampling, g->history + g->slots[row] * g->options.max_context,
                         slot->length, r->stream, (uint64_t)slot->length, &g->chosen_logprob[row]);
    }
}

static bool ends_at(const GenRequest *r, int32_t token) {
    for (int64_t i = 0; i < r->n_stop; i++)
        if (r->stop_tokens[i] == token) return true;
    return false;
}

static void finish(Schedule *s, int64_t i, bool stopped) {
    Slot *slot = &s->slots[i];
    int64_t S = s->g->options.max_context, n_prompt = s->requests[slot->request].n_prompt, n = slot->length - n_prompt;
    GenResult *to = &s->results[slot->request];
    *to = (GenResult){.tokens = xmalloc((size_t)n * sizeof *to->tokens),
                      .logprobs = xmalloc((size_t)n * sizeof *to->logprobs),
                      .n_tokens = n,
                      .n_prompt = n_prompt,
                      .stopped = stopped};
    memcpy(to->tokens, s->g->history + i * S + n_prompt, (size_t)n * sizeof *to->tokens);
    memcpy(to->logprobs, s->g->logprobs + i * S, (size_t)n * sizeof *to->logprobs);
    slot->active = false;
    s->n_active--;
    s->done++;
}

static bool accept(Schedule *s, int64_t row, Error *e) {
    Engine *g = s->g;
    int64_t i = g->slots[row], S = g->options.max_context;
    Slot *slot = &s->slots[i];
    const GenRequest *r = &s->requests[slot->request];
    int32_t token = g->chosen[row];
    if (token < 0)
        return fail(e, EXIT_FAIL,
                    "request %lld: the model's logits are not finite after %lld tokens; its weights are damaged",
                    (long long)slot->request, (long long)slot->length);
    g->logprobs[i * S + slot->length - r->n_prompt] = g->chosen_logprob[row];
    g->history[i * S + slot->length++] = token;
    s->tokens++;
    if (s->watch && s->watch->on_token && !s->watch->on_token(s->watch->context, slot->request, token))
        s->stopped = true;
    bool stop = ends_at(r, token);
    if (stop || slot->length - r->n_prompt == r->sampling.max_tokens || slot->length == S) finish(s, i, stop);
    return true;
}

static bool run(Schedule *s, bool *newcomer, Error *e) {
    while (s->done < s->n && !s->stopped) {
        int64_t rows = time_to_refill(s) ? refill(s, newcomer) : decode(s);
        engine_head(s->g, rows);
        parallel_range(rows, 4, draw_rows, s);
        for (int64_t row = 0; row < rows; row++)
            if (!accept(s, row, e)) return false;
        if (s->watch && s->watch->on_step && !s->watch->on_step(s->watch->context, s->done, s->tokens))
            s->stopped = true;
    }
    return true;
}

bool engine_generate(Engine *g, const GenRequest *requests, int64_t n, GenResult *results, const GenWatch *watch,
                     Error *e) {
    memset(results, 0, (size_t)n * sizeof *results);
    if (!check_requests(g, requests, n, e)) return false;
    int64_t B = g->options.max_batch;
    Schedule s = {.g = g, .requests = requests, .n = n, .results = results, .watch = watch};
    s.slots = xcalloc((size_t)B, sizeof *s.slots);
    for (int64_t i = 0; i < B; i++) s.slots[i].cached = -1;
    bool *newcomer = xcalloc((size_t)B, sizeof *newcomer);
    bool ok = run(&s, newcomer, e);
    for (int64_t i = 0; i < n && !ok; i++) gen_result_free(&results[i]);
    free(newcomer);
    free(s.slots);
    return ok;
}
