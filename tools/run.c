// run: executes the stages of a recipe one after another. Owns: the order, the lock, what is said to the person. Must
// not know: what a stage does; a stage that is already complete finds that out itself, by hashing.
#define _GNU_SOURCE // memfd_create
#include "tools/tools.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/base/yaml.h"
#include "tools/process.h"
#include "tools/recipe.h"
#include "tools/text.h"

typedef struct RunConfig {
#define CFG_FILE "tools/run.def"
#include "core/base/config_struct.h"
} RunConfig;

static const ConfigRow run_rows[] = {
#define CFG_FILE "tools/run.def"
#define CFG_STRUCT RunConfig
#include "core/base/config_rows.h"
};
const ConfigTable run_table = CONFIG_TABLE(run_rows, RunConfig);

enum { ORPHAN_WAIT_SECONDS = 60 };

typedef struct Runner {
    Recipe recipe;
    const Options *options;
    char *home;   // folder of the programs
    char *again;  // the command line that goes on
    size_t first; // --from
    int lock;
    double started;
    size_t n_already; // stages found complete
} Runner;

static StrList stage_overrides; // "stage.key=value" of the command line
static Buf command_line;

// ---- arguments ----

static bool is_stage_override(const char *text) {
    const char *dot = strchr(text, '.'), *equals = strchr(text, '=');
    return text[0] != '-' && dot && equals && dot < equals;
}

void run_take_arguments(int *argc, char **argv) {
    int kept = 0;
    for (int i = 0; i < *argc; i++) {
        buf_printf(&command_line, "%s%s", i ? " " : "", argv[i]);
        if (i > 1 && is_stage_override(argv[i])) {
            strlist_add(&stage_overrides, argv[i]);
        } else if (!strcmp(argv[i], "--from") && i + 1 < *argc) {
            buf_printf(&command_line, " %s", argv[i + 1]);
            argv[kept++] = xasprintf("from=%s", argv[++i]); // lives as long as the process
        } else {
            argv[kept++] = argv[i];
        }
    }
    argv[kept] = NULL;
    *argc = kept;
}

// ---- checks before anything runs ----

static char *program_of(const Runner *r, size_t index) {
    return xasprintf("%s/%s", r->home, r->recipe.stages[index].program);
}

// What a program said about its config, a problem per line, with the recipe's lines as places.
static void add_problems(const Runner *r, size_t index, const char *config_path, char *said, Problems *problems) {
    Buf text = {0};
    recipe_blame(&r->recipe, index, config_path, strncmp(said, "error: ", 7) ? said : said + 7, &text);
    for (char *line = strtok(text.data, "\n"); line; line = strtok(NULL, "\n")) {
        char *colon = strstr(line, ": ");
        if (colon) *colon = 0;
        problem_add(problems, colon ? line : r->recipe.path, 0, "", "%s", colon ? colon + 2 : line);
    }
    buf_free(&text);
}

// Asks the stage's program whether it accepts the config.
static bool ask_program(const Runner *r, size_t index, Problems *problems, Error *e) {
    const RecipeStage *s = &r->recipe.stages[index];
    Buf yaml = {0}, said = {0};
    char path[64], *argv[6], *program = program_of(r, index);
    size_t n = 0;
    recipe_stage_yaml(s, &yaml);
    int file = memfd_create("stage", 0);
    snprintf(path, sizeof path, "/proc/self/fd/%d", file);
    argv[n++] = program;
    if (s->command[0]) argv[n++] = s->command;
    argv[n++] = "--config", argv[n++] = path, argv[n++] = "--print-config", argv[n] = NULL;
    bool ok = file >= 0 && write(file, yaml.data, yaml.length) == (ssize_t)yaml.length;
    if (!ok) fail(e, EXIT_FAIL, "memfd: %s", strerror(errno));
    int status = ok ? process_ask(argv, &said, e) : -1;
    if (status > 0 && said.length) add_problems(r, index, path, said.data, problems);
    if (status > 0 && !said.length)
        problem_add(problems, r->recipe.path, s->line, s->name, "%s ended with code %d", s->program, status);
    if (file >= 0) close(file);
    buf_free(&yaml), buf_free(&said), free(program);
    return status >= 0;
}

static bool check_configs(const Runner *r, Error *e) {
    Problems problems = {0};
    bool ok = true;
    for (size_t i = 0; ok && i < r->recipe.n_stages; i++) ok = ask_program(r, i, &problems, e);
    if (!ok) buf_free(&problems.lines);
    return ok && problems_report(&problems, e);
}

