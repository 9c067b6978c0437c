// The thread pool: every part exactly once, whatever the number of threads, the nesting and the pace.
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail // the macro of cmocka; ours is a function
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

#include "core/base/mem.h"
#include "core/base/thread.h"

typedef struct Tally {
    _Atomic int *hits;
    _Atomic int64_t sum;
} Tally;

static void count_part(void *context, int64_t part) {
    Tally *t = context;
    atomic_fetch_add(&t->hits[part], 1);
    atomic_fetch_add(&t->sum, part);
}

static void check_each_part_once(int64_t n) {
    Tally t = {.hits = xcalloc((size_t)n, sizeof(int))};
    parallel_for(n, count_part, &t);
    for (int64_t i = 0; i < n; i++) assert_int_equal(t.hits[i], 1);
    assert_int_equal(t.sum, n * (n - 1) / 2);
    free((void *)t.hits);
}

static void test_each_part_exactly_once(void **state) {
    (void)state;
    for (int threads = 1; threads <= 5; threads++) {
        threads_set(threads);
        assert_int_equal(threads_count(), threads);
        const int64_t sizes[] = {0, 1, 2, 3, 7, 64, 1000, 10000};
        for (size_t i = 0; i < COUNT_OF(sizes); i++) check_each_part_once(sizes[i]);
    }
    threads_set(0);
    assert_true(threads_count() >= 1);
}

// Each job has its own counter on the caller's stack: a late worker that ran a part of an old job would be seen.
static void test_many_dispatches(void **state) {
    (void)state;
    threads_set(4);
    for (int i = 0; i < 50000; i++) {
        _Atomic int hits[8] = {0};
        Tally t = {.hits = hits};
        int64_t n = 2 + i % 7;
        parallel_for(n, count_part, &t);
        for (int p = 0; p < 8; p++) assert_int_equal(hits[p], p < n);
        if (i % 10000 == 0) usleep(1000); // lets the workers fall asleep
    }
    threads_set(0);
}

static void outer_part(void *context, int64_t part) {
    (void)part;
    parallel_for(10, count_part, context);
}

static void test_nested_calls_run(void **state) {
    (void)state;
    threads_set(3);
    _Atomic int hits[10] = {0};
    Tally t = {.hits = hits};
    parallel_for(20, outer_part, &t);
    for (int i = 0; i < 10; i++) assert_int_equal(hits[i], 20);
    threads_set(0);
}

static void mark_range(void *context, int64_t begin, int64_t end) {
    _Atomic int *hits = context;
    assert_true(begin < end && begin % 7 == 0 && end - begin <= 7);
    for (int64_t i = begin; i < end; i++) atomic_fetch_add(&hits[i], 1);
}

static void test_ranges_cover(void **state) {
    (void)state;
    threads_set(3);
    for (int64_t n = 0; n < 40; n++) {
        _Atomic int hits[40] = {0};
        parallel_range(n, 7, mark_range, (void *)hits);
        for (int64_t i = 0; i < 40; i++) assert_int_equal(hits[i], i < n);
    }
    threads_set(0);
}

// A child of fork has no workers: its loops run all the same, on the caller alone.
static void test_after_fork(void **state) {
    (void)state;
    threads_set(3);
    check_each_part_once(100);
    pid_t pid = fork();
    if (pid == 0) {
        _Atomic int hits[10] = {0};
        Tally t = {.hits = hits};
        for (int i = 0; i < 100; i++) parallel_for(10, count_part, &t);
        _exit(atomic_load(&t.sum) == 4500 ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    threads_set(0);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_part_exactly_once),
        cmocka_unit_test(test_many_dispatches),
        cmocka_unit_test(test_nested_calls_run),
        cmocka_unit_test(test_ranges_cover),
        cmocka_unit_test(test_after_fork),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
