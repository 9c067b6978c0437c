// The life of a stage: fresh, resumed, complete, other work, damaged outputs, torn log, stop signals.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail // the macro of cmocka; ours is a function
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/run.h"

typedef struct TestConfig {
    char *out;
    int64_t n, threads;
} TestConfig;

static const ConfigRow rows[] = {
    {"out", CFG_TYPE_TEXT, offsetof(TestConfig, out), "", 0, 0, NULL, "run folder"},
    {"n", CFG_TYPE_INT, offsetof(TestConfig, n), "1", 0, 100, NULL, "records"},
    {"threads", CFG_TYPE_INT, offsetof(TestConfig, threads), "0", 0, 100, NULL, "cores"},
};
static const ConfigTable table = CONFIG_TABLE(rows, TestConfig);
static char folder[64]; // holds "in" (an input), "out" (the run)

static const char *in_folder(const char *name) {
    static char paths[4][128];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void put(const char *name, const char *text) {
    assert_true(file_replace(in_folder(name), text, strlen(text), NULL));
}

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/tristill-XXXXXX");
    if (mkdtemp(folder) == NULL) return -1;
    log_set_quiet(true);
    put("in", "input");
    return 0;
}

static int remove_folder(void **state) {
    (void)state;
    return !remove_tree(folder, NULL);
}

static RunState begin(Run *run, int64_t n, int64_t threads, bool overwrite, Error *e) {
    TestConfig c = {.out = (char *)(uintptr_t)in_folder("out"), .n = n, .threads = threads};
    *e = (Error){0};
    run_open(run, "test stage", &table, &c, c.out);
    assert_true(run_input(run, in_folder("in"), e));
    return run_begin(run, overwrite, e);
}

static void work(Run *run) {
    Error e = {0};
    put("out/data.txt", "result");
    assert_true(make_folders(in_folder("out/model"), NULL));
    put("out/model/w", "weights");
    run_output(run, "data.txt");
    run_output(run, "model");
    run_output(run, "data.txt"); // twice is once
    run_count(run, "read", 10);
    run_count(run, "kept", 7);
    run_count(run, "dropped", 3);
    run_result(run, "accuracy", json_real(0.5));
    run_result(run, "perplexity", json_real((double)NAN));
    assert_true(run_finish(run, &e));
    run_close(run);
}

static void complete_once(void) {
    Run run;
    Error e;
    assert_int_equal(begin(&run, 1, 0, false, &e), RUN_FRESH);
    work(&run);
}

static void assert_state(RunState wanted, int64_t n, int64_t threads, bool overwrite) {
    Run run;
    Error e;
    RunState state = begin(&run, n, threads, overwrite, &e);
    run_close(&run);
    if (state != wanted) print_error("state %d: %s\n", (int)state, e.text);
    assert_int_equal(state, wanted);
}

static void assert_refused(int64_t n, bool overwrite, int code, const char *part) {
    Run run;
    Error e;
    assert_int_equal(begin(&run, n, 0, overwrite, &e), RUN_ERROR);
    run_close(&run);
    assert_int_equal(e.code, code);
    if (strstr(e.text, part) == NULL) print_error("found: %s\n", e.text);
    assert_non_null(strstr(e.text, part));
}

static void test_fresh_work_leaves_its_record(void **state) {
    (void)state;
    complete_once();
    json_t *run = json_read_file(in_folder("out/run.json"), NULL);
    assert_non_null(run);
    assert_int_equal(json_array_size(json_object_get(run, "outputs")), 2);
    json_t *output = json_array_get(json_object_get(run, "outputs"), 0);
    json_t *input = json_array_get(json_object_get(run, "inputs"), 0);
    assert_string_equal(json_string_value(json_object_get(output, "path")), "data.txt");
    assert_string_equal(json_string_value(json_object_get(output, "sha256")), sha256_of("result", 6).text);
    assert_string_equal(json_string_value(json_object_get(input, "sha256")), sha256_of("input", 5).text);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(run, "counts"), "dropped")), 3);
    assert_int_equal(json_integer_value(json_object_get(json_object_get(run, "config"), "n")), 1);
    assert_true(json_real_value(json_object_get(json_object_get(run, "results"), "accuracy")) == 0.5);
    assert_true(json_is_null(json_object_get(json_object_get(run, "results"), "perplexity")));
    assert_string_equal(json_string_value(json_object_get(run, "version")), TRISTILL_VERSION);
    json_decref(run);
    HexDigest digest;
    Buf seal = {0};
    assert_true(sha256_file(in_folder("out/run.json"), &digest, NULL));
    assert_true(file_read(in_folder("out/COMPLETE"), 100, &seal, NULL));
    assert_int_equal(strncmp(seal.data, digest.text, 64), 0);
    buf_free(&seal);
    assert_true(file_exists(in_folder("out/config.resolved.yaml")));
}

