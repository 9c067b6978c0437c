#include "trainer/checkpoint.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "core/data/safetensors.h"

static const char *const moment_names[2] = {"exp_avg", "exp_avg_sq"};
static const char *const checkpoint_files[] = {"model.safetensors", "config.json", "optimizer.safetensors",
                                               "trainer_state.json"};

static bool save_moments(const TrainState *s, const char *folder, Error *e) {
    const Model *m = s->model;
    float *const moments[2] = {s->m, s->v};
    size_t n = (size_t)m->n_weights * 2;
    TensorView *views = xcalloc(n, sizeof *views);
    char(*names)[128] = xcalloc(n, sizeof *names);
    for (size_t i = 0; i < n; i++) {
        const Weight *w = &m->weights[i / 2];
        snprintf(names[i], sizeof names[i], "%s.%s", moment_names[i % 2], w->name);
        views[i] = (TensorView){.name = names[i],
                                .dtype = DTYPE_F32,
                                .n_dims = 1,
                                .shape = {w->n},
                                .n_elements = w->n,
                                .data = moments[i % 2] + w->offset,
                                .bytes = (size_t)w->n * sizeof(float)};
    }
    char *path = path_join(folder, "optimizer.safetensors");
    bool ok = safetensors_write(path, views, (int64_t)n, NULL, e);
    free(path), free(views), free(names);
    return ok;
}

static bool load_moments(TrainState *s, const char *folder, Error *e) {
    char *path = path_join(folder, "optimizer.safetensors");
    Safetensors *t = safetensors_open(path, e);
    bool ok = t != NULL;
    for (int i = 0; ok && i < s->model->n_weights * 2; i++) {
        const Weight *w = &s->model->weights[i / 2];
        char name[128];
        snprintf(name, sizeof name, "%s.%s", moment_names[i % 2], w->name);
        const TensorView *v = safetensors_find(t, name);
        if (!v || v->n_elements != w->n || v->dtype != DTYPE_F32)
            ok = fail(e, EXIT_DATA, "%s: %s: missing or of another size", path, name);
        else
            memcpy((i % 2 ? s->v : s->m) + w->offset, v->data, (size_t)w->n * sizeof(float));
    }
    if (t) safetensors_close(t);
    free(path);
    return ok;
}

static bool save_state(const TrainState *s, const char *folder, Error *e) {
    json_t *o = json_pack("{s:I, s:I, s:I, s:I, s:I}", "global_step", (json_int_t)s->step, "epoch",
                          (json_int_t)s->cursor.epoch, "position", (json_int_t)s->cursor.position,
                          "num_input_tokens_seen", (json_int_t)s->tokens, "num_trained_tokens", (json_int_t)s->targets);
    char *path = path_join(folder, "trainer_state.json");
    bool ok = json_write_file(path, o, e);
    json_decref(o);
    free(path);
    return ok;
}

static bool load_state(TrainState *s, const char *folder, Error *e) {
    char *path = path_join(folder, "trainer_state.json");
    json_t *o = json_read_file(path, e);
    const int64_t most = (int64_t)1 << 60;
    bool ok = o && json_get_int(o, "global_step", path, 0, most, &s->step, e) &&
              json_get_int(o, "epoch", path, 0, most, &s->cursor.epoch, e) &&
              json_get_int(o, "position", path, 0, most, &s->cursor.position, e) &&
              json_get_int(o, "num_input_tokens_seen", path, 0, most, &s->tokens, e) &&
              json_get_int(o, "num_trained_tokens", path, 0, most, &s->targets, e);
    json_decref(o);
    free(path);
    return ok;
}

static bool seal(const char *folder, Error *e) {
    json_t *hashes = json_object();
    bool ok = true;
    for (size_t i = 0; ok && i < COUNT_OF(checkpoint_files); i++) {
        char *path = path_join(folder, checkpoint_files[i]);
        HexDigest h;
        ok = sha256_file(path, &h, e);
        if (ok) json_object_set_new(hashes, checkpoint_files[i], json_string(h.text));
        free(path);
    }
    char *path = path_join(folder, "COMPLETE");
    ok = ok && json_write_file(path, hashes, e);
    json_decref(hashes);
    free(path);
    return ok;
}

