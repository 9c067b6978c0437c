// The training loop: plan, micro-steps, update, log, checkpoint. One loop for every loss; which linear is the model's
// affair.
#include "trainer/trainer.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "core/base/thread.h"
#include "trainer/checkpoint.h"
#include "trainer/loss.h"
#include "trainer/schedule.h"

static const ConfigRow train_rows[] = {
#define CFG_FILE "trainer/train.def"
#define CFG_STRUCT TrainConfig
#include "core/base/config_rows.h"
};
const ConfigTable train_table = CONFIG_TABLE(train_rows, TrainConfig);

typedef struct Trainer {
    const TrainConfig *c;
    const LossRow *loss;
    const char *tokenizer; // folder
    TrainState state;
    Model *teacher;
    Dataset *data;
    Activations *acts, *teacher_acts;
    MicroBatch micro;
    Head head;
    float *grads, *dhidden;
    int64_t *items, total_steps;
    int32_t *scratch_tokens;
    uint8_t *scratch_mask;
    LossSums since_log; // sums over the steps since the last step event
    int64_t steps_since_log, tokens_since_log;
    double log_time;
} Trainer;

static Model *fresh_model(const TrainConfig *c, Error *e) {
    json_t *o = json_read_file(c->model_config, e);
    ModelConfig mc;
    Model *m = NULL;
    if (o && model_config_from_json(o, c->model_config, &mc, e)) {
        m = model_create(&mc);
        model_init(m, (uint64_t)c->seed);
    }
    json_decref(o);
    return m;
}

static bool check_sources(const TrainConfig *c, Error *e) {
    if (!*c->model == !*c->model_config)
        return fail(e, EXIT_USAGE, "give either model (a folder to start from) or model_config (fresh weights)");
    if (*c->model_config && !*c->tokenizer)
        return fail(e, EXIT_USAGE, "tokenizer: fresh weights need a tokenizer folder");
    if (loss_find(c->loss)->teacher && !*c->teacher)
        return fail(e, EXIT_USAGE, "teacher: loss %s needs a teacher model", c->loss);
    return true;
}

static Model *starting_model(const TrainConfig *c, Error *e) {
    Model *m = *c->model ? model_load(c->model, e) : fresh_model(c, e);
    if (m && m->frozen) {
        fail(e, EXIT_DATA, "%s: packed ternary weights cannot be trained; start from the master folder", c->model);
        model_free(m);
        return NULL;
    }
    if (m && c->ternary) model_set_ternary(m, true);
    return m;
}

static bool same_tokenizer(const char *student, const char *teacher, Error *e) {
    Tokenizer *a = tokenizer_load(student, e), *b = a ? tokenizer_load(teacher, e) : NULL;
    bool ok = a && b;
    if (ok) {
        HexDigest x = tokenizer_hash(a), y = tokenizer_hash(b);
        ok = !strcmp(x.text, y.text) ||
             fail(e, EXIT_DATA, "teacher: %s has another tokenizer than %s; KD compares token by token", teacher,
                  student);
    }
    tokenizer_free(a), tokenizer_free(b);
    return ok;
}

static bool open_teacher(Trainer *t, Error *e) {
    if (!t->loss->teacher) return true;
    t->teacher = model_load(t->c->teacher, e);
    if (!t->teacher || !same_tokenizer(t->tokenizer, t->c->teacher, e)) return false;
    int64_t V = t->state.model->config.vocab_size;
    if (t->teacher->config.vocab_size != V)
        return fail(e, EXIT_DATA, "teacher: vocab_size %lld, the student's is %lld",
                    (long long)t->teacher->config.vocab_size, (long long)V);
    t->teacher_acts = activations_create(t->teacher, t->c->micro_batch_tokens, false);
    return true;
}

static void allocate(Trainer *t) {
    const Model *m = t->state.model;
    size_t P = (size_t)m->n_params;
    int64_t N = t->c->micro_batch_tokens;
    if (!t->state.m) t->state.m = xcalloc(P, sizeof(float)), t->state.v = xcalloc(P, sizeof(float));
    t->grads = xcalloc(P, sizeof(float));
    t->dhidden = xcalloc((size_t)(N * m->config.hidden_size), sizeof(float));
    t->acts = activations_create(m, N, true);
    t->scratch_tokens = xcalloc((size_t)N, sizeof *t->scratch_tokens);
    t->scratch_mask = xcalloc((size_t)N, sizeof *t->scratch_mask);
    micro_batch_init(&t->micro, N);
    head_init(&t->head, m, t->teacher, &ops_cpu, N);
    t->head.kd_alpha = t->c->kd_alpha, t->head.kd_temperature = t->c->kd_temperature;
}

