// safetensors: owns reading one file or the shards of a folder. Must not know: what a tensor is for.
// Format: the safetensors README. Nothing of the header is believed before it is checked against the size of the file;
// names are compared decoded, so that "a" and its escape count as the same name. Tensors may lie at any byte: read them
// with memcpy or dtype_to_f32.
#include "core/data/safetensors.h"

#include <stdlib.h>
#include <string.h>

#include "core/base/json.h"
#include "core/base/log.h"
#include "core/data/names.h"

enum { MAX_HEADER = 100000000, MAX_TENSORS = 1 << 20 };

struct Safetensors {
    Mapping *maps; // one per file
    int64_t n_maps;
    TensorView *tensors; // names owned; sorted by name once all files are open
    int64_t n_tensors, capacity;
    json_t *metadata; // strings only; of several files the first to name a key wins
};

static bool parse_shape(const json_t *shape, TensorView *t, Error *e) {
    if (!json_is_array(shape)) return fail(e, EXIT_DATA, "shape: expected a list of integers");
    if (json_array_size(shape) > TENSOR_MAX_DIMS)
        return fail(e, EXIT_DATA, "shape: %zu dimensions, at most %d are supported", json_array_size(shape),
                    TENSOR_MAX_DIMS);
    t->n_dims = (int)json_array_size(shape);
    t->n_elements = 1;
    for (int i = 0; i < t->n_dims; i++) {
        const json_t *size = json_array_get(shape, (size_t)i);
        if (!json_is_integer(size) || json_integer_value(size) < 0)
            return fail(e, EXIT_DATA, "shape[%d]: expected an integer >= 0", i);
        t->shape[i] = json_integer_value(size);
        if (__builtin_mul_overflow(t->n_elements, t->shape[i], &t->n_elements))
            return fail(e, EXIT_DATA, "shape: the number of elements overflows 64 bits");
    }
    return true;
}

static bool parse_dtype(const json_t *dtype, TensorView *t, Error *e) {
    if (!json_is_string(dtype)) return fail(e, EXIT_DATA, "dtype: expected a string");
    if (dtype_from_safetensors(json_string_value(dtype), &t->dtype)) return true;
    return fail(e, EXIT_DATA, "dtype: \"%.32s\" is not supported; convert the file to F32, BF16 or F16",
                json_string_value(dtype));
}

static bool parse_offsets(const json_t *offsets, const Mapping *map, uint64_t header, TensorView *t, Error *e) {
    const json_t *first = json_array_get(offsets, 0), *second = json_array_get(offsets, 1);
    if (json_array_size(offsets) != 2 || !json_is_integer(first) || !json_is_integer(second))
        return fail(e, EXIT_DATA, "data_offsets: expected [begin, end], two integers");
    int64_t begin = json_integer_value(first), end = json_integer_value(second), bytes;
    if (begin < 0 || end < begin)
        return fail(e, EXIT_DATA, "data_offsets: [%lld, %lld] is no range", (long long)begin, (long long)end);
    if ((uint64_t)end > map->size - header)
        return fail(e, EXIT_DATA,
                    "data_offsets: ends at byte %llu of the file, which has only %zu bytes: the file is cut off or "
                    "damaged; copy or "
                    "download it again",
                    (unsigned long long)end + header, map->size);
    if (__builtin_mul_overflow(t->n_elements, (int64_t)dtype_rows[t->dtype].bytes, &bytes) || bytes != end - begin)
        return fail(e, EXIT_DATA, "data_offsets: %lld bytes, but shape and dtype %s ask for another size",
                    (long long)(end - begin), dtype_rows[t->dtype].name);
    t->data = map->data + header + begin;
    t->bytes = (size_t)bytes;
    return true;
}

static void warn_of_extra_keys(const char *path, const char *name, json_t *entry) {
    const char *key;
    json_t *value;
    json_object_foreach(entry, key, value) {
        if (strcmp(key, "dtype") == 0 || strcmp(key, "shape") == 0 || strcmp(key, "data_offsets") == 0) continue;
        char shown[NAME_SHOWN];
        log_warn("%s: %s: unknown key \"%s\" ignored", path, name, name_shown(key, strlen(key), shown));
    }
}

static bool parse_tensor(const char *path, const char *name, json_t *entry, const Mapping *map, uint64_t header,
                         TensorView *t, Error *e) {
    if (!json_is_object(entry)) return fail(e, EXIT_DATA, "expected an object with dtype, shape and data_offsets");
    if (!name_is_printable(t->name, strlen(t->name)))
        return fail(e, EXIT_DATA, "the name is empty or holds control characters");
    if (!parse_dtype(json_object_get(entry, "dtype"), t, e) || !parse_shape(json_object_get(entry, "shape"), t, e) ||
        !parse_offsets(json_object_get(entry, "data_offsets"), map, header, t, e))
        return false;
    if (json_object_size(entry) > 3) warn_of_extra_keys(path, name, entry);
    return true;
}

