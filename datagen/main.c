// datagen: the data half of a distillation: a small world to practise on, a tokenizer, rewrites of natural text, the
// mix of natural and synthetic tokens, and packed shards. Owns: the list of commands.
#include "datagen/commands.h"

int main(int argc, char **argv) {
    const Command commands[] = {command_world, command_tokenizer, command_rephrase, command_mix, command_pack};
    return program_main(argc, argv, "datagen", "makes, rewrites, mixes and packs training text", commands,
                        COUNT_OF(commands));
}
