#include "datagen/world.h"
#include "core/base/base.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

enum { START, EVENT, QUESTION, DISTRACTOR };
enum { DIGITS, WORD, DOZEN };
enum { MAIN, HELPER, OTHER, BYSTANDER };

// The largest value that occurs: what keeps the arithmetic within reach of a small model.
enum { WORLD_LIMIT = 20 };

typedef struct Row {
    uint8_t role, weight;
    char left, op, right, op2;
    uint8_t a_min, a_max, b_min, b_max;
    const char *phrasings;
} Row;

static const Row rows[] = {
#define WORLD_ROW(role, weight, left, op, right, op2, a_min, a_max, b_min, b_max, phrasings)                           \
    {role, weight, left, op, right, op2, a_min, a_max, b_min, b_max, phrasings},
#include "datagen/world.def"
};

#define WORLD_WORDS(name, ...) static const char *const name[] = {__VA_ARGS__};
#include "datagen/world.def"

static const int steps_weight[WORLD_MAX_STEPS + 1] = {0, 0, 6, 6, 4, 2, 1};

// ---------------------------------------------------------------------------------------------------------------------
// Text

typedef struct Text {
    char *at;
    size_t n, cap;
} Text;

static Text text_in(char *out, size_t cap) {
    check(cap > 0, "no room");
    out[0] = 0;
    return (Text){out, 0, cap};
}

static __attribute__((format(printf, 2, 3))) void put(Text *t, const char *format, ...) {
    va_list list;
    va_start(list, format);
    int n = vsnprintf(t->at + t->n, t->cap - t->n, format, list);
    va_end(list);
    check(n >= 0 && (size_t)n < t->cap - t->n, "a text of %d bytes does not fit into %zu", n, t->cap - t->n);
    t->n += (size_t)n;
}

static void put_char(Text *t, char c) {
    check(t->n + 1 < t->cap, "a text does not fit into %zu bytes", t->cap);
    t->at[t->n++] = c;
    t->at[t->n] = 0;
}

static const char *pick(Rng *rng, const char *const *words, size_t n) { return words[rng_below(rng, n)]; }
#define PICK(rng, ...)                                                                                                 \
    pick(rng, (const char *const[]){__VA_ARGS__}, sizeof((const char *const[]){__VA_ARGS__}) / sizeof(char *))

// ---------------------------------------------------------------------------------------------------------------------
// The plan: which beats, which numbers

static int steps_of(const Row *row) { return (row->op != 0) + (row->op2 != 0); }

static int draw_weighted(Rng *rng, const int *weight, int n) {
    int total = 0;
    for (int i = 0; i < n; i++) total += weight[i];
    check(total > 0, "nothing to draw from");
    int at = (int)rng_below(rng, (uint64_t)total);
    for (int i = 0; i < n; i++)
        if ((at -= weight[i]) < 0) return i;
    die("unreachable");
}

static int draw_row(Rng *rng, int role, int max_steps) {
    int weight[COUNT_OF(rows)];
    for (size_t i = 0; i < COUNT_OF(rows); i++)
        weight[i] = rows[i].role == role && steps_of(&rows[i]) <= max_steps ? rows[i].weight : 0;
    return draw_weighted(rng, weight, COUNT_OF(rows));
}

static WorldNumber draw_number(Rng *rng, int min, int max, bool may_be_dozen) {
    WorldNumber number = {0, DIGITS};
    if (max < min || max == 0) return number;
    number.value = (uint8_t)(min + (int)rng_below(rng, (uint64_t)(max - min + 1)));
    bool in_words = rng_below(rng, 4) == 0;
    if (in_words && number.value < COUNT_OF(NUMBERS)) number.form = WORD;
    if (in_words && number.value == 12 && may_be_dozen) number.form = DOZEN;
    return number;
}

static int operand(char code, int value, const WorldBeat *beat) {
    switch (code) {
    case 'v': return value;
    case 'a': return beat->a.value;
    case 'b': return beat->b.value;
    default: return code - '0';
    }
}

// False where the result is not a small positive whole number.
static bool calculate(int left, char op, int right, WorldEquation *out) {
    int value = op == '+' ? left + right : op == '-' ? left - right : op == '*' ? left * right : left / right;
    if (op == '/' && left % right) return false;
    if (value < 1 || value > WORLD_LIMIT) return false;
    *out = (WorldEquation){(uint8_t)left, (uint8_t)right, (uint8_t)value, 0, op};
    return true;
}

