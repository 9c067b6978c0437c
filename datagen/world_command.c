// datagen world: records out of the small world. Owns: how an item of the world becomes a record. Must not know: how it
// is made up.
#include "datagen/commands.h"
#include "datagen/stage.h"
#include "datagen/styles.h"
#include "datagen/world.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct WorldConfig {
#define CFG_FILE "datagen/world_command.def"
#include "core/base/config_struct.h"
} WorldConfig;
static const ConfigRow rows[] = {
#define CFG_FILE "datagen/world_command.def"
#define CFG_STRUCT WorldConfig
#include "core/base/config_rows.h"
};

#define RECORDS_FILE "records.jsonl.zst"
#define SOURCE "world"
enum { STREAM_STYLE = 1 }; // sub-stream of RNG_MIX: which voice tells a natural document

typedef struct Maker {
    const WorldConfig *config;
    int styles[STYLES_MAX], n_styles;
} Maker;

// The id of what was made: the kind, where it stands in the world, and its text, so that a changed world changes its
// ids.
static void item_id(const Maker *m, const char *what, int64_t index, const char *text, char id[33]) {
    char *name = xasprintf("world %s %s seed %lld index %lld\n%s", what, m->config->held_out ? "held-out" : "training",
                           (long long)m->config->seed, (long long)index, text);
    record_id(name, strlen(name), id);
    free(name);
}

static json_t *message(const char *role, const char *content) {
    return json_pack("{s:s, s:s}", "role", role, "content", content);
}

static json_t *make_prompt(const Maker *m, int64_t index) {
    WorldProblem p;
    world_problem((uint64_t)m->config->seed, (uint64_t)index, m->config->held_out, &p);
    char id[33], signature[17];
    item_id(m, "problem", index, p.question, id);
    snprintf(signature, sizeof signature, "%016llx", (unsigned long long)p.signature);
    json_t *meta =
        json_pack("{s:i, s:i, s:s}", "steps", p.n_steps, "distractors", p.n_distractors, "signature", signature);
    return json_pack("{s:s, s:[o], s:s, s:s, s:o}", "id", id, "messages", message("user", p.question), "answer",
                     p.answer, "source", SOURCE, "meta", meta);
}

static int natural_style(const Maker *m, int64_t index) {
    Rng rng = {(uint64_t)m->config->seed, RNG_MIX | STREAM_STYLE << 8, (uint64_t)index};
    return (int)rng_below(&rng, WORLD_NATURAL_STYLES);
}

static json_t *make_natural(const Maker *m, int64_t index) {
    WorldProblem p;
    uint64_t seed = (uint64_t)m->config->seed;
    world_problem(seed, (uint64_t)index, m->config->held_out, &p);
    char text[2 * WORLD_TEXT], id[33];
    world_natural(&p, seed + (uint64_t)index, natural_style(m, index), text, sizeof text);
    item_id(m, "natural", index, text, id);
    return json_pack("{s:s, s:s, s:s, s:s, s:s}", "id", id, "text", text, "source", SOURCE, "kind", "natural", "answer",
                     p.answer);
}

static json_t *make_solution(const Maker *m, int64_t index) {
    WorldProblem p;
    uint64_t seed = (uint64_t)m->config->seed;
    world_problem(seed, (uint64_t)index, m->config->held_out, &p);
    char text[2 * WORLD_TEXT], id[33], prompt_id[33];
    if (!strcmp(m->config->voice, "teacher"))
        snprintf(text, sizeof text, "<think>\n%s\n</think>\n\nThe answer is \\boxed{%s}.", p.steps, p.answer);
    else
        world_solution(&p, seed + (uint64_t)index, natural_style(m, index), text, sizeof text);
    item_id(m, "problem", index, p.question, prompt_id);
    item_id(m, m->config->voice, index, text, id);
    return json_pack("{s:s, s:[o, o], s:s, s:s}", "id", id, "messages", message("user", p.question),
                     message("assistant", text), "source", SOURCE, "prompt_id", prompt_id);
}

