// results: --json for both commands: counts and results of the finished run, whether made now or before. Must not know:
// what they mean.
#include <stdio.h>
#include <stdlib.h>

#include "quant/quant.h"

bool print_results(const Run *run, Error *e) {
    char *path = path_join(run->folder, "run.json");
    json_t *record = json_read_file(path, e);
    free(path);
    if (record == NULL) return false;
    json_t *shown = json_pack("{s:O, s:O}", "counts", json_object_get(record, "counts"), "results",
                              json_object_get(record, "results"));
    Buf text = {0};
    json_write(&text, shown, 2, false);
    puts(text.data);
    buf_free(&text);
    json_decref(shown);
    json_decref(record);
    return true;
}
