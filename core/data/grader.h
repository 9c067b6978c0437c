// grader: does this text end in the right answer? Extraction (last \boxed{}, else "the answer is", else the last
// number) and comparison of numbers. Shared by distill, the trainer's evaluation and tristill eval: one grader, one
// verdict everywhere.
#pragma once
#include "core/base/mem.h"

#define GRADER_NAME "tristill-number" // stored in each verdict; changes whenever a verdict could change
typedef enum Label { LABEL_POSITIVE, LABEL_NEGATIVE, LABEL_AMBIGUOUS, LABEL_UNVERIFIED } Label;
const char *label_name(Label l); // "positive" ...
bool label_parse(const char *name, Label *out);

typedef struct Verdict {
    Label label;
    char extracted[128]; // the answer as found, "" when none
    char reason[96]; // "equal", "different number", "no answer found", "two different boxed answers", "no gold answer",
                     // ...
} Verdict;
// text: an assistant's full text. Only what follows the last </think> is looked at; thinking that was opened and never
// closed is negative. gold NULL or "" -> unverified. Several different boxed answers are ambiguous. A gold answer that
// is no number can be found equal as a text, else the verdict is unverified. Units, currency signs and "x =" around a
// single number do not count; percent is left alone (50% is not 0.5). Numbers are compared exactly. Linear in the
// length of the text.
void grade(const char *text, const char *gold, Verdict *out);

// Every number in a text, in order, normalised to canonical text ("1,000" -> "1000", "twelve" -> "12" when words =
// true, 3/4 -> "3/4", "007" -> "7", "2.50" -> "2.5"; words go up to 999 and know dozens). What datagen compares to see
// whether a rewrite changed the numbers.
void numbers_in(const char *text, bool words, StrList *out);
// Two number texts equal as exact rationals ("0.5" = "1/2" = ".50").
bool numbers_equal(const char *a, const char *b);
