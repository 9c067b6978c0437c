// record: owns appending: framing, the commit, and what is done about the tail that a crash tore.
// Must not know: what a record means. Reading is in record_read.c.
#define _GNU_SOURCE // memrchr
#include "core/data/record.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>
#include <zstd.h>

#include "core/data/frames.h"

enum { ZSTD_LEVEL = 3 };

struct RecordWriter {
    char *path;
    int fd;
    ZSTD_CCtx *zstd; // NULL: plain lines
    Buf pending;     // lines of the commit to come
    int64_t n_pending, n_written;
    int64_t size; // bytes committed
};

static bool ends_with(const char *path, const char *ending) {
    size_t n = strlen(path), m = strlen(ending);
    return n >= m && strcmp(path + n - m, ending) == 0;
}

static bool fail_errno(Error *e, const char *path, const char *doing) {
    return fail(e, EXIT_FAIL, "%s: %s: %s", path, doing, strerror(errno));
}

static void writer_free(RecordWriter *w) {
    if (w->fd >= 0) close(w->fd); // also gives the lock back
    ZSTD_freeCCtx(w->zstd);
    buf_free(&w->pending);
    free(w->path);
    free(w);
}

static bool sync_parent(const char *path, Error *e) {
    char *folder = xstrdup(path), *slash = strrchr(folder, '/');
    if (slash != NULL) *slash = 0;
    bool ok = folder_sync(slash == NULL ? "." : slash == folder ? "/" : folder, e);
    free(folder);
    return ok;
}

// Open for writing and locked, so that two programs cannot interleave their commits.
static RecordWriter *writer_open(const char *path, Error *e) {
    RecordWriter *w = xcalloc(1, sizeof *w);
    w->path = xstrdup(path);
    bool is_new = !file_exists(path);
    w->fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    bool ok = w->fd >= 0 || fail_errno(e, path, "cannot open for writing");
    if (ok && flock(w->fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) // file systems without locks go on without
        ok = fail(e, EXIT_FAIL, "%s: another process is writing this file; wait for it or stop it", path);
    if (!ok || (is_new && !sync_parent(path, e))) {
        writer_free(w);
        return NULL;
    }
    if (ends_with(path, ".zst")) {
        w->zstd = ZSTD_createCCtx();
        check(w->zstd != NULL, "zstd: out of memory");
        ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
        ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_checksumFlag, 1);
    }
    return w;
}

// Cuts the file to `size` and puts the write position there.
static bool writer_cut(RecordWriter *w, int64_t size, Error *e) {
    if (lseek(w->fd, 0, SEEK_END) != size && (ftruncate(w->fd, size) != 0 || fdatasync(w->fd) != 0))
        return fail_errno(e, w->path, "cannot cut the file");
    if (lseek(w->fd, size, SEEK_SET) != size) return fail_errno(e, w->path, "cannot seek");
    w->size = size;
    return true;
}

RecordWriter *record_create(const char *path, Error *e) {
    RecordWriter *w = writer_open(path, e);
    if (w == NULL || writer_cut(w, 0, e)) return w;
    writer_free(w);
    return NULL;
}

// A whole frame behind a bad one: then the bad one is damage, not the tail of an interrupted write. (The magic number
// is no UTF-8, so that it cannot stand uncompressed inside a frame of records.)
static bool good_frame_after(const uint8_t *data, size_t size) {
    for (size_t at = 1; at + 4 < size; at++) {
        size_t bytes;
        int last;
        if (data[at] == 0x28 && frame_begins(data + at, size - at) &&
            frame_check(data + at, size - at, &bytes, &last) == FRAME_GOOD)
            return true;
    }
    return false;
}

// After a power cut a file may have its new length but zeros instead of the data.
static bool ends_in_zeros(const uint8_t *data, size_t size) {
    for (size_t i = 0; i < MIN(size, 16); i++)
        if (data[size - 1 - i] != 0) return false;
    return size > 0;
}

