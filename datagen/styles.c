#include "datagen/styles.h"
#include "core/base/config.h"
#include "datagen/world.h"

#include <string.h>

const Style styles[] = {
#define STYLE(name, world_style, instruction, format, steps) {#name, world_style, instruction, format, steps},
#include "datagen/styles.def"
#undef STYLE
};
const int n_styles = COUNT_OF(styles);
_Static_assert(COUNT_OF(styles) <= STYLES_MAX, "more styles than STYLES_MAX");

static const char *const names[] = {
#define STYLE(name, world_style, instruction, format, steps) #name,
#include "datagen/styles.def"
#undef STYLE
};

int style_find(const char *name, Error *e) {
    Buf known = {0};
    for (int i = 0; i < n_styles; i++) {
        if (!strcmp(name, styles[i].name)) {
            buf_free(&known);
            return i;
        }
        buf_printf(&known, "%s%s", i ? ", " : "", styles[i].name);
    }
    const char *meant = did_you_mean(name, names, COUNT_OF(names));
    fail(e, EXIT_USAGE, "styles: there is no style \"%s\"; %s%s%sthe styles are: %s", name,
         meant ? "did you mean \"" : "", meant ? meant : "", meant ? "\"? " : "", known.data);
    buf_free(&known);
    return -1;
}

int styles_chosen(const StrList *wanted, int *indices, Error *e) {
    if (wanted->count == 0) return fail(e, EXIT_USAGE, "styles: name at least one style"), -1;
    int n = 0;
    for (size_t i = 0; i < wanted->count; i++) {
        int style = style_find(wanted->items[i], e);
        if (style < 0) return -1;
        for (int j = 0; j < n; j++)
            if (indices[j] == style)
                return fail(e, EXIT_USAGE, "styles: \"%s\" is named twice", styles[style].name), -1;
        indices[n++] = style;
    }
    return n;
}

void style_prompt(const Style *style, const char *text, Buf *out) {
    buf_printf(out, "%s\n\n%s", style->instruction, text);
}
