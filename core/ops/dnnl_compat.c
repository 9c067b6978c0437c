// dnnl_compat: see dnnl_compat.h.
#define _GNU_SOURCE // RTLD_DEFAULT
#include "core/ops/dnnl_compat.h"

#include <dlfcn.h>
#include <dnnl.h>
#include <pthread.h>
#include <stdio.h>

#if DNNL_VERSION_MAJOR >= 3
typedef const_dnnl_memory_desc_t DescPointer; // what functions take
static DescPointer desc_pointer(dnnl_memory_desc_t *d) { return *d; }
static void desc_free(dnnl_memory_desc_t *d) { dnnl_memory_desc_destroy(*d); }
static bool desc_make(dnnl_memory_desc_t *d, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return dnnl_memory_desc_create_with_strides(d, 2, dims, type, strides) == dnnl_success;
}
static bool append_sum(dnnl_post_ops_t ops) {
    return dnnl_post_ops_append_sum(ops, 1.0f, 0, dnnl_data_type_undef) == dnnl_success;
}
static bool matmul_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, dnnl_memory_desc_t d[3],
                        dnnl_primitive_attr_t attr) {
    return dnnl_matmul_primitive_desc_create(out, engine, d[0], d[1], NULL, d[2], attr) == dnnl_success;
}
#else
typedef const dnnl_memory_desc_t *DescPointer;
static DescPointer desc_pointer(dnnl_memory_desc_t *d) { return d; }
static void desc_free(dnnl_memory_desc_t *d) { (void)d; }
static bool desc_make(dnnl_memory_desc_t *d, const dnnl_dims_t dims, dnnl_data_type_t type, const dnnl_dims_t strides) {
    return dnnl_memory_desc_init_by_strides(d, 2, dims, type, strides) == dnnl_success;
}
static bool append_sum(dnnl_post_ops_t ops) { return dnnl_post_ops_append_sum(ops, 1.0f) == dnnl_success; }
static bool matmul_desc(dnnl_primitive_desc_t *out, dnnl_engine_t engine, dnnl_memory_desc_t d[3],
                        dnnl_primitive_attr_t attr) {
    dnnl_matmul_desc_t op;
    return dnnl_matmul_desc_init(&op, &d[0], &d[1], NULL, &d[2]) == dnnl_success &&
           dnnl_primitive_desc_create(out, &op, attr, engine, NULL) == dnnl_success;
}
#endif

static dnnl_engine_t engine; // one for the process; thread-safe
static void (*set_omp_threads)(int);

static void start(void) {
    if (dnnl_engine_create(&engine, dnnl_cpu, 0) != dnnl_success) engine = NULL;
    *(void **)&set_omp_threads =
        dlsym(RTLD_DEFAULT, "omp_set_num_threads"); // absent when oneDNN was built without OpenMP
}

// C += needs the product's "sum" post-operation. NULL attributes are the default ones.
static bool attributes(dnnl_primitive_attr_t *attr, bool add) {
    *attr = NULL;
    if (!add) return true;
    dnnl_post_ops_t ops = NULL;
    bool ok = dnnl_post_ops_create(&ops) == dnnl_success && append_sum(ops) &&
              dnnl_primitive_attr_create(attr) == dnnl_success &&
              dnnl_primitive_attr_set_post_ops(*attr, ops) == dnnl_success;
    dnnl_post_ops_destroy(ops);
    return ok;
}

static bool execute(dnnl_primitive_t primitive, dnnl_memory_desc_t desc[3], void *data[3]) {
    dnnl_stream_t stream = NULL;
    dnnl_memory_t memory[3] = {NULL, NULL, NULL};
    bool ok = dnnl_stream_create(&stream, engine, dnnl_stream_default_flags) == dnnl_success;
    for (int i = 0; i < 3 && ok; i++)
        ok = dnnl_memory_create(&memory[i], desc_pointer(&desc[i]), engine, data[i]) == dnnl_success;
    dnnl_exec_arg_t args[] = {{DNNL_ARG_SRC, memory[0]}, {DNNL_ARG_WEIGHTS, memory[1]}, {DNNL_ARG_DST, memory[2]}};
    ok = ok && dnnl_primitive_execute(primitive, stream, 3, args) == dnnl_success &&
         dnnl_stream_wait(stream) == dnnl_success;
    for (int i = 0; i < 3; i++) {
        if (memory[i]) dnnl_memory_destroy(memory[i]);
    }
    if (stream) dnnl_stream_destroy(stream);
    return ok;
}

// Primitives come out of oneDNN's own cache after the first of a shape.
static bool run(dnnl_memory_desc_t desc[3], void *data[3], bool add) {
    dnnl_primitive_attr_t attr;
    dnnl_primitive_desc_t primitive_desc = NULL;
    dnnl_primitive_t primitive = NULL;
    bool ok = attributes(&attr, add) && matmul_desc(&primitive_desc, engine, desc, attr) &&
              dnnl_primitive_create(&primitive, primitive_desc) == dnnl_success && execute(primitive, desc, data);
    if (primitive) dnnl_primitive_destroy(primitive);
    if (primitive_desc) dnnl_primitive_desc_destroy(primitive_desc);
    if (attr) dnnl_primitive_attr_destroy(attr);
    return ok;
}

bool dnnl_product(float *c, int64_t c_row, DnnlMatrix a, DnnlMatrix b, int64_t M, int64_t J, int64_t K, bool bf16,
                  bool add) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, start);
    if (!engine) return false;
    if (set_omp_threads) set_omp_threads(1); // of this thread only: the pool is ours, no second one may spin beside it
    const dnnl_dims_t dims[3] = {{M, K}, {K, J}, {M, J}},
                      strides[3] = {{a.row, a.column}, {b.row, b.column}, {c_row, 1}};
    void *data[3] = {(void *)(uintptr_t)a.data, (void *)(uintptr_t)b.data, c};
    dnnl_memory_desc_t desc[3];
    int made = 0;
    bool ok = true;
    while (ok && made < 3) {
        ok = desc_make(&desc[made], dims[made], bf16 && made < 2 ? dnnl_bf16 : dnnl_f32, strides[made]);
        made += ok;
    }
    ok = ok && run(desc, data, add);
    for (int i = 0; i < made; i++) desc_free(&desc[i]);
    return ok;
}

const char *dnnl_version_text(void) {
    static char text[32];
    const dnnl_version_t *v = dnnl_version();
    snprintf(text, sizeof text, "%d.%d.%d", v->major, v->minor, v->patch);
    return text;
}