static bool stage_complete(const Runner *r, size_t index) {
    char *path = path_join(r->recipe.stages[index].folder, "COMPLETE");
    bool there = file_exists(path);
    free(path);
    return there;
}

static bool check_from(const Runner *r, Error *e) {
    for (size_t i = 0; i < r->first; i++)
        if (!stage_complete(r, i))
            return fail(e, EXIT_USAGE, "--from %s: stage %s is not complete (%s); begin there",
                        r->recipe.stages[r->first].name, r->recipe.stages[i].name, r->recipe.stages[i].folder);
    return true;
}

// ---- one run at a time ----

static long lock_holder(int lock) {
    char text[32] = {0};
    return pread(lock, text, sizeof text - 1, 0) > 0 ? strtol(text, NULL, 10) : 0;
}

// The stage's program inherits the lock: should the runner be killed, the lock lives until that program has saved and
// ended.
static bool take_lock(Runner *r, Error *e) {
    char *path = xasprintf("%s/.stages/lock", r->recipe.out);
    bool ok = make_parent(path, e);
    r->lock = ok ? open(path, O_RDWR | O_CREAT, 0644) : -1;
    if (ok && r->lock < 0) ok = fail(e, EXIT_FAIL, "%s: cannot be opened (%s)", path, strerror(errno));
    for (int waited = 0; ok && flock(r->lock, LOCK_EX | LOCK_NB) < 0; waited++) {
        long pid = lock_holder(r->lock);
        if (errno != EWOULDBLOCK)
            ok = fail(e, EXIT_FAIL, "%s: cannot be locked (%s)", path, strerror(errno));
        else if ((pid > 0 && kill((pid_t)pid, 0) == 0) || waited >= ORPHAN_WAIT_SECONDS * 10)
            ok = fail(e, EXIT_FAIL, "%s: another run of this recipe is going on (process %ld); wait for it or stop it",
                      path, pid);
        else if (waited == 0)
            log_info("waiting for a stage of an earlier, killed run to end");
        usleep(100000);
    }
    if (ok && (ftruncate(r->lock, 0) < 0 || dprintf(r->lock, "%ld\n", (long)getpid()) < 0))
        ok = fail(e, EXIT_FAIL, "%s: %s", path, strerror(errno));
    free(path);
    return ok;
}

// ---- stages ----

static bool same_file(const struct stat *a, const struct stat *b) {
    return a->st_ino == b->st_ino && a->st_size == b->st_size && a->st_mtim.tv_sec == b->st_mtim.tv_sec &&
           a->st_mtim.tv_nsec == b->st_mtim.tv_nsec;
}

// Tells the exit code; *already: the stage wrote nothing new, so it was complete before.
static int run_program(const Runner *r, size_t index, const char *config_path, bool *already, Error *e) {
    const RecipeStage *s = &r->recipe.stages[index];
    char *done = path_join(s->folder, "run.json"), *program = program_of(r, index), *argv[8];
    struct stat before, after;
    bool there = stage_complete(r, index) && stat(done, &before) == 0;
    size_t n = 0;
    argv[n++] = program;
    if (s->command[0]) argv[n++] = s->command;
    argv[n++] = "--config", argv[n++] = (char *)config_path;
    if (r->options->overwrite) argv[n++] = "--overwrite";
    if (r->options->quiet) argv[n++] = "--quiet";
    argv[n] = NULL;
    int status = process_run(argv, e);
    *already = status == 0 && there && stat(done, &after) == 0 && same_file(&before, &after);
    free(done), free(program);
    return status;
}

static int explain(const Runner *r, size_t index, int status, Error *e) {
    const RecipeStage *s = &r->recipe.stages[index];
    if (status < 0) return e->code;
    // A stage that was not yet, or no longer, listening dies of the signal that it was sent; nothing is lost by that
    // either.
    if (process_stop_requested() && status > 128) status = EXIT_STOPPED;
    if (status == EXIT_STOPPED)
        fail(e, status, "stopped in stage %s; what was done is saved\nhint: the same command goes on: %s", s->name,
             r->again);
    else
        fail(e, status,
             "stage %s (%s) ended with code %d; its message stands above\n"
             "hint: after the repair the same command goes on; complete stages are only verified: %s",
             s->name, s->run, status, r->again);
    return status;
}

