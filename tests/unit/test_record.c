// Record files: what is written comes back, what a crash tore is cut and nothing else, what is damaged is never taken
// for data.
#include "tests/unit/support_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "core/data/record.h"

static json_t *numbered(int i) {
    char text[64];
    snprintf(text, sizeof text, "question %d \xe2\x80\xa8 \"quoted\"\n", i); // U+2028 is no end of line
    json_t *o = json_object();
    json_object_set_new(o, "id", json_integer(i));
    json_object_set_new(o, "a", json_string(text)); // after "id": the order of insertion is kept
    return o;
}

static void write_numbered(RecordWriter *w, int from, int to) {
    Error e = {0};
    for (int i = from; i < to; i++) {
        json_t *o = numbered(i);
        if (!record_write(w, o, &e)) fail_msg("%s", e.text);
        json_decref(o);
    }
    if (!record_commit(w, &e)) fail_msg("%s", e.text);
}

// Commits of the given sizes; ends[i] = bytes of the file after commit i.
static void make_file(const char *path, const int *commits, int n, int64_t *ends) {
    Error e = {0};
    RecordWriter *w = record_create(path, &e);
    if (w == NULL) fail_msg("%s", e.text);
    for (int i = 0, at = 0; i < n; at += commits[i++]) {
        write_numbered(w, at, at + commits[i]);
        ends[i] = file_size(path);
        assert_int_equal(record_written(w), at + commits[i]);
    }
    assert_true(record_close(w, &e));
}

// Number of leading records that are as numbered() makes them; -1 as the result of record_next must come with an error.
static int count_records(const char *path, int *result, Error *e) {
    RecordReader *r = record_open(path, e);
    if (r == NULL) {
        *result = -1;
        return 0;
    }
    json_t *o;
    while ((*result = record_next(r, &o, e)) == 1) {
        json_t *expected = numbered((int)record_index(r) - 1);
        assert_true(json_equal(o, expected));
        json_decref(expected);
        json_decref(o);
    }
    int n = (int)record_index(r);
    record_reader_close(r);
    assert_true((*result == -1) == (e->code != 0));
    return n;
}

static void expect_records(const char *path, int n) {
    Error e = {0};
    int result, found = count_records(path, &result, &e);
    if (result != 0 || found != n) fail_msg("%d records of %d: %s", found, n, e.text);
}

static void round_trip(const char *name) {
    char *folder = temp_folder(), *path = temp_path(folder, name);
    const int commits[] = {3, 0, 1, 40};
    int64_t ends[4], cut = -1;
    Error e = {0};
    make_file(path, commits, 4, ends);
    assert_true(ends[1] == ends[0]); // nothing buffered: no frame
    expect_records(path, 44);
    RecordWriter *w = record_append(path, &cut, &e);
    assert_non_null(w);
    assert_int_equal(cut, 0);
    assert_int_equal(record_written(w), 0);
    json_t *o = numbered(44);
    assert_true(record_write(w, o, &e));
    json_decref(o);
    expect_records(path, 44);         // not there before the commit
    assert_true(record_close(w, &e)); // which closing makes
    expect_records(path, 45);
    w = record_create(path, &e);
    assert_true(record_close(w, &e));
    expect_records(path, 0);
    temp_remove(folder);
}

static void test_round_trip_zst(void **state) { round_trip("r.jsonl.zst"); }
static void test_round_trip_plain(void **state) { round_trip("r.jsonl"); }

static void test_text_is_stable(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "r.jsonl");
    const int commits[] = {1};
    int64_t end;
    Buf b = {0};
    make_file(path, commits, 1, &end);
    get_file(path, &b);
    assert_string_equal(b.data, "{\"id\":0,\"a\":\"question 0 \xe2\x80\xa8 \\\"quoted\\\"\\n\"}\n");
    buf_free(&b);
    temp_remove(folder);
}

