// The small world: every equation it teaches is true, its answers follow, its numbers come from the question, and no
// held-out calculation occurs in training.
#include "core/base/json.h"
#include "core/data/grader.h"
#include "datagen/world.h"
#include "tests/unit/support_files.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { ITEMS = 20000 };

typedef struct Equation {
    int left, right, value;
    char op;
} Equation;

// Reads the teacher's steps, "Monday: 8 + 7 = 15\nSunday: 2 * 3 = 6, 15 - 6 = 9"; returns how many equations there are.
static int read_steps(const char *steps, Equation out[WORLD_MAX_STEPS]) {
    int n = 0, length;
    for (const char *at = steps; *at; n++) {
        if (at == steps || at[-1] == '\n') { // a line opens with what it is about
            assert_true(isupper((unsigned char)*at));
            at = strchr(at, ':');
            assert_non_null(at);
            at += 2;
        }
        assert_true(n < WORLD_MAX_STEPS);
        Equation *e = &out[n];
        if (sscanf(at, "%d %c %d = %d%n", &e->left, &e->op, &e->right, &e->value, &length) != 4)
            fail_msg("no equation at \"%s\" of \"%s\"", at, steps);
        at += length;
        assert_true(*at == '\0' || *at == '\n' || *at == ',');
        at += *at == '\n' ? 1 : *at == ',' ? 2 : 0;
    }
    return n;
}

static bool is_true(const Equation *e) {
    switch (e->op) {
    case '+':
        return e->left + e->right == e->value;
    case '-':
        return e->left - e->right == e->value;
    case '*':
        return e->left * e->right == e->value;
    case '/':
        return e->right && e->left % e->right == 0 && e->left / e->right == e->value;
    default:
        return false;
    }
}

static void test_every_equation_is_true_and_ends_in_the_answer(void **state) {
    for (uint64_t i = 0; i < ITEMS; i++) {
        WorldProblem p;
        Equation e[WORLD_MAX_STEPS];
        world_problem(1, i, i % 2, &p);
        int n = read_steps(p.steps, e);
        assert_int_equal(n, p.n_steps);
        for (int k = 0; k < n; k++)
            if (!is_true(&e[k])) fail_msg("item %d: %d %c %d = %d", (int)i, e[k].left, e[k].op, e[k].right, e[k].value);
        if (atoi(p.answer) != e[n - 1].value || e[n - 1].value < 0)
            fail_msg("item %d: answer %s after \"%s\"", (int)i, p.answer, p.steps);
    }
}

static bool has(const StrList *numbers, int value) {
    for (size_t i = 0; i < numbers->count; i++)
        if (atoi(numbers->items[i]) == value) return true;
    return false;
}

// Each operand stands in the question, is an earlier result, or is meant by "half", "twice", "three times"; each result
// but the last is used again: the steps are a calculation, not a list.
static void test_numbers_come_from_the_question(void **state) {
    for (uint64_t i = 0; i < ITEMS / 10; i++) {
        WorldProblem p;
        Equation e[WORLD_MAX_STEPS];
        world_problem(2, i, false, &p);
        int n = read_steps(p.steps, e);
        StrList known = {0};
        numbers_in(p.question, true, &known);
        for (int k = 0; k < n; k++) {
            bool doubling = strchr("*/", e[k].op) && e[k].right == 2, used = k == n - 1;
            if (!has(&known, e[k].left) || (!doubling && !has(&known, e[k].right)))
                fail_msg("\"%s\" lacks a number of \"%s\"", p.question, p.steps);
            for (int later = k + 1; later < n; later++)
                used = used || e[later].left == e[k].value || e[later].right == e[k].value;
            if (!used) fail_msg("step %d of \"%s\" is never used", k + 1, p.steps);
            char value[16];
            snprintf(value, sizeof value, "%d", e[k].value);
            strlist_add(&known, value);
        }
        strlist_free(&known);
    }
}

static void test_held_out_and_training_are_disjoint(void **state) {
    json_t *training = json_object();
    WorldProblem p;
    char key[24];
    for (uint64_t i = 0; i < ITEMS; i++) {
        world_problem(1, i, false, &p);
        assert_false(world_is_held_out(p.signature));
        snprintf(key, sizeof key, "%llx", (unsigned long long)p.signature);
        json_object_set_new(training, key, json_true());
    }
    assert_true(json_object_size(training) > ITEMS / 4); // a world, not a handful of problems
    for (uint64_t i = 0; i < ITEMS; i++) {
        world_problem(1, i, true, &p);
        assert_true(world_is_held_out(p.signature));
        snprintf(key, sizeof key, "%llx", (unsigned long long)p.signature);
        assert_null(json_object_get(training, key));
    }
    json_decref(training);
}

