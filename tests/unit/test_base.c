// Memory, files, hashes, JSON, log, errors.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail // the macro of cmocka; ours is a function
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/hash.h"
#include "core/base/json.h"
#include "core/base/log.h"

static char folder[64]; // of the test that runs

static int make_folder(void **state) {
    (void)state;
    strcpy(folder, "/tmp/tristill-XXXXXX");
    return mkdtemp(folder) == NULL;
}

static int remove_folder(void **state) {
    (void)state;
    return !remove_tree(folder, NULL);
}

// folder/name; lives until the next call but three
static const char *in_folder(const char *name) {
    static char paths[4][256];
    static int turn;
    char *path = paths[turn++ % 4];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

static void assert_file(const char *path, const char *content) {
    Buf b = {0};
    assert_true(file_read(path, 0, &b, NULL));
    assert_string_equal(b.data, content);
    buf_free(&b);
}

// ---- errors ----

static void test_fail_fills_the_error(void **state) {
    (void)state;
    Error e = {0};
    assert_false(fail(&e, EXIT_DATA, "record %d", 7));
    assert_int_equal(e.code, EXIT_DATA);
    assert_false(fail_in(&e, "file '%s'", "a"));
    assert_string_equal(e.text, "file 'a': record 7");
    assert_int_equal(e.code, EXIT_DATA);
    assert_false(fail(&e, EXIT_FAIL, "again: %s", e.text)); // its own text as an argument
    assert_string_equal(e.text, "again: file 'a': record 7");
    assert_false(fail(NULL, EXIT_DATA, "nobody listens"));
}

static void test_long_errors_are_cut_visibly(void **state) {
    (void)state;
    Error e = {0};
    char *text = xmalloc(4001);
    for (int i = 0; i < 4000; i += 2) memcpy(text + i, "\xC3\xA4", 2); // two-byte letters
    text[4000] = '\0';
    fail(&e, EXIT_DATA, "x%s", text);
    free(text);
    const char *mark = strstr(e.text, " [... cut]");
    assert_non_null(mark);
    assert_int_equal((mark - e.text - 1) % 2, 0); // no letter is halved
}

// What a child printed on stderr and how it ended.
static int run_child(void (*body)(void), char *text, size_t size) {
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(ends[1], STDERR_FILENO);
        body();
        _exit(0);
    }
    close(ends[1]);
    size_t used = 0;
    ssize_t n;
    while (used < size - 1 && (n = read(ends[0], text + used, size - 1 - used)) > 0) used += (size_t)n;
    text[used] = '\0';
    close(ends[0]);
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void break_invariant(void) { check(1 + 1 == 3, "sum is %d", 2); }

static void die_of_data(void) {
    Error e = {0};
    fail(&e, EXIT_DATA, "a.json:3: bad");
    die_of(&e);
}

static void overrun_arena(void) {
    Arena a;
    arena_init(&a, "activations", 128);
    arena_take(&a, 100);
    arena_take(&a, 1);
}

static void test_dying(void **state) {
    (void)state;
    char text[2048];
    assert_int_equal(run_child(break_invariant, text, sizeof text), EXIT_FAIL);
    assert_non_null(strstr(text, "test_base.c:"));
    assert_non_null(strstr(text, "sum is 2"));
    assert_non_null(strstr(text, "hint:"));
    assert_int_equal(run_child(die_of_data, text, sizeof text), EXIT_DATA);
    assert_string_equal(text, "error: a.json:3: bad\n");
    assert_int_equal(run_child(overrun_arena, text, sizeof text), EXIT_FAIL);
    assert_non_null(strstr(text, "arena 'activations': 1 bytes wanted, 0 of 128 left"));
}

// ---- memory ----

static void test_arena(void **state) {
    (void)state;
    Arena a;
    arena_init(&a, "test", 1000);
    char *first = arena_take(&a, 1), *second = arena_take(&a, 900);
    assert_int_equal((uintptr_t)first % ARENA_ALIGN, 0);
    assert_int_equal(second - first, ARENA_ALIGN);
    for (int i = 0; i < 900; i++) assert_int_equal(second[i], 0);
    second[899] = 1;
    assert_int_equal(a.used, 1024);
    arena_free(&a);
    arena_init(&a, "empty", 0);
    assert_non_null(arena_take(&a, 0));
    arena_free(&a);
}

static void test_buf_grows_and_ends_with_nul(void **state) {
    (void)state;
    Buf b = {0};
    buf_add(&b, NULL, 0);
    assert_string_equal(b.data, "");
    for (int i = 0; i < 1000; i++) buf_printf(&b, "%d,", i);
    assert_int_equal(b.length, 10 * 2 + 90 * 3 + 900 * 4);
    assert_int_equal(strlen(b.data), b.length);
    buf_clear(&b);
    buf_char(&b, 'x');
    buf_text(&b, "yz");
    assert_string_equal(b.data, "xyz");
    buf_free(&b);
}

static void test_lists(void **state) {
    (void)state;
    StrList l = {0};
    for (int i = 0; i < 100; i++) strlist_add(&l, i % 2 ? "odd" : "even");
    assert_int_equal(l.count, 100);
    assert_string_equal(l.items[99], "odd");
    strlist_free(&l);
    TokenList t = {0};
    int32_t ids[300];
    for (int i = 0; i < 300; i++) ids[i] = i;
    tokens_add(&t, -1);
    tokens_append(&t, ids, 300);
    tokens_append(&t, NULL, 0);
    assert_int_equal(t.count, 301);
    assert_int_equal(t.items[300], 299);
    tokens_free(&t);
}

static void test_text_copies(void **state) {
    (void)state;
    char raw[3] = {'a', 'b', 'c'}; // no NUL
    char *copy = xstrndup(raw, 3), *text = xasprintf("%s-%05d", copy, 42);
    assert_string_equal(copy, "abc");
    assert_string_equal(text, "abc-00042");
    free(copy);
    free(text);
}

// ---- files ----

static void test_replace_and_read(void **state) {
    (void)state;
    const char *path = in_folder("a.txt");
    assert_false(file_exists(path));
    assert_int_equal(file_size(path), -1);
    assert_true(file_replace(path, "one", 3, NULL));
    assert_true(file_replace(path, "second", 6, NULL));
    assert_file(path, "second");
    assert_int_equal(file_size(path), 6);
    assert_false(file_exists(in_folder("a.txt.tmp")));
    assert_true(file_replace(path, "", 0, NULL));
    assert_file(path, "");
}

static void test_read_errors_name_the_path(void **state) {
    (void)state;
    Error e = {0};
    Buf b = {0};
    assert_false(file_read(in_folder("absent"), 0, &b, &e));
    assert_int_equal(e.code, EXIT_DATA);
    assert_non_null(strstr(e.text, "/absent: cannot open: No such file"));
    assert_false(file_read(folder, 0, &b, &e));
    assert_non_null(strstr(e.text, "is a folder"));
    assert_true(file_replace(in_folder("big"), "0123456789", 10, NULL));
    assert_false(file_read(in_folder("big"), 9, &b, &e));
    assert_non_null(strstr(e.text, "larger than the 9 bytes"));
    buf_clear(&b);
    assert_true(file_read(in_folder("big"), 10, &b, &e));
    assert_int_equal(b.length, 10);
    buf_free(&b);
}

static void test_map(void **state) {
    (void)state;
    Mapping m;
    assert_true(file_replace(in_folder("m"), "data", 4, NULL));
    assert_true(file_map(in_folder("m"), &m, NULL));
    assert_int_equal(m.size, 4);
    assert_memory_equal(m.data, "data", 4);
    file_unmap(&m);
    assert_true(file_replace(in_folder("m"), "", 0, NULL));
    assert_true(file_map(in_folder("m"), &m, NULL));
    assert_null(m.data);
    file_unmap(&m);
    assert_false(file_map(folder, &m, NULL));
}

static void test_abandoned_write_leaves_the_old_file(void **state) {
    (void)state;
    const char *path = in_folder("kept");
    assert_true(file_replace(path, "old", 3, NULL));
    AtomicFile a;
    assert_true(atomic_open(&a, path, NULL));
    assert_true(atomic_write(&a, "new", 3, NULL));
    assert_file(path, "old"); // nothing is visible before the commit
    atomic_abandon(&a);
    assert_file(path, "old");
    assert_false(file_exists(in_folder("kept.tmp")));
}

static void test_leftover_of_a_crash_is_overwritten(void **state) {
    (void)state;
    FILE *torn = fopen(in_folder("x.tmp"), "w");
    fputs("torn and much longer than what comes", torn);
    fclose(torn);
    assert_true(file_replace(in_folder("x"), "good", 4, NULL));
    assert_file(in_folder("x"), "good");
    assert_false(file_exists(in_folder("x.tmp")));
}

static void test_failed_writes_are_told(void **state) {
    (void)state;
    Error e = {0};
    assert_false(file_replace(in_folder("no/such/folder/f"), "x", 1, &e)); // refused whoever runs it
    assert_int_equal(e.code, EXIT_FAIL);
    assert_non_null(strstr(e.text, "cannot create"));
    assert_true(make_folders(in_folder("target"), NULL));
    assert_false(file_replace(in_folder("target"), "x", 1, &e)); // a folder stands where the file should be
    assert_non_null(strstr(e.text, "cannot rename"));
    assert_false(file_exists(in_folder("target.tmp")));
    AtomicFile a;
    assert_true(atomic_open(&a, in_folder("disk"), NULL));
    assert_non_null(freopen("/dev/full", "w", a.file)); // a disk without room
    assert_true(atomic_write(&a, "x", 1, NULL));        // still in the buffer
    assert_false(atomic_commit(&a, &e));
    assert_non_null(strstr(e.text, "No space left"));
    assert_false(file_exists(in_folder("disk")));
}

static void test_unwritable_folder(void **state) {
    (void)state;
    Error e = {0};
    assert_true(file_replace(in_folder("f"), "old", 3, NULL));
    bool root = geteuid() == 0; // root writes everywhere, so it plays another user
    assert_int_equal(chmod(folder, 0555), 0);
    if (root) assert_int_equal(seteuid(65534), 0);
    bool written = file_replace(in_folder("f"), "new", 3, &e);
    if (root) assert_int_equal(seteuid(0), 0);
    assert_int_equal(chmod(folder, 0700), 0);
    assert_false(written);
    assert_non_null(strstr(e.text, "Permission denied"));
    assert_file(in_folder("f"), "old");
}

static void test_folders(void **state) {
    (void)state;
    Error e = {0};
    assert_true(make_folders(in_folder("a/b//c/"), NULL));
    assert_true(make_parent(in_folder("a/d/file"), NULL));
    assert_true(is_folder(in_folder("a/b/c")) && is_folder(in_folder("a/d")));
    assert_true(file_replace(in_folder("a/Z"), "", 0, NULL));
    StrList names = {0};
    assert_true(folder_list(in_folder("a"), &names, NULL));
    assert_int_equal(names.count, 3);
    assert_string_equal(names.items[0], "Z"); // bytewise: capitals first
    assert_string_equal(names.items[2], "d");
    strlist_free(&names);
    assert_false(make_folders(in_folder("a/Z/under"), &e));
    assert_non_null(strstr(e.text, "is a file"));
    assert_int_equal(symlink("/etc", in_folder("a/link")), 0);
    assert_true(remove_tree(in_folder("a"), NULL)); // the link, not what it points to
    assert_false(file_exists(in_folder("a")));
    assert_true(file_exists("/etc/passwd"));
    assert_true(remove_tree(in_folder("a"), NULL));
}

static void test_paths(void **state) {
    (void)state;
    char *a = path_join("x", "y"), *b = path_join("x/", "y"), *c = path_join("", "y");
    assert_string_equal(a, "x/y");
    assert_string_equal(b, "x/y");
    assert_string_equal(c, "y");
    assert_string_equal(path_base("a/b/c.txt"), "c.txt");
    assert_string_equal(path_base("c.txt"), "c.txt");
    free(a), free(b), free(c);
}

// ---- hashes: FIPS 180-4 examples (NIST) ----

static void test_sha256_vectors(void **state) {
    (void)state;
    static const char two_blocks[] = "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq";
    assert_string_equal(sha256_of("", 0).text, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
    assert_string_equal(sha256_of("abc", 3).text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    assert_string_equal(sha256_of(two_blocks, 56).text,
                        "248d6a61d20638b8e5c026930c3e6039a33ce45964ff2167f6ecedd419db06c1");
    char *million = xmalloc(1000000);
    memset(million, 'a', 1000000);
    assert_string_equal(sha256_of(million, 1000000).text,
                        "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0");
    free(million);
}

static void test_sha256_in_pieces(void **state) {
    (void)state;
    char text[200];
    for (int i = 0; i < 200; i++) text[i] = (char)i;
    for (size_t length = 0; length <= 200; length++) { // every place of the padding
        HexDigest whole = sha256_of(text, length);
        for (size_t step = 1; step <= 67; step += 11) {
            Sha256 h;
            sha256_start(&h);
            for (size_t at = 0; at < length; at += step) sha256_add(&h, text + at, MIN(step, length - at));
            assert_string_equal(sha256_end(&h).text, whole.text);
        }
    }
}

static void test_sha256_of_a_folder(void **state) {
    (void)state;
    assert_true(make_folders(in_folder("t/sub"), NULL));
    assert_true(file_replace(in_folder("t/b"), "abc", 3, NULL));
    assert_true(file_replace(in_folder("t/sub/a"), "", 0, NULL));
    const char *lines = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad  b\n"
                        "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855  sub/a\n";
    HexDigest d, again;
    assert_true(sha256_path(in_folder("t"), &d, NULL));
    assert_string_equal(d.text, sha256_of(lines, strlen(lines)).text);
    assert_int_equal(rename(in_folder("t/b"), in_folder("t/c")), 0);
    assert_true(sha256_path(in_folder("t"), &again, NULL));
    assert_string_not_equal(d.text, again.text); // names count
    assert_int_equal(symlink(".", in_folder("t/loop")), 0);
    Error e = {0};
    assert_false(sha256_path(in_folder("t"), &d, &e));
    assert_int_equal(e.code, EXIT_DATA);
    assert_false(sha256_path(in_folder("absent"), &d, &e));
}

static void test_record_id(void **state) {
    (void)state;
    char id[33];
    record_id("", 0, id); // XXH3-128 of nothing, from the xxHash test suite
    assert_string_equal(id, "99aa06d3014798d86001c324468d497f");
    record_id("prompt", 6, id);
    assert_int_equal(strlen(id), 32);
}

// ---- JSON ----

static void test_json_refuses(void **state) {
    (void)state;
    static const struct { const char *text, *why; } cases[] = {
        {"{\"a\":1,\"a\":2}", "duplicate"}, {"{\"a\":1} x", "end of file"}, {"", "not valid JSON"},
        {"{'a':1}", "not valid JSON"},      {"[1,]", "not valid JSON"},     {"\"\xFF\"", "not valid JSON"},
        {"[1", "not valid JSON"},           {"99999999999999999999", "big"}, {"NaN", "not valid JSON"}};
    for (size_t i = 0; i < COUNT_OF(cases); i++) {
        Error e = {0};
        assert_null(json_parse(cases[i].text, strlen(cases[i].text), "f.json", &e));
        assert_int_equal(e.code, EXIT_DATA);
        assert_non_null(strstr(e.text, "f.json:1:"));
        assert_non_null(strstr(e.text, cases[i].why));
    }
    char *deep = xmalloc(100000);
    memset(deep, '[', 100000);
    assert_null(json_parse(deep, 100000, "deep", NULL));
    free(deep);
}

static void test_json_names_line_and_column(void **state) {
    (void)state;
    Error e = {0};
    const char *text = "{\n  \"a\": 1,\n  \"b\": tru\n}";
    assert_null(json_parse(text, strlen(text), "x.json", &e));
    assert_non_null(strstr(e.text, "x.json:3:"));
}

static void test_json_members(void **state) {
    (void)state;
    Error e = {0};
    json_t *o = json_pack("{s:s, s:i, s:f, s:b, s:n}", "t", "text", "i", 5, "r", 0.5, "b", 1, "n");
    const char *text = "before";
    int64_t n = -1;
    double x = 0;
    bool b = false;
    assert_true(json_get_text(o, "t", "p", &text, &e) && strcmp(text, "text") == 0);
    assert_true(json_get_int(o, "i", "p", 0, 5, &n, &e) && n == 5);
    assert_true(json_get_real(o, "r", "p", &x, &e) && x == 0.5);
    assert_true(json_get_real(o, "i", "p", &x, &e) && x == 5);
    assert_true(json_opt_bool(o, "b", "p", &b, &e) && b);
    assert_false(json_get_int(o, "i", "p", 0, 4, &n, &e));
    assert_string_equal(e.text, "p: i: 5 is outside 0..4");
    assert_false(json_get_int(o, "r", "p", 0, 4, &n, &e));
    assert_string_equal(e.text, "p: r: expected an integer, found a number with a fraction");
    assert_false(json_get_text(o, "absent", "p", &text, &e));
    assert_string_equal(e.text, "p: absent: expected text, found nothing");
    text = "before";
    assert_true(json_opt_text(o, "absent", "p", &text, &e) && json_opt_text(o, "n", "p", &text, &e));
    assert_true(json_opt_int(NULL, "i", "p", 0, 9, &n, &e));
    assert_string_equal(text, "before");
    assert_false(json_opt_text(o, "i", "p", &text, &e));
    assert_false(json_opt_bool(o, "t", "p", &b, &e));
    json_decref(o);
}

static void test_json_canonical(void **state) {
    (void)state;
    json_t *o = json_pack("{s:f, s:[i,n,b], s:s}", "z", 0.1, "a", -1, 0, "B", "q\"\\\n\x01\xC3\xA4");
    char *text = json_canonical(o);
    assert_string_equal(text, "{\"B\":\"q\\\"\\\\\\n\\u0001\xC3\xA4\",\"a\":[-1,null,false],\"z\":0.1}");
    json_t *again = json_parse(text, strlen(text), "canonical", NULL);
    assert_true(json_equal(o, again));
    free(text);
    json_decref(o);
    json_decref(again);
}

static void test_json_reals_read_back_exactly(void **state) {
    (void)state;
    const double values[] = {0.1, 1e-6, 1.0 / 3, 5e-324, 1.7976931348623157e308, 3.0, -0.0, 1e22, 123456789.125};
    for (size_t i = 0; i < COUNT_OF(values); i++) {
        json_t *v = json_real(values[i]);
        char *text = json_canonical(v);
        json_t *again = json_parse(text, strlen(text), "real", NULL);
        assert_true(json_is_real(again));
        double x = json_real_value(again);
        assert_memory_equal(&x, &values[i], sizeof x);
        free(text);
        json_decref(v);
        json_decref(again);
    }
}

static void test_json_file(void **state) {
    (void)state;
    json_t *o = json_pack("{s:i, s:{}, s:[s]}", "z", 1, "empty", "a", "b");
    assert_true(json_write_file(in_folder("o.json"), o, NULL));
    assert_file(in_folder("o.json"), "{\n  \"z\": 1,\n  \"empty\": {},\n  \"a\": [\n    \"b\"\n  ]\n}\n");
    json_t *again = json_read_file(in_folder("o.json"), NULL);
    assert_true(json_equal(o, again));
    json_decref(o);
    json_decref(again);
}

// ---- log ----

static void test_events_are_lines(void **state) {
    (void)state;
    assert_true(log_open_events(in_folder("log.jsonl"), NULL));
    log_event("step", json_pack("{s:i, s:f}", "step", 1, "loss", 2.5));
    assert_true(log_open_events(in_folder("log.jsonl"), NULL)); // appends
    log_event("finish", json_object());
    log_event("step", json_pack("{s:f}", "loss", (double)NAN)); // JSON has no NaN: the loss of it is seen
    assert_true(log_open_events(NULL, NULL));
    log_event("nobody", json_object());
    Buf b = {0};
    assert_true(file_read(in_folder("log.jsonl"), 0, &b, NULL));
    assert_int_equal(strncmp(b.data, "{\"event\":\"step\",\"step\":1,\"loss\":2.5,\"time\":", 43), 0);
    const char *second = strchr(b.data, '\n') + 1;
    assert_int_equal(strncmp(second, "{\"event\":\"finish\",\"time\":", 25), 0);
    assert_non_null(strstr(second, "\n{\"event\":\"step\",\"fields\":null,\"time\":"));
    assert_int_equal(b.data[b.length - 1], '\n');
    buf_free(&b);
}

static void tell_progress(void) {
    Progress p;
    progress_start(&p, "ask", "traces", 100, 20);
    progress_update(&p, 50, "hidden: less than 5 s after the start");
    p.printed -= 10, p.started -= 10;
    progress_update(&p, 60, "loss 1.5");
    progress_end(&p, NULL);
    log_set_quiet(true);
    progress_end(&p, NULL);
    log_warn("never seen");
}

static void test_progress_lines(void **state) {
    (void)state;
    char text[1024];
    assert_int_equal(run_child(tell_progress, text, sizeof text), 0);
    // (60 - 20) / 10 s = 4/s, 40 to go
    assert_string_equal(text, "ask  60/100 traces  60.0%  4.00/s  ETA 10s  loss 1.5\nask  60 traces in 10s  4.00/s\n");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fail_fills_the_error),
        cmocka_unit_test(test_long_errors_are_cut_visibly),
        cmocka_unit_test(test_dying),
        cmocka_unit_test(test_arena),
        cmocka_unit_test(test_buf_grows_and_ends_with_nul),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_text_copies),
        cmocka_unit_test_setup_teardown(test_replace_and_read, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_read_errors_name_the_path, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_map, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_abandoned_write_leaves_the_old_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_leftover_of_a_crash_is_overwritten, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_failed_writes_are_told, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_unwritable_folder, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_folders, make_folder, remove_folder),
        cmocka_unit_test(test_paths),
        cmocka_unit_test(test_sha256_vectors),
        cmocka_unit_test(test_sha256_in_pieces),
        cmocka_unit_test_setup_teardown(test_sha256_of_a_folder, make_folder, remove_folder),
        cmocka_unit_test(test_record_id),
        cmocka_unit_test(test_json_refuses),
        cmocka_unit_test(test_json_names_line_and_column),
        cmocka_unit_test(test_json_members),
        cmocka_unit_test(test_json_canonical),
        cmocka_unit_test(test_json_reals_read_back_exactly),
        cmocka_unit_test_setup_teardown(test_json_file, make_folder, remove_folder),
        cmocka_unit_test_setup_teardown(test_events_are_lines, make_folder, remove_folder),
        cmocka_unit_test(test_progress_lines),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
