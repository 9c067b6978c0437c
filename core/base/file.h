// file: checked reading, mapping, atomic replacement. Every function that can meet a bad disk fills an Error naming
// the path.
#pragma once
#include "core/base/mem.h"

bool file_exists(const char *path);
bool is_folder(const char *path);
int64_t file_size(const char *path); // bytes, -1 when absent
bool make_folders(const char *path, Error *e); // like mkdir -p
bool make_parent(const char *path, Error *e);  // the folders above a file
char *path_join(const char *folder, const char *name); // malloc'ed
const char *path_base(const char *path);               // the part after the last '/'

// Whole file into b (appended). max_bytes > 0 bounds what a foreign file may make us allocate.
bool file_read(const char *path, size_t max_bytes, Buf *b, Error *e);

typedef struct Mapping {
    const uint8_t *data;
    size_t size;
} Mapping;
bool file_map(const char *path, Mapping *m, Error *e); // read-only; an empty file maps to {NULL, 0}
void file_unmap(Mapping *m);

// Replaces `path` so that after a crash either the old or the new content is there, whole:
// temp name in the same folder, write, fsync, rename, fsync of the folder.
bool file_replace(const char *path, const void *data, size_t size, Error *e);

// The same for content produced piece by piece: write to handle->file, then commit (or abandon).
typedef struct AtomicFile {
    void *file; // FILE *
    char *path, *temp;
} AtomicFile;
bool atomic_open(AtomicFile *a, const char *path, Error *e);
bool atomic_write(AtomicFile *a, const void *data, size_t size, Error *e);
bool atomic_commit(AtomicFile *a, Error *e); // also frees; false leaves the old file untouched
void atomic_abandon(AtomicFile *a);

bool folder_sync(const char *path, Error *e);
// Names in a folder, sorted bytewise, without "." and "..".
bool folder_list(const char *path, StrList *names, Error *e);
bool remove_tree(const char *path, Error *e);
