#define _GNU_SOURCE // pipe2
#include "tools/process.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

static volatile sig_atomic_t stop_seen, child_pid;

char *process_home(Error *e) {
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof path);
    if (n <= 0 || (size_t)n >= sizeof path) {
        fail(e, EXIT_FAIL, "/proc/self/exe: cannot be read (%s); is /proc mounted?", strerror(errno));
        return NULL;
    }
    while (n > 1 && path[n - 1] != '/') n--;
    return xstrndup(path, (size_t)(n > 1 ? n - 1 : n));
}

// A terminal sends Ctrl-C to the whole process group: then the child has it already, and a second one would end it at
// once.
static void on_stop(int signal_number, siginfo_t *info, void *context) {
    int saved = errno;
    stop_seen = 1;
    bool from_terminal = signal_number == SIGINT && info->si_code == SI_KERNEL;
    if (child_pid > 0 && !from_terminal) kill((pid_t)child_pid, signal_number == SIGINT ? SIGTERM : signal_number);
    errno = saved;
}

static void install(void) {
    static bool done;
    if (done) return;
    done = true;
    struct sigaction action = {.sa_sigaction = on_stop, .sa_flags = SA_SIGINFO};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

static void stop_signals(int how, sigset_t *old) {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGUSR1);
    sigprocmask(how, &set, old);
}

// In the child: default signals, death with the parent, then exec.
static _Noreturn void become(char *const *argv, pid_t parent, const sigset_t *mask) {
    signal(SIGTERM, SIG_DFL);
    signal(SIGINT, SIG_DFL);
    signal(SIGUSR1, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(EXIT_STOPPED);
    sigprocmask(SIG_SETMASK, mask, NULL);
    execv(argv[0], argv);
    dprintf(STDERR_FILENO, "error: %s: cannot be started (%s); build the programs with make\n", argv[0],
            strerror(errno));
    _exit(127);
}

static int wait_for(pid_t pid, Error *e) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return fail(e, EXIT_FAIL, "waitpid: %s", strerror(errno)), -1;
    child_pid = 0;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int process_run(char *const *argv, Error *e) {
    install();
    fflush(NULL);
    sigset_t before;
    stop_signals(SIG_BLOCK, &before); // no signal may fall between fork and the note of the child's pid
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) become(argv, parent, &before);
    child_pid = pid;
    sigprocmask(SIG_SETMASK, &before, NULL);
    if (pid < 0) return fail(e, EXIT_FAIL, "%s: cannot fork (%s)", argv[0], strerror(errno)), -1;
    return wait_for(pid, e);
}

int process_ask(char *const *argv, Buf *messages, Error *e) {
    fflush(NULL);
    int ends[2], null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0 || pipe2(ends, O_CLOEXEC) < 0) {
        if (null >= 0) close(null);
        return fail(e, EXIT_FAIL, "%s: no pipe (%s)", argv[0], strerror(errno)), -1;
    }
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    pid_t parent = getpid(), pid = fork();
    if (pid == 0) {
        dup2(null, STDIN_FILENO);
        dup2(null, STDOUT_FILENO);
        dup2(ends[1], STDERR_FILENO);
        become(argv, parent, &mask);
    }
    close(ends[1]), close(null);
    char part[4096];
    for (ssize_t n; pid > 0 && ((n = read(ends[0], part, sizeof part)) > 0 || (n < 0 && errno == EINTR));)
        if (n > 0) buf_add(messages, part, (size_t)n);
    close(ends[0]);
    if (pid < 0) return fail(e, EXIT_FAIL, "%s: cannot fork (%s)", argv[0], strerror(errno)), -1;
    return wait_for(pid, e);
}

bool process_stop_requested(void) { return stop_seen; }
