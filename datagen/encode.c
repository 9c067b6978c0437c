#include "datagen/encode.h"

#include <string.h>

bool document_encoder_open(DocumentEncoder *d, const char *tokenizer_folder, const char *end_token, Error *e) {
    *d = (DocumentEncoder){.tokenizer = tokenizer_load(tokenizer_folder, e)};
    if (!d->tokenizer) return false;
    d->end_token = tokenizer_id(d->tokenizer, end_token);
    if (d->end_token >= 0) return true;
    document_encoder_close(d);
    return fail(e, EXIT_USAGE, "end_token: %s has no token \"%s\"; name the one that ends a document there",
                tokenizer_folder, end_token);
}

void document_encoder_close(DocumentEncoder *d) {
    if (d->tokenizer) tokenizer_free(d->tokenizer);
    d->tokenizer = NULL;
}

void document_encode(const DocumentEncoder *d, const char *text, TokenList *ids) {
    ids->count = 0;
    if (tokenizer_bos(d->tokenizer) >= 0) tokens_add(ids, tokenizer_bos(d->tokenizer));
    tokenizer_encode(d->tokenizer, text, strlen(text), false, ids);
    tokens_add(ids, d->end_token);
}
