// Reports: scales and ticks, escaping, tables, what depends on what, and that a page holds no foreign markup and no
// outside resource.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/report.h"
#include "tools/text.h"

#include <cmocka.h> // last: its fail() is a macro

static char folder[64];

static int make_folder(void **state) {
    strcpy(folder, "/tmp/tristill-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop_folder(void **state) { return remove_tree(folder, NULL) ? 0 : -1; }

// ---- charts ----

static void scale_maps_ends_and_middle(void **state) {
    assert_true(axis_scale(2, 2, 6, 100, 0) == 100);
    assert_true(axis_scale(6, 2, 6, 100, 0) == 0);
    assert_true(axis_scale(3, 2, 6, 0, 8) == 2);
    assert_true(axis_scale(5, 5, 5, 0, 8) == 4);
}

static void ticks_are_round_and_inside(void **state) {
    static const double ranges[][2] = {{0, 1},       {-0.37, 0.02}, {1.1, 6.1}, {0, 6144000},
                                       {1e-7, 3e-7}, {-5, 5},       {99, 101},  {1e9, 1e9 + 7}};
    for (size_t r = 0; r < COUNT_OF(ranges); r++) {
        double ticks[16], step, lo = ranges[r][0], hi = ranges[r][1];
        size_t n = axis_ticks(lo, hi, 5, ticks, &step);
        assert_in_range(n, 2, 12);
        double lead = step / pow(10, floor(log10(step) + 1e-9));
        assert_true(fabs(lead - 1) < 1e-6 || fabs(lead - 2) < 1e-6 || fabs(lead - 5) < 1e-6);
        for (size_t i = 0; i < n; i++) {
            assert_true(ticks[i] >= lo - 1e-6 * step && ticks[i] <= hi + 1e-6 * step);
            assert_true(fabs(ticks[i] / step - round(ticks[i] / step)) < 1e-6);
            if (i) assert_true(fabs(ticks[i] - ticks[i - 1] - step) < 1e-6 * step);
        }
    }
    double ticks[16], step;
    assert_int_equal(axis_ticks(0, 1, 5, ticks, &step), 6);
    assert_true(ticks[0] == 0 && fabs(ticks[5] - 1) < 1e-12);
    assert_int_equal(axis_ticks(1, 1, 5, ticks, &step), 0);
    assert_int_equal(axis_ticks(0, INFINITY, 5, ticks, &step), 0);
    assert_int_equal(axis_ticks(NAN, 1, 5, ticks, &step), 0);
}

static void tick_texts(void **state) {
    static const struct {
        double value, step;
        const char *text;
    } cases[] = {{0, 0.2, "0.0"},
                 {0.4, 0.2, "0.4"},
                 {-0.25, 0.05, "-0.25"},
                 {2000000, 1000000, "2M"},
                 {1500000, 500000, "1.5M"},
                 {500000, 500000, "500k"},
                 {1000, 200, "1.0k"},
                 {300, 100, "300"},
                 {0, 1000, "0"},
                 {40, 20, "40"}};
    char text[32];
    for (size_t i = 0; i < COUNT_OF(cases); i++)
        assert_string_equal(tick_text(cases[i].value, cases[i].step, text), cases[i].text);
}

static void smoothing_keeps_lines_and_does_not_lag(void **state) {
    Series raw = {0}, smooth = {0};
    for (int i = 0; i < 200; i++) series_add(&raw, i, 3 * i + 1);
    series_add(&raw, 200, NAN);
    series_smooth(&raw, 9, &smooth);
    assert_int_equal(smooth.n, 200);                      // the NaN is left out
    assert_true(fabs(smooth.y[100] - raw.y[100]) < 1e-5); // what the ends weigh there: 0.8^99 of values below 600
    double mean = 0, weight = 0;                          // the right end is the bias-corrected moving average
    for (int i = 0; i < 200; i++) mean = 0.8 * mean + 0.2 * raw.y[i], weight = 0.8 * weight + 0.2;
    assert_true(fabs(smooth.y[199] - mean / weight) < 1e-9);
    series_free(&raw), series_free(&smooth);
    series_add(&raw, 0, 5);
    series_smooth(&raw, 9, &smooth);
    assert_true(smooth.n == 1 && smooth.y[0] == 5);
    series_free(&raw), series_free(&smooth);
}

static void escapes_markup_and_control(void **state) {
    Buf out = {0};
    html_escape(&out, "a<b>&\"'\x01\x1b[2J\xc2\x9b\xff é\n\t");
    assert_string_equal(out.data, "a&lt;b&gt;&amp;&quot;&#39;\uFFFD\uFFFD[2J\uFFFD\uFFFD é\n\t");
    buf_free(&out);
}

static size_t count(const char *text, const char *part) {
    size_t n = 0;
    for (const char *at = strstr(text, part); at; at = strstr(at + 1, part)) n++;
    return n;
}

// Every number of a path lies inside the picture, whatever the data; a NaN breaks the line.
static void lines_stay_in_the_picture(void **state) {
    Series s = {.name = "x < y"};
    Buf out = {0};
    for (int i = 0; i < 1000; i++) series_add(&s, i, i == 500 || i == 501 ? NAN : sin(i) * pow(10, i % 7));
    chart_lines(&out, &(LineChart){.title = "t & t", .x_label = "x", .y_label = "y", .series = &s, .n_series = 1});
    assert_int_equal(count(out.data, "nan"), 0);
    assert_int_equal(count(out.data, "inf"), 0);
    assert_non_null(strstr(out.data, "x &lt; y"));
    const char *path = strstr(out.data, " d=\"") + 4;
    size_t points = 0, moves = 0;
    for (const char *at = path; *at != '"';) {
        assert_true(*at == 'M' || *at == 'L');
        moves += *at == 'M', points++;
        char *end;
        double x = strtod(at + 1, &end), y = strtod(end, &end);
        assert_true(x >= 0 && x <= 400 && y >= 0 && y <= 240);
        at = end;
    }
    assert_int_equal(moves, 2);
    assert_in_range(points, 150, 250); // 1000 points were thinned out
    series_free(&s);
    s.name = "nothing";
    buf_clear(&out);
    chart_lines(&out, &(LineChart){
                          .title = "t", .x_label = "x", .y_label = "y", .series = &s, .n_series = 1}); // no data at all
    assert_non_null(strstr(out.data, "</svg>"));
    buf_free(&out);
}

static void histogram_shares_sum_to_one(void **state) {
    double values[] = {10, 10, 20, 30, 190}, none[1] = {0};
    Sample samples[] = {{"a", values, 5}, {"b", none, 0}};
    Buf out = {0};
    chart_histogram(&out, "t", "tokens", samples, 2);
    double sum = 0; // heights of the first sample's columns, in the units of an axis that ends at 1.05 of the tallest
                    // (two of five)
    for (const char *at = strstr(out.data, "var(--c1)\" x="); at; at = strstr(at + 1, "var(--c1)\" x="))
        sum += strtod(strstr(at, "height=\"") + 8, NULL);
    assert_true(fabs(sum - (198 - 24) / (0.4 * 1.05)) < 0.1);
    assert_int_equal(count(out.data, "nan"), 0);
    buf_free(&out);
}

// ---- text ----

static void tables_align(void **state) {
    static const char *const headers[] = {"name", "n"}, *const cells[] = {"é±", "7", "longer", "1234"};
    TextTable t = {.n_columns = 2, .headers = headers, .align = "lr"};
    for (size_t i = 0; i < COUNT_OF(cells); i++) strlist_add(&t.cells, cells[i]);
    Buf out = {0};
    text_table(&t, &out);
    assert_string_equal(out.data, "name       n\n──────  ────\né±         7\nlonger  1234\n");
    buf_free(&out);
    strlist_free(&t.cells);
}

static void amounts(void **state) {
    char text[32];
    assert_string_equal(say_bytes(18, text), "18 B");
    assert_string_equal(say_bytes(1023, text), "1023 B");
    assert_string_equal(say_bytes(1434, text), "1.4 KiB");
    assert_string_equal(say_bytes(1048575, text), "1.0 MiB");
    assert_string_equal(say_bytes(150e6, text), "143 MiB");
    assert_string_equal(say_bytes(NAN, text), "–");
    assert_string_equal(say_duration(9.96, text), "10.0 s");
    assert_string_equal(say_duration(59.97, text), "1 min 00 s");
    assert_string_equal(say_duration(3599.7, text), "1 h 00 min");
    assert_string_equal(say_duration(7500, text), "2 h 05 min");
    assert_string_equal(say_count(950, text), "950");
    assert_string_equal(say_count(12345, text), "12.3k");
    assert_string_equal(say_count(999999, text), "1.0M");
}

static void terminals_get_no_control_characters(void **state) {
    Buf out = {0};
    const char hostile[] = "ok\x1b]0;x\x07\xc2\x9b\x7f\r\xe2\x80\xae\xff\n\té";
    text_for_terminal(hostile, sizeof hostile - 1, &out);
    assert_string_equal(out.data, "ok\uFFFD]0;x\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\uFFFD\n\té");
    buf_free(&out);
}

// ---- the whole report ----

static void put(const char *stage, const char *name, const char *text) {
    char *path = xasprintf("%s/out/%s/%s", folder, stage, name);
    assert_true(make_parent(path, NULL) && file_replace(path, text, strlen(text), NULL));
    free(path);
}

static void put_stage(const char *stage, const char *program, const char *config, const char *inputs,
                      const char *results, double seconds) {
    char *run = xasprintf("{\"program\":\"%s\",\"version\":\"0\",\"config\":{\"out\":\"o/"
                          "%s\"%s},\"inputs\":[%s],\"outputs\":[],\"counts\":{},"
                          "\"results\":{%s},\"seconds\":%g,\"started\":\"2026-01-01T00:00:00Z\"}",
                          program, stage, config, inputs, results, seconds);
    put(stage, "run.json", run);
    put(stage, "COMPLETE", "x\n");
    free(run);
}

#define RESULTS(accuracy)                                                                                              \
    "\"accuracy\":" accuracy                                                                                           \
    ",\"standard_error\":0.02,\"by_steps\":{\"2\":{\"n\":10,\"accuracy\":0.5}},\"size_bytes\":2048,"                   \
    "\"tokens_per_answer\":{\"mean\":12.5,\"median\":12},\"decode_tok_per_sec\":321.0"

static void put_recipe(void) {
    put(".stages", "plan.json",
        "{\"name\":\"fake <b>\",\"stages\":[{\"stage\":\"world\"},{\"stage\":\"sft\"},{\"stage\":\"redi\"},"
        "{\"stage\":\"eval_b\"},{\"stage\":\"eval_a\"}]}");
    put_stage("world", "datagen world", "", "", "", 10);
    put_stage("sft", "trainer", ",\"loss\":\"sft\"", "{\"path\":\"o/world/r\"}", "", 20);
    put_stage("redi", "trainer", ",\"loss\":\"redi\"", "{\"path\":\"o/sft/final\"},{\"path\":\"o/world/r\"}", "", 40);
    put_stage("eval_a", "tristill eval",
              ",\"name\":\"<script>alert(1)</script>\",\"model\":\"o/redi/final\",\"prompts\":\"\"",
              "{\"path\":\"o/redi/final\"}", RESULTS("0.75"), 1);
    put_stage("eval_b", "tristill eval", ",\"name\":\"teacher\",\"model\":\"elsewhere/teacher\",\"prompts\":\"\"", "",
              RESULTS("0.9"), 1);
    put("redi", "log.jsonl",
        "{\"event\":\"start\"}\n{\"event\":\"step\",\"step\":1,\"tokens\":10,\"loss\":3,\"chosen_logprob\":-1,"
        "\"rejected_logprob\":-2}\n"
        "{\"event\":\"step\",\"step\":2,\"tokens\":20,\"loss\":2,\"chosen_logprob\":-1,\"rejected_logprob\":-2}\n"
        "{\"event\":\"step\",\"step\":3,\"tokens\":30,\"loss\":9,\"chosen_logprob\":-1,\"rejected_logprob\":-2}\n"
        "{\"event\":\"start\"}\n{\"event\":\"step\",\"step\":2,\"tokens\":20,\"loss\":1.5,\"chosen_logprob\":-1,"
        "\"rejected_logprob\":-3}\n"
        "{\"event\":\"step\",\"step\":4,\"tokens\":40,\"loss\":1,\"code_fractions\":[0.3,0.4,0.3]}\n{\"event\":\"st");
    put("eval_a", "answers.jsonl.zst",
        "{\"id\":\"a\",\"prompt_id\":\"p\",\"text\":\"</pre><img src=x "
        "onerror=y>\",\"verdict\":{\"label\":\"positive\",\"reason\":\"equal\"}}\n");
    put("eval_b", "answers.jsonl.zst",
        "{\"id\":\"b\",\"prompt_id\":\"p\",\"text\":\"x\",\"verdict\":{\"label\":\"negative\"}}\n");
    put("unfinished", "begun.json", "{}");
}

static void load(ReportData *d, const StrList *evals) {
    Error e = {0};
    char *runs = path_join(folder, "out");
    put_recipe();
    if (!report_load(d, runs, "", evals, NULL, &e)) fail_msg("%s", e.text);
    free(runs);
}

static void stages_come_in_the_recipes_order(void **state) {
    static const char *const order[] = {"world", "sft", "redi", "eval_b", "eval_a"};
    ReportData d;
    load(&d, &(StrList){0});
    assert_int_equal(d.n_stages, 5); // the unfinished one is none
    for (size_t i = 0; i < 5; i++) assert_string_equal(d.stages[i].name, order[i]);
    assert_int_equal(d.n_evals, 2);
    assert_string_equal(eval_name(&d.stages[d.evals[0]]), "teacher");
    report_free(&d);
}

static void evals_give_the_order_of_the_table(void **state) {
    StrList names = {0};
    ReportData d;
    Error e = {0};
    strlist_add(&names, "eval_a"), strlist_add(&names, "eval_b");
    load(&d, &names);
    assert_string_equal(d.stages[d.evals[0]].name, "eval_a");
    Buf text = {0};
    report_text(&d, &text);
    assert_non_null(strstr(text.data, "75.0 ± 2.0 %"));
    assert_non_null(strstr(text.data, "2.0 KiB"));
    assert_non_null(strstr(text.data, "1 min 10 s")); // redi 40, sft 20 and world 10, which both need, once
    assert_true(strstr(text.data, "alert") < strstr(text.data, "teacher"));
    buf_free(&text);
    char *runs = xstrdup(d.runs);
    report_free(&d);
    strlist_add(&names, "sft");
    assert_false(report_load(&d, runs, "", &names, NULL, &e));
    assert_non_null(strstr(e.text, "'sft' is no complete `tristill eval` stage"));
    free(runs);
    strlist_free(&names);
}

static void steps_logged_again_replace_the_earlier(void **state) {
    ReportData d;
    Error e = {0};
    Series s = {0}, codes = {0};
    load(&d, &(StrList){0});
    assert_true(stage_series(&d.stages[2], "tokens", "loss", -1, &s, &e)); // the torn last line is left out
    assert_int_equal(s.n, 3);
    assert_true(s.x[1] == 20 && s.y[1] == 1.5 && s.x[2] == 40 && s.y[2] == 1);
    assert_true(stage_series(&d.stages[2], "step", "code_fractions", 1, &codes, &e));
    assert_true(codes.n == 1 && codes.y[0] == 0.4);
    series_free(&s), series_free(&codes);
    report_free(&d);
}

static void page_is_self_contained_and_escaped(void **state) {
    static const char *const never[] = {"<script", "<img",  "<link",   "http:", "https:", "@import",
                                        "url(",    " src=", "<iframe", "<b>\n", "nan",    "inf\""};
    ReportData d;
    Error e = {0};
    Buf html = {0};
    StrList names = {0};
    strlist_add(&names, "eval_b"), strlist_add(&names, "eval_a"); // samples come from the last row
    load(&d, &names);
    if (!report_html(&d, 3, &html, &e)) fail_msg("%s", e.text);
    char *body = strstr(html.data, "<body>");
    for (size_t i = 0; i < COUNT_OF(never); i++) {
        const char *found = strstr(html.data, never[i]);
        if (found && strncmp(found, " src=x onerror", 14)) fail_msg("the page holds %s: %.80s", never[i], found);
    }
    assert_non_null(strstr(body, "&lt;script&gt;alert(1)"));
    assert_non_null(strstr(body, "&lt;/pre&gt;&lt;img src=x onerror=y&gt;"));
    assert_non_null(strstr(html.data, "fake &lt;b&gt;"));
    assert_non_null(strstr(html.data, "prefers-color-scheme: dark"));
    assert_non_null(strstr(html.data, "redi: log-probability per token"));
    static const char *const pairs[][2] = {{"<svg", "</svg>"},
                                           {"<figure", "</figure>"},
                                           {"<section", "</section>"},
                                           {"<pre>", "</pre>"},
                                           {"<article", "</article>"},
                                           {"<details", "</details>"},
                                           {"<table", "</table>"},
                                           {"<tr>", "</tr>"},
                                           {"<text", "</text>"},
                                           {"<div", "</div>"},
                                           {"<h3", "</h3>"}};
    for (size_t i = 0; i < COUNT_OF(pairs); i++) assert_int_equal(count(body, pairs[i][0]), count(body, pairs[i][1]));
    buf_free(&html);
    strlist_free(&names);
    report_free(&d);
}

static void an_empty_folder_is_an_error(void **state) {
    ReportData d;
    Error e = {0};
    char *runs = path_join(folder, "empty");
    assert_true(make_folders(runs, &e));
    assert_false(report_load(&d, runs, "", &(StrList){0}, NULL, &e));
    assert_int_equal(e.code, EXIT_DATA);
    free(runs);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(scale_maps_ends_and_middle),
        cmocka_unit_test(ticks_are_round_and_inside),
        cmocka_unit_test(tick_texts),
        cmocka_unit_test(smoothing_keeps_lines_and_does_not_lag),
        cmocka_unit_test(escapes_markup_and_control),
        cmocka_unit_test(lines_stay_in_the_picture),
        cmocka_unit_test(histogram_shares_sum_to_one),
        cmocka_unit_test(tables_align),
        cmocka_unit_test(amounts),
        cmocka_unit_test(terminals_get_no_control_characters),
        cmocka_unit_test(stages_come_in_the_recipes_order),
        cmocka_unit_test(evals_give_the_order_of_the_table),
        cmocka_unit_test(steps_logged_again_replace_the_earlier),
        cmocka_unit_test(page_is_self_contained_and_escaped),
        cmocka_unit_test(an_empty_folder_is_an_error),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
