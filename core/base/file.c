// file: checked reading, mapping, atomic replacement, folders. Must not know: what the bytes mean.
// A writer of one path is alone (run.h locks its folder), so that the temp name can be fixed: what a crash left
// behind is overwritten by the next run instead of piling up.
#include "core/base/file.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

// ---- paths ----

bool file_exists(const char *path) {
    struct stat s;
    return stat(path, &s) == 0;
}

bool is_folder(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 && S_ISDIR(s.st_mode);
}

int64_t file_size(const char *path) {
    struct stat s;
    return stat(path, &s) == 0 ? (int64_t)s.st_size : -1;
}

char *path_join(const char *folder, const char *name) {
    size_t n = strlen(folder);
    if (n == 0) return xstrdup(name);
    return xasprintf("%s%s%s", folder, folder[n - 1] == '/' ? "" : "/", name);
}

const char *path_base(const char *path) {
    const char *slash = strrchr(path, '/');
    return slash == NULL ? path : slash + 1;
}

// The folder that holds `path`, malloc'ed.
static char *folder_of(const char *path) {
    const char *slash = strrchr(path, '/');
    if (slash == NULL) return xstrdup(".");
    return slash == path ? xstrdup("/") : xstrndup(path, (size_t)(slash - path));
}

static bool fail_errno(Error *e, int code, const char *path, const char *doing) {
    return fail(e, code, "%s: %s: %s", path, doing, strerror(errno));
}

// ---- reading ----

static const char *hint_of_open(void) {
    if (errno == ENOENT) return "; check the path";
    return errno == EACCES ? "; check who may read it" : "";
}

// An open descriptor of a file that is no folder, or -1.
static int open_to_read(const char *path, struct stat *s, Error *e) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        fail(e, EXIT_DATA, "%s: cannot open: %s%s", path, strerror(errno), hint_of_open());
        return -1;
    }
    if (fstat(fd, s) == 0 && !S_ISDIR(s->st_mode)) return fd;
    fail(e, EXIT_DATA, "%s: %s", path, S_ISDIR(s->st_mode) ? "is a folder, a file is wanted" : strerror(errno));
    close(fd);
    return -1;
}

static bool read_all(int fd, const char *path, size_t max_bytes, Buf *b, Error *e) {
    size_t total = 0;
    char chunk[1 << 16];
    for (;;) {
        ssize_t n = read(fd, chunk, sizeof chunk);
        if (n < 0 && errno == EINTR) continue;
        if (n < 0) return fail_errno(e, EXIT_DATA, path, "cannot read");
        if (n == 0) return true;
        total += (size_t)n;
        if (max_bytes > 0 && total > max_bytes)
            return fail(e, EXIT_DATA, "%s: larger than the %zu bytes such a file may have", path, max_bytes);
        buf_add(b, chunk, (size_t)n);
    }
}

bool file_read(const char *path, size_t max_bytes, Buf *b, Error *e) {
    struct stat s;
    int fd = open_to_read(path, &s, e);
    if (fd < 0) return false;
    buf_add(b, NULL, 0); // an empty file gives "", not NULL
    bool ok = read_all(fd, path, max_bytes, b, e);
    close(fd);
    return ok;
}

bool file_map(const char *path, Mapping *m, Error *e) {
    *m = (Mapping){0};
    struct stat s;
    int fd = open_to_read(path, &s, e);
    if (fd < 0) return false;
    if (!S_ISREG(s.st_mode)) {
        close(fd);
        return fail(e, EXIT_DATA, "%s: not a regular file, cannot be mapped", path);
    }
    if (s.st_size > 0) {
        void *p = mmap(NULL, (size_t)s.st_size, PROT_READ, MAP_SHARED, fd, 0);
        if (p == MAP_FAILED) {
            fail_errno(e, EXIT_DATA, path, "cannot map");
            close(fd);
            return false;
        }
        *m = (Mapping){.data = p, .size = (size_t)s.st_size};
    }
    close(fd);
    return true;
}

void file_unmap(Mapping *m) {
    if (m->data != NULL) munmap((void *)(uintptr_t)m->data, m->size);
    *m = (Mapping){0};
}

// ---- atomic replacement ----

bool folder_sync(const char *path, Error *e) {
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0) return fail_errno(e, EXIT_FAIL, path, "cannot open the folder");
    bool ok = fsync(fd) == 0 || errno == EINVAL || errno == ENOTSUP; // file systems without it keep their own order
    if (!ok) fail_errno(e, EXIT_FAIL, path, "cannot sync the folder");
    close(fd);
    return ok;
}

