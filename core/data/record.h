// record: JSON lines in independent zstd frames with content checksums. One commit = one frame, then fdatasync.
// Owns: framing, recovery of a torn tail, reading .jsonl and .jsonl.zst alike. Must not know: what a record means.
#pragma once
#include "core/base/json.h"

typedef struct RecordWriter RecordWriter;
// Opens for appending (".zst" ending = compressed, else plain lines). An existing file is checked frame by frame; a
// torn last frame (or line) is cut off and *cut_bytes says how much (0 = clean). Damage before the tail is an error,
// nothing is changed.
RecordWriter *record_append(const char *path, int64_t *cut_bytes, Error *e);
// Starts an empty file anew (truncates).
RecordWriter *record_create(const char *path, Error *e);
bool record_write(RecordWriter *w, const json_t *record, Error *e); // buffered until the commit
bool record_commit(RecordWriter *w, Error *e);                      // one frame, fdatasync; nothing buffered = no frame
int64_t record_written(const RecordWriter *w);                      // records committed by this writer
bool record_close(RecordWriter *w, Error *e);                       // commits what is buffered, closes, frees
void record_abandon(RecordWriter *w); // drops what is buffered, closes, frees; NULL is fine

typedef struct RecordReader RecordReader;
RecordReader *record_open(const char *path, Error *e); // format told by content (zstd magic) not by name
// 1: *out is a new reference. 0: end. -1: error "path: record 12 (byte 3456): ..." A line cut in half is an error.
// A line longer than 64 MiB is refused.
int record_next(RecordReader *r, json_t **out, Error *e);
int64_t record_index(const RecordReader *r); // number of records returned so far
void record_reader_close(RecordReader *r);

// Calls fn for every record; stops at the first false. Convenience over the reader.
typedef bool (*RecordFn)(void *context, json_t *record, int64_t index, Error *e);
bool record_each(const char *path, RecordFn fn, void *context, Error *e);
