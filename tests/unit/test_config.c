// Config: every kind of error with its line, units, lists, overrides, the round trip, the command line.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail // the macro of cmocka; ours is a function
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/base/config.h"
#include "core/base/program.h"

typedef struct TestConfig {
    int64_t max_steps, context;
    double learning_rate;
    bool resume;
    char *out, *note, *lr_schedule;
    StrList data;
    int64_t threads;
} TestConfig;

#define ROW(field, type, fallback, lo, hi, choices, help) \
    {#field, type, offsetof(TestConfig, field), fallback, lo, hi, choices, help}
static const ConfigRow rows[] = {
    ROW(out, CFG_TYPE_TEXT, REQUIRED, 0, 0, NULL, "run folder to write"),
    ROW(max_steps, CFG_TYPE_INT, "1000", 1, 1e9, NULL, "optimizer steps"),
    ROW(context, CFG_TYPE_INT, "32k", 1, 1e12, NULL, "tokens of context"),
    ROW(learning_rate, CFG_TYPE_REAL, "1e-3", 0, 1, NULL, "peak learning rate"),
    ROW(resume, CFG_TYPE_BOOL, "true", 0, 1, NULL, "go on from the newest checkpoint"),
    ROW(note, CFG_TYPE_TEXT, "", 0, 0, NULL, "free text"),
    ROW(lr_schedule, CFG_TYPE_PICK, "cosine", 0, 0, "cosine|linear|wsd|constant", "shape of the learning rate"),
    ROW(data, CFG_TYPE_LIST, "", 0, 0, NULL, "token shards, in order"),
    ROW(threads, CFG_TYPE_INT, "0", 0, 1024, NULL, "0 = all cores"),
};
static const ConfigTable table = CONFIG_TABLE(rows, TestConfig);
static const char path[] = "c.yaml";

static char folder[] = "/tmp/tristill-XXXXXX"; // works there, so that error texts hold a short path

static int enter_folder(void **state) {
    (void)state;
    return mkdtemp(folder) == NULL || chdir(folder) != 0;
}

static int leave_folder(void **state) {
    (void)state;
    return chdir("/") != 0 || !remove_tree(folder, NULL);
}

static bool parse(const char *yaml, TestConfig *c, Error *e) {
    assert_true(file_replace(path, yaml, strlen(yaml), NULL));
    *e = (Error){0};
    return config_parse(&table, path, NULL, 0, c, e);
}

static bool override(const char *text, TestConfig *c, Error *e) {
    char *list[] = {(char *)"out=x", (char *)(uintptr_t)text};
    *e = (Error){0};
    return config_parse(&table, NULL, list, 2, c, e);
}

// The file is refused with exactly this text (after "PATH").
static void refused(const char *yaml, const char *text) {
    TestConfig c;
    Error e;
    assert_false(parse(yaml, &c, &e));
    assert_int_equal(e.code, EXIT_USAGE);
    assert_int_equal(strncmp(e.text, path, strlen(path)), 0);
    if (strcmp(e.text + strlen(path), text) != 0) print_error("found:    %s\n", e.text + strlen(path));
    assert_string_equal(e.text + strlen(path), text);
}

static void refused_with(const char *yaml, const char *part) {
    TestConfig c;
    Error e;
    assert_false(parse(yaml, &c, &e));
    assert_int_equal(e.code, EXIT_USAGE);
    if (strstr(e.text, part) == NULL) print_error("found: %s\nwanted: %s\n", e.text, part);
    assert_non_null(strstr(e.text, part));
}

static void test_defaults(void **state) {
    (void)state;
    TestConfig c;
    Error e;
    assert_true(parse("out: runs/a\n", &c, &e));
    assert_string_equal(c.out, "runs/a");
    assert_int_equal(c.max_steps, 1000);
    assert_int_equal(c.context, 32768);
    assert_true(c.learning_rate == 1e-3);
    assert_true(c.resume);
    assert_string_equal(c.note, "");
    assert_string_equal(c.lr_schedule, "cosine");
    assert_int_equal(c.data.count, 0);
    config_free(&table, &c);
}

static void test_all_types(void **state) {
    (void)state;
    TestConfig c;
    Error e;
    assert_true(parse("# a comment\nout: 'a: b'\nmax_steps: 1e5\nlearning_rate: 1\nresume: false\n"
                      "note: |\n  two\n  lines\nlr_schedule: wsd\ndata:\n  - a.bin\n  - \"b, c.bin\"\n  - 7\n",
                      &c, &e));
    assert_string_equal(c.out, "a: b");
    assert_int_equal(c.max_steps, 100000);
    assert_true(c.learning_rate == 1);
    assert_false(c.resume);
    assert_string_equal(c.note, "two\nlines\n");
    assert_string_equal(c.lr_schedule, "wsd");
    assert_int_equal(c.data.count, 3);
    assert_string_equal(c.data.items[1], "b, c.bin");
    assert_string_equal(c.data.items[2], "7");
    config_free(&table, &c);
}

static void test_units(void **state) {
    (void)state;
    static const struct { const char *text; int64_t value; } good[] = {
        {"32k", 32768},      {"32K", 32000},       {"2M", 2000000},  {"1G", 1000000000},  {"4Ki", 4096},
        {"8MiB", 8 << 20},   {"3Gi", 3LL << 30},   {"8GiB", 8LL << 30}, {"8 GiB", 8LL << 30}, {"1.5k", 1536},
        {"0.5MiB", 1 << 19}, {"1e3", 1000},        {"0x10", 16},     {"+5", 5}};
    static const char *const bad[] = {"32kb", "1.0001k",      "k", "1_000", "12 34", "1.5",
                                      "--3k", "99999999999G", "0", "-1k",   "1e400", ".inf"};
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        TestConfig c;
        Error e;
        char yaml[64];
        snprintf(yaml, sizeof yaml, "out: x\ncontext: %s\n", good[i].text);
        assert_true(parse(yaml, &c, &e));
        assert_int_equal(c.context, good[i].value);
        config_free(&table, &c);
    }
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char yaml[64];
        snprintf(yaml, sizeof yaml, "out: x\ncontext: %s\n", bad[i]);
        refused_with(yaml, ":2: context: ");
    }
}

