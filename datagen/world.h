// world: the small world: seeded arithmetic word problems of 2 to 6 steps that a model of a few million parameters can
// truly solve, their worked solutions (clean, or as people write them), and pairs that teach a model to rephrase.
// Problem i is a pure function of (seed, i). Must not know: files, records, chat templates, models.
//
// Held-out by construction: the signature hashes the operations and their numbers (not names, wording or distractors).
// One signature in eight belongs to the held-out side only, so no held-out calculation can occur in training.
#pragma once
#include "core/base/rng.h"
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum {
    WORLD_MIN_STEPS = 2,
    WORLD_MAX_STEPS = 6,
    WORLD_MAX_BEATS = WORLD_MAX_STEPS + 4, // one start, one question, events, at most two distractors
    WORLD_HELD_OUT_ONE_IN = 8,
    WORLD_TEXT = 1024 // room for any text of one problem, its closing NUL included
};

// How a problem's solution is told. The natural ones are people's: terse, varied, honest.
enum {
    WORLD_RUNNING,      // 8+7=15, 15-6=9. So 9.
    WORLD_CHAIN,        // (8 + 7 - 6) / 3 = 3. So 3.
    WORLD_PROSE,        // First 8 + 7 gives 15. Taking away 6 gives 9. The answer is 9.
    WORLD_ANSWER_FIRST, // 9, because 8 + 7 = 15 and 15 - 6 = 9.
    WORLD_RESULTS,      // First 15, then 9. So 9.
    WORLD_NATURAL_STYLES
};
enum { WORLD_DIALOGUE, WORLD_TUTORIAL, WORLD_REPHRASE_STYLES };

typedef struct WorldNumber {
    uint8_t value, form; // form: digits, a number word, "a dozen"; part of the problem, so rewording keeps it
} WorldNumber;

typedef struct WorldBeat {
    uint8_t row, day; // row of world.def; day of the week, for events only
    WorldNumber a, b;
} WorldBeat;

typedef struct WorldEquation {
    uint8_t left, right, value, beat; // beat: the one it belongs to
    char op;                          // + - * /
} WorldEquation;

typedef struct WorldProblem {
    char question[WORLD_TEXT];
    char steps[256]; // "Monday: 8 + 7 = 15\nSunday: 2 * 3 = 6, 15 - 6 = 9": what a teacher writes inside <think>
    char answer[8];
    int n_steps, n_distractors;
    uint64_t signature;
    // What the texts are made of; callers have no need of it.
    int n_beats, n_equations;
    WorldBeat beats[WORLD_MAX_BEATS];
    WorldEquation equations[WORLD_MAX_STEPS];
    uint8_t cast[4], he, items[2], container;
} WorldProblem;

void world_problem(uint64_t seed, uint64_t index, bool held_out, WorldProblem *out);
bool world_is_held_out(uint64_t signature);

// The solution alone, as a person might write it (style: one of WORLD_RUNNING...; the seed varies the connectives).
void world_solution(const WorldProblem *problem, uint64_t seed, int style, char *out, size_t cap);
// A document: the question, a line break, such a solution.
void world_natural(const WorldProblem *problem, uint64_t seed, int style, char *out, size_t cap);

// source: a natural document of training problem (seed, index). target: the same names, numbers, number forms and
// answer in other words, as a dialogue or a tutorial. `cap` bytes each; WORLD_TEXT * 2 is always enough.
void world_rephrase_pair(uint64_t seed, uint64_t index, int style, char *source, char *target, size_t cap);
