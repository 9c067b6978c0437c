// Recipes: what is accepted, what is refused and with which line, what the programs are given.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "tools/recipe.h"

#include <cmocka.h> // last: its fail() is a macro

static char folder[64], path[96];

static int make_folder(void **state) {
    strcpy(folder, "/tmp/tristill-XXXXXX");
    assert_non_null(mkdtemp(folder));
    snprintf(path, sizeof path, "%s/r.yaml", folder);
    return 0;
}

static int drop_folder(void **state) { return remove_tree(folder, NULL) ? 0 : -1; }

static void write_recipe(const char *text) { assert_true(file_replace(path, text, strlen(text), NULL)); }

static const char good[] =
    "name: small\n"
    "out: out/small/\n"
    "stages:\n"
    "  - stage: problems\n"
    "    run: datagen world\n"
    "    with: {what: problems, n: 32k, seed: 1}\n"
    "  - stage: ask\n"
    "    run: distill ask\n"
    "    with:\n"
    "      model: \"${recipe}/teacher\"\n"
    "      prompts: \"${problems}/records.jsonl.zst\"\n"
    "      temperature: 0.6\n"
    "  - stage: sft\n"
    "    run: trainer\n"
    "    with: {data: [\"${problems}/a\", \"${ask}\"], resume: false, out_note: \"x ${out} y\"}\n";

static void read_good(Recipe *r, char *const *overrides, size_t n) {
    Error e = {0};
    write_recipe(good);
    if (!recipe_read(r, path, overrides, n, &e)) fail_msg("%s", e.text);
}

static const char *with_text(const Recipe *r, size_t stage, const char *key) {
    return json_string_value(json_object_get(r->stages[stage].with, key));
}

static void reads_stages_and_expands(void **state) {
    Recipe r;
    char expected[128];
    read_good(&r, NULL, 0);
    assert_string_equal(r.name, "small");
    assert_string_equal(r.out, "out/small"); // without the last slash
    assert_int_equal(r.n_stages, 3);
    assert_string_equal(r.stages[1].program, "distill");
    assert_string_equal(r.stages[1].command, "ask");
    assert_string_equal(r.stages[2].command, "");
    assert_string_equal(r.stages[1].folder, "out/small/ask");
    assert_int_equal(r.stages[1].line, 7);
    snprintf(expected, sizeof expected, "%s/teacher", folder);
    assert_string_equal(with_text(&r, 1, "model"), expected);
    assert_string_equal(with_text(&r, 1, "prompts"), "out/small/problems/records.jsonl.zst");
    assert_string_equal(with_text(&r, 1, "out"), "out/small/ask");
    const json_t *data = json_object_get(r.stages[2].with, "data");
    assert_string_equal(json_string_value(json_array_get(data, 0)), "out/small/problems/a");
    assert_string_equal(json_string_value(json_array_get(data, 1)), "out/small/ask");
    assert_string_equal(with_text(&r, 2, "out_note"), "x out/small y");
    recipe_free(&r);
}

// What is written for a program reads back as the same values.
static void stage_yaml_keeps_types(void **state) {
    Recipe r;
    Error e = {0};
    write_recipe(
        "name: t\nout: o\nstages:\n  - stage: a\n    run: trainer\n    with: {i: 7, r: 0.1, big: 1e-3, b: true, unit: "
        "32k,\n"
        "      quoted: \"7\", word: \"true\", odd: \"a: b # c\", list: [x, 0.3, \"7\"], empty: \"\", line: \"a\\nb\", "
        "bare: null, \"k: y\": 1}\n");
    if (!recipe_read(&r, path, NULL, 0, &e)) fail_msg("%s", e.text);
    Buf yaml = {0};
    recipe_stage_yaml(&r.stages[0], &yaml);
    char *copy = path_join(folder, "copy.yaml");
    assert_true(file_replace(copy, yaml.data, yaml.length, NULL));
    json_t *again = yaml_read_file(copy, NULL, &e);
    if (!again) fail_msg("%s in %s", e.text, yaml.data);
    if (!json_equal(again, r.stages[0].with)) fail_msg("not the same: %s", yaml.data);
    size_t lines = 0;
    for (const char *at = yaml.data; *at; at++) lines += *at == '\n';
    assert_int_equal(lines, json_object_size(r.stages[0].with)); // a key per line, which recipe_blame counts on
    json_decref(again);
    buf_free(&yaml);
    free(copy);
    recipe_free(&r);
}