static void test_errors_name_line_and_key(void **state) {
    (void)state;
    refused("out: x\n\nlerning_rate: 1\n", ":3: lerning_rate: unknown key; did you mean 'learning_rate'?");
    refused("out: x\nqqqq: 1\n", ":2: qqqq: unknown key; see --help for the keys");
    refused("out: x\nmax_steps: many\n",
            ":2: max_steps: expected a whole number (units: k, K, M, G, KiB, MiB, GiB), found \"many\"");
    refused("out: x\nmax_steps: 0\n", ":2: max_steps: 0 is out of range; give 1 to 1000000000");
    refused("out: x\nlearning_rate: 1.5\n", ":2: learning_rate: 1.5 is out of range; give 0 to 1");
    refused("out: x\nlearning_rate: fast\n", ":2: learning_rate: expected a number, found \"fast\"");
    refused("out: x\nresume: yes\n", ":2: resume: expected true or false, found \"yes\"");
    refused("out: [a]\n", ":1: out: expected text (write it in quotes), found a list");
    refused("out: 12\n", ":1: out: expected text (write it in quotes), found 12");
    refused("out: x\nlr_schedule: cosin\n",
            ":2: lr_schedule: 'cosin' is none of cosine|linear|wsd|constant; did you mean 'cosine'?");
    refused("out: x\nlr_schedule: step\n", ":2: lr_schedule: 'step' is none of cosine|linear|wsd|constant");
    refused("out: x\ndata: {a: b}\n", ":2: data: expected a list of texts, found a mapping");
    refused("out: x\ndata: [a, [b]]\n", ":2: data: expected a list of texts, found a list");
    refused("out:\n", ":1: out: has no value; give one or leave the key out");
    refused("", ": out: is required: run folder to write");
    refused("- a\n", ": a mapping of `key: value` lines is wanted at the top\n"
                     "c.yaml: out: is required: run folder to write");
    refused("out: x\nmax_steps: 99999999999999999999\n",
            ":2: max_steps: '99999999999999999999' does not fit into 64 bits\n"
            "c.yaml:2: max_steps: has no value; give one or leave the key out");
}

