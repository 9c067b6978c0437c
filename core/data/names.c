// names: owns the judgement and the display of foreign names. Must not know: the formats they come from.
#include "core/data/names.h"

#include <string.h>

static bool is_control(char c) { return (unsigned char)c < 0x20 || c == 0x7f; }

bool name_is_printable(const char *name, size_t length) {
    for (size_t i = 0; i < length; i++)
        if (is_control(name[i])) return false;
    return length > 0;
}

const char *name_shown(const char *name, size_t length, char out[NAME_SHOWN]) {
    size_t n = MIN(length, 128);
    for (size_t i = 0; i < n; i++) out[i] = is_control(name[i]) ? '?' : name[i];
    strcpy(out + n, length > n ? "..." : "");
    return out;
}
