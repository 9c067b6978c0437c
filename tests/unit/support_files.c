// support_files: owns the temp folders of the unit tests. Must not know: any format.
#include "tests/unit/support_files.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

char *temp_folder(void) {
    char *folder = xstrdup("/tmp/tristill-XXXXXX");
    assert_non_null(mkdtemp(folder));
    return folder;
}

void temp_remove(char *folder) {
    assert_true(remove_tree(folder, NULL));
    free(folder);
}

char *temp_path(const char *folder, const char *name) {
    static StrList kept; // reachable to the end, so that no leak checker minds
    char *path = path_join(folder, name);
    strlist_add(&kept, path);
    free(path);
    return kept.items[kept.count - 1];
}

void put_file(const char *path, const void *data, size_t size) {
    FILE *f = fopen(path, "wb");
    assert_non_null(f);
    assert_int_equal(fwrite(data, 1, size, f), size);
    assert_int_equal(fclose(f), 0);
}

void get_file(const char *path, Buf *out) {
    Error e = {0};
    buf_clear(out);
    if (!file_read(path, 0, out, &e)) fail_msg("%s", e.text);
}

void from_hex(const char *hex, uint8_t *out) {
    for (size_t i = 0; hex[2 * i] != '\0'; i++) {
        unsigned byte;
        assert_int_equal(sscanf(hex + 2 * i, "%2x", &byte), 1);
        out[i] = (uint8_t)byte;
    }
}

void assert_error(const Error *e, int code, const char *part) {
    if (e->code != code || strstr(e->text, part) == NULL)
        fail_msg("expected code %d and \"%s\", found code %d: %s", code, part, e->code, e->text);
}