static void test_yaml_strictness(void **state) {
    (void)state;
    refused_with("out: x\nmax_steps: 1\nmax_steps: 2\n", ":3: max_steps: appears twice");
    refused_with("out: &a x\n", ":1: out: anchors (&a) are refused");
    refused_with("out: &a x\nnote: *a\n", ":2: note: aliases (*a) are refused");
    refused_with("out: !!str x\n", ":1: out: tags (tag:yaml.org,2002:str) are refused");
    refused_with("out: ! x\n", ":1: out: tags (!) are refused");
    refused_with("out: x\n---\nout: y\n", ":2: a second document begins");
    refused_with("out: x\n<<: {note: a}\n", ":2: <<: merge keys are refused");
    refused_with("out: x\nnote: \"a\\0b\"\n", ":2: note: holds a NUL");
    refused_with("out: x\n? [a]\n: b\n", "a key must be plain text");
    refused_with("out: 'x\n", "not valid YAML");
    refused_with("out: x\n\tnote: y\n", "not valid YAML");
    refused_with("out: \xFF\n", "not valid YAML");
    Buf deep = {0};
    buf_text(&deep, "out: ");
    for (int i = 0; i < 1000; i++) buf_char(&deep, '[');
    refused_with(deep.data, "nested deeper than 32");
    buf_free(&deep);
}

static void test_secrets_are_refused_and_not_repeated(void **state) {
    (void)state;
    static const char *const bad[] = {
        "api_key: hunter2hunter2hunter2",      "openai_api_key: hunter2hunter2",
        "Teacher-Password: hunter2",           "hf_token: hunter2",
        "note: sk-proj-hunter2hunter2hunter2", "note: Bearer hunter2hunter2hunter2",
        "note: https://me:hunter2@example.com/v1", "data: [a, hf_hunter2hunter2hunter2hunter2]"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        char yaml[128];
        snprintf(yaml, sizeof yaml, "out: x\n%s\n", bad[i]);
        TestConfig c;
        Error e;
        assert_false(parse(yaml, &c, &e));
        assert_non_null(strstr(e.text, ":2: "));
        assert_non_null(strstr(e.text, "environment variable or file only"));
        assert_null(strstr(e.text, "hunter2"));
    }
    TestConfig c;
    Error e;
    assert_false(override("note=sk-proj-hunter2hunter2hunter2", &c, &e));
    assert_null(strstr(e.text, "hunter2"));
    assert_false(override("api_key=hunter2hunter2", &c, &e));
    assert_null(strstr(e.text, "hunter2"));
    // names of places are no secrets
    refused_with("out: x\napi_key_env: A\nmax_tokens: 1\n", ":2: api_key_env: unknown key");
    assert_true(parse("out: x\nnote: a bearer of news, https://example.com/a@b:c\n", &c, &e));
    config_free(&table, &c);
}

static void test_all_errors_at_once(void **state) {
    (void)state;
    refused("max_steps: 0\nresume: 1\nlr_scedule: wsd\n",
            ":1: max_steps: 0 is out of range; give 1 to 1000000000\n"
            "c.yaml:2: resume: expected true or false, found 1\n"
            "c.yaml:3: lr_scedule: unknown key; did you mean 'lr_schedule'?\n"
            "c.yaml: out: is required: run folder to write");
    Buf many = {0};
    for (int i = 0; i < 200; i++) buf_printf(&many, "unknown_%d: 1\n", i);
    TestConfig c;
    Error e;
    assert_false(parse(many.data, &c, &e));
    buf_free(&many);
    size_t shown = 0;
    for (const char *p = e.text; (p = strstr(p, "unknown key")) != NULL; p++) shown++;
    const char *rest = strstr(e.text, "\n... and ");
    assert_non_null(rest);
    assert_int_equal(shown + strtoul(rest + 9, NULL, 10), 201); // with `out`, which is missing
    assert_null(strstr(e.text, "cut]"));
}

static void test_overrides(void **state) {
    (void)state;
    TestConfig c;
    Error e;
    assert_true(file_replace(path, "out: a\nmax_steps: 5\nnote: from file\n", 36, NULL));
    char *list[] = {(char *)"max_steps=2k", (char *)"out=7", (char *)"data=a.bin, b=1.bin", (char *)"note=",
                    (char *)"max_steps=8k"};
    assert_true(config_parse(&table, path, list, 5, &c, &e));
    assert_int_equal(c.max_steps, 8192); // the last one counts
    assert_string_equal(c.out, "7");     // a shell has no types
    assert_string_equal(c.note, "");
    assert_int_equal(c.data.count, 2);
    assert_string_equal(c.data.items[1], "b=1.bin");
    config_free(&table, &c);
    assert_true(override("data=[a, \"b,c\"]", &c, &e));
    assert_int_equal(c.data.count, 2);
    assert_string_equal(c.data.items[1], "b,c");
    config_free(&table, &c);
    assert_true(override("note=\"a\\nb\"", &c, &e));
    assert_string_equal(c.note, "a\nb");
    config_free(&table, &c);
}