// Cut at every byte: appending keeps exactly the commits that were whole, then goes on.
static void torn_at_every_byte(const char *name, bool lines) {
    char *folder = temp_folder(), *path = temp_path(folder, name);
    const int commits[] = {2, 1, 3};
    int64_t ends[3], cut;
    Buf whole = {0};
    make_file(path, commits, 3, ends);
    get_file(path, &whole);
    for (int64_t size = 0; size <= ends[2]; size++) {
        put_file(path, whole.data, (size_t)size);
        int n = 0;
        int64_t good = 0;
        for (int i = 0; !lines && i < 3; i++)
            if (ends[i] <= size) n += commits[i], good = ends[i];
        for (int64_t i = 0; lines && i < size; i++)
            if (whole.data[i] == '\n') n++, good = i + 1;
        Error e = {0}, reading = {0};
        int result;
        assert_true(count_records(path, &result, &reading) <= 6);
        assert_int_equal(result, size == good ? 0 : -1); // a reader never takes a torn file for a whole one
        RecordWriter *w = record_append(path, &cut, &e);
        if (w == NULL) fail_msg("cut at %d: %s", (int)size, e.text);
        assert_int_equal(cut, size - good);
        assert_int_equal(file_size(path), good);
        write_numbered(w, n, n + 2);
        assert_true(record_close(w, &e));
        expect_records(path, n + 2);
    }
    buf_free(&whole);
    temp_remove(folder);
}

static void test_torn_zst(void **state) { torn_at_every_byte("r.jsonl.zst", false); }
static void test_torn_plain(void **state) { torn_at_every_byte("r.jsonl", true); }

// After a power cut: the new length is there, the data is zeros.
static void test_zero_tail(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "r.jsonl.zst");
    const int commits[] = {2, 2};
    int64_t ends[2], cut;
    Buf b = {0};
    make_file(path, commits, 2, ends);
    get_file(path, &b);
    for (int64_t from = ends[0]; from < ends[1] - 16; from++) {
        memset(b.data + from, 0, (size_t)(ends[1] - from));
        put_file(path, b.data, b.length);
        Error e = {0};
        RecordWriter *w = record_append(path, &cut, &e);
        if (w == NULL) fail_msg("zeros from %d: %s", (int)from, e.text);
        assert_int_equal(cut, ends[1] - ends[0]);
        assert_true(record_close(w, &e));
        expect_records(path, 2);
        get_file(path, &b);
        make_file(path, commits, 2, ends);
        get_file(path, &b);
    }
    buf_free(&b);
    temp_remove(folder);
}

// One flipped bit at every byte: reading always ends in an error and never returns a wrong record; appending changes
// nothing unless the damage is in the last frame and looks like a torn one.
static void test_flipped_bits(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "r.jsonl.zst");
    const int commits[] = {4, 1, 3};
    int64_t ends[3], cut;
    Buf whole = {0}, after = {0};
    make_file(path, commits, 3, ends);
    get_file(path, &whole);
    for (int64_t at = 0; at < ends[2]; at++) {
        whole.data[at] ^= (char)(1 << at % 8);
        put_file(path, whole.data, whole.length);
        Error e = {0}, appending = {0};
        int result, n = count_records(path, &result, &e);
        // A few bits of a frame's descriptor (RFC 8878, 3.1.1.1.1) change how it is written, not what it holds. Records
        // of a damaged frame may be handed out before its checksum is reached, but then the reader ends in an error.
        bool harmless = (at == 4 || at == ends[0] + 4 || at == ends[1] + 4) && result == 0 && n == 8;
        assert_true(result == -1 || harmless);
        RecordWriter *w = record_append(path, &cut, &appending);
        if (harmless) {
            assert_non_null(w);
            assert_int_equal(cut, 0);
            assert_true(record_close(w, &appending));
        } else if (w != NULL) {
            assert_true(at >= ends[1]);
            assert_int_equal(cut, ends[2] - ends[1]);
            assert_true(record_close(w, &appending));
        } else {
            assert_error(&appending, EXIT_DATA, path);
            get_file(path, &after);
            assert_memory_equal(after.data, whole.data, whole.length);
        }
        whole.data[at] ^= (char)(1 << at % 8);
    }
    buf_free(&whole);
    buf_free(&after);
    temp_remove(folder);
}

static void read_text(const char *path, const char *text, size_t size, int n, int expected, const char *why) {
    put_file(path, text, size);
    RecordReader *r;
    Error e = {0};
    json_t *o;
    int got = 0, found = 0;
    r = record_open(path, &e);
    assert_non_null(r);
    while ((got = record_next(r, &o, &e)) == 1) json_decref(o), found++;
    record_reader_close(r);
    if (found != n || got != expected) fail_msg("%d records, %d: %s", found, got, e.text);
    if (expected == -1) assert_error(&e, EXIT_DATA, why);
}

