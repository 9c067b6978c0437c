// record_read: owns reading record files, plain or zstd, a piece at a time: memory is bounded by the longest line.
// Must not know: what a record means.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zstd.h>

#include "core/data/frames.h"
#include "core/data/record.h"

// A file may unpack to this much, and beyond it to MAX_RATIO times its size (zstd itself reaches 32 000 times on
// zeros).
enum { FREE_OUTPUT = 256 << 20, MAX_RATIO = 1000 };

struct RecordReader {
    char *path;
    int fd;
    ZSTD_DCtx *zstd; // NULL: plain lines
    uint8_t *in, *out;
    size_t in_size, in_at, in_capacity, out_size, out_at, out_capacity;
    uint64_t file_at;  // bytes of the file read so far
    uint64_t frame_at; // where the frame being read begins
    bool inside_frame, out_full, file_ended; // out_full: zstd may hold text back, ask before reading on
    uint64_t text_bytes; // unpacked so far
    uint64_t line_at;    // byte of the text at which `line` begins
    Buf line;            // the line so far
    int64_t n_records;
};

static bool refill(RecordReader *r, Error *e) {
    ssize_t n;
    do n = read(r->fd, r->in, r->in_capacity);
    while (n < 0 && errno == EINTR);
    if (n < 0) return fail(e, EXIT_DATA, "%s: cannot read: %s", r->path, strerror(errno));
    r->in_size = (size_t)n;
    r->in_at = 0;
    r->file_at += (uint64_t)n;
    r->file_ended = n == 0;
    return true;
}

RecordReader *record_open(const char *path, Error *e) {
    RecordReader *r = xcalloc(1, sizeof *r);
    struct stat s;
    r->path = xstrdup(path);
    r->fd = open(path, O_RDONLY | O_CLOEXEC);
    bool ok = (r->fd >= 0 && fstat(r->fd, &s) == 0) || fail(e, EXIT_DATA, "%s: cannot open: %s", path, strerror(errno));
    if (ok && S_ISDIR(s.st_mode))
        ok = fail(e, EXIT_DATA, "%s: is a folder; give a record file (.jsonl or .jsonl.zst)", path);
    r->in_capacity = ZSTD_DStreamInSize();
    r->out_capacity = ZSTD_DStreamOutSize();
    r->in = xmalloc(r->in_capacity);
    r->out = xmalloc(r->out_capacity);
    if (!ok || !refill(r, e)) {
        record_reader_close(r);
        return NULL;
    }
    if (frame_begins(r->in, r->in_size)) {
        r->zstd = ZSTD_createDCtx();
        check(r->zstd != NULL, "zstd: out of memory");
        ZSTD_DCtx_setParameter(r->zstd, ZSTD_d_windowLogMax, FRAME_MAX_WINDOW_LOG);
    }
    return r;
}

static bool check_ratio(const RecordReader *r, Error *e) {
    return r->text_bytes <= FREE_OUTPUT + MAX_RATIO * r->file_at ||
           fail(e, EXIT_DATA, "%s: the frame at byte %llu unpacks to more than %d times its size; refused", r->path,
                (unsigned long long)r->frame_at, MAX_RATIO);
}

// Some more text of a zstd file into out; out_size 0 = end of the file.
static bool unpack(RecordReader *r, Error *e) {
    r->out_size = r->out_at = 0;
    while (r->out_size == 0) {
        if (r->in_at == r->in_size && !r->out_full && !refill(r, e)) return false;
        if (r->file_ended && r->inside_frame && !r->out_full)
            return fail(e, EXIT_DATA,
                        "%s: the frame at byte %llu (after record %lld) is cut off; what wrote the file repairs it "
                        "when it resumes, "
                        "or restore the file",
                        r->path, (unsigned long long)r->frame_at, (long long)r->n_records);
        if (r->file_ended && !r->out_full) return true;
        if (!r->inside_frame) r->frame_at = r->file_at - (r->in_size - r->in_at);
        ZSTD_inBuffer in = {r->in, r->in_size, r->in_at};
        ZSTD_outBuffer out = {r->out, r->out_capacity, 0};
        size_t state = ZSTD_decompressStream(r->zstd, &out, &in);
        if (ZSTD_isError(state))
            return fail(e, EXIT_DATA,
                        "%s: the frame at byte %llu (after record %lld) is damaged (%s); restore the file", r->path,
                        (unsigned long long)r->frame_at, (long long)r->n_records, ZSTD_getErrorName(state));
        r->inside_frame = state != 0;
        r->out_full = out.pos == r->out_capacity;
        r->in_at = in.pos;
        r->out_size = out.pos;
        r->text_bytes += out.pos;
        if (!check_ratio(r, e)) return false;
    }
    return true;
}