static void test_bad_overrides(void **state) {
    (void)state;
    static const struct { const char *text, *error; } cases[] = {
        {"max_steps=x",
         "command line: max_steps: expected a whole number (units: k, K, M, G, KiB, MiB, GiB), found \"x\""},
        {"max_stepp=1", "command line: max_stepp: unknown key; did you mean 'max_steps'?"},
        {"max_steps", "command line: 'max_steps' is not key=value"},
        {"=1", "command line: '=1' is not key=value"},
        {"max_steps=", "command line: max_steps: has no value; give one or leave the key out"},
        {"note=\xFF", "command line: note: not valid UTF-8, or a number beyond 64 bits"},
        {"lr_schedule=true", "command line: lr_schedule: 'true' is none of cosine|linear|wsd|constant"},
    };
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        TestConfig c;
        Error e;
        assert_false(override(cases[i].text, &c, &e));
        assert_string_equal(e.text, cases[i].error);
    }
    TestConfig c;
    Error e;
    assert_false(override("data=[a", &c, &e));
    assert_non_null(strstr(e.text, "not valid YAML"));
}

static void test_missing_file(void **state) {
    (void)state;
    TestConfig c;
    Error e = {0};
    assert_false(config_parse(&table, "no-such.yaml", NULL, 0, &c, &e));
    assert_int_equal(e.code, EXIT_USAGE);
    assert_non_null(strstr(e.text, "no-such.yaml: cannot open"));
}

static void assert_same_config(const TestConfig *a, const TestConfig *b) {
    json_t *x = config_to_json(&table, a), *y = config_to_json(&table, b);
    assert_true(json_equal(x, y));
    json_decref(x);
    json_decref(y);
}

static void test_round_trip(void **state) {
    (void)state;
    static const char *const texts[] = {
        "plain/path-1.0", "", "two words", "123", "1e5", "true", "null", "~", "- a", "a: b", "a #b", "'q'", "\"q\"",
        "\\", "[x]", "{x}", "*x", "&x", "!x", "%x", "@x", "`x`", "a,b", " lead", "trail ", "line\nbreak", "tab\t",
        "\x01\x7F", "\xC2\x85\xC3\xA4", "0x1F", "32k", "-5", ".5", "=", "<<", "?"};
    for (size_t i = 0; i < COUNT_OF(texts); i++) {
        TestConfig c, again;
        Error e = {0};
        json_t *o = json_pack("{s:s, s:s, s:[s,s], s:f, s:i}", "out", texts[i], "note", texts[i], "data", texts[i], "b",
                              "learning_rate", 1e-6, "max_steps", 7);
        assert_true(config_from_json(&table, o, "test", &c, &e));
        Buf yaml = {0};
        config_to_yaml(&table, &c, &yaml);
        assert_true(parse(yaml.data, &again, &e));
        assert_same_config(&c, &again);
        assert_string_equal(again.data.items[0], texts[i]);
        buf_free(&yaml);
        config_free(&table, &c);
        config_free(&table, &again);
        json_decref(o);
    }
}

static void test_yaml_text(void **state) {
    (void)state;
    TestConfig c;
    Error e;
    Buf yaml = {0};
    assert_true(parse("out: 'on tape'\ndata: [a, '1']\nlearning_rate: 1e-6\n", &c, &e));
    config_to_yaml(&table, &c, &yaml);
    assert_string_equal(yaml.data, "out: \"on tape\"\nmax_steps: 1000\ncontext: 32768\nlearning_rate: 1.0e-06\n"
                                   "resume: true\nnote: \"\"\nlr_schedule: cosine\ndata: [a, \"1\"]\nthreads: 0\n");
    buf_free(&yaml);
    config_free(&table, &c);
}

static void test_from_json(void **state) {
    (void)state;
    TestConfig c;
    Error e = {0};
    json_t *o = json_pack("{s:s, s:i}", "out", "x", "max_step", 1);
    assert_false(config_from_json(&table, o, "stage 'ask'", &c, &e));
    assert_string_equal(e.text, "stage 'ask': max_step: unknown key; did you mean 'max_steps'?");
    json_decref(o);
}

