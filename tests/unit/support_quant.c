// support_quant: owns the small ternary models of the export tests. Must not know: the formats.
#include "tests/unit/support_quant.h"

#include <string.h>

#include "core/data/tokenizer.h"

ModelConfig quant_config(Arch arch) {
    bool bitnet = arch == ARCH_BITNET;
    return (ModelConfig){.arch = arch,
                         .vocab_size = QUANT_VOCAB,
                         .hidden_size = 256,
                         .intermediate_size = 512,
                         .num_hidden_layers = 2,
                         .num_attention_heads = 4,
                         .num_key_value_heads = 2,
                         .head_dim = bitnet ? 64 : 128,
                         .max_position_embeddings = 256,
                         .rope_theta = arch == ARCH_QWEN3 ? 1e6 : 1e4,
                         .rms_norm_eps = bitnet ? 1e-5 : 1e-6,
                         .initializer_range = 0.02,
                         .tie_word_embeddings = arch != ARCH_LLAMA,
                         .attention_bias = arch == ARCH_QWEN2,
                         .qk_norm = arch == ARCH_QWEN3,
                         .sub_norm = bitnet,
                         .ternary = true,
                         .bos_token_id = -1,
                         .eos_token_id = 296,
                         .pad_token_id = 295};
}

static void make_tokenizer(const char *folder) {
    static const char *const special[] = {"<|endoftext|>", "<|im_end|>", "<|im_start|>"}, *const plain[] = {"<think>"};
    static const char *const texts[] = {
        "How many apples are there in the basket?",
        "There are 12 apples and 3 pears in the basket; somebody counted everything yesterday."};
    const size_t lengths[] = {strlen(texts[0]), strlen(texts[1])};
    TokenizerTraining how = {.vocab_size = QUANT_VOCAB - 2,
                             .special = special,
                             .n_special = 3,
                             .plain_added = plain,
                             .n_plain_added = 1,
                             .eos = "<|im_end|>",
                             .pad = "<|endoftext|>",
                             .chat_template = "{{ messages }}"};
    Error e = {0};
    if (!tokenizer_train(&how, texts, lengths, 2, folder, &e)) fail_msg("%s", e.text);
}

Model *quant_model(const ModelConfig *c, const char *folder) {
    Error e = {0};
    Model *m = model_create(c);
    for (int i = 0; i < m->n_weights; i++) {
        const Weight *w = &m->weights[i];
        for (int64_t k = 0; k < w->n; k++) { // scattered by multiplication: matrices around 0, vectors around 1
            uint32_t scattered = (uint32_t)(w->offset + k + 1) * 2654435761u;
            float x = (float)(scattered >> 8) * 0x1p-23f - 1;
            m->params[w->offset + k] = w->rows ? 0.05f * x : 1 + 0.2f * x;
        }
    }
    model_quantize(m);
    make_tokenizer(folder);
    if (!model_save(m, folder, DTYPE_F32, NULL, &e)) fail_msg("%s", e.text);
    return m;
}
