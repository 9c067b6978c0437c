// commands: what `datagen` can do; one file and one .def per command. Must not know: how a command line is read.
#pragma once
#include "core/base/program.h"

extern const Command command_world, command_tokenizer, command_rephrase, command_mix, command_pack;