static void test_help_shows_every_row(void **state) {
    (void)state;
    Buf b = {0};
    config_help(&table, &b);
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        assert_non_null(strstr(b.data, rows[i].key));
        assert_non_null(strstr(b.data, rows[i].help));
    }
    assert_non_null(strstr(b.data, "out            (required)"));
    assert_non_null(strstr(b.data, "[cosine|linear|wsd|constant]"));
    assert_non_null(strstr(b.data, "[1..1000000000]"));
    buf_free(&b);
}

static void test_yaml_file_with_lines(void **state) {
    (void)state;
    const char *text = "name: q\nstages:\n  - stage: a\n    with: {n: 3, x: 0.5}\n  - stage: b\n    on: ~\n";
    assert_true(file_replace(path, text, strlen(text), NULL));
    json_t *lines = NULL, *root = yaml_read_file(path, &lines, NULL);
    char *json = json_canonical(root);
    assert_string_equal(json, "{\"name\":\"q\",\"stages\":"
                              "[{\"stage\":\"a\",\"with\":{\"n\":3,\"x\":0.5}},{\"on\":null,\"stage\":\"b\"}]}");
    assert_int_equal(json_integer_value(json_object_get(lines, "stages[0].with.n")), 4);
    assert_int_equal(json_integer_value(json_object_get(lines, "stages[1].stage")), 5);
    assert_int_equal(json_integer_value(json_object_get(lines, "stages[1]")), 5);
    free(json);
    json_decref(root);
    json_decref(lines);
    Error e = {0};
    assert_null(yaml_read_file("no-such.yaml", NULL, &e));
    assert_int_equal(e.code, EXIT_USAGE);
}

static void test_did_you_mean(void **state) {
    (void)state;
    static const char *const names[] = {"learning_rate", "max_steps", "lr", "kd", "sft", "out"};
    static const struct { const char *word, *name; } cases[] = {
        {"max_steps", "max_steps"}, {"max_setps", "max_steps"}, {"maxsteps", "max_steps"}, {"max_step", "max_steps"},
        {"learn", "learning_rate"}, {"learning", "learning_rate"}, {"sfft", "sft"}, {"otu", "out"}, {"zzzz", NULL},
        {"", NULL}, {"q", NULL}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        const char *near = did_you_mean(cases[i].word, names, COUNT_OF(names));
        if (cases[i].name == NULL) assert_null(near);
        else assert_string_equal(near, cases[i].name);
    }
    char longest[1000];
    memset(longest, 'a', sizeof longest - 1);
    longest[sizeof longest - 1] = '\0';
    assert_null(did_you_mean(longest, names, COUNT_OF(names)));
}

// ---- the command line ----

static TestConfig seen;
static Options seen_options;

static int run_ask(const void *config, const Options *options, Error *e) {
    const TestConfig *c = config;
    seen = *c; // numbers only are looked at
    seen_options = *options;
    if (c->max_steps == 13) fail(e, EXIT_DATA, "thirteen");
    return c->max_steps == 13 ? EXIT_DATA : c->max_steps == 75 ? EXIT_STOPPED : EXIT_OK;
}

static const Command commands[] = {
    {.name = "ask", .about = "asks", .examples = "distill ask --config a.yaml\n  distill ask out=x",
     .table = CONFIG_TABLE(rows, TestConfig), .run = run_ask, .positional = "note"},
    {.name = "grade", .about = "grades", .table = CONFIG_TABLE(rows, TestConfig), .run = run_ask},
};

// Runs program_main on words split at blanks, with stdout and stderr caught in text.
static int run_line(const Command *list, size_t n, const char *line, char *text, size_t size) {
    char copy[512], *argv[16] = {(char *)"distill"};
    int argc = 1;
    snprintf(copy, sizeof copy, "%s", line);
    for (char *word = strtok(copy, " "); word != NULL; word = strtok(NULL, " ")) argv[argc++] = word;
    FILE *caught = tmpfile();
    fflush(stdout);
    int out = dup(1), err = dup(2);
    dup2(fileno(caught), 1), dup2(fileno(caught), 2);
    int code = program_main(argc, argv, "distill", "teacher traces", list, n);
    fflush(stdout);
    dup2(out, 1), dup2(err, 2);
    close(out), close(err);
    rewind(caught);
    text[fread(text, 1, size - 1, caught)] = '\0';
    fclose(caught);
    return code;
}

