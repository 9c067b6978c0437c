// frames: walking the zstd frames of a record file. Internal to core/data (record.c, record_read.c).
#pragma once
#include "core/base/base.h"

enum { RECORD_MAX_LINE = 64 << 20, FRAME_MAX_WINDOW_LOG = 27 };

// Begins with the magic number of a zstd or a skippable frame.
bool frame_begins(const uint8_t *data, size_t size);

typedef enum FrameState { FRAME_GOOD, FRAME_CUT, FRAME_DAMAGED } FrameState;
// Checks the frame at data: its structure, that it decompresses, its checksum (which must be there). Memory is bounded
// by the window, whatever the frame claims. *bytes: compressed size of a good frame; *last: its last decompressed byte,
// -1 when empty. FRAME_CUT: the data ends before the frame does.
FrameState frame_check(const uint8_t *data, size_t size, size_t *bytes, int *last);
