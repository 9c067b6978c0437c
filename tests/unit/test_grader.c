// The grader: which answer a text gives, and whether it is the right number.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/data/grader.h"
#include "tests/unit/support_files.h"

typedef struct Case {
    const char *text, *gold, *label, *extracted;
} Case;

static void assert_cases(const Case *cases, size_t n) {
    for (size_t i = 0; i < n; i++) {
        Verdict v;
        grade(cases[i].text, cases[i].gold, &v);
        bool extracted = cases[i].extracted == NULL || strcmp(v.extracted, cases[i].extracted) == 0;
        if (strcmp(label_name(v.label), cases[i].label) != 0 || !extracted) {
            fail_msg("\"%s\" for \"%s\": %s, \"%s\" (%s); want %s", cases[i].text, cases[i].gold, label_name(v.label),
                     v.extracted, v.reason, cases[i].label);
        }
        assert_true(v.reason[0] != '\0');
    }
}

static void test_where_the_answer_is(void **state) {
    (void)state;
    static const Case cases[] = {
        {"So \\boxed{32}.", "32", "positive", "32"},
        {"The answer is 31, or \\boxed{32}.", "32", "positive", "32"},       // a box goes before a statement
        {"The answer is 32. Check: 32 - 18 = 14.", "32", "positive", "32"},  // a statement goes before the last number
        {"The answer is 31. No, the answer is 32.", "32", "positive", "32"}, // the last statement
        {"The ANSWER IS: **32** apples", "32", "positive", "32"},
        {"Answer: 32", "32", "positive", "32"},
        {"The answer is 14 + 18 = 32.", "32", "positive", "32"},
        {"The answer is 32, because 14 + 18 = 32 and no 33.", "32", "positive", "32"},
        {"The answer is 14 + 18.\nThat is 32.", "32", "positive", "32"}, // a sum is no answer
        {"14+18=32, 32-5=27. So 27.", "27", "positive", "27"},
        {"14+18=32, 32-5=27. So 27.", "-5", "negative", "27"},
        {"She has 27 apples", "32", "negative", "27"},
        {"She has some apples", "32", "negative", ""},
        {"", "32", "negative", ""},
        {"#### 1,234", "1234", "positive", "1,234"},
        {"\\boxed{} then 7", "7", "positive", "7"}, // an empty box is none
        {"\\boxed{7", "7", "unverified", "7"},      // nor is one that never closes
        {"\\boxed{\\frac{3}{4}}", "0.75", "positive", "\\frac{3}{4}"},
        {"\\boxed{\\{7\\}}", "7", "unverified", NULL},
        {"\\boxed{x = \\boxed{7}}", "7", "unverified", NULL}};
    assert_cases(cases, COUNT_OF(cases));
}

static void test_thinking_is_not_looked_at(void **state) {
    (void)state;
    static const Case cases[] = {{"<think>\n\\boxed{31}\n</think>\n\nIt is 32", "32", "positive", "32"},
                                 {"31\n</think>\n\n32", "32", "positive", "32"},
                                 {"<think>\n14 + 18 = 32", "32", "negative", ""},
                                 {"<think>a</think> 32 <think> hm", "32", "negative", ""},
                                 {"<think>\n32\n</think>\n\n", "32", "negative", ""},
                                 {"<think>\\boxed{1}</think>\\boxed{2}</think>\\boxed{3}", "3", "positive", "3"}};
    assert_cases(cases, COUNT_OF(cases));
    Verdict v;
    grade("<think>\n32", "32", &v);
    assert_string_equal(v.reason, "thinking never closed");
}

static void test_several_boxes(void **state) {
    (void)state;
    static const Case cases[] = {{"\\boxed{31} no, \\boxed{32}", "32", "ambiguous", "32"},
                                 {"\\boxed{32} and again \\boxed{32.0}", "32", "positive", "32.0"},
                                 {"\\boxed{1/2}=\\boxed{0.5}=\\boxed{\\frac12}", "0.5", "positive", "\\frac12"},
                                 {"\\boxed{x} \\boxed{y}", "x", "ambiguous", "y"}};
    assert_cases(cases, COUNT_OF(cases));
}

