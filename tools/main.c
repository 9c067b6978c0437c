// tristill: the command line around the toolkit: running recipes, measuring, talking to and looking into what they
// made.
#include "tools/tools.h"

#include <string.h>

int main(int argc, char **argv) {
    const Command commands[] = {
        {"run", "runs the stages of a recipe, going on where it stopped",
         "tristill run recipes/quickstart.yaml\n"
         "tristill run recipes/quickstart.yaml ask.samples=8 out=out/eight   # values of stages, another folder\n"
         "tristill run recipes/quickstart.yaml --dry-run                     # checks every stage's config, runs "
         "nothing\n"
         "tristill run recipes/quickstart.yaml --from sft --overwrite        # redoes what changed from sft on",
         run_table, run_command, "recipe"},
        {"eval", "accuracy, length and speed of a model on problems with known answers",
         "tristill eval model=out/quickstart/sft/final prompts=out/quickstart/test/records.jsonl.zst out=out/sft-eval",
         eval_table, eval_command, NULL},
        {"generate", "one answer to one prompt, streamed",
         "tristill generate student.gguf prompt=\"Tom has 14 apples. ...\"\n"
         "echo \"Tom has 14 apples. ...\" | tristill generate out/quickstart/sft/final temperature=0.6",
         generate_table, generate_command, "model"},
        {"chat", "a conversation on the terminal", "tristill chat out/quickstart/export/student.gguf", chat_table,
         chat_command, "model"},
        {"inspect", "what a file or folder of this toolkit holds",
         "tristill inspect student.gguf\n"
         "tristill inspect out/quickstart/sft out/quickstart/ask/traces.jsonl.zst",
         inspect_table, inspect_command, NULL},
        {"report", "table and HTML page of a recipe's results",
         "tristill report runs=out/quickstart out=out/quickstart/report", report_table, report_command, NULL},
        {"doctor", "what this machine offers, and what to do about it", "tristill doctor", doctor_table, doctor_command,
         NULL},
    };
    if (argc > 1 && !strcmp(argv[1], "run")) run_take_arguments(&argc, argv);
    if (argc > 1 && !strcmp(argv[1], "inspect")) inspect_take_arguments(&argc, argv);
    return program_main(argc, argv, "tristill", "runs recipes, evaluates, reports, looks inside", commands,
                        COUNT_OF(commands));
}