static void release(Trainer *t) {
    model_free(t->state.model), model_free(t->teacher);
    free(t->state.m), free(t->state.v), free(t->grads), free(t->dhidden), free(t->items), free(t->scratch_tokens),
        free(t->scratch_mask);
    dataset_close(t->data);
    activations_free(t->acts), activations_free(t->teacher_acts);
    micro_batch_free(&t->micro);
    head_free(&t->head);
}

static void run_micro(Trainer *t, LossSums *sums) {
    const Batch *b = &t->micro.batch;
    const float *teacher_hidden = t->teacher ? model_forward(t->teacher, &ops_cpu, t->teacher_acts, b) : NULL;
    const float *hidden = model_forward(t->state.model, &ops_cpu, t->acts, b);
    head_pass(&t->head, &t->micro, hidden, teacher_hidden, t->dhidden, t->grads, sums);
    model_backward(t->state.model, &ops_cpu, t->acts, b, t->dhidden, t->grads);
    t->state.tokens += b->n_tokens;
    t->tokens_since_log += b->n_tokens;
    micro_batch_clear(&t->micro);
}

// Gradient of one step over n items, in as many micro-batches as needed; normalised by the step's own global count.
static LossSums accumulate(Trainer *t, const int64_t *items, int64_t n) {
    LossSums sums = {0};
    int64_t targets = 0;
    if (!t->loss->pairs)
        for (int64_t i = 0; i < n; i++)
            targets += loss_item_targets(t->data, items[i], t->loss, t->scratch_tokens, t->scratch_mask);
    double scale = 1.0 / (double)MAX(1, t->loss->pairs ? n : targets);
    memset(t->grads, 0, (size_t)t->state.model->n_params * sizeof(float));
    for (int64_t i = 0; i < n; i++) {
        if (!micro_batch_fits(&t->micro, dataset_item_tokens(t->data, items[i]), 2)) run_micro(t, &sums);
        micro_batch_add(&t->micro, t->data, items[i], t->loss, scale, t->c->redi_alpha);
    }
    run_micro(t, &sums);
    t->state.targets += (int64_t)sums.targets;
    return sums;
}

static bool refuse_non_finite(Trainer *t, const int64_t *items, int64_t n, const LossSums *sums, double norm,
                              Error *e) {
    if (isfinite(norm) && isfinite(sums->loss)) return true;
    Buf names = {0};
    char name[256];
    for (int64_t i = 0; i < MIN(n, 8); i++) {
        dataset_item_name(t->data, items[i], name, sizeof name);
        buf_printf(&names, "%s%s", i ? ", " : "", name);
    }
    fail(e, EXIT_FAIL,
         "step %lld: loss %g, gradient norm %g: not finite; the weights were not touched. Samples of the step (%lld): "
         "%s%s\n"
         "hint: lower learning_rate or look at these samples; the last checkpoint is sound",
         (long long)t->state.step, sums->loss, norm, (long long)n, names.data, n > 8 ? ", ..." : "");
    buf_free(&names);
    return false;
}

static void update(Trainer *t, double lr, double norm) {
    const TrainConfig *c = t->c;
    const Model *m = t->state.model;
    double step = (double)t->state.step + 1, clip = c->grad_clip > 0 && norm > c->grad_clip ? c->grad_clip / norm : 1;
    float correction1 = (float)(1 - pow(c->adam_beta1, step)), correction2 = (float)(1 - pow(c->adam_beta2, step));
    for (int i = 0; i < m->n_weights; i++) {
        const Weight *w = &m->weights[i];
        ops_cpu.adamw(m->params + w->offset, t->state.m + w->offset, t->state.v + w->offset, t->grads + w->offset,
                      (float)clip, (float)lr, (float)c->adam_beta1, (float)c->adam_beta2, (float)c->adam_eps,
                      w->decay ? (float)c->weight_decay : 0, correction1, correction2, w->n);
    }
    model_quantize(t->state.model);
}

