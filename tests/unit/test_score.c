// Scores with their standard errors, the view of a model's text on a terminal, reading torn logs, shares of ternary
// codes.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/log.h"
#include "tools/codes.h"
#include "tools/events.h"
#include "tools/score.h"
#include "tools/show.h"
#include "tools/talk.h"

#include <cmocka.h> // last: its fail() is a macro

static void add(Score *s, int64_t prompt, const char *label, int tokens, bool cut, int steps) {
    Error e = {0};
    json_t *record = json_pack("{s:{s:s}, s:i, s:s}", "verdict", "label", label, "n_tokens", tokens, "finish_reason",
                               cut ? "length" : "stop");
    if (steps) json_object_set_new(record, "steps", json_integer(steps));
    if (!score_add(s, record, prompt, &e)) fail_msg("%s", e.text);
    json_decref(record);
}

static double number(const json_t *o, const char *key) { return json_number_value(json_object_get(o, key)); }

static void one_answer_per_prompt(void **state) {
    Score s = {0};
    static const int lengths[] = {10, 40, 20, 30};
    for (int i = 0; i < 4; i++) add(&s, i, i < 3 ? "positive" : "negative", lengths[i], i == 3, i < 2 ? 2 : 5);
    json_t *r = score_json(&s);
    assert_true(number(r, "accuracy") == 0.75);
    assert_true(fabs(number(r, "standard_error") - sqrt(0.75 * 0.25 / 4)) < 1e-15);
    assert_int_equal(json_integer_value(json_object_get(r, "cut_off")), 1);
    assert_true(number(json_object_get(r, "tokens_per_answer"), "mean") == 25);
    assert_true(number(json_object_get(r, "tokens_per_answer"), "median") == 25);
    const json_t *by = json_object_get(r, "by_steps");
    assert_true(number(json_object_get(by, "2"), "accuracy") == 1 &&
                number(json_object_get(by, "5"), "accuracy") == 0.5);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(r, "labels"), "negative")), 1);
    json_decref(r);
    score_free(&s);
}

// Two prompts answered 4 times each, 4 and 0 right: the error is that of two independent values, not of eight.
static void answers_of_one_prompt_are_one_cluster(void **state) {
    Score s = {0};
    for (int i = 0; i < 8; i++) add(&s, i / 4, i < 4 ? "positive" : "negative", 5, false, 0);
    json_t *r = score_json(&s);
    assert_true(number(r, "accuracy") == 0.5);
    assert_true(fabs(number(r, "standard_error") - 0.5) < 1e-15); // sqrt(((1 - .5)^2 + (0 - .5)^2) / (2 * 1))
    assert_true(number(json_object_get(json_object_get(r, "by_steps"), "unknown"), "n") == 8);
    json_decref(r);
    score_free(&s);
}

static void bad_answer_records_are_refused(void **state) {
    static const char *const bad[] = {
        "{}", "{\"verdict\":{\"label\":\"good\"},\"n_tokens\":1,\"finish_reason\":\"stop\"}",
        "{\"verdict\":{\"label\":\"positive\"},\"n_tokens\":-1,\"finish_reason\":\"stop\"}",
        "{\"verdict\":{\"label\":\"positive\"},\"n_tokens\":1}"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        Score s = {0};
        Error e = {0};
        json_t *record = json_parse(bad[i], strlen(bad[i]), "test", &e);
        assert_false(score_add(&s, record, 0, &e));
        assert_int_equal(e.code, EXIT_DATA);
        json_decref(record);
        score_free(&s);
    }
}

static void only_ended_answers_can_be_right(void **state) {
    Verdict v;
    score_answer("<think>\n1 + 1 = 2\n</think>\n\nThe answer is 2.", "2", true, &v);
    assert_int_equal(v.label, LABEL_POSITIVE);
    score_answer("<think>\n1 + 1 = 2\n</think>\n\nThe answer is 2.", "2", false, &v);
    assert_int_equal(v.label, LABEL_NEGATIVE);
    assert_string_equal(v.reason, "cut off at max_tokens");
    score_answer("<think>\nThe answer is 2.", "2", true, &v);
    assert_int_equal(v.label, LABEL_NEGATIVE);
    assert_string_equal(v.reason, "thinking never closed");
    score_answer("The answer is 3.", "2", true, &v);
    assert_int_equal(v.label, LABEL_NEGATIVE);
}