static void overrides_replace_and_add(void **state) {
    Recipe r;
    char *overrides[] = {"ask.temperature=0.9", "ask.name=a, b", "out=elsewhere", "sft.data=[p, q]",
                         "sft.note=${ask}/x"};
    read_good(&r, overrides, 5);
    assert_string_equal(r.out, "elsewhere");
    assert_string_equal(with_text(&r, 1, "prompts"), "elsewhere/problems/records.jsonl.zst");
    assert_string_equal(with_text(&r, 2, "note"), "elsewhere/ask/x");
    Buf yaml = {0};
    recipe_stage_yaml(&r.stages[1], &yaml);
    assert_non_null(strstr(yaml.data, "\ntemperature: 0.9\n"));
    assert_non_null(strstr(yaml.data, "\nname: \"a, b\"\n"));
    buf_clear(&yaml);
    recipe_stage_yaml(&r.stages[2], &yaml);
    assert_non_null(strstr(yaml.data, "data: [p, q]\n"));
    buf_free(&yaml);
    recipe_free(&r);
}

static void bad_overrides_are_named(void **state) {
    static const struct {
        char *text;
        const char *said;
    } cases[] = {
        {"aks.samples=1", "no stage 'aks'; did you mean 'ask'?"},
        {"ask.samples", "expected stage.key=value"},
        {"ask.=1", "expected stage.key=value"},
        {"ask.out=x", "out of a stage is set by the runner"},
        {"ask.model=${sft}/final", "a later stage"},
        {"out=", "expected a folder"},
    };
    write_recipe(good);
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Recipe r;
        Error e = {0};
        assert_false(recipe_read(&r, path, (char *const *)&cases[i].text, 1, &e));
        assert_int_equal(e.code, EXIT_USAGE);
        if (!strstr(e.text, cases[i].said)) fail_msg("%s: said %s", cases[i].text, e.text);
    }
}

#define STAGES(text) "name: t\nout: o\nstages:\n" text
static const struct {
    const char *text, *said;
} mistakes[] = {
    {"nme: t\nout: o\nstages:\n  - {stage: a, run: trainer}\n", ":1: unknown key 'nme'; did you mean 'name'?"},
    {"name: t\nstages:\n  - {stage: a, run: trainer}\n", "out: is missing"},
    {"name: 7\nout: o\nstages:\n  - {stage: a, run: trainer}\n", ":1: name: expected text"},
    {"name: t\nout: o\n", "stages: expected a list"},
    {"name: t\nout: o\nstages: []\n", ":3: stages: expected a list"},
    {"- a\n- b\n", "expected a mapping"},
    {STAGES("  - trainer\n"), "stage 1: expected a mapping"},
    {STAGES("  - stage: a\n    rnu: trainer\n"), ":5: unknown key 'rnu'; did you mean 'run'?"},
    {STAGES("  - stage: a\n"), ":4: stage 1: run: is missing"},
    {STAGES("  - run: trainer\n"), ":4: stage 1: stage: is missing"},
    {STAGES("  - {stage: a, run: trainer}\n  - {stage: a, run: trainer}\n"),
     ":5: stage: 'a' is already the name of stage 1 (line 4)"},
    {STAGES("  - {stage: recipe, run: trainer}\n"), "'recipe' is reserved"},
    {STAGES("  - {stage: a/b, run: trainer}\n"), "letters, digits"},
    {STAGES("  - {stage: -a, run: trainer}\n"), "letters, digits"},
    {STAGES("  - {stage: a, run: trianer}\n"), ":4: run: unknown program 'trianer'; did you mean 'trainer'?"},
    {STAGES("  - {stage: a, run: /bin/sh}\n"), "unknown program"},
    {STAGES("  - {stage: a, run: tristill run}\n"), "is no stage"},
    {STAGES("  - {stage: a, run: datagen world n=3}\n"), "keys belong into 'with'"},
    {STAGES("  - {stage: a, run: datagen --help}\n"), "keys belong into 'with'"},
    {STAGES("  - {stage: a, run: trainer, with: [b]}\n"), ":4: with: expected a mapping"},
    {STAGES("  - {stage: a, run: trainer, with: {out: b}}\n"), ":4: with: out is set by the runner"},
    {STAGES("  - stage: a\n    run: trainer\n    with:\n      x: \"${b}\"\n  - {stage: b, run: trainer}\n"),
     ":7: ${b} is a later stage"},
    {STAGES("  - {stage: a, run: trainer, with: {x: \"${a}\"}}\n"), "the stage's own folder"},
    {STAGES("  - {stage: tests, run: trainer}\n  - {stage: b, run: trainer, with: {x: [\"${test}\"]}}\n"),
     "${test} is no earlier stage; did you mean 'tests'?"},
    {STAGES("  - {stage: a, run: trainer, with: {x: \"${out\"}}\n"), "without '}'"},
};