// Shares of codes -1, 0, 1 over all ternary weights.
static json_t *code_fractions(const Model *m) {
    double count[3] = {0};
    for (int i = 0; i < m->n_weights; i++)
        for (int64_t j = 0; m->weights[i].linear && j < m->weights[i].n; j++) {
            float x = m->effective[m->weights[i].offset + j];
            count[(x > 0) - (x < 0) + 1]++;
        }
    double all = count[0] + count[1] + count[2];
    return json_pack("[f,f,f]", count[0] / all, count[1] / all, count[2] / all);
}

static void add_sums(LossSums *to, const LossSums *from) {
    to->loss += from->loss, to->kl += from->kl, to->targets += from->targets;
    for (int i = 0; i < 2; i++) to->logprob[i] += from->logprob[i], to->documents[i] += from->documents[i];
}

// Means over the steps since the last event; *note for the status line.
static void log_step(Trainer *t, double lr, double norm, char *note, size_t note_size) {
    const LossSums *s = &t->since_log;
    double steps = (double)t->steps_since_log, now = now_seconds(), loss = s->loss / steps;
    double rate = (double)t->tokens_since_log / fmax(1e-9, now - t->log_time);
    snprintf(note, note_size, "loss %.4f  lr %.2e  |g| %.2f  %.0f tok/s", loss, lr, norm, rate);
    json_t *o = json_pack("{s:I, s:I, s:f, s:f, s:f, s:f}", "step", (json_int_t)t->state.step, "tokens",
                          (json_int_t)t->state.tokens, "loss", loss, "lr", lr, "grad_norm", norm, "tok_per_sec", rate);
    if (t->loss->pairs) {
        json_object_set_new(o, "chosen_logprob", json_real(s->logprob[0] / fmax(1, s->documents[0])));
        json_object_set_new(o, "rejected_logprob", json_real(s->logprob[1] / fmax(1, s->documents[1])));
    }
    if (t->loss->teacher) json_object_set_new(o, "kl", json_real(s->kl / steps));
    if (t->state.model->config.ternary) json_object_set_new(o, "code_fractions", code_fractions(t->state.model));
    log_event("step", o);
    t->since_log = (LossSums){0};
    t->steps_since_log = t->tokens_since_log = 0;
    t->log_time = now;
}

static bool one_step(Trainer *t, double *lr, double *norm, Error *e) {
    int64_t n = dataset_next(t->data, &t->state.cursor, t->items);
    LossSums sums = accumulate(t, t->items, n);
    double squares;
    ops_cpu.sum_squares(&squares, t->grads, t->state.model->n_params);
    *norm = sqrt(squares);
    if (!refuse_non_finite(t, t->items, n, &sums, *norm, e)) return false;
    *lr = learning_rate_at(t->c, t->state.step, t->total_steps);
    update(t, *lr, *norm);
    t->state.step++;
    add_sums(&t->since_log, &sums);
    t->steps_since_log++;
    return true;
}

static bool save_checkpoint(Trainer *t, Error *e) {
    if (!checkpoint_save(&t->state, t->c->out, t->c->keep_checkpoints, t->tokenizer, e)) return false;
    log_event("checkpoint", json_pack("{s:I}", "step", (json_int_t)t->state.step));
    return true;
}

static bool loop(Trainer *t, Error *e) {
    const TrainConfig *c = t->c;
    Progress p;
    char note[128] = "";
    double lr = 0, norm = 0, saved = now_seconds();
    t->log_time = saved;
    progress_start(&p, c->loss, "steps", (double)t->total_steps, (double)t->state.step);
    while (t->state.step < t->total_steps) {
        if (!one_step(t, &lr, &norm, e)) return false;
        bool last = t->state.step == t->total_steps;
        if (t->state.step % c->log_every == 0 || last) log_step(t, lr, norm, note, sizeof note);
        progress_update(&p, (double)t->state.step, note);
        bool due = (c->checkpoint_steps && t->state.step % c->checkpoint_steps == 0) ||
                   (c->checkpoint_seconds > 0 && now_seconds() - saved >= c->checkpoint_seconds);
        bool stop = stop_requested();
        if (stop || (due && !last)) {
            if (!save_checkpoint(t, e)) return false;
            saved = now_seconds();
        }
        if (stop)
            return fail(e, EXIT_STOPPED, "stopped after step %lld, saved; run the same command again to go on",
                        (long long)t->state.step);
    }
    progress_end(&p, note);
    return true;
}

