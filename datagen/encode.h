// encode: a document as the token ids it is trained as. Mix counts with it and pack writes with it, so that a share
// counted is a share trained. Must not know: records, shards.
#pragma once
#include "core/data/tokenizer.h"

// Loads a tokenizer and finds the token that ends a document.
typedef struct DocumentEncoder {
    Tokenizer *tokenizer;
    int32_t end_token;
} DocumentEncoder;
bool document_encoder_open(DocumentEncoder *d, const char *tokenizer_folder, const char *end_token, Error *e);
void document_encoder_close(DocumentEncoder *d);

// Replaces *ids by: the token that opens every text (where the model has one), the text, the end token. Marks of a chat
// template in the text stay text.
void document_encode(const DocumentEncoder *d, const char *text, TokenList *ids);