static void test_lines(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "r.jsonl");
#define READ(text, n, expected, why) read_text(path, text, sizeof text - 1, n, expected, why)
    READ("", 0, 0, "");
    READ("\n \t\r\n", 0, 0, "");
    READ("{\"a\":1}\r\n\n{\"a\":9007199254740993}\n", 2, 0, "");
    READ("{\"a\":1}\n{\"a\":2}", 1, -1,
         "r.jsonl: record 2 (byte 8 of the text): line is cut off (no newline at the end); remove the partial line or "
         "restore the file");
    READ("{\"a\":1}\n\n\n{\"a\":\n", 1, -1, "record 2 (byte 10 of the text)");
    READ("{\"a\":1}\n[1]\n", 1, -1, "record 2 (byte 8 of the text): expected a JSON object");
    READ("{\"a\":1,\"a\":2}\n", 0, -1, "duplicate");
    READ("{\"a\":NaN}\n", 0, -1, "not valid JSON");
    READ("{\"a\":9223372036854775808}\n", 0, -1, "not valid JSON");
    READ("{\"a\":\"\xff\"}\n", 0, -1, "not valid JSON");
    READ("# comment\n", 0, -1, "not valid JSON");
    READ("{\"a\":1}\n\0\0\0\n", 1, -1, "record 2");
#undef READ
    temp_remove(folder);
}

static size_t frame_of(const char *text, size_t size, bool checksum, void *out, size_t capacity) {
    ZSTD_CCtx *z = ZSTD_createCCtx();
    ZSTD_CCtx_setParameter(z, ZSTD_c_checksumFlag, checksum);
    size_t n = ZSTD_compress2(z, out, capacity, text, size);
    assert_false(ZSTD_isError(n));
    ZSTD_freeCCtx(z);
    return n;
}

// What other programs write: empty frames, skippable frames, lines that span frames, no newline at the end, text behind
// the frames.
static void test_foreign_frames(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "r.jsonl.zst"), file[4096];
    static const char skippable[] = "\x53\x2a\x4d\x18\x03\0\0\0abc";
    size_t n = 0;
    int64_t cut;
    Error e = {0};
    memcpy(file, skippable, sizeof skippable - 1);
    n += sizeof skippable - 1;
    n += frame_of("{\"a\"", 4, true, file + n, 1000);
    n += frame_of("", 0, true, file + n, 1000);
    n += frame_of(":1}\n{\"a\":2}\n", 12, true, file + n, 1000);
    read_text(path, file, n, 2, 0, "");
    RecordWriter *w = record_append(path, &cut, &e);
    assert_non_null(w);
    assert_true(record_close(w, &e) && cut == 0);
    size_t more = n + frame_of("{\"a\":3}", 7, true, file + n, 1000);
    read_text(path, file, more, 2, -1, "record 3 (byte 16 of the text): line is cut off");
    assert_null(record_append(path, &cut, &e));
    assert_error(&e, EXIT_DATA, "no newline");
    memcpy(file + n, "{\"a\":3}\n", 8);
    read_text(path, file, n + 8, 2, -1, "is damaged");
    assert_null(record_append(path, &cut, &e));
    n = frame_of("{\"a\":1}\n", 8, false, file, 1000); // a frame that nothing can prove
    put_file(path, file, n);
    assert_null(record_append(path, &cut, &e));
    assert_error(&e, EXIT_DATA, "damaged");
    put_file(path, "{\"a\":1}\n", 8); // plain text under a compressed name
    assert_null(record_append(path, &cut, &e));
    char *plain = temp_path(folder, "r.jsonl");
    put_file(plain, file, n);
    assert_null(record_append(plain, &cut, &e));
    assert_error(&e, EXIT_DATA, ".zst");
    temp_remove(folder);
}

// 576 MiB of blank lines, or one endless line, in a few KiB: refused, with memory for one line at most.
static void test_bombs(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "r.jsonl.zst");
    size_t size = 64 << 20, bound = ZSTD_compressBound(size);
    char *text = xmalloc(size), *frame = xmalloc(bound);
    memset(text, ' ', size);
    for (size_t i = 0; i < size; i += 1 << 16) text[i] = '\n';
    size_t n = frame_of(text, size, true, frame, bound);
    Buf file = {0};
    for (int i = 0; i < 9; i++) buf_add(&file, frame, n);
    read_text(path, file.data, file.length, 0, -1, "unpacks to more than");
    buf_clear(&file);
    memset(text, 'x', size);
    n = frame_of(text, size, true, frame, bound);
    for (int i = 0; i < 2; i++) buf_add(&file, frame, n);
    read_text(path, file.data, file.length, 0, -1, "longer than 64 MiB");
    free(text);
    free(frame);
    buf_free(&file);
    temp_remove(folder);
}

