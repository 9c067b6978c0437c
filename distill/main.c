// distill: teacher traces: asked, graded, selected. Owns: the list of commands.
#include "distill/distill.h"

int main(int argc, char **argv) {
    const Command commands[] = {distill_ask_command, distill_grade_command, distill_select_command};
    return program_main(argc, argv, "distill", "a teacher's reasoning as traces: asked, graded, paired", commands,
                        COUNT_OF(commands));
}