static bool take_metadata(Safetensors *s, json_t *metadata, Error *e) {
    if (!json_is_object(metadata)) return fail(e, EXIT_DATA, "__metadata__: expected an object of strings");
    const char *key;
    json_t *value;
    json_object_foreach(metadata, key, value) {
        if (!json_is_string(value)) return fail(e, EXIT_DATA, "__metadata__: only strings are allowed as values");
    }
    json_object_update_missing(s->metadata, metadata);
    return true;
}

static TensorView *next_tensor(Safetensors *s) {
    if (s->n_tensors == s->capacity) {
        s->capacity = MAX(64, 2 * s->capacity);
        s->tensors = xrealloc(s->tensors, (size_t)s->capacity * sizeof *s->tensors);
    }
    TensorView *t = &s->tensors[s->n_tensors++];
    *t = (TensorView){0};
    return t;
}

static int by_place(const void *a, const void *b) {
    const TensorView *x = *(const TensorView *const *)a, *y = *(const TensorView *const *)b;
    if (x->data != y->data) return (const char *)x->data < (const char *)y->data ? -1 : 1;
    return (x->bytes > y->bytes) - (x->bytes < y->bytes); // an empty tensor may share its place with the next one
}

// Tensors [first, n_tensors) must cover the data exactly: no overlap, no hole, nothing behind.
static bool check_coverage(const Safetensors *s, int64_t first, const Mapping *map, uint64_t header, Error *e) {
    int64_t n = s->n_tensors - first;
    const TensorView **sorted = xcalloc((size_t)n + 1, sizeof *sorted);
    for (int64_t i = 0; i < n; i++) sorted[i] = &s->tensors[first + i];
    qsort(sorted, (size_t)n, sizeof *sorted, by_place);
    const uint8_t *end = map->data + header;
    bool ok = true;
    for (int64_t i = 0; ok && i < n; i++) {
        const uint8_t *begin = sorted[i]->data;
        if (begin != end)
            ok = fail(e, EXIT_DATA, "%.128s: data_offsets: %s at byte %lld of the data", sorted[i]->name,
                      begin < end ? "overlaps another tensor" : "a hole before it",
                      (long long)(begin - map->data) - (int64_t)header);
        end = begin + sorted[i]->bytes;
    }
    free(sorted);
    uint64_t rest = ok ? (uint64_t)(map->data + map->size - end) : 0;
    return rest == 0 ? ok
                     : fail(e, EXIT_DATA,
                            "%llu bytes behind the last tensor belong to none; the file is damaged or no plain "
                            "safetensors file",
                            (unsigned long long)rest);
}

// The bounds of the JSON text: *length without its padding of spaces. Returns the place where data starts, 0 = error.
static uint64_t check_header(const Mapping *map, size_t *length, Error *e) {
    static const char lfs[] = "version https://git-lfs";
    uint64_t n;
    if (map->size >= sizeof lfs && memcmp(map->data, lfs, sizeof lfs - 1) == 0)
        return fail(e, EXIT_DATA,
                    "this is a Git LFS pointer, not the weights; run `git lfs pull` or download the file"),
               0;
    if (map->size < 8)
        return fail(e, EXIT_DATA, "%zu bytes are too short for a safetensors file; copy or download it again",
                    map->size),
               0;
    memcpy(&n, map->data, 8);
    if (n > MAX_HEADER)
        return fail(e, EXIT_DATA, "header length %llu is above %d: no safetensors file", (unsigned long long)n,
                    MAX_HEADER),
               0;
    if (n > map->size - 8)
        return fail(e, EXIT_DATA,
                    "the header needs %llu bytes, the file has %zu after its length: the file is cut off; copy or "
                    "download it again",
                    (unsigned long long)n, map->size - 8),
               0;
    const uint8_t *text = map->data + 8;
    *length = (size_t)n;
    while (*length > 0 && text[*length - 1] == ' ') --*length;
    if (*length < 2 || text[0] != '{' || text[*length - 1] != '}')
        return fail(e, EXIT_DATA, "the header is no JSON object: it must start with '{' and end with '}' and spaces"),
               0;
    return 8 + n;
}