static void test_window(void **state) { // a frame that asks for a window of 2 GiB
    char *folder = temp_folder(), *path = temp_path(folder, "r.jsonl.zst");
    static const char frame[] = "\x28\xb5\x2f\xfd\x04\xa8\x41\x00\x00{\"a\":1}\n\0\0\0\0";
    int64_t cut;
    Error e = {0};
    read_text(path, frame, sizeof frame - 1, 0, -1, "damaged");
    assert_null(record_append(path, &cut, &e));
    temp_remove(folder);
}

static void test_long_line(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "r.jsonl.zst");
    Error e = {0};
    size_t n = 64 << 20;
    char *text = xmalloc(n);
    memset(text, 'x', n);
    json_t *o = json_object();
    json_object_set_new(o, "a", json_stringn_nocheck(text, n - 8)); // 8 bytes of {"a":""}: the longest possible
    RecordWriter *w = record_create(path, &e);
    assert_true(record_write(w, o, &e));
    json_object_set_new(o, "a", json_stringn_nocheck(text, n - 7));
    assert_false(record_write(w, o, &e));
    assert_error(&e, EXIT_DATA, "67108865 bytes");
    assert_true(record_close(w, &e)); // the refused record left no trace
    RecordReader *r = record_open(path, &e);
    json_t *back;
    assert_int_equal(record_next(r, &back, &e), 1);
    assert_int_equal(json_string_length(json_object_get(back, "a")), n - 8);
    json_decref(back);
    assert_int_equal(record_next(r, &back, &e), 0);
    record_reader_close(r);
    json_decref(o);
    free(text);
    temp_remove(folder);
}

static void test_abandon(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "r.jsonl.zst");
    Error e = {0};
    RecordWriter *w = record_create(path, &e);
    write_numbered(w, 0, 2); // committed
    json_t *o = numbered(2);
    assert_true(record_write(w, o, &e));
    json_decref(o);
    record_abandon(w);
    record_abandon(NULL);
    expect_records(path, 2);
    temp_remove(folder);
}

static void test_one_writer(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "r.jsonl.zst");
    Error e = {0};
    int64_t cut;
    RecordWriter *w = record_create(path, &e);
    assert_null(record_append(path, &cut, &e));
    assert_error(&e, EXIT_FAIL, "another process");
    json_t *list = json_array();
    assert_false(record_write(w, list, &e));
    json_decref(list);
    assert_true(record_close(w, &e));
    assert_null(record_open(folder, &e));
    assert_null(record_open(temp_path(folder, "absent"), &e));
    assert_error(&e, EXIT_DATA, "absent");
    assert_null(record_create(temp_path(folder, "no/such/folder.zst"), &e));
    temp_remove(folder);
}

static bool stop_at_two(void *context, json_t *record, int64_t index, Error *e) {
    assert_int_equal(json_integer_value(json_object_get(record, "id")), index);
    ++*(int *)context;
    return index < 2 || fail(e, EXIT_DATA, "enough");
}

static void test_each(void **state) {
    char *folder = temp_folder(), *path = temp_path(folder, "r.jsonl.zst");
    const int commits[] = {2, 2};
    int64_t ends[2];
    int calls = 0;
    Error e = {0};
    make_file(path, commits, 2, ends);
    assert_false(record_each(path, stop_at_two, &calls, &e));
    assert_int_equal(calls, 3);
    assert_error(&e, EXIT_DATA, "enough");
    make_file(path, commits, 1, ends);
    assert_true(record_each(path, stop_at_two, &calls, &e));
    temp_remove(folder);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip_zst), cmocka_unit_test(test_round_trip_plain),
        cmocka_unit_test(test_text_is_stable), cmocka_unit_test(test_torn_zst),
        cmocka_unit_test(test_torn_plain),     cmocka_unit_test(test_zero_tail),
        cmocka_unit_test(test_flipped_bits),   cmocka_unit_test(test_lines),
        cmocka_unit_test(test_foreign_frames), cmocka_unit_test(test_bombs),
        cmocka_unit_test(test_window),         cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_one_writer),     cmocka_unit_test(test_each),
        cmocka_unit_test(test_abandon),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