static void test_complete_work_is_not_done_again(void **state) {
    (void)state;
    complete_once();
    assert_state(RUN_COMPLETE, 1, 0, false);
    assert_state(RUN_COMPLETE, 1, 8, false); // threads change nothing
    assert_state(RUN_COMPLETE, 1, 0, true);  // overwrite is for other work
}

static void test_begun_work_resumes(void **state) {
    (void)state;
    assert_state(RUN_FRESH, 1, 0, false);
    put("out/partial", "kept");
    assert_state(RUN_RESUME, 1, 4, false);
    assert_true(file_exists(in_folder("out/partial")));
    Run run;
    Error e;
    assert_int_equal(begin(&run, 1, 0, false, &e), RUN_RESUME);
    work(&run);
    assert_state(RUN_COMPLETE, 1, 0, false);
}

static void test_other_config_is_refused(void **state) {
    (void)state;
    complete_once();
    assert_refused(2, false, EXIT_USAGE, "\n  n: was 1, is 2\n");
    assert_true(file_exists(in_folder("out/data.txt")));
    assert_state(RUN_FRESH, 2, 0, true);
    assert_false(file_exists(in_folder("out/data.txt")));
    assert_refused(3, false, EXIT_USAGE, "n: was 2, is 3"); // begun, not complete
}

static void test_other_input_is_refused(void **state) {
    (void)state;
    complete_once();
    put("in", "changed");
    assert_refused(1, false, EXIT_USAGE, "/in: its content changed since");
    assert_state(RUN_FRESH, 1, 0, true);
}

static void test_missing_input(void **state) {
    (void)state;
    Run run;
    Error e = {0};
    TestConfig c = {.out = (char *)"x"};
    run_open(&run, "test stage", &table, &c, in_folder("out"));
    assert_false(run_input(&run, in_folder("absent"), &e));
    assert_int_equal(e.code, EXIT_DATA);
    assert_non_null(strstr(e.text, "input: "));
    run_close(&run);
    assert_false(file_exists(in_folder("out"))); // nothing was written
}

static void test_damaged_output_is_done_again(void **state) {
    (void)state;
    complete_once();
    put("out/model/w", "weightz");
    assert_state(RUN_FRESH, 1, 0, false);
    assert_false(file_exists(in_folder("out/COMPLETE")));
    assert_true(file_exists(in_folder("out.damaged/model/w"))); // moved aside, not deleted
    Run run;
    Error e;
    assert_int_equal(begin(&run, 1, 0, false, &e), RUN_RESUME);
    work(&run);
    assert_int_equal(unlink(in_folder("out/data.txt")), 0);
    assert_state(RUN_FRESH, 1, 0, false);
    assert_true(file_exists(in_folder("out.damaged-2/model/w")));
}

static void test_damaged_record_is_done_again(void **state) {
    (void)state;
    complete_once();
    put("out/run.json", "{}");
    assert_state(RUN_FRESH, 1, 0, false);
}

static void test_foreign_folder_is_never_emptied(void **state) {
    (void)state;
    assert_true(make_folders(in_folder("out"), NULL));
    put("out/thesis.txt", "years of work");
    assert_refused(1, false, EXIT_USAGE, "holds files that no run made");
    assert_refused(1, true, EXIT_USAGE, "holds files that no run made");
    assert_true(file_exists(in_folder("out/thesis.txt")));
}

static void test_crash_before_the_record(void **state) {
    (void)state;
    assert_true(make_folders(in_folder("out"), NULL));
    put("out/begun.json.tmp", "{\"prog");
    assert_state(RUN_FRESH, 1, 0, false);
}

static void test_unreadable_record(void **state) {
    (void)state;
    assert_state(RUN_FRESH, 1, 0, false);
    put("out/begun.json", "{");
    assert_refused(1, false, EXIT_DATA, "its record is unreadable");
    assert_state(RUN_FRESH, 1, 0, true);
}

