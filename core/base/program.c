// program: the command line of every program. Must not know: any command.
#include "core/base/program.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/thread.h"

typedef struct Line { // a parsed command line
    const Command *command;
    Options options;
    const char *config;
    StrList overrides;
    bool help, version, print_config;
    bool has_positional;
} Line;

typedef struct Program {
    const char *name, *about;
    const Command *commands;
    size_t n_commands;
} Program;

static const char *const flags[] = {"--config",    "--dry-run",      "--json", "--quiet",
                                    "--overwrite", "--print-config", "--help", "--version"};

static const char options_text[] =
    "options:\n"
    "  --config FILE.yaml  parameters from a file; key=value on the command line goes before it\n"
    "  --print-config      print the resolved parameters as YAML and stop\n"
    "  --dry-run           print the plan and stop\n"
    "  --overwrite         redo a folder that was made with other parameters or inputs\n"
    "  --json              results as JSON on standard output\n"
    "  --quiet             no messages, no status line; errors stay\n"
    "  --help, --version\n";

static bool is_single(const Program *p) { return p->n_commands == 1 && p->commands[0].name[0] == '\0'; }

// ---- help ----

static void put_indented(Buf *b, const char *lines) {
    while (*lines != '\0') {
        const char *text = lines + strspn(lines, " ");
        size_t length = strcspn(text, "\n");
        buf_printf(b, "  %.*s\n", (int)length, text);
        lines = text + length + (text[length] == '\n');
    }
}

static void program_help(const Program *p, FILE *out) {
    int width = 0;
    for (size_t i = 0; i < p->n_commands; i++) width = MAX(width, (int)strlen(p->commands[i].name));
    fprintf(out, "%s: %s\n\nusage: %s COMMAND [--config FILE.yaml] [key=value ...]\n\n", p->name, p->about, p->name);
    fprintf(out, "commands:\n");
    for (size_t i = 0; i < p->n_commands; i++) {
        fprintf(out, "  %-*s  %s\n", width, p->commands[i].name, p->commands[i].about);
    }
    fprintf(out, "\n%s COMMAND --help tells more; %s --version.\n", p->name, p->name);
}

static void command_help(const Program *p, const Command *c, FILE *out) {
    Buf b = {0};
    const char *gap = c->name[0] != '\0' ? " " : "";
    buf_printf(&b, "%s%s%s: %s\n\n", p->name, gap, c->name, is_single(p) ? p->about : c->about);
    buf_printf(&b, "usage: %s%s%s", p->name, gap, c->name);
    if (c->positional != NULL) buf_printf(&b, " [%s]", c->positional);
    buf_text(&b, " [--config FILE.yaml] [key=value ...] [options]\n");
    if (c->examples != NULL) {
        buf_text(&b, "\nexamples:\n");
        put_indented(&b, c->examples);
    }
    buf_printf(&b, "\n%s", options_text);
    if (c->table.n_rows > 0) buf_text(&b, "\nparameters (key=value here, `key: value` in the file):\n");
    config_help(&c->table, &b);
    fwrite(b.data, 1, b.length, out);
    buf_free(&b);
}

// ---- parsing ----

static bool fail_unknown(Error *e, const char *what, const char *word, const char *near) {
    if (near != NULL) return fail(e, EXIT_USAGE, "unknown %s '%s'; did you mean '%s'?", what, word, near);
    return fail(e, EXIT_USAGE, "unknown %s '%s'; see --help", what, word);
}

static const char *near_key(const Command *c, const char *word) {
    const char **names = xcalloc(c->table.n_rows, sizeof *names);
    for (size_t i = 0; i < c->table.n_rows; i++) names[i] = c->table.rows[i].key;
    const char *near = did_you_mean(word, names, c->table.n_rows);
    free(names);
    return near;
}

static const Command *find_command(const Program *p, const char *name, Error *e) {
    const char **names = xcalloc(p->n_commands, sizeof *names);
    const Command *found = NULL;
    for (size_t i = 0; i < p->n_commands; i++) {
        names[i] = p->commands[i].name;
        if (strcmp(name, names[i]) == 0) found = &p->commands[i];
    }
    if (found == NULL) fail_unknown(e, "command", name, did_you_mean(name, names, p->n_commands));
    free(names);
    return found;
}

static bool *switch_of(Line *l, const char *flag) {
    const struct { const char *name; bool *at; } switches[] = {
        {"--dry-run", &l->options.dry_run}, {"--json", &l->options.json}, {"--quiet", &l->options.quiet},
        {"--overwrite", &l->options.overwrite}, {"--print-config", &l->print_config}, {"--help", &l->help},
        {"-h", &l->help}, {"--version", &l->version}};
    for (size_t i = 0; i < COUNT_OF(switches); i++) {
        if (strcmp(flag, switches[i].name) == 0) return switches[i].at;
    }
    return NULL;
}

static bool take_config(Line *l, const char *path, Error *e) {
    if (path == NULL || path[0] == '\0') return fail(e, EXIT_USAGE, "--config wants a file: --config FILE.yaml");
    if (l->config != NULL) return fail(e, EXIT_USAGE, "--config is given twice; one file, then key=value");
    l->config = path;
    return true;
}