// Carries out one beat: appends its equations and moves the value on.
static bool apply(WorldProblem *p, const WorldBeat *beat, int *value) {
    const Row *row = &rows[beat->row];
    if (!row->op) {
        if (row->role == START) *value = beat->a.value;
        return true;
    }
    WorldEquation *e = &p->equations[p->n_equations];
    if (!calculate(operand(row->left, *value, beat), row->op, operand(row->right, *value, beat), e)) return false;
    if (row->op2 && !calculate(*value, row->op2, e->value, e + 1)) return false;
    p->n_equations += steps_of(row);
    *value = p->equations[p->n_equations - 1].value;
    return true;
}

static bool add_beat(WorldProblem *p, Rng *rng, int row_index, int *value) {
    const Row *row = &rows[row_index];
    bool may_be_dozen = row->role == START || row->role == EVENT;
    for (int attempt = 0; attempt < 8; attempt++) {
        WorldBeat *beat = &p->beats[p->n_beats];
        beat->row = (uint8_t)row_index;
        beat->a = draw_number(rng, row->a_min, row->a_max, may_be_dozen);
        beat->b = draw_number(rng, row->b_min, row->b_max, false);
        if (!apply(p, beat, value)) continue;
        p->n_beats++;
        return true;
    }
    return false;
}

// One attempt; many fail (a share that does not come out even, a number out of range) and are drawn again whole.
static bool draw_plan(WorldProblem *p, Rng *rng, int n_steps) {
    int value = 0, start = draw_row(rng, START, n_steps), question = draw_row(rng, QUESTION, n_steps);
    int left = n_steps - steps_of(&rows[start]) - steps_of(&rows[question]);
    p->n_beats = p->n_equations = 0;
    if (left < 0 || !add_beat(p, rng, start, &value)) return false;
    while (left > 0) {
        int event = draw_row(rng, EVENT, left);
        if (!add_beat(p, rng, event, &value)) return false;
        left -= steps_of(&rows[event]);
    }
    return add_beat(p, rng, question, &value);
}

