// chat: messages -> token ids with assistant spans known by construction, never by searching text. The same renderer
// serves training, generation and evaluation, so a template cannot differ between them. Templates are rows of
// chat_templates.def: the exact Jinja text found in tokenizer_config.json selects the row; a template that is in no row
// is refused by name.
#pragma once
#include "core/base/json.h"
#include "core/data/tokenizer.h"

typedef struct ChatMessage {
    const char *role; // system | user | assistant
    const char *content;
} ChatMessage;

typedef struct ChatTemplate ChatTemplate;
ChatTemplate *chat_load(const char *model_path, const Tokenizer *t, Error *e); // a model folder or .gguf
void chat_free(ChatTemplate *c);
const char *chat_name(const ChatTemplate *c);     // row name, stored in shard manifests
const char *chat_jinja(const ChatTemplate *c);    // text for tokenizer_config.json / GGUF
const char *chat_builtin_jinja(const char *name); // row -> Jinja text, NULL when unknown

// Appends ids and, when mask != NULL, one byte per id into *mask (grown along): 1 = assistant text including its end
// token. generation_prompt: also append what the template puts before an assistant's answer. `prefix` (may be NULL) is
// forced text after it ("<think>\n"), tokenized apart.
bool chat_encode(const ChatTemplate *c, const ChatMessage *messages, size_t n, bool generation_prompt,
                 const char *prefix, TokenList *ids, Buf *mask, Error *e);
int32_t chat_end_token(const ChatTemplate *c); // what ends an assistant turn

// Splits an assistant's text into reasoning and content: "<think>...</think>" with the opener possibly missing.
// complete = a closing tag was seen or there was no thinking at all. Appends to the two buffers.
void chat_split_thinking(const char *text, size_t length, Buf *reasoning, Buf *content, bool *complete);
// Messages out of a record's "messages" array. Borrows strings; n_max bounds. Errors name the record's place.
bool chat_messages(const json_t *array, const char *place, ChatMessage *out, size_t n_max, size_t *n, Error *e);
