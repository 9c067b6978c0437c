#include "tools/score.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/chat.h"

void score_answer(const char *text, const char *gold, bool stopped, Verdict *out) {
    Buf reasoning = {0}, content = {0};
    bool complete = false;
    chat_split_thinking(text, strlen(text), &reasoning, &content, &complete);
    *out = (Verdict){.label = LABEL_NEGATIVE};
    if (!stopped)
        snprintf(out->reason, sizeof out->reason, "cut off at max_tokens");
    else if (!complete)
        snprintf(out->reason, sizeof out->reason, "thinking never closed");
    else
        grade(content.data ? content.data : "", gold, out);
    buf_free(&reasoning), buf_free(&content);
}

static void end_prompt(Score *s) {
    if (s->prompt_n == 0) return;
    double p = (double)s->prompt_correct / (double)s->prompt_n;
    s->sum_p += p, s->sum_p2 += p * p, s->n_prompts++;
    s->prompt_n = s->prompt_correct = 0;
}

static bool add_steps(Score *s, int64_t steps, bool correct, Error *e) {
    size_t i = 0;
    while (i < s->n_steps && s->by_steps[i].steps < steps) i++;
    if (i == s->n_steps || s->by_steps[i].steps != steps) {
        if (s->n_steps == COUNT_OF(s->by_steps))
            return fail(e, EXIT_DATA, "steps: more than %zu different values", s->n_steps);
        memmove(&s->by_steps[i + 1], &s->by_steps[i], (s->n_steps - i) * sizeof s->by_steps[0]);
        s->by_steps[i] = (ScoreSteps){.steps = steps};
        s->n_steps++;
    }
    s->by_steps[i].n++;
    s->by_steps[i].correct += correct;
    return true;
}

bool score_add(Score *s, const json_t *record, int64_t prompt, Error *e) {
    const char *label_text, *finish;
    int64_t tokens, steps = 0;
    Label label;
    if (!json_get_text(json_object_get(record, "verdict"), "label", "answer: verdict", &label_text, e) ||
        !json_get_int(record, "n_tokens", "answer", 0, INT32_MAX, &tokens, e) ||
        !json_get_text(record, "finish_reason", "answer", &finish, e) ||
        !json_opt_int(record, "steps", "answer", 0, INT32_MAX, &steps, e))
        return false;
    if (!label_parse(label_text, &label))
        return fail(e, EXIT_DATA, "answer: verdict: label: '%.40s' is unknown", label_text);
    bool correct = label == LABEL_POSITIVE;
    if (prompt != s->prompt) end_prompt(s);
    s->prompt = prompt, s->prompt_n++, s->prompt_correct += correct;
    if (s->n == s->capacity) {
        s->capacity = MAX(256, s->capacity * 2);
        s->tokens = xrealloc(s->tokens, (size_t)s->capacity * sizeof *s->tokens);
    }
    s->tokens[s->n++] = (double)tokens;
    s->correct += correct, s->labels[label]++, s->cut_off += !strcmp(finish, "length");
    return add_steps(s, steps, correct, e);
}

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static json_t *token_stats(Score *s) {
    double sum = 0;
    for (int64_t i = 0; i < s->n; i++) sum += s->tokens[i];
    qsort(s->tokens, (size_t)s->n, sizeof *s->tokens, by_value);
    double median = (s->tokens[s->n / 2] + s->tokens[(s->n - 1) / 2]) / 2;
    return json_pack("{s:f, s:f}", "mean", sum / (double)s->n, "median", median);
}

static double standard_error(const Score *s, double p) {
    double n = (double)s->n_prompts, variance = s->sum_p2 / n - (s->sum_p / n) * (s->sum_p / n);
    if (s->n == s->n_prompts) return sqrt(p * (1 - p) / n);
    return n > 1 ? sqrt(MAX(0, variance) / (n - 1)) : sqrt(p * (1 - p));
}

json_t *score_json(Score *s) {
    check(s->n > 0, "a score without answers");
    end_prompt(s);
    double p = s->sum_p / (double)s->n_prompts;
    json_t *by_steps = json_object(), *labels = json_object();
    for (size_t i = 0; i < s->n_steps; i++) {
        char key[24] = "unknown";
        if (s->by_steps[i].steps > 0) snprintf(key, sizeof key, "%lld", (long long)s->by_steps[i].steps);
        json_object_set_new(by_steps, key,
                            json_pack("{s:I, s:f}", "n", (json_int_t)s->by_steps[i].n, "accuracy",
                                      (double)s->by_steps[i].correct / (double)s->by_steps[i].n));
    }
    for (int l = 0; l <= LABEL_UNVERIFIED; l++)
        json_object_set_new(labels, label_name((Label)l), json_integer(s->labels[l]));
    return json_pack("{s:I, s:I, s:f, s:f, s:I, s:o, s:o, s:o}", "n", (json_int_t)s->n, "correct",
                     (json_int_t)s->correct, "accuracy", p, "standard_error", standard_error(s, p), "cut_off",
                     (json_int_t)s->cut_off, "labels", labels, "by_steps", by_steps, "tokens_per_answer",
                     token_stats(s));
}

void score_free(Score *s) {
    free(s->tokens);
    s->tokens = NULL;
}