bool atomic_open(AtomicFile *a, const char *path, Error *e) {
    *a = (AtomicFile){.path = xstrdup(path), .temp = xasprintf("%s.tmp", path)};
    a->file = fopen(a->temp, "we");
    if (a->file != NULL) return true;
    fail(e, EXIT_FAIL, "%s: cannot create: %s; check that the folder exists and may be written", a->temp,
         strerror(errno));
    atomic_abandon(a);
    return false;
}

bool atomic_write(AtomicFile *a, const void *data, size_t size, Error *e) {
    if (size == 0 || fwrite(data, 1, size, a->file) == size) return true;
    return fail_errno(e, EXIT_FAIL, a->temp, "cannot write");
}

// The FILE is closed whatever happens: a full disk may show itself at any of these steps.
static bool flush_and_close(AtomicFile *a, Error *e) {
    bool written = !ferror((FILE *)a->file) && fflush(a->file) == 0 && fsync(fileno(a->file)) == 0;
    if (!written) fail_errno(e, EXIT_FAIL, a->temp, "cannot write");
    bool closed = fclose(a->file) == 0;
    a->file = NULL;
    if (written && !closed) fail_errno(e, EXIT_FAIL, a->temp, "cannot write");
    return written && closed;
}

bool atomic_commit(AtomicFile *a, Error *e) {
    bool ok = flush_and_close(a, e);
    if (ok && rename(a->temp, a->path) != 0) {
        ok = fail(e, EXIT_FAIL, "%s: cannot rename to %s: %s", a->temp, a->path, strerror(errno));
    }
    if (!ok) {
        atomic_abandon(a);
        return false;
    }
    char *folder = folder_of(a->path);
    ok = folder_sync(folder, e);
    free(folder);
    free(a->path);
    free(a->temp);
    *a = (AtomicFile){0};
    return ok;
}

void atomic_abandon(AtomicFile *a) {
    if (a->file != NULL) fclose(a->file);
    if (a->temp != NULL) unlink(a->temp);
    free(a->path);
    free(a->temp);
    *a = (AtomicFile){0};
}

bool file_replace(const char *path, const void *data, size_t size, Error *e) {
    AtomicFile a;
    if (!atomic_open(&a, path, e)) return false;
    if (atomic_write(&a, data, size, e)) return atomic_commit(&a, e);
    atomic_abandon(&a);
    return false;
}

// ---- folders ----

static bool make_one(const char *path, Error *e) {
    if (mkdir(path, 0777) == 0 || (errno == EEXIST && is_folder(path))) return true;
    if (errno == EEXIST) return fail(e, EXIT_FAIL, "%s: is a file, a folder is wanted", path);
    return fail_errno(e, EXIT_FAIL, path, "cannot make the folder");
}

bool make_folders(const char *path, Error *e) {
    if (is_folder(path)) return true;
    char *part = xstrdup(path);
    bool ok = true;
    for (char *p = part + 1; ok && part[0] != '\0' && *p != '\0'; p++) {
        if (*p != '/') continue;
        *p = '\0';
        ok = make_one(part, e);
        *p = '/';
    }
    ok = ok && make_one(part, e);
    free(part);
    return ok;
}

bool make_parent(const char *path, Error *e) {
    char *folder = folder_of(path);
    bool ok = make_folders(folder, e);
    free(folder);
    return ok;
}

static int by_bytes(const void *a, const void *b) { return strcmp(*(char *const *)a, *(char *const *)b); }

bool folder_list(const char *path, StrList *names, Error *e) {
    DIR *folder = opendir(path);
    if (folder == NULL) return fail_errno(e, EXIT_DATA, path, "cannot list the folder");
    size_t first = names->count;
    struct dirent *entry;
    while (errno = 0, (entry = readdir(folder)) != NULL) {
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0) strlist_add(names, entry->d_name);
    }
    bool ok = errno == 0 || fail_errno(e, EXIT_DATA, path, "cannot list the folder");
    closedir(folder);
    if (names->count > first) qsort(names->items + first, names->count - first, sizeof *names->items, by_bytes);
    return ok;
}

static bool remove_entries(const char *path, Error *e) {
    StrList names = {0};
    bool ok = folder_list(path, &names, e);
    for (size_t i = 0; ok && i < names.count; i++) {
        char *child = path_join(path, names.items[i]);
        ok = remove_tree(child, e);
        free(child);
    }
    strlist_free(&names);
    return ok;
}

// Links are removed, never followed. What is not there counts as removed.
bool remove_tree(const char *path, Error *e) {
    struct stat s;
    if (lstat(path, &s) != 0) return errno == ENOENT || fail_errno(e, EXIT_FAIL, path, "cannot look at");
    if (!S_ISDIR(s.st_mode)) return unlink(path) == 0 || fail_errno(e, EXIT_FAIL, path, "cannot remove");
    return remove_entries(path, e) && (rmdir(path) == 0 || fail_errno(e, EXIT_FAIL, path, "cannot remove"));
}