// The signature is that of the calculation: equal steps (up to the order of sums and products) have equal signatures,
// and no two different ones met here share one.
static void test_signatures_name_calculations(void **state) {
    json_t *seen = json_object();
    for (uint64_t i = 0; i < ITEMS; i++) {
        WorldProblem p;
        Equation e[WORLD_MAX_STEPS];
        world_problem(3, i, false, &p);
        int n = read_steps(p.steps, e);
        char key[24];
        Buf calculation = {0};
        for (int k = 0; k < n; k++) {
            bool commutes = e[k].op == '+' || e[k].op == '*';
            int low = commutes ? MIN(e[k].left, e[k].right) : e[k].left,
                high = commutes ? MAX(e[k].left, e[k].right) : e[k].right;
            buf_printf(&calculation, "%d%c%d ", low, e[k].op, high);
        }
        snprintf(key, sizeof key, "%llx", (unsigned long long)p.signature);
        const char *before = json_string_value(json_object_get(seen, calculation.data));
        if (before) assert_string_equal(before, key);
        json_object_set_new(seen, calculation.data, json_string(key));
        const char *other = json_string_value(json_object_get(seen, key));
        if (other) assert_string_equal(other, calculation.data);
        json_object_set_new(seen, key, json_string(calculation.data));
        buf_free(&calculation);
    }
    json_decref(seen);
}

static void test_all_lengths_and_distractors_occur(void **state) {
    int steps[WORLD_MAX_STEPS + 1] = {0}, distractors[3] = {0};
    for (uint64_t i = 0; i < ITEMS; i++) {
        WorldProblem p;
        world_problem(4, i, false, &p);
        assert_in_range(p.n_steps, WORLD_MIN_STEPS, WORLD_MAX_STEPS);
        assert_in_range(p.n_distractors, 0, 2);
        steps[p.n_steps]++;
        distractors[p.n_distractors]++;
    }
    for (int n = WORLD_MIN_STEPS; n <= WORLD_MAX_STEPS; n++) assert_true(steps[n] > ITEMS / 100);
    for (int n = 0; n <= 2; n++) assert_true(distractors[n] > ITEMS / 100);
}

static void test_an_item_is_a_function_of_seed_and_index(void **state) {
    WorldProblem a, b, other;
    int same = 0;
    for (uint64_t i = 0; i < 500; i++) {
        world_problem(9, 499 - i, false, &a);
        world_problem(9, 499 - i, false, &b);
        world_problem(10, 499 - i, false, &other);
        assert_string_equal(a.question, b.question);
        assert_string_equal(a.steps, b.steps);
        assert_true(a.signature == b.signature);
        same += !strcmp(a.question, other.question);
    }
    assert_in_range(same, 0, 5);
}

static void test_every_voice_tells_the_answer(void **state) {
    char text[2 * WORLD_TEXT], again[2 * WORLD_TEXT];
    for (uint64_t i = 0; i < 2000; i++) {
        WorldProblem p;
        world_problem(6, i, i % 2, &p);
        for (int style = 0; style < WORLD_NATURAL_STYLES; style++) {
            Verdict v;
            world_solution(&p, i, style, text, sizeof text);
            // The voice that begins with its answer is no case for a grader that looks at the end.
            if (style == WORLD_ANSWER_FIRST)
                assert_non_null(strstr(text, p.answer));
            else {
                grade(text, p.answer, &v);
                if (v.label != LABEL_POSITIVE) fail_msg("style %d: \"%s\", answer %s", style, text, p.answer);
            }
            world_natural(&p, i, style, again, sizeof again);
            assert_int_equal(strncmp(again, p.question, strlen(p.question)), 0);
            assert_string_equal(again + strlen(p.question) + 1, text);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_equation_is_true_and_ends_in_the_answer),
        cmocka_unit_test(test_numbers_come_from_the_question),
        cmocka_unit_test(test_held_out_and_training_are_disjoint),
        cmocka_unit_test(test_signatures_name_calculations),
        cmocka_unit_test(test_all_lengths_and_distractors_occur),
        cmocka_unit_test(test_an_item_is_a_function_of_seed_and_index),
        cmocka_unit_test(test_every_voice_tells_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