// *size: bytes up to which the frames are good. A bad frame that is not the torn end of the last write is an error.
static bool check_frames(const char *path, const Mapping *map, size_t *size, Error *e) {
    size_t at = 0, bytes;
    int last = '\n', end = '\n';
    while (at < map->size) {
        const uint8_t *data = map->data + at;
        size_t rest = map->size - at;
        FrameState state = frame_check(data, rest, &bytes, &last);
        if (state != FRAME_GOOD) {
            bool torn = state == FRAME_CUT || ends_in_zeros(data, rest);
            if (torn && !good_frame_after(data, rest)) break;
            return fail(e, EXIT_DATA,
                        "%s: the frame at byte %zu is damaged; nothing was changed. Restore the file, or give up what "
                        "follows with "
                        "`truncate -s %zu` and run again",
                        path, at, at);
        }
        if (last >= 0) end = last;
        at += bytes;
    }
    *size = at;
    return end == '\n' ||
           fail(e, EXIT_DATA, "%s: the last record has no newline at its end; remove or complete it", path);
}

static size_t whole_lines(const Mapping *map) {
    const uint8_t *newline = map->size ? memrchr(map->data, '\n', map->size) : NULL;
    return newline ? (size_t)(newline - map->data) + 1 : 0;
}

RecordWriter *record_append(const char *path, int64_t *cut_bytes, Error *e) {
    RecordWriter *w = writer_open(path, e);
    if (w == NULL) return NULL;
    Mapping map;
    size_t size = 0;
    bool ok = file_map(path, &map, e);
    if (ok) {
        if (w->zstd == NULL && frame_begins(map.data, map.size))
            ok = fail(e, EXIT_DATA, "%s: holds zstd frames, but its name does not end in .zst; rename it", path);
        else if (w->zstd == NULL)
            size = whole_lines(&map);
        else
            ok = check_frames(path, &map, &size, e);
        *cut_bytes = (int64_t)(map.size - size);
        file_unmap(&map);
    }
    if (ok && writer_cut(w, (int64_t)size, e)) return w;
    writer_free(w);
    return NULL;
}

bool record_write(RecordWriter *w, const json_t *record, Error *e) {
    if (!json_is_object(record)) return fail(e, EXIT_FAIL, "%s: a record must be a JSON object", w->path);
    size_t before = w->pending.length;
    json_write(&w->pending, record, 0, false);
    if (w->pending.length - before > RECORD_MAX_LINE) {
        size_t length = w->pending.length - before;
        w->pending.length = before;
        return fail(e, EXIT_DATA, "%s: a record of %zu bytes; at most %d are possible", w->path, length,
                    RECORD_MAX_LINE);
    }
    buf_char(&w->pending, '\n');
    w->n_pending++;
    return true;
}

static bool write_whole(RecordWriter *w, const void *data, size_t size, Error *e) {
    const char *at = data;
    while (size > 0) {
        ssize_t n = write(w->fd, at, size);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(e, w->path, "cannot write");
        at += n;
        size -= (size_t)n;
    }
    return fdatasync(w->fd) == 0 || fail_errno(e, w->path, "cannot sync");
}

// On failure the file ends where it ended before, and the records stay pending: the commit can be tried again.
static bool commit_bytes(RecordWriter *w, const void *data, size_t size, Error *e) {
    if (!write_whole(w, data, size, e)) {
        writer_cut(w, w->size, NULL);
        return false;
    }
    w->size += (int64_t)size;
    return true;
}

bool record_commit(RecordWriter *w, Error *e) {
    if (w->n_pending == 0) return true;
    bool ok;
    if (w->zstd == NULL) {
        ok = commit_bytes(w, w->pending.data, w->pending.length, e);
    } else {
        size_t bound = ZSTD_compressBound(w->pending.length);
        void *frame = xmalloc(bound);
        size_t n = ZSTD_compress2(w->zstd, frame, bound, w->pending.data, w->pending.length);
        check(!ZSTD_isError(n), "zstd: %s", ZSTD_getErrorName(n));
        ok = commit_bytes(w, frame, n, e);
        free(frame);
    }
    if (!ok) return false;
    w->n_written += w->n_pending;
    w->n_pending = 0;
    buf_clear(&w->pending);
    return true;
}

int64_t record_written(const RecordWriter *w) { return w->n_written; }

bool record_close(RecordWriter *w, Error *e) {
    if (w == NULL) return true;
    bool ok = record_commit(w, e);
    writer_free(w);
    return ok;
}

void record_abandon(RecordWriter *w) {
    if (w != NULL) writer_free(w);
}
