// The rephraser's styles and the checks on what it writes: each fault has a name, and what is true is kept.
#include "datagen/rewrite_check.h"
#include "datagen/world.h"
#include "tests/unit/support_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const RewriteLimits limits = {.min_length = 0.5, .max_length = 4, .max_copied = 0.75};
static const char source[] =
    "Tom has 14 pens. On Monday he buys 18 more. On Friday he loses half of them. Ann has a dozen "
    "nuts. How many pens does Tom have now?\n14+18=32, 32/2=16. So 16.";
static const char dialogue[] = "Tutor: Tom starts with 14 pens. On Monday he gets 18 more. On Friday Tom sells half of "
                               "them. Ann buys a dozen nuts. "
                               "How many pens are left for Tom?\nTutor: What happens on Monday?\nPupil: 14 + 18 = "
                               "32.\nTutor: Good. And on Friday?\n"
                               "Pupil: 32 / 2 = 16.\nTutor: So the answer is 16.";
static const char tutorial[] =
    "Problem: Tom starts with 14 pens. On Monday he gets 18 more. On Friday Tom sells half of them. Ann buys a dozen "
    "nuts. "
    "How many pens are left for Tom?\nStep 1. Monday: 14 + 18 = 32.\nStep 2. Friday: 32 / 2 = 16.\nAnswer: 16.";

// The first `from` in the text replaced by `to`.
static void replaced(const char *text, const char *from, const char *to, Buf *out) {
    const char *at = strstr(text, from);
    if (!at) fail_msg("\"%s\" is not in \"%s\"", from, text);
    buf_clear(out);
    buf_printf(out, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from));
}

static int style_named(const char *name) {
    Error e = {0};
    int style = style_find(name, &e);
    assert_true(style >= 0);
    return style;
}

static RewriteVerdict judge(const char *style, const char *from, const char *answer, const char *rewrite,
                            const char *finish) {
    RewriteChecker *checker = rewrite_checker();
    RewriteVerdict verdict;
    rewrite_check(checker, style_named(style), from, answer, rewrite, finish, &limits, &verdict);
    rewrite_checker_free(checker);
    return verdict;
}

static void assert_verdict(RewriteVerdict v, const char *reason, const char *detail) {
    if (!reason && v.reason) fail_msg("kept was expected, found \"%s\" (%s)", v.reason, v.detail);
    if (!reason) return;
    if (!v.reason || strcmp(v.reason, reason))
        fail_msg("\"%s\" was expected, found \"%s\" (%s)", reason, v.reason, v.detail);
    if (detail && !strstr(v.detail, detail)) fail_msg("%s: \"%s\" was expected in \"%s\"", reason, detail, v.detail);
}

static void test_true_rewrites_are_kept(void **state) {
    static const char *const solutions[] = {
        "14+18=32, 32/2=16. So 16.",
        "First 32, then 16. So 16.", // only results: the rewrite shows where they come from
        "(14 + 18) / 2 = 16.",       // a step skipped: the rewrite shows it
        "16, because 14 + 18 = 32 and 32 / 2 = 16.",
    };
    Buf from = {0};
    for (size_t i = 0; i < COUNT_OF(solutions); i++) {
        replaced(source, solutions[0], solutions[i], &from);
        assert_verdict(judge("dialogue", from.data, "16", dialogue, "stop"), NULL, NULL);
        assert_verdict(judge("tutorial", from.data, "16", tutorial, "stop"), NULL, NULL);
    }
    buf_free(&from);
}

static void test_each_fault_has_its_name(void **state) {
    static const struct {
        const char *style, *text, *from, *to, *reason, *detail;
    } cases[] = {
        {"tutorial", tutorial, "18 more", "19 more", "number added", "19"},
        {"tutorial", tutorial, "a dozen", "some", "number missing", "12"},
        {"dialogue", dialogue, "a dozen", "eleven", "number changed", "12 -> 11"},
        {"dialogue", dialogue, "answer is 16", "answer is 32", "answer changed", "16 -> 32"},
        {"tutorial", tutorial, "= 32.", "= 33.", "false equation", "14 + 18 = 33"},
        {"tutorial", tutorial, "14 + 18 = 32", "14 + 20 = 34", "number added", "20"},
        {"tutorial", tutorial, "14 pens. On Monday he gets 18", "18 pens. On Monday he gets 14", "problem changed", ""},
        {"tutorial", tutorial, "Step 2", "Step 3", "steps misnumbered", ""},
        {"tutorial", dialogue, "", "", "wrong format", "tutorial"},
        {"dialogue", tutorial, "", "", "wrong format", "dialogue"},
        {"tutorial", tutorial, "Problem:", "Sure! Problem:", "wrong format", ""},
        {"tutorial", tutorial, "\nAnswer: 16.", "", "wrong format", ""},
        {"tutorial", tutorial, "starts", "starts \xEF\xBF\xBD", "broken characters", ""},
    };
    Buf rewrite = {0};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        replaced(cases[i].text, cases[i].from, cases[i].to, &rewrite);
        assert_verdict(judge(cases[i].style, source, "16", rewrite.data, "stop"), cases[i].reason, cases[i].detail);
    }
    buf_free(&rewrite);
}