static uint64_t mix(uint64_t x) { // the finaliser of SplitMix64
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

static uint64_t signature_of(const WorldProblem *p) {
    uint64_t hash = 0x9E3779B97F4A7C15u;
    for (int i = 0; i < p->n_equations; i++) {
        const WorldEquation *e = &p->equations[i];
        bool commutes = e->op == '+' || e->op == '*'; // 3 * 4 and 4 * 3 are one calculation
        uint64_t low = commutes ? MIN(e->left, e->right) : e->left, high = commutes ? MAX(e->left, e->right) : e->right;
        hash = mix(hash + ((uint64_t)(uint8_t)e->op << 32 | low << 16 | high));
    }
    return hash;
}

bool world_is_held_out(uint64_t signature) { return signature % WORLD_HELD_OUT_ONE_IN == 0; }

// Slips 0 to 2 different irrelevant sentences in, after the start and at the latest before the question.
static void add_distractors(WorldProblem *p, Rng *rng) {
    static const int count_weight[] = {5, 4, 1};
    int n = draw_weighted(rng, count_weight, COUNT_OF(count_weight)), previous = -1;
    p->n_distractors = 0;
    while (p->n_distractors < n) {
        WorldBeat beat = {.row = (uint8_t)draw_row(rng, DISTRACTOR, 0)};
        if (beat.row == previous) continue;
        previous = beat.row;
        beat.a = draw_number(rng, rows[beat.row].a_min, rows[beat.row].a_max, false);
        int at = 1 + (int)rng_below(rng, (uint64_t)p->n_beats - 1);
        memmove(&p->beats[at + 1], &p->beats[at], (size_t)(p->n_beats - at) * sizeof *p->beats);
        p->beats[at] = beat;
        p->n_beats++;
        p->n_distractors++;
    }
}

// Notes for each equation the beat it belongs to, now that no beat moves any more.
static void number_equations(WorldProblem *p) {
    int e = 0;
    for (int i = 0; i < p->n_beats; i++)
        for (int n = steps_of(&rows[p->beats[i].row]); n; n--) p->equations[e++].beat = (uint8_t)i;
}

// Gives the events days of one week, in order, with gaps.
static void draw_days(WorldProblem *p, Rng *rng) {
    int n = 0, day = 0;
    for (int i = 0; i < p->n_beats; i++) n += rows[p->beats[i].row].role == EVENT;
    for (int i = 0; i < p->n_beats; i++) {
        if (rows[p->beats[i].row].role != EVENT) continue;
        while ((int)rng_below(rng, COUNT_OF(DAYS) - (uint64_t)day) >= n) day++;
        p->beats[i].day = (uint8_t)day++;
        n--;
    }
}

// Everybody but the main person is of the other sex, so that a pronoun can only mean the main person.
static void draw_cast(WorldProblem *p, Rng *rng) {
    p->he = (uint8_t)rng_below(rng, 2);
    p->cast[MAIN] = (uint8_t)rng_below(rng, COUNT_OF(HE));
    int first = (int)rng_below(rng, COUNT_OF(SHE)), stride = 1 + (int)rng_below(rng, COUNT_OF(SHE) - 1);
    for (int i = HELPER; i <= BYSTANDER; i++) p->cast[i] = (uint8_t)((first + i * stride) % (int)COUNT_OF(SHE));
    p->items[0] = (uint8_t)rng_below(rng, COUNT_OF(ITEMS));
    p->items[1] = (uint8_t)((p->items[0] + 1 + rng_below(rng, COUNT_OF(ITEMS) - 1)) % COUNT_OF(ITEMS));
    p->container = (uint8_t)rng_below(rng, COUNT_OF(CONTAINERS));
}

// ---------------------------------------------------------------------------------------------------------------------
// The telling

static const char *name_of(const WorldProblem *p, int who) {
    bool he = (who == MAIN) == p->he;
    return he ? HE[p->cast[who]] : SHE[p->cast[who]];
}

static void put_main(Text *t, const WorldProblem *p, Rng *rng) {
    bool opens = t->n == 0 || strchr(".?\n", t->at[t->n - (t->n > 1 ? 2 : 1)]);
    if (rng_below(rng, 2)) put(t, "%s", name_of(p, MAIN));
    else put(t, "%s", p->he ? (opens ? "He" : "he") : (opens ? "She" : "she"));
}

static void put_number(Text *t, WorldNumber number) {
    if (number.form == DOZEN) put(t, "a dozen");
    else if (number.form == WORD) put(t, "%s", NUMBERS[number.value]);
    else put(t, "%d", number.value);
}

static void put_code(Text *t, const WorldProblem *p, const WorldBeat *beat, char code, Rng *rng) {
    switch (code) {
    case 'a': put_number(t, beat->a); break;
    case 'b': put_number(t, beat->b); break;
    case 'p': put_main(t, p, rng); break;
    case 'P': put(t, "%s", name_of(p, MAIN)); break;
    case 'q': put(t, "%s", name_of(p, HELPER)); break;
    case 'r': put(t, "%s", name_of(p, OTHER)); break;
    case 'd': put(t, "%s", name_of(p, BYSTANDER)); break;
    case 'i': put(t, "%s", ITEMS[p->items[0]]); break;
    case 'j': put(t, "%s", ITEMS[p->items[1]]); break;
    case 't': put(t, "%s", DAYS[beat->day]); break;
    case 'c': put(t, "%s", CONTAINERS[p->container]); break;
    default: die("no code @%c", code);
    }
}

// One of the row's phrasings, filled in.
static void put_beat(Text *t, const WorldProblem *p, const WorldBeat *beat, Rng *rng) {
    const char *at = rows[beat->row].phrasings;
    uint64_t n = 1;
    for (const char *c = at; *c; c++) n += *c == '|';
    for (uint64_t skip = rng_below(rng, n); skip; at++) skip -= *at == '|';
    for (; *at && *at != '|'; at++) {
        if (*at == '@') put_code(t, p, beat, *++at, rng);
        else put_char(t, *at);
    }
}

static void put_question(Text *t, const WorldProblem *p, Rng *rng) {
    for (int i = 0; i < p->n_beats; i++) {
        if (i) put_char(t, ' ');
        put_beat(t, p, &p->beats[i], rng);
    }
}

static void put_equation(Text *t, const WorldEquation *e, const char *space) {
    put(t, "%d%s%c%s%d%s=%s%d", e->left, space, e->op, space, e->right, space, space, e->value);
}

static bool opens_beat(const WorldProblem *p, int equation) {
    const WorldEquation *e = &p->equations[equation];
    return equation == 0 || e->beat != e[-1].beat;
}

// The word that says which sentence of the question an equation is about.
static const char *label_of(const WorldProblem *p, const WorldEquation *e) {
    const WorldBeat *beat = &p->beats[e->beat];
    int role = rows[beat->row].role;
    return role == START ? "Start" : role == QUESTION ? "End" : DAYS[beat->day];
}

static void put_steps(Text *t, const WorldProblem *p) {
    for (int i = 0; i < p->n_equations; i++) {
        const WorldEquation *e = &p->equations[i];
        if (opens_beat(p, i)) put(t, "%s%s: ", i ? "\n" : "", label_of(p, e));
        else put(t, ", ");
        put_equation(t, e, " ");
    }
}

static int answer_of(const WorldProblem *p) { return p->equations[p->n_equations - 1].value; }

static void tell(WorldProblem *p, Rng *rng) {
    Text question = text_in(p->question, sizeof p->question), steps = text_in(p->steps, sizeof p->steps);
    put_question(&question, p, rng);
    put_steps(&steps, p);
    snprintf(p->answer, sizeof p->answer, "%d", answer_of(p));
}

void world_problem(uint64_t seed, uint64_t index, bool held_out, WorldProblem *out) {
    Rng rng = {seed, RNG_WORLD | (index * 2 + held_out) << 8, 0};
    memset(out, 0, sizeof *out);
    int n_steps = draw_weighted(&rng, steps_weight, COUNT_OF(steps_weight));
    do {
        while (!draw_plan(out, &rng, n_steps)) {}
        out->signature = signature_of(out);
    } while (world_is_held_out(out->signature) != held_out);
    out->n_steps = n_steps;
    add_distractors(out, &rng);
    number_equations(out);
    draw_days(out, &rng);
    draw_cast(out, &rng);
    tell(out, &rng);
}

// ---------------------------------------------------------------------------------------------------------------------
// Solutions as people write them

static void put_running(Text *t, const WorldProblem *p, Rng *rng) {
    const char *joint = PICK(rng, ", ", "; ", ", then ");
    for (int i = 0; i < p->n_equations; i++) {
        if (i) put(t, "%s", joint);
        put_equation(t, &p->equations[i], "");
    }
    put(t, "%s%d.", PICK(rng, ". So ", ". Answer: ", ", so "), answer_of(p));
}

static bool is_product(char op) { return op == '*' || op == '/'; }

// Whether an expression must be put into brackets before it is multiplied, divided or subtracted.
static bool is_open_sum(const char *expression) {
    int depth = 0;
    for (const char *c = expression; *c; c++) {
        depth += (*c == '(') - (*c == ')');
        if (depth == 0 && (*c == '+' || *c == '-')) return true;
    }
    return false;
}

// What the value so far becomes as one expression: "14", "14 + 18", "(14 + 18) / 2".
static void extend(Text *t, const char *before, const Row *row, const WorldBeat *beat) {
    bool value_is_right = row->right == 'v', value_is_used = value_is_right || row->left == 'v';
    bool wrap = value_is_used && is_open_sum(before) && (is_product(row->op) || value_is_right);
    const char *open = wrap ? "(" : "", *close = wrap ? ")" : "";
    int a = beat->a.value, right = operand(row->right, 0, beat);
    if (!row->op) put(t, "%d", a);
    else if (row->op2) put(t, "%s %c %d %c %d", before, row->op2, a, row->op, right);
    else if (value_is_right) put(t, "%d %c %s%s%s", a, row->op, open, before, close);
    else if (value_is_used) put(t, "%s%s%s %c %d", open, before, close, row->op, right);
    else put(t, "%d %c %d", a, row->op, right);
}

static void put_chain(Text *t, const WorldProblem *p, Rng *rng) {
    char expressions[2][256] = {"", ""};
    int now = 0;
    for (int i = 0; i < p->n_beats; i++) {
        const Row *row = &rows[p->beats[i].row];
        if (row->role != START && !row->op) continue;
        Text next = text_in(expressions[!now], sizeof expressions[!now]);
        extend(&next, expressions[now], row, &p->beats[i]);
        now = !now;
    }
    put(t, "%s%s = %d", PICK(rng, "", "It is ", "We get "), expressions[now], answer_of(p));
    put(t, "%s%d.", PICK(rng, ". So ", ". Answer: "), answer_of(p));
}

static const char *gerund(char op) {
    return op == '+' ? "Adding" : op == '-' ? "Taking away" : op == '*' ? "Times" : "Divided by";
}

// A step that goes on from the last value is told without repeating it; any other opens anew.
static void put_prose(Text *t, const WorldProblem *p, Rng *rng) {
    const char *verb = PICK(rng, "gives", "makes", "is");
    for (int i = 0; i < p->n_equations; i++) {
        const WorldEquation *e = &p->equations[i];
        bool goes_on = i > 0 && e->left == e[-1].value;
        if (goes_on) put(t, "%s %d %s %d. ", gerund(e->op), e->right, verb, e->value);
        else put(t, "%s %d %c %d %s %d. ", i ? "Then" : "First", e->left, e->op, e->right, verb, e->value);
    }
    put(t, "%s %d.", PICK(rng, "The answer is", "So it is", "Answer:"), answer_of(p));
}

static void put_answer_first(Text *t, const WorldProblem *p, Rng *rng) {
    put(t, "%s%d, because ", PICK(rng, "", "It is ", "Answer: "), answer_of(p));
    for (int i = 0; i < p->n_equations; i++) {
        if (i) put(t, i + 1 < p->n_equations ? ", " : " and ");
        put_equation(t, &p->equations[i], " ");
    }
    put_char(t, '.');
}

static void put_results(Text *t, const WorldProblem *p, Rng *rng) {
    const char *joint = PICK(rng, ", then ", ", next ");
    for (int i = 0; i < p->n_equations; i++) put(t, "%s%d", i ? joint : "First ", p->equations[i].value);
    put(t, "%s%d.", PICK(rng, ". So ", ". Answer: "), answer_of(p));
}

static void put_solution(Text *t, const WorldProblem *p, Rng *rng, int style) {
    static void (*const tellers[])(Text *, const WorldProblem *, Rng *) = {
        [WORLD_RUNNING] = put_running, [WORLD_CHAIN] = put_chain,     [WORLD_PROSE] = put_prose,
        [WORLD_RESULTS] = put_results, [WORLD_ANSWER_FIRST] = put_answer_first,
    };
    check(style >= 0 && style < WORLD_NATURAL_STYLES, "no natural style %d", style);
    tellers[style](t, p, rng);
}

// Sub-streams of RNG_WORLD for words that are not part of the problem itself; problems use even and odd indices below.
static Rng telling_rng(const WorldProblem *p, uint64_t seed, uint64_t purpose) {
    return (Rng){mix(seed ^ p->signature), RNG_WORLD | purpose << 56, 0};
}

void world_solution(const WorldProblem *problem, uint64_t seed, int style, char *out, size_t cap) {
    Rng rng = telling_rng(problem, seed, 1);
    Text t = text_in(out, cap);
    put_solution(&t, problem, &rng, style);
}

void world_natural(const WorldProblem *problem, uint64_t seed, int style, char *out, size_t cap) {
    Rng rng = telling_rng(problem, seed, 1);
    Text t = text_in(out, cap);
    put(&t, "%s\n", problem->question);
    put_solution(&t, problem, &rng, style);
}

// ---------------------------------------------------------------------------------------------------------------------
// Rewriting

static void put_prompt(Text *t, const WorldProblem *p, const WorldEquation *e, Rng *rng) {
    int role = rows[p->beats[e->beat].row].role;
    const char *praise = e == p->equations ? "" : PICK(rng, "Good. ", "Right. ", "");
    put(t, "\nTutor: %s", praise);
    if (role == START) put(t, "How many at the start?");
    else if (role == QUESTION) put(t, "And in the end?");
    else put(t, "%s %s?", PICK(rng, "What happens on", "And on"), label_of(p, e));
}

static void put_dialogue(Text *t, const WorldProblem *p, Rng *rng) {
    put(t, "Tutor: ");
    put_question(t, p, rng);
    for (int i = 0; i < p->n_equations; i++) {
        if (opens_beat(p, i)) put_prompt(t, p, &p->equations[i], rng);
        put(t, opens_beat(p, i) ? "\nPupil: " : ", ");
        put_equation(t, &p->equations[i], " ");
    }
    put(t, "\nTutor: %s %d.", PICK(rng, "So the answer is", "Right, the answer is"), answer_of(p));
}

static void put_tutorial(Text *t, const WorldProblem *p, Rng *rng) {
    int n = 0;
    put(t, "%s: ", PICK(rng, "Problem", "Example"));
    put_question(t, p, rng);
    for (int i = 0; i < p->n_equations; i++) {
        if (opens_beat(p, i)) put(t, "\nStep %d. %s: ", ++n, label_of(p, &p->equations[i]));
        else put(t, ", ");
        put_equation(t, &p->equations[i], " ");
    }
    put(t, "\n%s %d.", PICK(rng, "Answer:", "The answer is"), answer_of(p));
}

void world_rephrase_pair(uint64_t seed, uint64_t index, int style, char *source, char *target, size_t cap) {
    WorldProblem p;
    world_problem(seed, index, false, &p);
    check(style >= 0 && style < WORLD_REPHRASE_STYLES, "no rephrase style %d", style);
    Rng rng = telling_rng(&p, seed + index, 2);
    world_natural(&p, seed + index, (int)rng_below(&rng, WORLD_NATURAL_STYLES), source, cap);
    Text t = text_in(target, cap);
    (style == WORLD_DIALOGUE ? put_dialogue : put_tutorial)(&t, &p, &rng);
}
