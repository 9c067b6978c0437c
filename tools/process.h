// process: starts a program of the same installation, passes signals on, waits. Linux only (PR_SET_PDEATHSIG,
// /proc/self/exe).
#pragma once
#include "core/base/mem.h"

// The folder of the running executable. malloc'ed; NULL with e on failure.
char *process_home(Error *e);

// Runs argv[0] (a path; argv ends with NULL) with the caller's stdin, stdout and stderr, and returns its exit code (128
// + signal when a signal ended it), or -1 with e. SIGTERM and SIGUSR1 are passed on; SIGINT is passed on as SIGTERM
// unless the terminal already sent it to the whole group. The program gets SIGTERM when the caller dies.
int process_run(char *const *argv, Error *e);
// The same with stdout discarded and stderr appended to `messages`: for questions whose answer is the exit code.
int process_ask(char *const *argv, Buf *messages, Error *e);
// Was a stop signal received since the first process_run?
bool process_stop_requested(void);
