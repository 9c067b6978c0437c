// did_you_mean: the name that a mistyped word was probably meant to be. Must not know: what the names are for.
#include <string.h>

#include "core/base/config.h"

enum { MAX_WORD = 64, MAX_DISTANCE = 2, MIN_PREFIX = 4 };

// Optimal string alignment distance (Damerau-Levenshtein without editing a swapped pair twice). Longer words: too far.
static int distance(const char *a, const char *b) {
    int n = (int)strnlen(a, MAX_WORD + 1), m = (int)strnlen(b, MAX_WORD + 1);
    if (n > MAX_WORD || m > MAX_WORD) return MAX_WORD;
    int rows[3][MAX_WORD + 1]; // of the table: the one before the last, the last, this one; turned in place
    for (int j = 0; j <= m; j++) rows[0][j] = j;
    for (int i = 1; i <= n; i++) {
        int *here = rows[i % 3], *last = rows[(i + 2) % 3], *before = rows[(i + 1) % 3];
        here[0] = i;
        for (int j = 1; j <= m; j++) {
            int change = last[j - 1] + (a[i - 1] != b[j - 1]);
            here[j] = MIN(change, MIN(last[j], here[j - 1]) + 1);
            bool swapped = i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1];
            if (swapped) here[j] = MIN(here[j], before[j - 2] + 1);
        }
    }
    return rows[n % 3][m];
}

static size_t shared_prefix(const char *a, const char *b) {
    size_t n = 0;
    while (a[n] != '\0' && a[n] == b[n]) n++;
    return n;
}

const char *did_you_mean(const char *word, const char *const *names, size_t count) {
    const char *closest = NULL, *prefixed = NULL;
    int best = MIN(MAX_DISTANCE, (int)strnlen(word, MAX_WORD) - 1) + 1; // replacing every letter is no likeness
    size_t longest = MIN_PREFIX - 1;
    for (size_t i = 0; i < count; i++) {
        int d = distance(word, names[i]);
        if (d < best) best = d, closest = names[i];
        size_t shared = shared_prefix(word, names[i]);
        if (shared > longest) longest = shared, prefixed = names[i];
    }
    return closest != NULL ? closest : prefixed;
}
