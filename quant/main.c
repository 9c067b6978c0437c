// quant: a ternary model as others run it, and the proof that it is the same model. Owns: the list of commands.
#include "quant/quant.h"

int main(int argc, char **argv) {
    const Command commands[] = {quant_export_command, quant_verify_command};
    return program_main(argc, argv, "quant",
                        "exports ternary models (GGUF TQ2_0, packed Hugging Face) and verifies the exports", commands,
                        COUNT_OF(commands));
}