static int run_stage(Runner *r, size_t index, Error *e) {
    const RecipeStage *s = &r->recipe.stages[index];
    char *path = xasprintf("%s/.stages/%s.yaml", r->recipe.out, s->name), took[32], total[32];
    double begin = now_seconds();
    bool already = false;
    Buf yaml = {0};
    log_info("[%zu/%zu] %s — %s", index + 1, r->recipe.n_stages, s->name, s->run);
    recipe_stage_yaml(s, &yaml);
    int status = file_replace(path, yaml.data, yaml.length, e) ? run_program(r, index, path, &already, e) : -1;
    if (status == 0)
        log_info("[%zu/%zu] %s %s in %s, %s in all", index + 1, r->recipe.n_stages, s->name,
                 already ? "was complete, verified" : "done", say_duration(now_seconds() - begin, took),
                 say_duration(now_seconds() - r->started, total));
    r->n_already += already;
    buf_free(&yaml), free(path);
    return status == 0 ? EXIT_OK : explain(r, index, status, e);
}

static bool write_plan(const Runner *r, Error *e) {
    char *path = xasprintf("%s/.stages/plan.json", r->recipe.out);
    json_t *plan = recipe_plan(&r->recipe);
    bool ok = json_write_file(path, plan, e);
    json_decref(plan), free(path);
    return ok;
}

// The tables of the report stages go to stdout: they are what the run was for.
static bool print_tables(const Runner *r, Error *e) {
    for (size_t i = 0; i < r->recipe.n_stages; i++) {
        const RecipeStage *s = &r->recipe.stages[i];
        if (strcmp(s->run, "tristill report")) continue;
        char *path = path_join(s->folder, "table.txt");
        Buf table = {0};
        bool ok = file_read(path, 1 << 20, &table, e);
        if (ok) fwrite(table.data, 1, table.length, stdout);
        buf_free(&table), free(path);
        if (!ok) return false;
        printf("report: %s/report.html\n", s->folder);
    }
    return true;
}

static int run_stages(Runner *r, Error *e) {
    if (!write_plan(r, e)) return e->code;
    for (size_t i = r->first; i < r->recipe.n_stages; i++) {
        if (process_stop_requested()) return explain(r, i, EXIT_STOPPED, e);
        int status = run_stage(r, i, e);
        if (status != EXIT_OK) return status;
    }
    char total[32];
    bool nothing_new = r->n_already == r->recipe.n_stages - r->first;
    log_info("everything is done in %s%s", say_duration(now_seconds() - r->started, total),
             nothing_new ? "; all stages were complete already" : "");
    return print_tables(r, e) ? EXIT_OK : e->code;
}

static void print_plan(const Runner *r) {
    printf("%s: %zu stages into %s\n", r->recipe.name, r->recipe.n_stages, r->recipe.out);
    for (size_t i = 0; i < r->recipe.n_stages; i++) {
        const RecipeStage *s = &r->recipe.stages[i];
        Buf yaml = {0};
        recipe_stage_yaml(s, &yaml);
        const char *state = i < r->first ? "skipped" : stage_complete(r, i) ? "complete, to be verified" : "to do";
        printf("[%zu/%zu] %s — %s  (%s)\n", i + 1, r->recipe.n_stages, s->name, s->run, state);
        for (char *line = strtok(yaml.data, "\n"); line; line = strtok(NULL, "\n")) printf("        %s\n", line);
        buf_free(&yaml);
    }
}

static bool prepare(Runner *r, const RunConfig *c, Error *e) {
    StrList overrides = {0};
    for (size_t i = 0; i < stage_overrides.count; i++) strlist_add(&overrides, stage_overrides.items[i]);
    if (c->out[0]) {
        char *out = xasprintf("out=%s", c->out);
        strlist_add(&overrides, out);
        free(out);
    }
    bool ok = recipe_read(&r->recipe, c->recipe, overrides.items, overrides.count, e);
    strlist_free(&overrides);
    if (ok && c->from[0]) ok = recipe_find(&r->recipe, c->from, &r->first, e);
    r->home = ok ? process_home(e) : NULL;
    return ok && r->home && check_configs(r, e) && check_from(r, e);
}

int run_command(const void *config, const Options *options, Error *e) {
    Runner r = {.options = options, .again = command_line.data, .lock = -1, .started = now_seconds()};
    int status = EXIT_OK;
    if (!prepare(&r, config, e))
        status = e->code;
    else if (options->dry_run)
        print_plan(&r);
    else
        status = take_lock(&r, e) ? run_stages(&r, e) : e->code;
    if (r.lock >= 0) close(r.lock);
    recipe_free(&r.recipe);
    free(r.home);
    return status;
}
