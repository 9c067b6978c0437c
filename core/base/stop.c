// stop: the flag that polite signals set and every loop asks. Must not know: what is saved.
#include <signal.h>
#include <unistd.h>

#include "core/base/run.h"

static volatile sig_atomic_t requested, interrupts;

static void on_signal(int number) {
    requested = 1;
    if (number != SIGINT) return;
    if (++interrupts > 1) _exit(130);
    static const char note[] = "\nstopping: saving what is done (interrupt again to end at once)\n";
    if (isatty(STDERR_FILENO)) {
        ssize_t ignored = write(STDERR_FILENO, note, sizeof note - 1);
        (void)ignored;
    }
}

// SA_RESTART: reads and writes of files go on; whoever waits in poll or sleep is woken all the same.
void stop_install(void) {
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGUSR1, &action, NULL);
}

bool stop_requested(void) { return requested != 0; }
