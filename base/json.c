// SPDX-License-Identifier: Apache-2.0
#include "base/json.h"

json_t *tarn_json_parse(const void *text, size_t length, const char *what, struct tarn_err *err)
{
    json_error_t fault;
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