// Each tensor is an object, so that counting braces bounds their number before memory is taken.
static bool check_count(const uint8_t *text, size_t length, Error *e) {
    int64_t braces = 0;
    for (size_t i = 0; i < length; i++) braces += text[i] == '{';
    return braces <= MAX_TENSORS + 2 || fail(e, EXIT_DATA, "header: more than %d tensors", MAX_TENSORS);
}

// The header is walked entry by entry: a tree of a large one would take ten times its size.
typedef struct Header {
    const char *text;
    size_t length, at;
} Header;

static bool fail_json(const Header *h, const char *what, Error *e) {
    return fail(e, EXIT_DATA, "header: byte %zu: not valid JSON: %s", 8 + h->at, what);
}

// The next character that is no white space; NUL at the end.
static char peek(Header *h) {
    while (h->at < h->length && strchr(" \t\n\r", h->text[h->at]) && h->text[h->at]) h->at++;
    return h->at < h->length ? h->text[h->at] : '\0';
}

static bool expect(Header *h, char c, Error *e) {
    if (peek(h) != c) return fail_json(h, "a brace, comma, colon or name is missing", e);
    h->at++;
    return true;
}

static json_t *next_value(Header *h, Error *e) {
    json_error_t why;
    int how = JSON_DECODE_ANY | JSON_REJECT_DUPLICATES | JSON_DISABLE_EOF_CHECK;
    json_t *value = json_loadb(h->text + h->at, h->length - h->at, how, &why);
    if (value == NULL)
        fail_json(h, why.text, e);
    else
        h->at += (size_t)why.position; // bytes read
    return value;
}

static bool take_entry(Safetensors *s, const char *path, const char *name, json_t *value, const Mapping *map,
                       uint64_t header, Error *e) {
    if (strcmp(name, "__metadata__") == 0) return take_metadata(s, value, e);
    char shown[NAME_SHOWN];
    TensorView *t = next_tensor(s);
    t->name = xstrdup(name);
    name_shown(name, strlen(name), shown);
    return parse_tensor(path, shown, value, map, header, t, e) || fail_in(e, "%s", shown);
}

static bool parse_entry(Safetensors *s, const char *path, Header *h, const Mapping *map, uint64_t header, Error *e) {
    if (peek(h) != '"') return fail_json(h, "expected the name of a tensor", e);
    json_t *name = next_value(h, e), *value = NULL;
    bool ok = name != NULL && expect(h, ':', e) && (peek(h), value = next_value(h, e)) != NULL &&
              take_entry(s, path, json_string_value(name), value, map, header, e);
    json_decref(name);
    json_decref(value);
    return ok;
}

static bool parse_entries(Safetensors *s, const char *path, Header *h, const Mapping *map, uint64_t header, Error *e) {
    if (!expect(h, '{', e)) return false;
    for (bool first = true; peek(h) != '}'; first = false)
        if ((!first && !expect(h, ',', e)) || !parse_entry(s, path, h, map, header, e)) return false;
    h->at++;
    return h->at == h->length || fail_json(h, "text behind the end", e);
}

static bool parse_file(Safetensors *s, const char *path, const Mapping *map, Error *e) {
    size_t length = 0;
    uint64_t header = check_header(map, &length, e);
    if (header == 0 || !check_count(map->data + 8, length, e)) return fail_in(e, "%s", path);
    Header h = {.text = (const char *)map->data + 8, .length = length};
    int64_t first = s->n_tensors;
    return (parse_entries(s, path, &h, map, header, e) && check_coverage(s, first, map, header, e)) ||
           fail_in(e, "%s", path);
}

static bool open_file(Safetensors *s, const char *path, Error *e) {
    s->maps = xrealloc(s->maps, (size_t)(s->n_maps + 1) * sizeof *s->maps);
    if (!file_map(path, &s->maps[s->n_maps], e)) return false;
    s->n_maps++;
    return parse_file(s, path, &s->maps[s->n_maps - 1], e);
}

// A shard is a plain name inside the folder.
static bool check_shard_name(const char *index, const json_t *value, Error *e) {
    const char *name = json_string_value(value);
    size_t n = name ? strlen(name) : 0;
    static const char ending[] = ".safetensors";
    size_t n_ending = sizeof ending - 1;
    if (name == NULL || n <= n_ending || strcmp(name + n - n_ending, ending) != 0 || strchr(name, '/') ||
        name[0] == '.' || !name_is_printable(name, n))
        return fail(e, EXIT_DATA,
                    "%s: weight_map: each value must be the plain name of a .safetensors file in the same folder",
                    index);
    return true;
}