static void test_dressing_around_one_number(void **state) {
    (void)state;
    static const char *const same_as_18[] = {"18",
                                             "$18",
                                             "\\$18",
                                             "18.00",
                                             "018",
                                             "18 dollars",
                                             "18 \\text{ dollars}",
                                             "x = 18",
                                             "$x=18$",
                                             "+18",
                                             "18.",
                                             "(18)",
                                             "18\\,\\text{cm}",
                                             "18\\%",
                                             "18%",
                                             "18 km/h",
                                             "18 cm^2",
                                             "\\text{about } 18",
                                             "36/2",
                                             "\\frac{36}{2}",
                                             "\\dfrac{36}{2}",
                                             "-\\frac{-36}{2}",
                                             "17\\frac{2}{2}",
                                             "10 + 8 = 18",
                                             "f(x) = 18",
                                             "18^\\circ",
                                             "\\approx 18",
                                             "18 \xE2\x82\xAC",
                                             "\\left(18\\right)",
                                             "**18**"};
    static const char *const not_18[] = {"-18", "\u221218", "180", "1.8", "18.01", "1,800", "36/1", "18/5"};
    static const char *const no_number[] = {"18x",        "18 or 19", "2x + z = 18",      "\\sqrt{18}",
                                            "18\\pi",     "18^2",     "x^{18}",           "x - 18",
                                            "18!",        "18i",      "3 \\times 6",      "(18, 1)",
                                            "18\xCF\x80", "\u221A18", "\\frac{\\pi}{18}", "0.\\overline{18}"};
    for (size_t i = 0; i < COUNT_OF(same_as_18) + COUNT_OF(not_18) + COUNT_OF(no_number); i++) {
        bool same = i < COUNT_OF(same_as_18), different = !same && i < COUNT_OF(same_as_18) + COUNT_OF(not_18);
        const char *answer = same        ? same_as_18[i]
                             : different ? not_18[i - COUNT_OF(same_as_18)]
                                         : no_number[i - COUNT_OF(same_as_18) - COUNT_OF(not_18)];
        char *text = xasprintf("\\boxed{%s}", answer);
        Verdict v;
        grade(text, "18", &v);
        if ((v.label == LABEL_POSITIVE) != same || (different && v.label != LABEL_NEGATIVE)) {
            fail_msg("%s: %s (%s)", answer, label_name(v.label), v.reason);
        }
        if (same) { // dressing is no matter on either side
            grade("\\boxed{18}", answer, &v);
            if (v.label != LABEL_POSITIVE) fail_msg("gold %s: %s (%s)", answer, label_name(v.label), v.reason);
        }
        free(text);
    }
}

static void test_what_cannot_be_verified(void **state) {
    (void)state;
    static const Case cases[] = {{"\\boxed{5}", NULL, "unverified", ""},
                                 {"\\boxed{5}", "", "unverified", ""},
                                 {"\\boxed{\\text{yes}}", "yes", "positive", NULL},
                                 {"\\boxed{ (B) }", "B", "positive", NULL},
                                 {"\\boxed{x+1}", "x + 1", "positive", NULL},
                                 {"\\boxed{1+x}", "x+1", "unverified", NULL},
                                 {"\\boxed{C}", "B", "unverified", NULL},
                                 {"\\boxed{5}", "x", "unverified", NULL},
                                 {"\\boxed{2^2}", "4", "unverified", NULL}, // might be right
                                 {"\\boxed{four or five}", "4", "negative", NULL},
                                 {"no number", "yes", "unverified", NULL},
                                 {"it is \\sqrt{17}", "17", "unverified", NULL}};
    assert_cases(cases, COUNT_OF(cases));
}

static void test_long_answers_are_cut_between_characters(void **state) {
    (void)state;
    Buf text = {0};
    Verdict v;
    buf_text(&text, "\\boxed{a");
    for (int i = 0; i < 100; i++) buf_text(&text, "\u00E9");
    buf_text(&text, "}");
    grade(text.data, "1", &v);
    assert_int_equal(strlen(v.extracted), 127);
    assert_memory_equal(v.extracted + 125, "\u00E9", 3);
    buf_clear(&text);
    buf_text(&text, "\\boxed{b");
    for (int i = 0; i < 100; i++) buf_text(&text, "c\u00E9");
    buf_text(&text, "}");
    grade(text.data, "1", &v);
    assert_int_equal(strlen(v.extracted), 127);
    buf_free(&text);
}

static void test_labels(void **state) {
    (void)state;
    for (int i = LABEL_POSITIVE; i <= LABEL_UNVERIFIED; i++) {
        Label back;
        assert_true(label_parse(label_name((Label)i), &back));
        assert_int_equal(back, i);
    }
    Label l;
    assert_false(label_parse("maybe", &l));
}

// ---- numbers ----

