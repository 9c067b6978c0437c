// thread: the pool. Must not know: what the parts compute.
//
// One 64-bit ticket says which job runs (upper half) and how many of its parts nobody has taken yet (lower half). A
// part is taken by counting the ticket down with compare-and-swap, so a worker that comes late can never take a part
// of a job that it has not seen, and a job never waits for a worker that did not come: the caller alone would finish
// it.
#define _GNU_SOURCE // sched_getaffinity
#include "core/base/thread.h"

#include <limits.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/syscall.h>
#include <unistd.h>

enum {
    MAX_THREADS = 1024,
    SPINS_WORKER = 400, // about 10 us: what lies between two calls of a training step
    SPINS_CALLER = 2000 // the caller has nothing better to do while the last parts end
};

static struct {
    _Atomic uint64_t ticket; // job number << 32 | parts not yet taken
    _Atomic(PartFn) fn;
    _Atomic(void *) context;
    _Atomic int64_t n_parts;
    _Alignas(64) _Atomic uint32_t finished; // parts done; the caller sleeps on it
    _Atomic uint32_t caller_sleeps;
    _Alignas(64) _Atomic uint32_t job; // what workers spin and sleep on
    _Atomic uint32_t sleepers, ending;
    atomic_flag busy;
    int threads; // 0 = not asked yet
    int n_workers;
    bool started;
    pthread_t workers[MAX_THREADS];
} pool = {.busy = ATOMIC_FLAG_INIT};

static void futex_wait(_Atomic uint32_t *word, uint32_t value) {
    syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word, int count) {
    syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, count, NULL, NULL, 0);
}

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

// Takes and runs parts until none is left, then reports how many it did.
static void work_on_job(void) {
    uint32_t done = 0;
    uint64_t t = atomic_load_explicit(&pool.ticket, memory_order_acquire);
    while ((uint32_t)t > 0) {
        // Read between two looks at the ticket: when the swap succeeds they belonged to this very job.
        PartFn fn = atomic_load_explicit(&pool.fn, memory_order_relaxed);
        void *context = atomic_load_explicit(&pool.context, memory_order_relaxed);
        int64_t part = atomic_load_explicit(&pool.n_parts, memory_order_relaxed) - (int64_t)(uint32_t)t;
        if (!atomic_compare_exchange_weak_explicit(&pool.ticket, &t, t - 1, memory_order_acq_rel,
                                                   memory_order_acquire)) continue;
        fn(context, part);
        done++;
        t = atomic_load_explicit(&pool.ticket, memory_order_acquire);
    }
    if (done == 0) return;
    // While this report is out the job cannot end, so n_parts is still that of the job.
    int64_t n_parts = atomic_load_explicit(&pool.n_parts, memory_order_relaxed);
    uint32_t finished = atomic_fetch_add(&pool.finished, done) + done;
    if (finished == n_parts && atomic_load(&pool.caller_sleeps)) futex_wake(&pool.finished, 1);
}

// Returns when the job number is no longer `seen`.
static void wait_for_job(uint32_t seen) {
    for (int i = 0; i < SPINS_WORKER; i++) {
        if (atomic_load_explicit(&pool.job, memory_order_acquire) != seen) return;
        relax();
    }
    atomic_fetch_add(&pool.sleepers, 1);
    while (atomic_load(&pool.job) == seen) futex_wait(&pool.job, seen);
    atomic_fetch_sub(&pool.sleepers, 1);
}

static void *worker(void *first_seen) {
    uint32_t seen = (uint32_t)(uintptr_t)first_seen;
    for (;;) {
        wait_for_job(seen);
        seen = atomic_load_explicit(&pool.job, memory_order_acquire);
        if (atomic_load(&pool.ending)) return NULL;
        work_on_job();
    }
}

static int online_cores(void) {
    cpu_set_t set;
    if (sched_getaffinity(0, sizeof set, &set) == 0) return CPU_COUNT(&set);
    long n = sysconf(_SC_NPROCESSORS_ONLN);
    return n > 0 ? (int)n : 1;
}

// A forked child has no workers, whatever the pool remembers: it starts its own when it needs them.
static void forget_workers(void) {
    pool.n_workers = 0;
    pool.started = false;
    atomic_store(&pool.sleepers, 0);
    atomic_flag_clear(&pool.busy);
}