// More text; a plain file's bytes are the text.
static bool more_text(RecordReader *r, const uint8_t **text, size_t *size, Error *e) {
    if (r->zstd != NULL) {
        if (r->out_at == r->out_size && !unpack(r, e)) return false;
        *text = r->out + r->out_at;
        *size = r->out_size - r->out_at;
        return true;
    }
    if (r->in_at == r->in_size && !r->file_ended && !refill(r, e)) return false;
    *text = r->in + r->in_at;
    *size = r->in_size - r->in_at;
    return true;
}

static void text_used(RecordReader *r, size_t size) { *(r->zstd != NULL ? &r->out_at : &r->in_at) += size; }

static bool fail_here(const RecordReader *r, Error *e, const char *what) {
    return fail(e, EXIT_DATA, "%s: record %lld (byte %llu of the text): %s", r->path, (long long)r->n_records + 1,
                (unsigned long long)r->line_at, what);
}

// The next line into r->line, without its newline: 1, 0 at the end, -1 on errors.
static int next_line(RecordReader *r, Error *e) {
    buf_clear(&r->line);
    for (;;) {
        const uint8_t *text;
        size_t size;
        if (!more_text(r, &text, &size, e)) return -1;
        if (size == 0 && r->line.length == 0) return 0;
        if (size == 0)
            return fail_here(r, e,
                             "line is cut off (no newline at the end); remove the partial line or restore the file"),
                   -1;
        const uint8_t *newline = memchr(text, '\n', size);
        size_t n = newline ? (size_t)(newline - text) : size;
        if (r->line.length + n > RECORD_MAX_LINE)
            return fail_here(r, e, "line longer than 64 MiB; split or remove it"), -1;
        buf_add(&r->line, text, n);
        text_used(r, n + (newline != NULL));
        if (newline != NULL) return 1;
    }
}

static bool is_blank(const Buf *line) { return strspn(line->data, " \t\r") == line->length; }

static json_t *parse_line(const RecordReader *r, Error *e) {
    json_t *record = json_parse(r->line.data, r->line.length, r->path, NULL);
    if (record == NULL) { // again, now with the place in the message
        char *place = xasprintf("%s: record %lld (byte %llu of the text)", r->path, (long long)r->n_records + 1,
                                (unsigned long long)r->line_at);
        json_parse(r->line.data, r->line.length, place, e);
        free(place);
        return NULL;
    }
    if (json_is_object(record)) return record;
    json_decref(record);
    fail_here(r, e, "expected a JSON object {...}");
    return NULL;
}

int record_next(RecordReader *r, json_t **out, Error *e) {
    for (;;) {
        int got = next_line(r, e);
        if (got != 1) return got;
        if (!is_blank(&r->line)) break;
        r->line_at += r->line.length + 1;
    }
    *out = parse_line(r, e);
    if (*out == NULL) return -1;
    r->line_at += r->line.length + 1;
    r->n_records++;
    return 1;
}

int64_t record_index(const RecordReader *r) { return r->n_records; }

void record_reader_close(RecordReader *r) {
    if (r == NULL) return;
    if (r->fd >= 0) close(r->fd);
    ZSTD_freeDCtx(r->zstd);
    buf_free(&r->line);
    free(r->in);
    free(r->out);
    free(r->path);
    free(r);
}

bool record_each(const char *path, RecordFn fn, void *context, Error *e) {
    RecordReader *r = record_open(path, e);
    if (r == NULL) return false;
    json_t *record;
    int got;
    while ((got = record_next(r, &record, e)) == 1) {
        bool ok = fn(context, record, record_index(r) - 1, e);
        json_decref(record);
        if (ok) continue;
        got = -1;
        break;
    }
    record_reader_close(r);
    return got == 0;
}