static void test_unfinished_short_and_long(void **state) {
    assert_verdict(judge("tutorial", source, "16", tutorial, "length"), "not finished", "length");
    assert_verdict(judge("tutorial", source, "16", "Problem: 14\nStep 1. 16\nAnswer: 16", "stop"), "too short", "0.");
    Buf chatter = {0};
    buf_text(&chatter, "Problem: ");
    while (chatter.length < 5 * strlen(source)) buf_text(&chatter, "on and on ");
    assert_verdict(judge("tutorial", source, "16", chatter.data, "stop"), "too long", "5.");
    buf_free(&chatter);
}

static void test_a_copy_in_costume(void **state) {
    Buf copy = {0};
    const char *line = strchr(source, '\n');
    buf_printf(&copy, "Problem: %.*s\nStep 1. %s\nAnswer: 16.", (int)(line - source), source, line + 1);
    assert_verdict(judge("tutorial", source, "16", copy.data, "stop"), "copied", "of its words");
    buf_free(&copy);
}

static void test_texts_without_an_answer(void **state) {
    static const char fact[] =
        "The bridge was built in 1,932 and is 503 metres long. Do half of its 49 metres of width carry cars?";
    static const char told[] =
        "Tutor: When was it built?\nPupil: In 1932, 49 metres wide.\nTutor: Yes, and 503 metres long.";
    static const char wrong[] =
        "Tutor: When was it built?\nPupil: In 1923, 49 metres wide.\nTutor: Yes, and 503 metres long.";
    assert_verdict(judge("dialogue", fact, NULL, told, "stop"), NULL, NULL); // another order: no problem to keep
    assert_verdict(judge("dialogue", fact, NULL, wrong, "stop"), "number changed", "1932 -> 1923");
}

// What the rephraser is taught must pass what its work is judged by.
static void test_the_worlds_lessons_are_kept(void **state) {
    RewriteChecker *checker = rewrite_checker();
    char from[2 * WORLD_TEXT], to[2 * WORLD_TEXT];
    int n_copied = 0, n = 0;
    for (int style = 0; style < n_styles; style++) {
        for (uint64_t i = 0; i < 1000; i++, n++) {
            WorldProblem problem;
            RewriteVerdict verdict;
            world_problem(5, i, false, &problem);
            world_rephrase_pair(5, i, styles[style].world_style, from, to, sizeof from);
            rewrite_check(checker, style, from, problem.answer, to, "stop", &limits, &verdict);
            bool copied = verdict.reason && !strcmp(verdict.reason, "copied");
            if (verdict.reason && !copied) fail_msg("%s (%s):\n%s\n---\n%s", verdict.reason, verdict.detail, from, to);
            n_copied += copied;
        }
    }
    assert_in_range(n_copied, 0, n / 100);
    rewrite_checker_free(checker);
}

static void test_styles(void **state) {
    Buf prompt = {0};
    for (int i = 0; i < n_styles; i++) {
        assert_int_equal(style_named(styles[i].name), i); // names are unique
        buf_clear(&prompt);
        style_prompt(&styles[i], "some text", &prompt);
        assert_string_equal(prompt.data + strlen(styles[i].instruction), "\n\nsome text");
        assert_true(strlen(styles[i].instruction) > 0 && styles[i].world_style < WORLD_REPHRASE_STYLES);
    }
    buf_free(&prompt);
    Error e = {0};
    assert_int_equal(style_find("dialog", &e), -1);
    assert_error(&e, EXIT_USAGE, "did you mean \"dialogue\"");
}

static void test_a_choice_of_styles(void **state) {
    int chosen[STYLES_MAX];
    StrList names = {0};
    Error none = {0}, twice = {0};
    assert_int_equal(styles_chosen(&names, chosen, &none), -1);
    assert_error(&none, EXIT_USAGE, "at least one");
    strlist_add(&names, "tutorial");
    assert_int_equal(styles_chosen(&names, chosen, &none), 1);
    assert_int_equal(chosen[0], style_named("tutorial"));
    strlist_add(&names, "tutorial");
    assert_int_equal(styles_chosen(&names, chosen, &twice), -1);
    assert_error(&twice, EXIT_USAGE, "named twice");
    strlist_free(&names);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_true_rewrites_are_kept),
        cmocka_unit_test(test_each_fault_has_its_name),
        cmocka_unit_test(test_unfinished_short_and_long),
        cmocka_unit_test(test_a_copy_in_costume),
        cmocka_unit_test(test_texts_without_an_answer),
        cmocka_unit_test(test_the_worlds_lessons_are_kept),
        cmocka_unit_test(test_styles),
        cmocka_unit_test(test_a_choice_of_styles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