static bool open_shards(Safetensors *s, const char *folder, const char *index, const json_t *weight_map, Error *e) {
    json_t *opened = json_object(), *shard;
    const char *tensor;
    bool ok = true;
    json_object_foreach((json_t *)(uintptr_t)weight_map, tensor, shard) {
        ok = check_shard_name(index, shard, e);
        if (!ok) break;
        const char *name = json_string_value(shard);
        if (json_object_get(opened, name)) continue;
        json_object_set_new(opened, name, json_true());
        int64_t first = s->n_tensors;
        char *path = path_join(folder, name);
        ok = open_file(s, path, e);
        for (int64_t i = first; ok && i < s->n_tensors; i++) {
            const char *said = json_string_value(json_object_get(weight_map, s->tensors[i].name));
            if (said == NULL || strcmp(said, name) != 0)
                ok = fail(e, EXIT_DATA, "%s: %.128s is not what %s says about this file; the folder mixes two models",
                          path, s->tensors[i].name, index);
        }
        free(path);
        if (!ok) break;
    }
    json_decref(opened);
    return ok;
}

static bool open_index(Safetensors *s, const char *folder, const char *index, Error *e) {
    json_t *root = json_read_file(index, e);
    if (root == NULL) return false;
    json_t *weight_map = json_object_get(root, "weight_map"), *shard;
    bool ok =
        json_is_object(weight_map) || fail(e, EXIT_DATA, "%s: weight_map: expected an object of tensor: file", index);
    ok = ok && open_shards(s, folder, index, weight_map, e);
    if (ok && (size_t)s->n_tensors != json_object_size(weight_map)) {
        for (int64_t i = 0; i < s->n_tensors; i++) json_object_del(weight_map, s->tensors[i].name);
        const char *missing;
        json_object_foreach(weight_map, missing, shard) {
            char shown[NAME_SHOWN];
            ok = fail(e, EXIT_DATA, "%s: %s is promised, but not in %s", index,
                      name_shown(missing, strlen(missing), shown), json_string_value(shard));
            break;
        }
    }
    json_decref(root);
    return ok;
}

static bool open_folder(Safetensors *s, const char *folder, Error *e) {
    char *single = path_join(folder, "model.safetensors"), *index = path_join(folder, "model.safetensors.index.json");
    bool ok = file_exists(single) ? open_file(s, single, e)
              : file_exists(index)
                  ? open_index(s, folder, index, e)
                  : fail(e, EXIT_DATA,
                         "%s: neither model.safetensors nor model.safetensors.index.json is there; other weight files "
                         "must be converted to safetensors first",
                         folder);
    free(single);
    free(index);
    return ok;
}

static int by_name(const void *a, const void *b) {
    return strcmp(((const TensorView *)a)->name, ((const TensorView *)b)->name);
}

static bool sort_by_name(Safetensors *s, const char *path, Error *e) {
    if (s->n_tensors > 0) qsort(s->tensors, (size_t)s->n_tensors, sizeof *s->tensors, by_name);
    for (int64_t i = 1; i < s->n_tensors; i++)
        if (strcmp(s->tensors[i - 1].name, s->tensors[i].name) == 0)
            return fail(e, EXIT_DATA, "%s: %.128s: two tensors of this name", path, s->tensors[i].name);
    return true;
}

Safetensors *safetensors_open(const char *path, Error *e) {
    Safetensors *s = xcalloc(1, sizeof *s);
    s->metadata = json_object();
    if ((is_folder(path) ? open_folder(s, path, e) : open_file(s, path, e)) && sort_by_name(s, path, e)) return s;
    safetensors_close(s);
    return NULL;
}

const TensorView *safetensors_find(const Safetensors *s, const char *name) {
    TensorView key = {.name = name};
    return s->n_tensors ? bsearch(&key, s->tensors, (size_t)s->n_tensors, sizeof key, by_name) : NULL;
}

int64_t safetensors_count(const Safetensors *s) { return s->n_tensors; }

const TensorView *safetensors_at(const Safetensors *s, int64_t index) {
    check(index >= 0 && index < s->n_tensors, "tensor %lld of %lld", (long long)index, (long long)s->n_tensors);
    return &s->tensors[index];
}

const char *safetensors_metadata(const Safetensors *s, const char *key) {
    return json_string_value(json_object_get(s->metadata, key));
}

void safetensors_close(Safetensors *s) {
    if (s == NULL) return;
    for (int64_t i = 0; i < s->n_tensors; i++) free((void *)(uintptr_t)s->tensors[i].name);
    for (int64_t i = 0; i < s->n_maps; i++) file_unmap(&s->maps[i]);
    json_decref(s->metadata);
    free(s->tensors);
    free(s->maps);
    free(s);
}
