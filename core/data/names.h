// names: what to think of a name that a foreign file brought along, and how to show it in a message. Internal to
// core/data.
#pragma once
#include "core/base/base.h"

enum { NAME_SHOWN = 132 };

// Not empty and free of control characters (bytes below 0x20 and 0x7f); NUL inside counts as one.
bool name_is_printable(const char *name, size_t length);
// The name with control characters as '?', cut at 128 bytes; returns `out`.
const char *name_shown(const char *name, size_t length, char out[NAME_SHOWN]);
