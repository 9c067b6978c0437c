// show: a JSON value as text for people: members aligned, lists of like objects as tables, texts of several lines as
// blocks. Everything that came from a file passes text_for_terminal.
#pragma once
#include "core/base/json.h"

void show_json(const json_t *value, Buf *out);