static bool open_run(Run *run, const TrainConfig *c, Error *e) {
    run_open(run, "trainer", &train_table, c, c->out);
    const char *const single[] = {c->model, c->model_config, c->pairs, c->teacher, *c->model ? "" : c->tokenizer};
    for (size_t i = 0; i < COUNT_OF(single); i++)
        if (*single[i] && !run_input(run, single[i], e)) return false;
    for (size_t i = 0; i < c->data.count; i++)
        if (!run_input(run, c->data.items[i], e)) return false;
    return true;
}

static bool prepare(Trainer *t, Error *e) {
    bool found = false;
    if (!checkpoint_resume(&t->state, t->c->out, &found, e)) return false;
    if (found)
        log_info("going on from checkpoint-%lld", (long long)t->state.step);
    else if (!(t->state.model = starting_model(t->c, e)))
        return false;
    if (!open_teacher(t, e)) return false;
    allocate(t);
    if (t->c->max_steps == 0) return true;
    t->data = dataset_open(t->c, t->tokenizer, t->c->micro_batch_tokens, e);
    if (!t->data) return false;
    t->total_steps = t->c->max_steps > 0 ? t->c->max_steps : dataset_steps(t->data, t->c->epochs);
    t->items = xcalloc((size_t)dataset_step_items(t->data), sizeof *t->items);
    return true;
}

static bool save_final(Trainer *t, Run *run, Error *e) {
    char *folder = path_join(t->c->out, "final");
    DType dtype = DTYPE_F32;
    check(dtype_from_safetensors(t->c->save_dtype, &dtype), "save_dtype");
    bool ok = model_save(t->state.model, folder, dtype, t->tokenizer, e);
    free(folder);
    run_output(run, "final");
    run_result(run, "parameters", json_integer(t->state.model->n_params));
    run_result(run, "steps", json_integer(t->state.step));
    run_result(run, "tokens", json_integer(t->state.tokens));
    run_result(run, "trained_tokens", json_integer(t->state.targets));
    return ok;
}

static void print_plan(const Trainer *t) {
    const Model *m = t->state.model;
    double MiB = 1 << 20, P = (double)m->n_params * 4 / MiB;
    log_info("plan: %.2f M parameters%s; weights %.1f MiB, gradients %.1f, AdamW %.1f, activations %.1f (%lld tokens); "
             "%s, %d threads",
             (double)m->n_params / 1e6, m->config.ternary ? ", ternary linears" : "", m->config.ternary ? 2 * P : P, P,
             2 * P, (double)activations_bytes(m, t->c->micro_batch_tokens, true) / MiB,
             (long long)t->c->micro_batch_tokens, ops_describe(), threads_count());
    if (t->data)
        log_info("data: %lld samples, %lld tokens an epoch; %lld steps", (long long)dataset_items(t->data),
                 (long long)dataset_tokens(t->data), (long long)t->total_steps);
}

int train(const TrainConfig *c, const Options *options, Error *e) {
    if (!check_sources(c, e)) return e->code;
    threads_set((int)c->threads);
    Run run;
    Trainer t = {.c = c, .loss = loss_find(c->loss), .tokenizer = *c->tokenizer ? c->tokenizer : c->model};
    bool ok = open_run(&run, c, e);
    RunState state = ok && !options->dry_run ? run_begin(&run, options->overwrite, e) : RUN_ERROR;
    if (options->dry_run) {
        if (ok && (ok = prepare(&t, e))) print_plan(&t);
    } else if (state == RUN_COMPLETE) {
        log_info("%s: complete, verified", c->out);
    } else {
        ok = state != RUN_ERROR && prepare(&t, e);
        if (ok) print_plan(&t);
        ok = ok && loop(&t, e) && save_final(&t, &run, e) && run_finish(&run, e);
    }
    release(&t);
    run_close(&run);
    return ok ? EXIT_OK : e->code;
}