// `--max_steps=5` and `--max-steps 5` are what users of other tools write: they are told how it is written here.
static bool refuse_flag(const Line *l, const char *flag, Error *e) {
    char word[64];
    size_t n = 0;
    for (const char *p = flag + strspn(flag, "-"); *p != '\0' && *p != '=' && n < sizeof word - 1; p++) {
        word[n++] = *p == '-' ? '_' : *p;
    }
    word[n] = '\0';
    const char *key = l->command != NULL ? near_key(l->command, word) : NULL;
    if (key != NULL && strcmp(key, word) == 0) {
        return fail(e, EXIT_USAGE, "unknown option '%s'; parameters are written %s=VALUE, without dashes", flag, key);
    }
    return fail_unknown(e, "option", flag, did_you_mean(flag, flags, COUNT_OF(flags)));
}

static bool take_word(Line *l, const char *word, Error *e) {
    if (strchr(word, '=') != NULL) {
        strlist_add(&l->overrides, word);
        return true;
    }
    const char *key = l->command->positional;
    if (key == NULL || l->has_positional) {
        const char *near = near_key(l->command, word);
        if (near != NULL) return fail(e, EXIT_USAGE, "'%s' is not key=value; did you mean %s=VALUE?", word, near);
        return fail(e, EXIT_USAGE, "'%s' is not key=value; see --help", word);
    }
    l->has_positional = true;
    char *override = xasprintf("%s=%s", key, word);
    strlist_add(&l->overrides, override);
    free(override);
    return true;
}

static bool parse_line(const Program *p, int argc, char **argv, Line *l, Error *e) {
    if (is_single(p)) l->command = &p->commands[0];
    for (int i = 1; i < argc; i++) {
        const char *word = argv[i];
        bool *flag = switch_of(l, word);
        bool ok = true;
        if (flag != NULL) *flag = true;
        else if (strcmp(word, "--config") == 0) ok = take_config(l, i + 1 < argc ? argv[++i] : NULL, e);
        else if (strncmp(word, "--config=", 9) == 0) ok = take_config(l, word + 9, e);
        else if (word[0] == '-' && word[1] != '\0') ok = refuse_flag(l, word, e);
        else if (l->command == NULL) ok = (l->command = find_command(p, word, e)) != NULL;
        else ok = take_word(l, word, e);
        if (!ok) return false;
    }
    if (l->command != NULL || l->help || l->version) return true;
    return fail(e, EXIT_USAGE, "no command given; see %s --help", p->name);
}

// ---- running ----

static void use_threads(const ConfigTable *table, const void *config) {
    for (size_t i = 0; i < table->n_rows; i++) {
        const ConfigRow *row = &table->rows[i];
        if (strcmp(row->key, "threads") != 0 || row->type != CFG_TYPE_INT) continue;
        threads_set((int)MIN(*(const int64_t *)((const char *)config + row->offset), (int64_t)INT32_MAX));
    }
}

static int run_command(const Line *l, Error *e) {
    const ConfigTable *table = &l->command->table;
    void *config = xcalloc(1, table->size);
    if (!config_parse(table, l->config, l->overrides.items, l->overrides.count, config, e)) {
        free(config);
        return e->code;
    }
    int code = EXIT_OK;
    if (l->print_config) {
        Buf yaml = {0};
        config_to_yaml(table, config, &yaml);
        fwrite(yaml.data, 1, yaml.length, stdout);
        buf_free(&yaml);
    } else {
        log_set_quiet(l->options.quiet);
        use_threads(table, config);
        code = l->command->run(config, &l->options, e);
    }
    config_free(table, config);
    free(config);
    return code;
}

static int run_line(const Program *p, const Line *l, Error *e) {
    if (l->version) printf("%s " TRISTILL_VERSION "\n", p->name);
    else if (l->help && l->command == NULL) program_help(p, stdout);
    else if (l->help) command_help(p, l->command, stdout);
    else return run_command(l, e);
    return EXIT_OK;
}

// A reader that went away (`| head`) is no failure, a full disk is.
static int flush_output(int code, Error *e) {
    if ((fflush(stdout) == 0 && !ferror(stdout)) || errno == EPIPE || code != EXIT_OK) return code;
    fail(e, EXIT_FAIL, "standard output cannot be written: %s", strerror(errno));
    return EXIT_FAIL;
}

static void print_error(int code, const Error *e) {
    if (e->text[0] == '\0' && code == EXIT_STOPPED) return;
    const char *text = e->text[0] != '\0' ? e->text : "failed without saying why";
    if (code == EXIT_STOPPED) log_info("%s", text);
    else log_error("%s", text);
}

int program_main(int argc, char **argv, const char *program, const char *about, const Command *commands,
                 size_t n_commands) {
    signal(SIGPIPE, SIG_IGN); // a closed socket or pipe is an error that is handled where it is written
    Program p = {.name = program, .about = about, .commands = commands, .n_commands = n_commands};
    Line line = {0};
    Error e = {0};
    int code = parse_line(&p, argc, argv, &line, &e) ? run_line(&p, &line, &e) : e.code;
    code = flush_output(code, &e);
    if (code != EXIT_OK) print_error(code, &e);
    strlist_free(&line.overrides);
    return code;
}
