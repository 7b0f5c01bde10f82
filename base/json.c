// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

#include <stdbool.h>

// A value takes up to 250 bytes of memory and has as few as two of text ("{},"). So many values in
// any document, and one for so many bytes more: denser ones are refused. A list of images has one
// in 40.
enum { VALUES_FREE = 65536, BYTES_PER_VALUE = 16 };

// Whether the text has more values than that: of all but the first something stands in front that
// is counted, outside of strings. Text that is no JSON may give any answer.
static bool is_too_dense(const char *text, size_t length)
{
    const size_t limit = VALUES_FREE + length / BYTES_PER_VALUE;
    size_t values = 0;
    bool quoted = false;
    for (size_t i = 0; i < length; i++) {
        const char c = text[i];
        if (c == '"')
            quoted = !quoted;
        else if (c == '\\')
            i++;
        else if (!quoted && (c == ',' || c == '[' || c == '{'))
            values++;
    }
    return values > limit;
}

json_t *tarn_json_parse(const void *text, size_t length, const char *what, struct tarn_err *err)
{
    json_error_t fault;
    if (is_too_dense(text, length)) {
        tarn_fail(err, -EUCLEAN, "%s: more than %d values and one for each %d bytes", what,
                  VALUES_FREE, BYTES_PER_VALUE);
        return NULL;
    }
    json_t *json = json_loadb(text, length, JSON_REJECT_DUPLICATES, &fault);
    if (!json) {
        tarn_fail(err, -EUCLEAN, "%s: not JSON: %s at byte %d", what, fault.text, fault.position);
        return NULL;
    }
    if (!json_is_object(json)) {
        json_decref(json);
        tarn_fail(err, -EUCLEAN, "%s: not a JSON object", what);
        return NULL;
    }
    return json;
}

char *tarn_json_dump(const json_t *json)
{
    return json_dumps(json, JSON_COMPACT | JSON_SORT_KEYS);
}

const char *tarn_json_string(const json_t *object, const char *key)
{
    return json_string_value(json_object_get(object, key));
}

uint64_t tarn_json_u64(const json_t *object, const char *key, uint64_t fallback)
{
    const json_t *value = json_object_get(object, key);
    if (!json_is_integer(value) || json_integer_value(value) < 0)
        return fallback;
    return (uint64_t)json_integer_value(value);
}
