// pretokenize: cuts text into the words that BPE works on, as the pre_tokenizer of a tokenizer.json says. Internal to
// the tokenizer. Must not know: tokens, vocabularies, files. Patterns are Oniguruma's (Hugging Face tokenizers) and run
// in PCRE2; where the two disagree the pattern is rewritten or refused (pretokenize_regex.c). The patterns nearly every
// model uses have scanners of their own (pretokenize_scan.c).
#pragma once
#include "core/base/mem.h"

enum { PRE_MAX_STEPS = 16 };

// What becomes of the matches of a split. Source: tokenizers' SplitDelimiterBehavior.
typedef enum SplitBehavior {
    SPLIT_REMOVED,
    SPLIT_ISOLATED,
    SPLIT_MERGED_WITH_PREVIOUS,
    SPLIT_MERGED_WITH_NEXT,
    SPLIT_CONTIGUOUS
} SplitBehavior;
const char *split_behavior_name(SplitBehavior b); // "Isolated"
bool split_behavior_parse(const char *name, SplitBehavior *out);

#define PATTERN_GPT2 "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+"
#define PATTERN_CL100K(digits)                                                                                         \
    "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|" digits                                               \
    "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"
#define PATTERN_QWEN2 PATTERN_CL100K("\\p{N}")
#define PATTERN_LLAMA3 PATTERN_CL100K("\\p{N}{1,3}")

// Where the word that begins at `begin` ends; the text is valid UTF-8 and begin < length. Every byte belongs to a word.
typedef size_t (*ScanFn)(const uint8_t *text, size_t begin, size_t length);

typedef struct PreStep {
    char *pattern;
    bool literal; // the pattern is plain text
    bool invert;
    SplitBehavior behavior;
    struct pcre2_real_code_8 *code; // always there: the scanner's judge
    ScanFn scan;                    // NULL unless the pattern is a known one with behavior Isolated
} PreStep;

typedef struct PreTokenizer {
    PreStep steps[PRE_MAX_STEPS];
    int n_steps;
    int prefix_at; // before this step a piece without a leading space gets one; -1: nowhere
} PreTokenizer;

// Appends a step. Errors (no place; the caller puts it before): the pattern does not compile, or would mean something
// else.
bool pretokenize_add(PreTokenizer *p, const char *pattern, bool literal, SplitBehavior behavior, bool invert, Error *e);
void pretokenize_free(PreTokenizer *p);
// A text that is equal for two pre-tokenizers exactly when they have the same steps.
void pretokenize_describe(const PreTokenizer *p, Buf *out);

// What one caller at a time needs while splitting.
typedef struct PreSpan {
    size_t begin, end;
    bool match;
} PreSpan;
typedef struct PreScratch {
    struct pcre2_real_match_data_8 *match;
    struct PreSpans {
        PreSpan *items;
        size_t count, capacity;
    } spans[PRE_MAX_STEPS];
    Buf prefixed;
} PreScratch;
void pre_scratch_free(PreScratch *s);

// Calls word() for every word of the valid UTF-8 text, in order; empty words are left out.
typedef void (*WordFn)(void *context, const char *word, size_t length);
void pretokenize(const PreTokenizer *p, PreScratch *s, const char *text, size_t length, WordFn word, void *context);

// ---- pretokenize_regex.c ----
// The same pattern for PCRE2 (UTF, UCP, MULTILINE). Refuses what would not mean the same.
bool regex_translate(const char *pattern, Buf *out, Error *e);

// ---- pretokenize_scan.c ----
ScanFn scanner_for(const char *pattern); // NULL: none
