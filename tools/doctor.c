// doctor: what this machine offers to the programs, and simple advice. Linux: reads /proc and /sys.
#define _GNU_SOURCE // sched_getaffinity
#include "tools/tools.h"

#include <gnu/libc-version.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statvfs.h>
#include <unistd.h>
#include <utf8proc.h>
#include <yaml.h>
#include <zstd.h>
#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "core/base/thread.h"
#include "core/ops/ops.h"
#include "tools/process.h"
#include "tools/recipe.h"
#include "tools/show.h"
#include "tools/text.h"

typedef struct DoctorConfig {
#define CFG_FILE "tools/doctor.def"
#include "core/base/config_struct.h"
} DoctorConfig;

static const ConfigRow doctor_rows[] = {
#define CFG_FILE "tools/doctor.def"
#define CFG_STRUCT DoctorConfig
#include "core/base/config_rows.h"
};
const ConfigTable doctor_table = CONFIG_TABLE(doctor_rows, DoctorConfig);

// The value after "name ... :" of a /proc file, cut at the line's end; "" when absent.
static char *proc_value(const char *text, const char *name) {
    size_t n = strlen(name);
    for (const char *line = text; line && *line; line = strchr(line, '\n') ? strchr(line, '\n') + 1 : NULL) {
        const char *colon = strncmp(line, name, n) ? NULL : strchr(line, ':');
        if (!colon || (line[n] != ' ' && line[n] != '\t' && line[n] != ':')) continue;
        colon += 1 + strspn(colon + 1, " \t");
        return xstrndup(colon, strcspn(colon, "\n"));
    }
    return xstrdup("");
}

static bool has_word(const char *list, const char *word) {
    size_t n = strlen(word);
    for (const char *at = strstr(list, word); at; at = strstr(at + 1, word))
        if ((at == list || at[-1] == ' ') && (at[n] == ' ' || !at[n])) return true;
    return false;
}

static void advise(json_t *advice, const char *text) { json_array_append_new(advice, json_string(text)); }

static json_t *look_at_cpu(const char *cpuinfo, json_t *advice) {
    static const char *const wanted[] = {"avx2",     "fma",      "avx_vnni", "avx512f", "avx512_vnni", "avx512_bf16",
                                         "amx_bf16", "amx_int8", "asimd",    "asimddp", "bf16",        "sve"};
    char *name = proc_value(cpuinfo, "model name"), *flags = proc_value(cpuinfo, "flags"),
         *features = proc_value(cpuinfo, "Features");
    Buf found = {0};
    buf_text(&found, "");
    for (size_t i = 0; i < COUNT_OF(wanted); i++)
        if (has_word(flags, wanted[i]) || has_word(features, wanted[i]))
            buf_printf(&found, "%s%s", found.length ? " " : "", wanted[i]);
    if (flags[0] && !has_word(flags, "avx2"))
        advise(advice, "no AVX2: everything works, several times slower than on a CPU of the last ten years");
    bool bf16 = ops_use_bf16(true);
    ops_use_bf16(false);
    json_t *o = json_pack("{s:s, s:s, s:s, s:s}", "model", name, "features", found.data, "matrix products",
                          ops_describe(), "bf16 products", bf16 ? "possible" : "not on this machine, float32 is used");
    buf_free(&found);
    free(name), free(flags), free(features);
    return o;
}

// CPUs a container may use by its quota; infinity without one.
static double cpu_quota(void) {
    Buf text = {0};
    double quota = 0, period = 0;
    bool there =
        file_read("/sys/fs/cgroup/cpu.max", 256, &text, NULL) && sscanf(text.data, "%lf %lf", &quota, &period) == 2;
    buf_free(&text);
    return there && period > 0 ? quota / period : INFINITY;
}

