// Makes struct members out of the rows in CFG_FILE (see config.h). Included several times on purpose: no guard.
#define CFG_INT(field, fallback, lo, hi, help) int64_t field;
#define CFG_REAL(field, fallback, lo, hi, help) double field;
#define CFG_BOOL(field, fallback, help) bool field;
#define CFG_TEXT(field, fallback, help) char *field;
#define CFG_PICK(field, fallback, choices, help) char *field;
#define CFG_LIST(field, fallback, help) StrList field;
#include CFG_FILE
#undef CFG_INT
#undef CFG_REAL
#undef CFG_BOOL
#undef CFG_TEXT
#undef CFG_PICK
#undef CFG_LIST
#undef CFG_FILE