// However the text is cut into pieces, the same is shown.
static void view_dims_thinking(void **state) {
    static const char text[] = "a<b <think>\nx < y</th\x1b[2J</think>\n\n<thi";
    for (size_t cut = 1; cut < sizeof text; cut++) {
        TalkView styled = {.styled = true}, plain = {0};
        Buf shown = {0}, raw = {0};
        for (size_t at = 0; at < sizeof text - 1; at += cut) {
            view_piece(&styled, text + at, MIN(cut, sizeof text - 1 - at), &shown);
            view_piece(&plain, text + at, MIN(cut, sizeof text - 1 - at), &raw);
        }
        view_end(&styled, &shown), view_end(&plain, &raw);
        assert_string_equal(shown.data, "a<b \033[2m\nx < y</th\uFFFD[2J\033[0m\n\n<thi");
        assert_string_equal(raw.data, "a<b <think>\nx < y</th\uFFFD[2J</think>\n\n<thi");
        buf_free(&shown), buf_free(&raw);
    }
    TalkView cut_off = {.styled = true};
    Buf shown = {0};
    view_piece(&cut_off, "<think>x", 8, &shown);
    view_end(&cut_off, &shown);
    assert_string_equal(shown.data, "\033[2mx\033[0m"); // the terminal is left as it was
    buf_free(&shown);
}

static void note_event(void *context, const char *event, const json_t *fields) {
    buf_printf(context, "%s%lld ", event, (long long)json_integer_value(json_object_get(fields, "i")));
}

static void torn_logs_are_read_to_the_last_whole_line(void **state) {
    char path[] = "/tmp/tristill-XXXXXX";
    static const char text[] = "{\"event\":\"a\",\"i\":1}\nbroken\n{\"event\":\"b\",\"i\":2}\n{\"event\":\"c\",\"i\"";
    Error e = {0};
    Buf seen = {0};
    int file = mkstemp(path);
    assert_int_equal(write(file, text, sizeof text - 1), sizeof text - 1);
    close(file);
    log_set_quiet(true);
    assert_true(events_each(path, note_event, &seen, &e));
    log_set_quiet(false);
    assert_string_equal(seen.data, "a1 b2 ");
    unlink(path);
    assert_true(events_each(path, note_event, &seen, &e)); // a missing log has no events
    buf_free(&seen);
}

static void counts_ternary_codes(void **state) {
    enum { N = 512 };
    float values[N];
    uint8_t packed[N];
    Error e = {0};
    double share[3];
    for (int i = 0; i < N; i++) values[i] = i % 4 == 0 ? 0.5f : i % 4 == 1 ? -0.5f : 0;
    TensorView t = {.name = "x",
                    .dtype = DTYPE_TQ2_0,
                    .n_dims = 1,
                    .shape = {N},
                    .n_elements = N,
                    .data = packed,
                    .bytes = (size_t)dtype_bytes(DTYPE_TQ2_0, N)};
    assert_true(t.bytes <= sizeof packed);
    if (!dtype_from_f32(DTYPE_TQ2_0, values, N, packed, &e)) fail_msg("%s", e.text);
    assert_true(ternary_fractions(&t, share));
    assert_true(share[0] == 0.25 && share[1] == 0.5 && share[2] == 0.25);
    t.dtype = DTYPE_F32;
    assert_false(ternary_fractions(&t, share));
}

static void shows_values_as_text(void **state) {
    static const char text[] =
        "{\"a\":1,\"long "
        "key\":\"x\",\"rows\":[{\"n\":1,\"t\":\"p\"},{\"n\":22,\"t\":\"q\"}],\"o\":{\"k\":\"a\\u001bb\"}}";
    Error e = {0};
    Buf out = {0};
    json_t *value = json_parse(text, sizeof text - 1, "test", &e);
    show_json(value, &out);
    assert_string_equal(out.data,
                        "a         1\nlong key  x\nrows:\n   n  t\n  ──  ─\n   1  p\n  22  q\no:\n  k  a\uFFFDb\n");
    buf_free(&out);
    json_decref(value);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_answer_per_prompt),
        cmocka_unit_test(answers_of_one_prompt_are_one_cluster),
        cmocka_unit_test(bad_answer_records_are_refused),
        cmocka_unit_test(only_ended_answers_can_be_right),
        cmocka_unit_test(view_dims_thinking),
        cmocka_unit_test(torn_logs_are_read_to_the_last_whole_line),
        cmocka_unit_test(counts_ternary_codes),
        cmocka_unit_test(shows_values_as_text),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