static void expect_line(const char *line, int code, const char *part) {
    char text[8192];
    assert_int_equal(run_line(commands, COUNT_OF(commands), line, text, sizeof text), code);
    if (strstr(text, part) == NULL) print_error("line: %s\nfound: %s\nwanted: %s\n", line, text, part);
    assert_non_null(strstr(text, part));
}

static void test_command_line_errors(void **state) {
    (void)state;
    expect_line("", 2, "error: no command given; see distill --help\n");
    expect_line("aks", 2, "error: unknown command 'aks'; did you mean 'ask'?\n");
    expect_line("ask out=x --dryrun", 2, "error: unknown option '--dryrun'; did you mean '--dry-run'?\n");
    expect_line("ask out=x --max-steps=3", 2, "parameters are written max_steps=VALUE, without dashes");
    expect_line("ask out=x max_stepp=3", 2, "error: command line: max_stepp: unknown key; did you mean 'max_steps'?\n");
    expect_line("ask", 2, "error: command line: out: is required");
    expect_line("ask out=x --config", 2, "--config wants a file");
    expect_line("ask out=x --config=a --config b", 2, "--config is given twice");
    expect_line("grade out=x threads", 2, "'threads' is not key=value; did you mean threads=VALUE?");
    expect_line("ask out=x one two", 2, "'two' is not key=value");
}

static void test_command_line_runs(void **state) {
    (void)state;
    assert_true(file_replace(path, "out: a\nmax_steps: 5\n", 20, NULL));
    expect_line("ask --config=c.yaml max_steps=6 --dry-run --json", 0, "");
    assert_int_equal(seen.max_steps, 6);
    assert_true(seen_options.dry_run && seen_options.json && !seen_options.quiet && !seen_options.overwrite);
    expect_line("ask --config c.yaml --quiet --overwrite threads=3", 0, "");
    assert_int_equal(seen.max_steps, 5);
    assert_true(seen_options.quiet && seen_options.overwrite);
    expect_line("ask out=x hello", 0, ""); // the positional
    expect_line("ask out=x hello --print-config", 0, "note: hello\n");
    expect_line("ask out=x max_steps=13", EXIT_DATA, "error: thirteen\n");
    char text[256];
    assert_int_equal(run_line(commands, 2, "ask out=x max_steps=75", text, sizeof text), EXIT_STOPPED);
    assert_string_equal(text, ""); // stopped and saved is no error
    log_set_quiet(false);
}

static void test_help_and_version(void **state) {
    (void)state;
    expect_line("--version", 0, "distill 0.1.0\n");
    expect_line("--help", 0, "commands:\n  ask    asks\n  grade  grades\n");
    char text[8192];
    assert_int_equal(run_line(commands, 2, "ask --help", text, sizeof text), 0);
    const char *usage = strstr(text, "usage: distill ask [note]");
    const char *examples = strstr(text, "examples:\n  distill ask --config a.yaml\n");
    const char *options = strstr(text, "options:"), *keys = strstr(text, "learning_rate");
    assert_true(usage != NULL && usage < examples && examples < options && options < keys);
    Command single = commands[0];
    single.name = "";
    assert_int_equal(run_line(&single, 1, "out=x max_steps=4", text, sizeof text), 0);
    assert_int_equal(seen.max_steps, 4);
    assert_int_equal(run_line(&single, 1, "--help", text, sizeof text), 0);
    assert_non_null(strstr(text, "usage: distill [note] [--config FILE.yaml]"));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_all_types),
        cmocka_unit_test(test_units),
        cmocka_unit_test(test_errors_name_line_and_key),
        cmocka_unit_test(test_yaml_strictness),
        cmocka_unit_test(test_secrets_are_refused_and_not_repeated),
        cmocka_unit_test(test_all_errors_at_once),
        cmocka_unit_test(test_overrides),
        cmocka_unit_test(test_bad_overrides),
        cmocka_unit_test(test_missing_file),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_yaml_text),
        cmocka_unit_test(test_from_json),
        cmocka_unit_test(test_help_shows_every_row),
        cmocka_unit_test(test_yaml_file_with_lines),
        cmocka_unit_test(test_did_you_mean),
        cmocka_unit_test(test_command_line_errors),
        cmocka_unit_test(test_command_line_runs),
        cmocka_unit_test(test_help_and_version),
    };
    return cmocka_run_group_tests(tests, enter_folder, leave_folder);
}
