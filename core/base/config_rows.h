// Makes ConfigRow entries out of the rows in CFG_FILE for struct CFG_STRUCT (see config.h). No guard on purpose.
#define CFG_ROW(field, type, fallback, lo, hi, choices, help) \
    {#field, type, offsetof(CFG_STRUCT, field), fallback, lo, hi, choices, help},
#define CFG_INT(field, fallback, lo, hi, help) CFG_ROW(field, CFG_TYPE_INT, fallback, lo, hi, NULL, help)
#define CFG_REAL(field, fallback, lo, hi, help) CFG_ROW(field, CFG_TYPE_REAL, fallback, lo, hi, NULL, help)
#define CFG_BOOL(field, fallback, help) CFG_ROW(field, CFG_TYPE_BOOL, fallback, 0, 1, NULL, help)
#define CFG_TEXT(field, fallback, help) CFG_ROW(field, CFG_TYPE_TEXT, fallback, 0, 0, NULL, help)
#define CFG_PICK(field, fallback, choices, help) CFG_ROW(field, CFG_TYPE_PICK, fallback, 0, 0, choices, help)
#define CFG_LIST(field, fallback, help) CFG_ROW(field, CFG_TYPE_LIST, fallback, 0, 0, NULL, help)
#include CFG_FILE
#undef CFG_ROW
#undef CFG_INT
#undef CFG_REAL
#undef CFG_BOOL
#undef CFG_TEXT
#undef CFG_PICK
#undef CFG_LIST
#undef CFG_FILE
#undef CFG_STRUCT