static bool verify(const char *folder, Error *e) {
    char *path = path_join(folder, "COMPLETE");
    json_t *hashes = json_read_file(path, e);
    bool ok = hashes != NULL;
    for (size_t i = 0; ok && i < COUNT_OF(checkpoint_files); i++) {
        const char *expected = NULL;
        char *file = path_join(folder, checkpoint_files[i]);
        HexDigest h;
        ok = json_get_text(hashes, checkpoint_files[i], path, &expected, e) && sha256_file(file, &h, e);
        if (ok && strcmp(h.text, expected))
            ok = fail(e, EXIT_DATA, "%s: content differs from its SHA-256 in COMPLETE", file);
        free(file);
    }
    json_decref(hashes);
    free(path);
    return ok;
}

static int newest_first(const void *a, const void *b) {
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return x < y ? 1 : x > y ? -1 : 0;
}

// Steps of the checkpoint-N folders, newest first. malloc'ed.
static int64_t *list_steps(const char *folder, size_t *n, Error *e) {
    StrList names = {0};
    *n = 0;
    if (!folder_list(folder, &names, e)) return NULL;
    int64_t *steps = xcalloc(names.count + 1, sizeof *steps);
    for (size_t i = 0; i < names.count; i++) {
        long long step;
        char rest;
        if (sscanf(names.items[i], "checkpoint-%lld%c", &step, &rest) == 1) steps[(*n)++] = step;
    }
    strlist_free(&names);
    qsort(steps, *n, sizeof *steps, newest_first);
    return steps;
}

static bool retire(const char *folder, int64_t keep, Error *e) {
    size_t n;
    int64_t *steps = list_steps(folder, &n, e);
    bool ok = steps != NULL;
    for (size_t i = (size_t)keep; ok && i < n; i++) {
        char *path = xasprintf("%s/checkpoint-%lld", folder, (long long)steps[i]);
        ok = remove_tree(path, e);
        free(path);
    }
    free(steps);
    return ok;
}

static bool point_latest(const char *folder, const char *name, Error *e) {
    char *link_path = path_join(folder, "latest"), *temp = path_join(folder, ".latest.new");
    unlink(temp);
    bool ok = !symlink(name, temp) && !rename(temp, link_path);
    if (!ok) fail(e, EXIT_FAIL, "%s: %s", link_path, strerror(errno));
    free(link_path), free(temp);
    return ok;
}

bool checkpoint_save(const TrainState *s, const char *folder, int64_t keep, const char *tokenizer_folder, Error *e) {
    char *name = xasprintf("checkpoint-%lld", (long long)s->step), *path = path_join(folder, name),
         *temp = xasprintf("%s/.%s.new", folder, name);
    bool ok = (!file_exists(temp) || remove_tree(temp, e)) && (!file_exists(path) || remove_tree(path, e)) &&
              model_save(s->model, temp, DTYPE_F32, tokenizer_folder, e) && save_moments(s, temp, e) &&
              save_state(s, temp, e) && seal(temp, e);
    if (ok && rename(temp, path)) ok = fail(e, EXIT_FAIL, "%s: %s", path, strerror(errno));
    ok = ok && folder_sync(folder, e) && point_latest(folder, name, e) && retire(folder, keep, e);
    free(name), free(path), free(temp);
    return ok;
}

static bool resume_from(TrainState *s, const char *path, Error *e) {
    if (!verify(path, e)) return false;
    Model *m = model_load(path, e);
    if (!m) return false;
    s->model = m;
    s->m = xcalloc((size_t)m->n_params, sizeof *s->m);
    s->v = xcalloc((size_t)m->n_params, sizeof *s->v);
    if (load_moments(s, path, e) && load_state(s, path, e)) return true;
    model_free(m), free(s->m), free(s->v);
    *s = (TrainState){0};
    return false;
}

bool checkpoint_resume(TrainState *s, const char *folder, bool *found, Error *e) {
    size_t n;
    *found = false;
    if (!file_exists(folder)) return true;
    int64_t *steps = list_steps(folder, &n, e);
    if (!steps) return false;
    for (size_t i = 0; i < n && !*found; i++) {
        char *path = xasprintf("%s/checkpoint-%lld", folder, (long long)steps[i]);
        Error why = {0};
        *found = resume_from(s, path, &why);
        if (!*found) log_warn("%s is damaged, trying an older one: %s", path, why.text);
        free(path);
    }
    free(steps);
    return true;
}
