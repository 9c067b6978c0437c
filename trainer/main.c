// trainer: shards or pairs -> a trained model.
#include "trainer/trainer.h"

static int run(const void *config, const Options *options, Error *e) { return train(config, options, e); }

int main(int argc, char **argv) {
    const Command commands[] = {{
        .name = "",
        .about = "train a model on token shards or trace pairs",
        .examples = "  trainer --config configs/sft.yaml\n"
                    "  trainer --config configs/redi.yaml learning_rate=5e-7 out=out/redi\n"
                    "  trainer model=out/redi/final loss=kd teacher=out/redi/final ternary=true data=out/pack/shards "
                    "out=out/qat\n",
        .table = train_table,
        .run = run,
    }};
    return program_main(argc, argv, "trainer", "the training loop: pretrain, sft, redi, kd; float or ternary", commands,
                        COUNT_OF(commands));
}
