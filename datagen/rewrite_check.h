// rewrite_check: is this rewrite true to its source, in the style asked for, and more than a copy?
// A generator's faults are what synthetic text must be kept free of, so each test names what it found. Must not know:
// files, models.
//
// Numbers are compared as sets, not as multisets: a worked rewrite repeats the numbers it reckons with, and how often
// is style.
//   - every number of the source must occur in the rewrite;
//   - a number that the source lacks is allowed only as the result of a true equation over numbers already known
//   (people skip steps
//     that a tutor shows), or where the source says it without a numeral ("half", "twice");
//   - every equation "a op b = c" in the rewrite must be true;
//   - of a problem (a document with an answer) the numbers up to the first question mark must open the rewrite in the
//   same order:
//     "has 5, buys 14" is another problem than "has 14, buys 5", though the set is the same.
#pragma once
#include "datagen/styles.h"

typedef struct RewriteLimits {
    double min_length, max_length; // of the rewrite / of the source, in bytes
    double max_copied;             // share of the rewrite's words that stand in runs of 8 words taken from the source
} RewriteLimits;

typedef struct RewriteVerdict {
    const char *reason; // NULL = keep; else static text, one of few, to be counted
    char detail[160];   // what exactly, "" when the reason says it all
} RewriteVerdict;

typedef struct RewriteChecker RewriteChecker; // compiled patterns
RewriteChecker *rewrite_checker(void);
void rewrite_checker_free(RewriteChecker *c);

// answer: the source's, NULL or "" when it has none. finish_reason: "stop" when the generator ended by itself.
void rewrite_check(const RewriteChecker *c, int style, const char *source, const char *answer, const char *rewrite,
                   const char *finish_reason, const RewriteLimits *limits, RewriteVerdict *out);
