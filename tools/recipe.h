// recipe: a pipeline of programs in YAML, read strictly: every mistake is named with its line before anything runs.
// Owns: the grammar of a recipe, ${references}, overrides, the config file of each stage. Must not know: processes,
// folders on disk, what any program does with its keys.
//
//     name: quickstart
//     out: out/quickstart
//     stages:
//       - stage: ask
//         run: distill ask
//         with: {prompts: "${problems}/records.jsonl.zst", samples: 4}
//
// ${stage} is the folder <out>/<stage> of an earlier stage, ${recipe} the folder of the recipe file, ${out} the
// recipe's out.
#pragma once
#include "core/base/config.h"

typedef struct RecipeStage {
    char *name, *folder;           // folder: <out>/<name>
    char *run, *program, *command; // "distill ask" and its parts; command "" for a program with a single command
    json_t *with;                  // the stage's config: references expanded, overrides applied, "out" last
    json_t *overridden;            // {key: true}: its value in `with` is text as given on the command line
    int line;                      // of the stage in the recipe
} RecipeStage;

typedef struct Recipe {
    char *path, *name, *out;
    RecipeStage *stages;
    size_t n_stages;
    json_t *lines; // as yaml_read_file gives them
} Recipe;

// The programs a stage may run.
extern const char *const recipe_programs[];
extern const size_t recipe_n_programs;

// Reads and checks the recipe. overrides: "stage.key=value" (value as it would stand in the file) or "out=FOLDER".
// On failure e holds all mistakes, a line each, and *r needs no recipe_free.
bool recipe_read(Recipe *r, const char *path, char *const *overrides, size_t n_overrides, Error *e);
void recipe_free(Recipe *r);
// Index of a stage by name; fails with "did you mean".
bool recipe_find(const Recipe *r, const char *name, size_t *index, Error *e);

// The config file of a stage: one key per line, in the order of `with`, so that line n holds key n (counted from 1).
void recipe_stage_yaml(const RecipeStage *stage, Buf *out);
// Line of a key of stage `index` in the recipe; 0 when it came from an override or is not in the file.
int recipe_key_line(const Recipe *r, size_t index, const char *key);
// Replaces "<config_path>:<line>:" in an error text of a stage's program by the place in the recipe (or "override
// stage.key:").
void recipe_blame(const Recipe *r, size_t index, const char *config_path, const char *text, Buf *out);
// Name, order and resolved configs of all stages, for reports:
// {"name","recipe","out","stages":[{"stage","run","with"}]}.
json_t *recipe_plan(const Recipe *r);