static void mistakes_are_told_with_their_line(void **state) {
    for (size_t i = 0; i < COUNT_OF(mistakes); i++) {
        Recipe r;
        Error e = {0};
        write_recipe(mistakes[i].text);
        if (recipe_read(&r, path, NULL, 0, &e)) fail_msg("accepted: %s", mistakes[i].text);
        assert_int_equal(e.code, EXIT_USAGE);
        if (!strstr(e.text, mistakes[i].said) || strncmp(e.text, path, strlen(path)))
            fail_msg("%s\nsaid: %s\nnot:  %s", mistakes[i].text, e.text, mistakes[i].said);
    }
}

static void all_mistakes_at_once(void **state) {
    Recipe r;
    Error e = {0};
    write_recipe(
        STAGES("  - {stage: a, run: trianer}\n  - {stage: b, run: trainer, wiht: {}}\n  - {run: quant export}\n"));
    assert_false(recipe_read(&r, path, NULL, 0, &e));
    assert_non_null(strstr(e.text, ":4: run:"));
    assert_non_null(strstr(e.text, ":5: unknown key 'wiht'"));
    assert_non_null(strstr(e.text, ":6: stage 3: stage: is missing"));
}

static void a_missing_recipe_is_an_error(void **state) {
    Recipe r;
    Error e = {0};
    assert_false(recipe_read(&r, "/nowhere/r.yaml", NULL, 0, &e));
    assert_int_equal(e.code, EXIT_USAGE);
}

static void finds_stages_by_name(void **state) {
    Recipe r;
    Error e = {0};
    size_t at;
    read_good(&r, NULL, 0);
    assert_true(recipe_find(&r, "sft", &at, &e));
    assert_int_equal(at, 2);
    assert_false(recipe_find(&r, "stf", &at, &e));
    assert_non_null(strstr(e.text, "did you mean 'sft'?"));
    recipe_free(&r);
}

// Messages of a program about its config file are told with the place the user wrote.
static void blame_points_into_the_recipe(void **state) {
    Recipe r;
    char *overrides[] = {"ask.temperature=hot"}, expected[512];
    Buf out = {0};
    read_good(&r, overrides, 1);
    recipe_blame(
        &r, 1, "/tmp/c",
        "/tmp/c:2: prompts: no such file\n/tmp/c:3: temperature: expected a number\n/tmp/c: model: is required", &out);
    snprintf(expected, sizeof expected,
             "%s:11: stage ask: prompts: no such file\noverride ask.temperature: temperature: expected a number\n%s:7: "
             "stage ask: model: is required",
             path, path);
    assert_string_equal(out.data, expected);
    buf_free(&out);
    recipe_free(&r);
}

static void plan_holds_the_resolved_stages(void **state) {
    Recipe r;
    read_good(&r, NULL, 0);
    json_t *plan = recipe_plan(&r);
    const json_t *stage = json_array_get(json_object_get(plan, "stages"), 1);
    assert_string_equal(json_string_value(json_object_get(stage, "run")), "distill ask");
    assert_string_equal(json_string_value(json_object_get(json_object_get(stage, "with"), "out")), "out/small/ask");
    json_decref(plan);
    recipe_free(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(reads_stages_and_expands),          cmocka_unit_test(stage_yaml_keeps_types),
        cmocka_unit_test(overrides_replace_and_add),         cmocka_unit_test(bad_overrides_are_named),
        cmocka_unit_test(mistakes_are_told_with_their_line), cmocka_unit_test(all_mistakes_at_once),
        cmocka_unit_test(a_missing_recipe_is_an_error),      cmocka_unit_test(finds_stages_by_name),
        cmocka_unit_test(blame_points_into_the_recipe),      cmocka_unit_test(plan_holds_the_resolved_stages),
    };
    return cmocka_run_group_tests(tests, make_folder, drop_folder);
}
