// SPDX-License-Identifier: Apache-2.0
// Small helpers over jansson. JSON that Tarn writes is compact with sorted keys (RFC 8785 for the
// strings and integers that it uses), so that equal facts give equal bytes.
#ifndef TARN_BASE_JSON_H
#define TARN_BASE_JSON_H

#include <jansson.h>
#include <stdint.h>

#include "base/err.h"

static inline void tarn_json_decref_p(json_t **json)
{
    json_decref(*json);
}
#define tarn_autojson tarn_cleanup(tarn_json_decref_p)

// The document in length bytes of text, which must be an object. what names it in errors.
// NULL with -EUCLEAN for anything else; duplicate keys are refused, and what has more than 65,536
// values and one for each 16 bytes, so that what it takes in memory is bounded by its length. The
// caller owns it.
json_t *tarn_json_parse(const void *text, size_t length, const char *what, struct tarn_err *err);

// Compact, sorted text in fresh memory (the caller frees it), or NULL.
char *tarn_json_dump(const json_t *json);

// The member as a string or as a number that is not negative; NULL or fallback where it is absent
// or of another type. Borrowed.
const char *tarn_json_string(const json_t *object, const char *key);
uint64_t tarn_json_u64(const json_t *object, const char *key, uint64_t fallback);

#endif