static void test_numbers_equal(void **state) {
    (void)state;
    static const char *const equal[][2] = {{"0.5", "1/2"},
                                           {".50", "1/2"},
                                           {"1,000", "1000"},
                                           {"007", "7"},
                                           {"-0", "0"},
                                           {"6/8", "3/4"},
                                           {"-1/2", "-0.5"},
                                           {"0/5", "0"},
                                           {" 3 ", "3.0"},
                                           {"1.5/2", "0.75"},
                                           {"1/0.5", "2"},
                                           {"\\frac{1}{3}", "2/6"},
                                           {"1\\frac{1}{2}", "1.5"},
                                           {"-1\\frac{1}{2}", "-1.5"},
                                           {"123456789012345678901234567890/2", "61728394506172839450617283945"}};
    static const char *const different[][2] = {{"0.333333333333333333", "1/3"},
                                               {"1", "-1"},
                                               {"1/0", "1"},
                                               {"0/0", "0"},
                                               {"5", "5 apples"},
                                               {"", ""},
                                               {"x", "x"},
                                               {"1e5", "100000"},
                                               {"10", "1"},
                                               {"123456789012345678901234567891/2", "61728394506172839450617283945"}};
    for (size_t i = 0; i < COUNT_OF(equal); i++) {
        if (!numbers_equal(equal[i][0], equal[i][1]) || !numbers_equal(equal[i][1], equal[i][0])) {
            fail_msg("%s and %s", equal[i][0], equal[i][1]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(different); i++) {
        if (numbers_equal(different[i][0], different[i][1])) fail_msg("%s and %s", different[i][0], different[i][1]);
    }
}

static void test_numbers_in(void **state) {
    (void)state;
    static const struct {
        const char *text, *digits, *words; // found without and with number words, separated by spaces
    } cases[] = {
        {"1,000 and 007 and 2.50 and 3/4", "1000 7 2.5 3/4", NULL},
        {"14+18=32, 32-5=27.", "14 18 32 32 5 27", NULL},
        {"(14 + 18 - 5) / 3 = 9", "14 18 5 3 9", NULL},
        {"x = -5, -6 and 3 -4, \u22127", "-5 -6 3 4 -7", NULL},
        {"2024-01-02 12:30 v1.2.3 1/2/3", "2024 1 2 12 30 1.2 3 1 2 3", NULL},
        {"1,2 1,23 12,345,678 1234,567 0,123", "1 2 1 23 12345678 1234 567 0 123", NULL},
        {"$5.00, 50%, 3rd, .5, 5.", "5 50 3 0.5 5", NULL},
        {"1{,}234 and \\frac{6}{8} and 1\\frac12 and \\frac{x}{2}", "1234 6/8 3/2 2", NULL},
        {"twelve eggs, Twenty-one, forty two, one", "", "12 21 42 1"},
        {"three hundred and five, two hundred, a hundred and one, nine hundred ninety-nine", "", "305 200 101 999"},
        {"a dozen, two dozen, 3 dozen", "3", "12 24 3 12"},
        {"someone bones often tenth, one's, one-and-twenty", "", "1 1 20"},
        {"one two and three", "", "1 2 3"},
        {"seven hundred and", "", "700"},
        {"two hundredand five", "", "2 5"},
        {"no", "", ""},
        {"", "", ""}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        for (int words = 0; words < 2; words++) {
            StrList found = {0};
            Buf all = {0};
            numbers_in(cases[i].text, words, &found);
            for (size_t k = 0; k < found.count; k++) buf_printf(&all, "%s%s", k > 0 ? " " : "", found.items[k]);
            const char *want = words && cases[i].words != NULL ? cases[i].words : cases[i].digits;
            if (strcmp(all.data != NULL ? all.data : "", want) != 0) {
                fail_msg("\"%s\": found %s, want %s", cases[i].text, all.data, want);
            }
            strlist_free(&found);
            buf_free(&all);
        }
    }
}

// Texts made to be slow: half a megabyte each, over in a moment or never.
static void test_hostile_texts_end(void **state) {
    (void)state;
    static const char *const pieces[] = {
        "\\boxed{", "}", "\\boxed{1}", "{", "answer is ", "answer is 1 + ", "1,", "1,000,",     "1/",
        "\\frac{1", "-", " ",          "9", "<think>",    "</think>",       "1-", "\\frac{1}{", "one hundred and "};
    for (size_t i = 0; i < COUNT_OF(pieces); i++) {
        Buf text = {0};
        Verdict v;
        while (text.length < 1 << 19) buf_text(&text, pieces[i]);
        grade(text.data, "1", &v);
        assert_true(v.reason[0] != '\0');
        grade("\\boxed{1}", text.data, &v);
        StrList found = {0};
        numbers_in(text.data, true, &found);
        strlist_free(&found);
        buf_free(&text);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_where_the_answer_is),
        cmocka_unit_test(test_thinking_is_not_looked_at),
        cmocka_unit_test(test_several_boxes),
        cmocka_unit_test(test_dressing_around_one_number),
        cmocka_unit_test(test_what_cannot_be_verified),
        cmocka_unit_test(test_long_answers_are_cut_between_characters),
        cmocka_unit_test(test_labels),
        cmocka_unit_test(test_numbers_equal),
        cmocka_unit_test(test_numbers_in),
        cmocka_unit_test(test_hostile_texts_end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
