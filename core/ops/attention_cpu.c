// attention_cpu
#include "core/ops/ops.h"
void attention_forward_cpu(float *out, float *lse, const float *q, const float *k, const float *v, const int32_t *starts, int64_t n_docs, float scale, int64_t window, int64_t H, int64_t KV, int64_t D) { attention_forward_ref(out, lse, q, k, v, starts, n_docs, scale, window, H, KV, D); }
void attention_backward_cpu(float *dq, float *dk, float *dv, const float *dout, const float *out, const float *lse, const float *q, const float *k, const float *v, const int32_t *starts, int64_t n_docs, float scale, int64_t window, int64_t H, int64_t KV, int64_t D) { attention_backward_ref(dq, dk, dv, dout, out, lse, q, k, v, starts, n_docs, scale, window, H, KV, D); }
void attention_decode_cpu(float *out, const float *q, const float *const *keys, const float *const *values, const int32_t *lengths, float scale, int64_t window, int64_t B, int64_t H, int64_t KV, int64_t D) { attention_decode_ref(out, q, keys, values, lengths, scale, window, B, H, KV, D); }