// Workers block all signals: the main thread is who hears "stop". A machine that refuses threads runs with those it
// gave.
static void start_workers(void) {
    static bool registered;
    if (!registered) registered = pthread_atfork(NULL, NULL, forget_workers) == 0;
    pool.started = true;
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    uintptr_t seen = atomic_load(&pool.job);
    while (pool.n_workers < threads_count() - 1) {
        if (pthread_create(&pool.workers[pool.n_workers], NULL, worker, (void *)seen) != 0) break;
        pool.n_workers++;
    }
    pthread_sigmask(SIG_SETMASK, &old, NULL);
}

static void end_workers(void) {
    atomic_store(&pool.ending, 1);
    atomic_fetch_add(&pool.job, 1);
    futex_wake(&pool.job, INT_MAX);
    for (int i = 0; i < pool.n_workers; i++) pthread_join(pool.workers[i], NULL);
    pool.n_workers = 0;
    pool.started = false;
    atomic_store(&pool.ending, 0);
}

void threads_set(int n) {
    check(!atomic_flag_test_and_set(&pool.busy), "threads_set inside a parallel loop");
    end_workers();
    pool.threads = n > 0 ? MIN(n, MAX_THREADS) : 0;
    atomic_flag_clear(&pool.busy);
}

int threads_count(void) {
    if (pool.threads == 0) pool.threads = CLAMP(online_cores(), 1, MAX_THREADS);
    return pool.threads;
}

static void publish_job(int64_t n_parts, PartFn fn, void *context) {
    atomic_store_explicit(&pool.fn, fn, memory_order_relaxed);
    atomic_store_explicit(&pool.context, context, memory_order_relaxed);
    atomic_store_explicit(&pool.n_parts, n_parts, memory_order_relaxed);
    atomic_store_explicit(&pool.finished, 0, memory_order_relaxed);
    uint32_t job = atomic_load_explicit(&pool.job, memory_order_relaxed) + 1;
    atomic_store_explicit(&pool.ticket, (uint64_t)job << 32 | (uint32_t)n_parts, memory_order_release);
    atomic_store(&pool.job, job);
    if (atomic_load(&pool.sleepers) > 0) futex_wake(&pool.job, (int)MIN(n_parts - 1, (int64_t)pool.n_workers));
}

static void wait_until_finished(uint32_t n_parts) {
    for (int i = 0; i < SPINS_CALLER; i++) {
        if (atomic_load_explicit(&pool.finished, memory_order_acquire) == n_parts) return;
        relax();
    }
    atomic_store(&pool.caller_sleeps, 1);
    uint32_t finished;
    while ((finished = atomic_load(&pool.finished)) != n_parts) futex_wait(&pool.finished, finished);
    atomic_store(&pool.caller_sleeps, 0);
}

static void run_serially(int64_t n_parts, PartFn fn, void *context) {
    for (int64_t i = 0; i < n_parts; i++) fn(context, i);
}

void parallel_for(int64_t n_parts, PartFn fn, void *context) {
    if (n_parts <= 1 || pool.threads == 1 || atomic_flag_test_and_set_explicit(&pool.busy, memory_order_acquire)) {
        run_serially(n_parts, fn, context);
        return;
    }
    check(n_parts <= UINT32_MAX, "%lld parts are too many", (long long)n_parts);
    if (!pool.started) start_workers();
    if (pool.n_workers == 0) {
        run_serially(n_parts, fn, context);
    } else {
        publish_job(n_parts, fn, context);
        work_on_job();
        wait_until_finished((uint32_t)n_parts);
    }
    atomic_flag_clear_explicit(&pool.busy, memory_order_release);
}

typedef struct Ranges {
    int64_t n, grain;
    RangeFn fn;
    void *context;
} Ranges;

static void run_range(void *context, int64_t part) {
    const Ranges *r = context;
    int64_t begin = part * r->grain;
    r->fn(r->context, begin, MIN(begin + r->grain, r->n));
}

void parallel_range(int64_t n, int64_t grain, RangeFn fn, void *context) {
    check(grain > 0, "a grain of %lld items", (long long)grain);
    Ranges r = {.n = n, .grain = grain, .fn = fn, .context = context};
    parallel_for(CEIL_DIV(n, grain), run_range, &r);
}