static json_t *look_at_threads(json_t *advice) {
    cpu_set_t set;
    int allowed = sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 0;
    long online = sysconf(_SC_NPROCESSORS_ONLN);
    double quota = cpu_quota();
    json_t *o = json_pack("{s:I, s:i, s:i}", "online cores", (json_int_t)online, "cores this process may use", allowed,
                          "threads in use", threads_count());
    if (isfinite(quota)) json_object_set_new(o, "cores by the container's quota", json_real(quota));
    if (quota + 0.5 < threads_count())
        advise(advice, "the container's quota is below the number of threads: set threads to it, or steps will stall");
    if (allowed > 0 && allowed < threads_count())
        advise(advice, "more threads than cores this process may use: set threads lower");
    return o;
}

static double proc_kib(const char *meminfo, const char *name) {
    char *value = proc_value(meminfo, name);
    double bytes = strtod(value, NULL) * 1024;
    free(value);
    return bytes;
}

static json_t *look_at_memory(json_t *advice) {
    Buf text = {0};
    char total[32], available[32], disk[32];
    struct statvfs fs;
    file_read("/proc/meminfo", 1 << 20, &text, NULL);
    double free_bytes = proc_kib(text.data ? text.data : "", "MemAvailable");
    double disk_bytes = statvfs(".", &fs) == 0 ? (double)fs.f_bavail * (double)fs.f_frsize : NAN;
    json_t *o =
        json_pack("{s:s, s:s, s:s}", "memory", say_bytes(proc_kib(text.data ? text.data : "", "MemTotal"), total),
                  "memory available", say_bytes(free_bytes, available), "disk free here", say_bytes(disk_bytes, disk));
    if (free_bytes < 2e9) advise(advice, "less than 2 GB of memory available: lower micro_batch_tokens and max_batch");
    if (disk_bytes < 2e9)
        advise(advice, "less than 2 GB of disk free here: checkpoints may not fit; choose another out folder");
    buf_free(&text);
    return o;
}

static json_t *look_at_software(void) {
    char pcre[64] = "";
    pcre2_config(PCRE2_CONFIG_VERSION, pcre);
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "tristill", TRISTILL_VERSION, "compiler", __VERSION__,
                     "glibc", gnu_get_libc_version(), "zstd", ZSTD_versionString(), "libyaml",
                     yaml_get_version_string(), "jansson", jansson_version_str(), "PCRE2", pcre, "utf8proc",
                     utf8proc_version());
}

static json_t *look_at_programs(json_t *advice, Error *e) {
    char *home = process_home(e);
    if (!home) return NULL;
    json_t *o = json_object();
    bool all_there = true;
    for (size_t i = 0; i < recipe_n_programs; i++) {
        char *path = path_join(home, recipe_programs[i]);
        bool there = access(path, X_OK) == 0;
        json_object_set_new(o, recipe_programs[i], json_string(there ? path : "MISSING"));
        all_there &= there;
        free(path);
    }
    if (!all_there) advise(advice, "a program is missing beside this one: build all with make");
    free(home);
    return o;
}

int doctor_command(const void *config, const Options *options, Error *e) {
    Buf cpuinfo = {0}, text = {0};
    json_t *all = json_object(), *advice = json_array();
    file_read("/proc/cpuinfo", 16 << 20, &cpuinfo, NULL);
    json_object_set_new(all, "cpu", look_at_cpu(cpuinfo.data ? cpuinfo.data : "", advice));
    json_object_set_new(all, "threads", look_at_threads(advice));
    json_object_set_new(all, "memory and disk", look_at_memory(advice));
    json_object_set_new(all, "software", look_at_software());
    json_t *programs = look_at_programs(advice, e);
    bool ok = programs != NULL;
    if (ok) json_object_set_new(all, "programs", programs);
    if (json_array_size(advice) == 0) advise(advice, "all is well");
    json_object_set_new(all, "advice", advice);
    if (options->json)
        json_write(&text, all, 2, false), buf_char(&text, '\n');
    else
        show_json(all, &text);
    fwrite(text.data, 1, text.length, stdout);
    buf_free(&cpuinfo), buf_free(&text);
    json_decref(all);
    return ok ? EXIT_OK : e->code;
}