static void test_two_processes_do_not_share_a_folder(void **state) {
    (void)state;
    Run run;
    Error e;
    assert_int_equal(begin(&run, 1, 0, false, &e), RUN_FRESH);
    assert_refused(1, false, EXIT_FAIL, "another process is working in this folder");
    run_close(&run);
    assert_state(RUN_RESUME, 1, 0, false);
}

static void test_counts_must_add_up(void **state) {
    (void)state;
    Run run;
    Error e;
    assert_int_equal(begin(&run, 1, 0, false, &e), RUN_FRESH);
    run_count(&run, "read", 10);
    run_count(&run, "kept", 7);
    run_count(&run, "dropped", 2);
    assert_false(run_finish(&run, &e));
    assert_non_null(strstr(e.text, "read 10 records, but kept 7 and dropped 2: 1 are unaccounted for"));
    assert_false(file_exists(in_folder("out/COMPLETE")));
    run_close(&run);
}

static void test_missing_output_is_not_complete(void **state) {
    (void)state;
    Run run;
    Error e;
    assert_int_equal(begin(&run, 1, 0, false, &e), RUN_FRESH);
    run_output(&run, "never-written");
    assert_false(run_finish(&run, &e));
    assert_non_null(strstr(e.text, "output: "));
    assert_false(file_exists(in_folder("out/COMPLETE")));
    run_close(&run);
}

static void test_earlier_sessions_count(void **state) {
    (void)state;
    assert_state(RUN_FRESH, 1, 0, false);
    put("out/log.jsonl", "{\"event\":\"start\",\"time\":100.0}\n{\"event\":\"step\",\"time\":130.5}\n"
                         "{\"event\":\"start\",\"time\":500.0}\nnot json\n{\"event\":\"step\",\"time\":510.0}\n"
                         "{\"event\":\"st");
    Run run;
    Error e;
    assert_int_equal(begin(&run, 1, 0, false, &e), RUN_RESUME);
    assert_true(run.seconds_before == 40.5);
    run_close(&run);
    Buf b = {0};
    assert_true(file_read(in_folder("out/log.jsonl"), 0, &b, NULL));
    const char *last = strstr(b.data, "{\"event\":\"step\",\"time\":510.0}\n{\"event\":\"start\",");
    assert_non_null(last); // the torn line is gone, the new session follows
    assert_non_null(strstr(last, "\"resumed\":true"));
    buf_free(&b);
}

// Ends with what the loop saw: 0 running, 75 asked to stop.
static int child_with_signals(const int *signals, int n) {
    pid_t pid = fork();
    if (pid == 0) {
        stop_install();
        for (int i = 0; i < n; i++) raise(signals[i]);
        _exit(stop_requested() ? EXIT_STOPPED : EXIT_OK);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

static void test_stop_signals(void **state) {
    (void)state;
    assert_int_equal(child_with_signals(NULL, 0), EXIT_OK);
    assert_int_equal(child_with_signals((int[]){SIGTERM}, 1), EXIT_STOPPED);
    assert_int_equal(child_with_signals((int[]){SIGUSR1, SIGTERM}, 2), EXIT_STOPPED);
    assert_int_equal(child_with_signals((int[]){SIGINT}, 1), EXIT_STOPPED);
    assert_int_equal(child_with_signals((int[]){SIGINT, SIGINT}, 2), 130);
}

int main(void) {
#define IN_FOLDER(test) cmocka_unit_test_setup_teardown(test, make_folder, remove_folder)
    const struct CMUnitTest tests[] = {
        IN_FOLDER(test_fresh_work_leaves_its_record),
        IN_FOLDER(test_complete_work_is_not_done_again),
        IN_FOLDER(test_begun_work_resumes),
        IN_FOLDER(test_other_config_is_refused),
        IN_FOLDER(test_other_input_is_refused),
        IN_FOLDER(test_missing_input),
        IN_FOLDER(test_damaged_output_is_done_again),
        IN_FOLDER(test_damaged_record_is_done_again),
        IN_FOLDER(test_foreign_folder_is_never_emptied),
        IN_FOLDER(test_crash_before_the_record),
        IN_FOLDER(test_unreadable_record),
        IN_FOLDER(test_two_processes_do_not_share_a_folder),
        IN_FOLDER(test_counts_must_add_up),
        IN_FOLDER(test_missing_output_is_not_complete),
        IN_FOLDER(test_earlier_sessions_count),
        cmocka_unit_test(test_stop_signals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
