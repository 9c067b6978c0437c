// bench_ops: one table: every operation of ops_cpu at the shapes of the small models: ms (median and best of 7) and
// GFLOP/s or GB/s of the median. With one thread the clock is that thread's processor time, which a busy machine
// disturbs less. usage: bench_ops [threads] [name part]
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "core/base/mem.h"
#include "core/base/rng.h"
#include "core/base/thread.h"
#include "core/ops/kv_cache.h"
#include "core/ops/ops.h"

enum { REPEATS = 7, BUFFERS = 9 };
static const int64_t BUFFER = 4 << 20; // floats

static float *f[BUFFERS]; // standard normal numbers; buffer 8 is positive
static int32_t ids[1 << 16], positions[1 << 16], starts[1 << 12];
static int8_t q8[4 << 20];
static uint8_t packed[4 << 20];

typedef struct Row {
    const char *op;
    int64_t a, b, c;
    void (*run)(const struct Row *r);
    double flop, bytes; // of one run; the one that is not 0 is the rate printed
} Row;

static double seconds(void) {
    struct timespec t;
    clock_gettime(threads_count() == 1 ? CLOCK_THREAD_CPUTIME_ID : CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static void forward(const Row *r) { ops_cpu.matmul_forward(f[0], f[1], f[2], NULL, r->a, r->b, r->c, false); }
static void backward_input(const Row *r) { ops_cpu.matmul_backward_input(f[0], f[1], f[2], r->a, r->b, r->c, false); }
static void backward_weight(const Row *r) { ops_cpu.matmul_backward_weight(f[0], NULL, f[1], f[2], r->a, r->b, r->c); }
static void norm(const Row *r) { ops_cpu.rmsnorm_forward(f[0], f[3], f[1], f[2], 1e-5f, r->a, r->b); }
static void norm_backward(const Row *r) { ops_cpu.rmsnorm_backward(f[0], f[3], f[1], f[4], f[2], f[8], r->a, r->b); }
static void rotate(const Row *r) { ops_cpu.rope(f[0], positions, f[8], 1.0f, false, r->a, r->b, r->c); }
static void glu(const Row *r) { ops_cpu.glu_forward(f[0], f[1], f[2], (int)r->b, r->a); }
static void glu_backward(const Row *r) { ops_cpu.glu_backward(f[0], f[3], f[1], f[2], f[4], (int)r->b, r->a); }
static void embed(const Row *r) { ops_cpu.embed_forward(f[0], f[1], ids, r->a, r->b); }
static void embed_backward(const Row *r) { ops_cpu.embed_backward(f[0], f[1], ids, r->a, 1024, r->b); }
static void add(const Row *r) { ops_cpu.add(f[0], f[1], r->a); }
static void cross_entropy(const Row *r) { ops_cpu.cross_entropy(f[0], f[3], ids, f[8], r->a, r->b); }
static void kl(const Row *r) { ops_cpu.kl_forward_loss(f[0], f[3], f[1], f[2], f[8], 2.0f, r->a, r->b); }
static void adamw(const Row *r) {
    ops_cpu.adamw(f[0], f[1], f[8], f[2], 1.0f, 1e-6f, 0.9f, 0.95f, 1e-8f, 0.1f, 0.5f, 0.5f, r->a);
}
static void squares(const Row *r) {
    double sum;
    ops_cpu.sum_squares(&sum, f[1], r->a);
}
static void quantise(const Row *r) { ops_cpu.ternary_quant(f[0], NULL, f[3], f[1], r->a); }
static void activations(const Row *r) { ops_cpu.activation_quant(f[0], q8, f[3], f[1], r->a, r->b); }
static void ternary(const Row *r) { ops_cpu.ternary_matmul(f[0], q8, f[8], packed, 0.1f, r->a, r->b, r->c); }

enum { H = 8, KV = 2, D = 32 }; // attention: a tokens in documents of b tokens
static int64_t make_starts(const Row *r) {
    int64_t n = 0;
    while (starts[n] < r->a) {
        starts[n + 1] = (int32_t)MIN(starts[n] + r->b, r->a);
        n++;
    }
    return n;
}
static void attention(const Row *r) {
    ops_cpu.attention_forward(f[0], f[3], f[1], f[2], f[4], starts, make_starts(r), 0.18f, 0, H, KV, D);
}
static void attention_backward(const Row *r) {
    ops_cpu.attention_backward(f[0], f[3], f[7], f[1], f[2], f[8], f[4], f[5], f[6], starts, make_starts(r), 0.18f, 0,
                               H, KV, D);
}
static void decode(const Row *r) { // a sequences of b keys; all read their own part of two buffers
    const float *keys[256], *values[256];
    int32_t lengths[256];
    int64_t capacity = ROUND_UP(r->b, 16), floats = kv_cache_floats(capacity, KV, D);
    for (int64_t i = 0; i < r->a; i++) {
        keys[i] = f[1] + i * floats;
        values[i] = f[2] + i * floats;
        lengths[i] = (int32_t)r->b;
    }
    ops_cpu.attention_decode(f[0], f[4], keys, values, lengths, capacity, 0.18f, 0, r->a, H, KV, D);
}

#define PRODUCT(op, run, N, I, O)                                                                                      \
    { op, N, I, O, run, 2.0 * (N) * (I) * (O), 0 }
#define PRODUCTS(N, I, O)                                                                                              \
    PRODUCT("matmul_forward", forward, N, I, O), PRODUCT("matmul_backward_input", backward_input, N, I, O),            \
        PRODUCT("matmul_backward_weight", backward_weight, N, I, O)
#define MEMORY(op, run, a, b, c, floats)                                                                               \
    { op, a, b, c, run, 0, 4.0 * (floats) }
#define ATTENTION(N, T)                                                                                                \
    {"attention_forward", N, T, 0, attention, 4.0 * H * D * (N) * ((T) + 1) / 2, 0}, {                                 \
        "attention_backward", N, T, 0, attention_backward, 10.0 * H *D *(N) * ((T) + 1) / 2, 0                         \
    }

static const Row rows[] = {
    PRODUCTS(2048, 256, 256),
    PRODUCTS(2048, 256, 768),
    PRODUCTS(2048, 768, 256),
    PRODUCTS(2048, 256, 64),
    PRODUCTS(2048, 256, 1024),
    PRODUCTS(1024, 1536, 1536),
    PRODUCT("matmul_forward", forward, 128, 256, 768),
    PRODUCT("matmul_forward", forward, 32, 256, 768),
    PRODUCT("matmul_forward", forward, 8, 256, 768),
    PRODUCT("matmul_forward", forward, 4, 256, 768),
    PRODUCT("matmul_forward", forward, 1, 256, 768),
    PRODUCT("matmul_forward", forward, 1, 1536, 1536),
    PRODUCT("ternary_matmul", ternary, 1, 256, 768),
    PRODUCT("ternary_matmul", ternary, 1, 1536, 8960),
    PRODUCT("ternary_matmul", ternary, 8, 256, 768),
    PRODUCT("ternary_matmul", ternary, 128, 256, 768),
    ATTENTION(2048, 50),
    ATTENTION(2048, 100),
    ATTENTION(2048, 200),
    ATTENTION(2048, 2048),
    {"attention_decode", 1, 200, 0, decode, 4.0 * H *D * 200, 0},
    {"attention_decode", 32, 200, 0, decode, 4.0 * H *D * 200 * 32, 0},
    {"attention_decode", 128, 200, 0, decode, 4.0 * H *D * 200 * 128, 0},
    MEMORY("rmsnorm_forward", norm, 2048, 256, 0, 2 * 2048 * 256),
    MEMORY("rmsnorm_backward", norm_backward, 2048, 256, 0, 4 * 2048 * 256),
    MEMORY("rope", rotate, 2048, 8, 32, 2 * 2048 * 256),
    MEMORY("glu_forward silu", glu, 2048 * 768, 0, 0, 3 * 2048 * 768),
    MEMORY("glu_backward silu", glu_backward, 2048 * 768, 0, 0, 5 * 2048 * 768),
    MEMORY("glu_forward relu2", glu, 2048 * 768, 1, 0, 3 * 2048 * 768),
    MEMORY("embed_forward", embed, 2048, 256, 0, 2 * 2048 * 256),
    MEMORY("embed_backward", embed_backward, 2048, 256, 0, 3 * 2048 * 256),
    MEMORY("add", add, 2048 * 256, 0, 0, 3 * 2048 * 256),
    MEMORY("cross_entropy", cross_entropy, 2048, 1024, 0, 2 * 2048 * 1024),
    MEMORY("kl_forward_loss", kl, 2048, 1024, 0, 4 * 2048 * 1024),
    MEMORY("adamw", adamw, 4 << 20, 0, 0, 7 * (4 << 20)),
    MEMORY("sum_squares", squares, 4 << 20, 0, 0, 4 << 20),
    MEMORY("ternary_quant", quantise, 4 << 20, 0, 0, 3 * (4 << 20)),
    MEMORY("activation_quant", activations, 2048, 256, 0, 2.25 * 2048 * 256),
};

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return x < y ? -1 : x > y;
}

static void measure(const Row *r) {
    double once, ms[REPEATS];
    double start = seconds();
    r->run(r);
    once = seconds() - start;
    int64_t times = CLAMP((int64_t)(0.01 / (once + 1e-9)), 1, 100000); // about 10 ms per repeat
    for (int i = 0; i < REPEATS; i++) {
        start = seconds();
        for (int64_t j = 0; j < times; j++) r->run(r);
        ms[i] = (seconds() - start) * 1e3 / (double)times;
    }
    qsort(ms, REPEATS, sizeof *ms, by_value);
    char shape[64];
    snprintf(shape, sizeof shape, r->c ? "%lld x %lld x %lld" : "%lld x %lld", (long long)r->a, (long long)r->b,
             (long long)r->c);
    printf("%-24s %-20s %9.4f %9.4f %8.1f %s\n", r->op, shape, ms[REPEATS / 2], ms[0],
           (r->flop + r->bytes) / ms[REPEATS / 2] * 1e-6, r->flop > 0 ? "GFLOP/s" : "GB/s");
}

int main(int argc, char **argv) {
    if (argc > 1) threads_set(atoi(argv[1]));
    for (int b = 0; b < BUFFERS; b++) {
        f[b] = xmalloc((size_t)BUFFER * sizeof(float));
        for (int64_t i = 0; i < BUFFER; i++) f[b][i] = (float)rng_normal((uint64_t)b, RNG_TEST, (uint64_t)(i % 65536));
    }
    for (int64_t i = 0; i < BUFFER; i++) f[8][i] = f[8][i] < 0 ? -f[8][i] : f[8][i];
    for (size_t i = 0; i < COUNT_OF(ids); i++) {
        ids[i] = (int32_t)(rng_u64(9, RNG_TEST, i) % 1024);
        positions[i] = (int32_t)(i % 100);
    }
    for (size_t i = 0; i < sizeof q8; i++) q8[i] = (int8_t)i;
    for (size_t i = 0; i < sizeof packed; i++) packed[i] = (uint8_t)(i % 3 * 0x55);
    printf("%s, %d threads\n%-24s %-20s %9s %9s\n", ops_describe(), threads_count(), "op", "shape", "ms", "best");
    for (size_t i = 0; i < COUNT_OF(rows); i++) {
        if (argc < 3 || strstr(rows[i].op, argv[2])) measure(&rows[i]);
    }
    for (int b = 0; b < BUFFERS; b++) free(f[b]);
    return 0;
}
