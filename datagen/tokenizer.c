// datagen tokenizer: learns a byte-level BPE from record files. Owns: which bytes of a record are learned from.
// Must not know: how merges are found (core/data/tokenizer.h).
#include "core/data/chat.h"
#include "datagen/commands.h"
#include "datagen/stage.h"

#include <stdlib.h>
#include <string.h>

typedef struct TokenizerConfig {
#define CFG_FILE "datagen/tokenizer.def"
#include "core/base/config_struct.h"
} TokenizerConfig;
static const ConfigRow rows[] = {
#define CFG_FILE "datagen/tokenizer.def"
#define CFG_STRUCT TokenizerConfig
#include "core/base/config_rows.h"
};

static const char *const special[] = {"<|endoftext|>", "<|im_start|>", "<|im_end|>"};
static const char *const plain_added[] = {"<think>", "</think>"};

// Texts laid end to end; starts[i] .. starts[i + 1] is text i.
typedef struct Corpus {
    Buf bytes;
    size_t *starts, n, room;
    int64_t n_records;
} Corpus;

static void corpus_add(Corpus *c, const char *text, size_t length) {
    if (c->n + 2 > c->room) {
        c->room = MAX(2 * c->room, (size_t)1024);
        c->starts = xrealloc(c->starts, c->room * sizeof *c->starts);
    }
    buf_add(&c->bytes, text, length);
    c->starts[0] = 0;
    c->starts[++c->n] = c->bytes.length;
}

static bool learn_record(void *context, json_t *record, const RecordPlace *place, Error *e) {
    Corpus *c = context;
    c->n_records++;
    const json_t *messages = json_object_get(record, "messages");
    const char *text;
    if (!messages) {
        if (!json_get_text(record, "text", place->text, &text, e))
            return fail_in(e, "a record needs `text` or `messages`");
        corpus_add(c, text, strlen(text));
        return true;
    }
    size_t i;
    json_t *message;
    json_array_foreach(messages, i, message) {
        if (!json_get_text(message, "content", place->text, &text, e)) return false;
        corpus_add(c, text, strlen(text));
    }
    return json_is_array(messages) || fail(e, EXIT_DATA, "%s: messages: expected an array", place->text);
}

static bool train(const TokenizerConfig *c, const Corpus *corpus, const char *folder, Error *e) {
    const char **texts = xcalloc(MAX(corpus->n, (size_t)1), sizeof *texts);
    size_t *lengths = xcalloc(MAX(corpus->n, (size_t)1), sizeof *lengths);
    for (size_t i = 0; i < corpus->n; i++) {
        texts[i] = corpus->bytes.data + corpus->starts[i];
        lengths[i] = corpus->starts[i + 1] - corpus->starts[i];
    }
    TokenizerTraining how = {.vocab_size = c->vocab_size,
                             .special = special,
                             .n_special = COUNT_OF(special),
                             .plain_added = plain_added,
                             .n_plain_added = COUNT_OF(plain_added),
                             .eos = "<|im_end|>",
                             .pad = "<|endoftext|>",
                             .chat_template = chat_builtin_jinja(c->chat_template)};
    bool ok = tokenizer_train(&how, texts, lengths, corpus->n, folder, e);
    free(texts);
    free(lengths);
    return ok;
}

static bool measure(Stage *stage, const Corpus *corpus, const char *folder, Error *e) {
    Tokenizer *t = tokenizer_load(folder, e);
    if (!t) return false;
    TokenList ids = {0};
    int64_t n_tokens = 0;
    for (size_t i = 0; i < corpus->n; i++) {
        ids.count = 0;
        tokenizer_encode(t, corpus->bytes.data + corpus->starts[i], corpus->starts[i + 1] - corpus->starts[i], false,
                         &ids);
        n_tokens += (int64_t)ids.count;
    }
    tokens_free(&ids);
    run_result(&stage->run, "vocab_size", json_integer(tokenizer_vocab_size(t)));
    run_result(&stage->run, "bytes", json_integer((json_int_t)corpus->bytes.length));
    run_result(&stage->run, "tokens", json_integer(n_tokens));
    run_result(&stage->run, "bytes_per_token", json_real((double)corpus->bytes.length / (double)MAX(n_tokens, 1)));
    run_result(&stage->run, "tokenizer_sha256", json_string(tokenizer_hash(t).text));
    log_info("tokenizer: %lld ids, %.3f bytes per token over %lld records", (long long)tokenizer_vocab_size(t),
             (double)corpus->bytes.length / (double)MAX(n_tokens, 1), (long long)corpus->n_records);
    tokenizer_free(t);
    return true;
}

static bool tokenizer_work(Stage *stage, const void *config, Error *e) {
    const TokenizerConfig *c = config;
    Corpus corpus = {0};
    bool ok = stage_each_record(&c->texts, learn_record, &corpus, e);
    if (ok && corpus.n == 0) ok = fail(e, EXIT_DATA, "texts: the record files hold no text to learn from");
    ok = ok && train(c, &corpus, stage->run.folder, e) && measure(stage, &corpus, stage->run.folder, e);
    if (ok) run_count(&stage->run, "read", corpus.n_records);
    if (ok) run_count(&stage->run, "kept", corpus.n_records);
    buf_free(&corpus.bytes);
    free(corpus.starts);
    return ok;
}

static int tokenizer_run(const void *config, const Options *options, Error *e) {
    const TokenizerConfig *c = config;
    if (!chat_builtin_jinja(c->chat_template)) {
        fail(e, EXIT_USAGE, "chat_template: \"%s\" is none of the known templates (core/data/chat_templates.def)",
             c->chat_template);
        return e->code;
    }
    Stage stage;
    static const ConfigTable table = CONFIG_TABLE(rows, TokenizerConfig);
    stage_open(&stage, "datagen tokenizer", &table, config, c->out, options);
    stage_reads_all(&stage, &c->texts);
    stage_writes(&stage, "tokenizer.json");
    stage_writes(&stage, "tokenizer_config.json");
    return stage_run(&stage, tokenizer_work, config, e);
}

const Command command_tokenizer = {
    .name = "tokenizer",
    .about = "learns a byte-level BPE tokenizer from record files",
    .examples = "  datagen tokenizer out=out/tokenizer texts=out/natural/records.jsonl.zst vocab_size=512\n",
    .table = CONFIG_TABLE(rows, TokenizerConfig),
    .run = tokenizer_run,
};
