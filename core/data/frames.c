// frames: owns the judgement of one zstd frame. Must not know: records.
#include "core/data/frames.h"

#include <stdlib.h>
#include <string.h>
#include <zstd.h>
#include <zstd_errors.h>

#include "core/base/mem.h"

bool frame_begins(const uint8_t *data, size_t size) {
    uint32_t magic;
    if (size < sizeof magic) return false;
    memcpy(&magic, data, sizeof magic);
    return magic == ZSTD_MAGICNUMBER || (magic & ZSTD_MAGIC_SKIPPABLE_MASK) == ZSTD_MAGIC_SKIPPABLE_START;
}

// Bit 2 of the frame header descriptor (RFC 8878, 3.1.1.1.1): content checksum present. A skippable frame has no
// content.
static bool is_checkable(const uint8_t *data, size_t size) {
    uint32_t magic;
    memcpy(&magic, data, sizeof magic);
    return magic != ZSTD_MAGICNUMBER || (size > 4 && (data[4] & 4) != 0);
}

// Decompresses a whole frame and forgets the result; libzstd compares the checksum at the end.
static bool decompresses(const uint8_t *data, size_t bytes, int *last) {
    ZSTD_DCtx *z = ZSTD_createDCtx();
    check(z != NULL, "zstd: out of memory");
    ZSTD_DCtx_setParameter(z, ZSTD_d_windowLogMax, FRAME_MAX_WINDOW_LOG);
    size_t capacity = ZSTD_DStreamOutSize(), state = 1;
    uint8_t *sink = xmalloc(capacity);
    ZSTD_inBuffer in = {data, bytes, 0};
    bool progress = true;
    while (state != 0 && progress) {
        ZSTD_outBuffer out = {sink, capacity, 0};
        size_t before = in.pos;
        state = ZSTD_decompressStream(z, &out, &in);
        if (ZSTD_isError(state)) break;
        if (out.pos > 0) *last = sink[out.pos - 1];
        progress = out.pos > 0 || in.pos > before;
    }
    free(sink);
    ZSTD_freeDCtx(z);
    return state == 0 && in.pos == bytes;
}

FrameState frame_check(const uint8_t *data, size_t size, size_t *bytes, int *last) {
    *last = -1;
    *bytes = ZSTD_findFrameCompressedSize(data, size);
    if (ZSTD_isError(*bytes)) return ZSTD_getErrorCode(*bytes) == ZSTD_error_srcSize_wrong ? FRAME_CUT : FRAME_DAMAGED;
    return is_checkable(data, *bytes) && decompresses(data, *bytes, last) ? FRAME_GOOD : FRAME_DAMAGED;
}
