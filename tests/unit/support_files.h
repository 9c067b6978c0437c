// support_files: a folder of its own for each test, files in it, hexadecimal text. Failures end the test.
#pragma once
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <cmocka.h>
#undef fail // cmocka's macro; ours is a function
#undef fail_msg
#define fail_msg(...) (print_error(__VA_ARGS__), print_error("\n"), _fail(__FILE__, __LINE__))

#include "core/base/file.h"

char *temp_folder(void);                               // a fresh folder under /tmp
void temp_remove(char *folder);                        // removes it with its contents and frees the name
char *temp_path(const char *folder, const char *name); // path_join that lives until the process ends
void put_file(const char *path, const void *data, size_t size);
void get_file(const char *path, Buf *out); // replaces what was in out
void from_hex(const char *hex, uint8_t *out);
// e holds an error with this exit code whose text contains `part`.
void assert_error(const Error *e, int code, const char *part);
