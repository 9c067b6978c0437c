// score: from graded answers to an accuracy with its standard error. Must not know: models, files.
#pragma once
#include "core/base/json.h"
#include "core/data/grader.h"

// Grades what follows the thinking. An answer that was cut off (stopped = false) is negative, whatever it holds: it
// never ended.
void score_answer(const char *text, const char *gold, bool stopped, Verdict *out);

typedef struct ScoreSteps {
    int64_t steps, n, correct; // steps: 0 = the prompt does not say
} ScoreSteps;
typedef struct Score {
    int64_t n, correct, cut_off;
    int64_t labels[LABEL_UNVERIFIED + 1];
    double *tokens; // of each answer
    int64_t capacity;
    int64_t n_prompts, prompt, prompt_n, prompt_correct; // the prompt that is being read
    double sum_p, sum_p2; // over finished prompts: share of right answers, and its square
    ScoreSteps by_steps[64];
    size_t n_steps;
} Score;

// Adds an answer record {"verdict":{"label"},"n_tokens","finish_reason","steps"?}; answers of one prompt come together.
bool score_add(Score *s, const json_t *record, int64_t prompt, Error *e);
// {"n","correct","accuracy","standard_error","cut_off","labels":{},"by_steps":{"2":{"n","accuracy"}},
//  "tokens_per_answer":{"mean","median"}}
// Standard error: sqrt(p(1-p)/n) for one answer per prompt; else over the prompts' shares, since answers of one prompt
// are not independent (Miller, "Adding Error Bars to Evals", arXiv 2411.00640).
json_t *score_json(Score *s);
void score_free(Score *s);