static json_t *make_rewrite(const Maker *m, int64_t index) {
    const Style *style = &styles[m->styles[index % m->n_styles]];
    char source[2 * WORLD_TEXT], target[2 * WORLD_TEXT], id[33];
    world_rephrase_pair((uint64_t)m->config->seed, (uint64_t)index, style->world_style, source, target, sizeof source);
    Buf prompt = {0};
    style_prompt(style, source, &prompt);
    item_id(m, style->name, index, target, id);
    json_t *record = json_pack("{s:s, s:[o, o], s:s, s:s}", "id", id, "messages", message("user", prompt.data),
                               message("assistant", target), "source", SOURCE, "strategy", style->name);
    buf_free(&prompt);
    return record;
}

typedef json_t *(*MakeFn)(const Maker *, int64_t);
static MakeFn maker_of(const char *what) {
    static const struct {
        const char *what;
        MakeFn make;
    } kinds[] = {
        {"problems", make_prompt}, {"natural", make_natural}, {"solutions", make_solution}, {"rewrites", make_rewrite}};
    for (size_t i = 0; i < COUNT_OF(kinds); i++)
        if (!strcmp(what, kinds[i].what)) return kinds[i].make;
    die("no maker of %s", what);
}

static bool make_all(Stage *stage, const Maker *m, Sink *sink, Error *e) {
    const WorldConfig *c = m->config;
    MakeFn make = maker_of(c->what);
    Progress progress;
    progress_start(&progress, stage->run.program, "records", (double)c->n, 0);
    for (int64_t i = 0; i < c->n; i++) {
        if (stop_requested())
            return fail(e, EXIT_STOPPED, "stopped on request; run the same command again to redo this stage");
        json_t *record = make(m, c->first + i);
        check(record, "a record of the world is no valid JSON");
        if (!sink_write(sink, record, e)) return false;
        if (i % 256 == 0) progress_update(&progress, (double)i, NULL);
    }
    progress_update(&progress, (double)c->n, NULL);
    progress_end(&progress, NULL);
    return true;
}

static bool world_work(Stage *stage, const void *config, Error *e) {
    const WorldConfig *c = config;
    Maker maker = {.config = c};
    Sink sink = {0};
    maker.n_styles = styles_chosen(&c->styles, maker.styles, e);
    bool ok = maker.n_styles > 0 && sink_open(&sink, stage, RECORDS_FILE, e) && make_all(stage, &maker, &sink, e) &&
              sink_close(&sink, e);
    sink_abandon(&sink);
    if (ok) run_count(&stage->run, "kept", c->n);
    return ok;
}

static bool world_sensible(const WorldConfig *c, Error *e) {
    int chosen[STYLES_MAX];
    if (styles_chosen(&c->styles, chosen, e) < 0) return false;
    if (c->held_out && !strcmp(c->what, "rewrites"))
        return fail(e, EXIT_USAGE, "held_out: rewrites are training data; there are none of the held-out side");
    return true;
}

static int world_run(const void *config, const Options *options, Error *e) {
    const WorldConfig *c = config;
    if (!world_sensible(c, e)) return e->code;
    Stage stage;
    static const ConfigTable table = CONFIG_TABLE(rows, WorldConfig);
    stage_open(&stage, "datagen world", &table, config, c->out, options);
    stage_writes(&stage, RECORDS_FILE);
    return stage_run(&stage, world_work, config, e);
}

const Command command_world = {
    .name = "world",
    .about = "records of the small world: problems, documents, solutions, lessons for the rephraser",
    .examples = "  datagen world out=out/problems what=problems n=3000 seed=1\n"
                "  datagen world out=out/test what=problems n=200 held_out=true\n"
                "  datagen world out=out/lessons what=rewrites n=20000 styles=dialogue,tutorial\n",
    .table = CONFIG_TABLE(rows, WorldConfig),
    .run = world_run,
};
