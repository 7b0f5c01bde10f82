// SPDX-License-Identifier: Apache-2.0
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include <string.h>

#include "registry/layout_index.h"
#include "registry/oci.h"

// Digests are named by one letter, "a" for "sha256:aaaa...". An index.json is written as words:
// "a=tag" an entry with a tag, "a" one without, "t:a" Tarn's entry t for a, "n!" the note of a converted
// layer, "I..." an index (media type).
static void digest_text(char letter, char text[TARN_DIGEST_TEXT])
{
    memset(text, letter, TARN_DIGEST_TEXT - 1);
    memcpy(text, "sha256:", 7);
    text[TARN_DIGEST_TEXT - 1] = '\0';
}

static json_t *entry_of(const char *word)
{
    const bool index = *word == 'I';
    char text[TARN_DIGEST_TEXT];
    word += index;
    digest_text(word[0], text);
    json_t *entry = json_pack("{s:s, s:s, s:i}", "mediaType",
                              index ? TARN_MEDIA_OCI_INDEX : TARN_MEDIA_OCI_MANIFEST, "digest",
                              text, "size", 1);
    if (word[1] == '=')
        json_object_set_new(entry, "annotations",
                            json_pack("{s:s}", TARN_ANNOTATION_REF_NAME, word + 2));
    if (word[1] == '!') {
        json_object_set_new(entry, "annotations", json_pack("{s:s}", TARN_ANNOTATION_KEY, text));
        json_object_set_new(entry, "artifactType", json_string(TARN_ARTIFACT_TYPE));
    }
    if (word[1] == ':') {
        digest_text(word[2], text);
        json_object_set_new(entry, "annotations",
                            json_pack("{s:s}", TARN_ANNOTATION_SUBJECT, text));
        json_object_set_new(entry, "artifactType", json_string(TARN_ARTIFACT_TYPE));
    }
    return entry;
}

static json_t *entries_of(const char *words)
{
    json_t *entries = json_array();
    char copy[200];
    char *save = NULL;
    snprintf(copy, sizeof copy, "%s", words);
    for (char *word = strtok_r(copy, " ", &save); word; word = strtok_r(NULL, " ", &save))
        json_array_append_new(entries, entry_of(word));
    return entries;
}

static json_t *index_of(const char *words)
{
    json_t *index = tarn_layout_index_new();
    json_object_set_new(index, "manifests", entries_of(words));
    return index;
}

static void words_of(const json_t *index, char words[200])
{
    const json_t *manifests = json_object_get(index, "manifests");
    size_t at = 0;
    words[0] = '\0';
    for (size_t i = 0; i < json_array_size(manifests); i++) {
        const json_t *entry = json_array_get(manifests, i);
        const char *tag = tarn_oci_annotation(entry, TARN_ANNOTATION_REF_NAME);
        const char *subject = tarn_oci_annotation(entry, TARN_ANNOTATION_SUBJECT);
        at += (size_t)snprintf(words + at, 200 - at, "%s%s%c", i ? " " : "",
                               tarn_media_is_index(tarn_json_string(entry, "mediaType")) ? "I" : "",
                               tarn_json_string(entry, "digest")[7]);
        if (tarn_oci_annotation(entry, TARN_ANNOTATION_KEY))
            at += (size_t)snprintf(words + at, 200 - at, "!");
        else if (tag)
            at += (size_t)snprintf(words + at, 200 - at, "=%s", tag);
        else if (subject)
            at += (size_t)snprintf(words + at, 200 - at, ":%c", subject[7]);
    }
}

// The manifest with digest 5555... has the layers with the keys 7777... and 8888...
static int read_manifest(struct tarn_buf *buf)
{
    char text[500];
    char keys[2][TARN_DIGEST_TEXT];
    digest_text('7', keys[0]);
    digest_text('8', keys[1]);
    snprintf(text, sizeof text,
             "{\"layers\":[{\"annotations\":{\"dev.tarn.key\":\"%s\"}},{},"
             "{\"annotations\":{\"dev.tarn.key\":\"%s\"}}]}",
             keys[0], keys[1]);
    return tarn_buf_append(buf, text, strlen(text));
}

// The index with digest ffff... holds c and d, that with eeee... holds ffff...; bbbb... is lost.
static int source_read(void *context, const struct tarn_digest *digest, struct tarn_buf *buf,
                       struct tarn_err *err)
{
    (void)context;
    if (digest->bytes[0] == 0x55)
        return read_manifest(buf);
    const char *words = digest->bytes[0] == 0xff ? "c d" : digest->bytes[0] == 0xee ? "If" : NULL;
    if (!words)
        return tarn_fail(err, -ENOENT, "lost");
    tarn_autojson json_t *index = index_of(words);
    tarn_autofree char *text = tarn_json_dump(index);
    return tarn_buf_append(buf, text, strlen(text));
}

static void test_publish(void **state)
{
    static const struct {
        const char *before;
        const char *original; // and its tag
        const char *tarn;
        const char *after;
    } cases[] = {
        { "", "a=x", "", "a=x" },
        { "", "a=x", "1:a", "a=x 1:a" },
        { "a=x 1:a", "a=x", "2:a", "a=x 2:a" },
        { "a=x 1:a", "a=x", "", "a=x 1:a" },
        { "a=x 1:a c=y", "d=x", "2:d", "d=x 2:d c=y" },
        { "a=x 1:a c=y", "d=z", "2:d", "a=x 1:a c=y d=z 2:d" },
        { "a=x 1:a a=y", "c=x", "", "c=x 1:a a=y" },
        { "a=x 1:a a=y", "a=y", "2:a", "a=x a=y 2:a" },
        { "a=x a=x c", "d=x", "", "d=x c" },
        { "a", "a=x", "", "a a=x" },
        { "If=x 1:c 2:d", "If=x", "3:d", "If=x 3:d 1:c" },
        { "If=x 1:c 2:d", "a=x", "", "a=x" },
        { "If=x 1:c 2:d", "c=x", "", "c=x 1:c" },
        { "Ie=x 1:c 2:a", "a=y", "", "Ie=x 1:c 2:a a=y" },
        { "Ie=x 1:c 2:a", "c=y", "", "Ie=x 1:c c=y" },
        { "Ib=x 1:c", "a=y", "", "Ib=x 1:c a=y" },
        { "1:c", "a=x", "", "a=x" },
        { "a=x 1:a 2!", "c=y", "", "a=x 1:a 2! c=y" },
        { "1! 7! 8! 9!", "a=x", "5:a", "1! 9! a=x 5:a" },
        { "1! 7! 8! 9!", "5=x", "", "1! 9! 5=x" },
        { "7! 8!", "a=x", "b:a", "7! 8! a=x b:a" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tarn_autojson json_t *index = index_of(cases[i].before);
        tarn_autojson json_t *tagged = entry_of(cases[i].original);
        tarn_autojson json_t *tarn = entries_of(cases[i].tarn);
        const char *tag = strchr(cases[i].original, '=') + 1;
        // Another tag in the source's own entry is replaced.
        json_object_set_new(json_object_get(tagged, "annotations"), TARN_ANNOTATION_REF_NAME,
                            json_string("other"));
        const struct tarn_layout_change change = {
            .tag = tag, .original = tagged, .tarn = tarn, .source = { .read = source_read }
        };
        struct tarn_err err;
        if (tarn_layout_index_publish(index, &change, &err) < 0)
            fail_msg("case %zu: %s", i, err.text);
        char got[200];
        words_of(index, got);
        if (strcmp(got, cases[i].after) != 0)
            fail_msg("'%s' + '%s' '%s': want '%s', got '%s'", cases[i].before, cases[i].original,
                     cases[i].tarn, cases[i].after, got);
    }
}

// Without a tag only notes are added, each once.
static void test_notes(void **state)
{
    (void)state;
    tarn_autojson json_t *index = index_of("a=x 1:a 2!");
    tarn_autojson json_t *notes = entries_of("2! 3!");
    const struct tarn_layout_change change = { .tarn = notes, .source = { .read = source_read } };
    char got[200];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(tarn_layout_index_publish(index, &change, NULL), 0);
        words_of(index, got);
        assert_string_equal(got, "a=x 1:a 2! 3!");
    }
}

static void test_list(void **state)
{
    static const struct {
        const char *index;
        const char *tag;  // "@a": Tarn's entries for a; NULL: none
        const char *want; // or the message
        int code;
    } cases[] = {
        { "a=x 1:a c=y 2:c", "x", "a 1:a", 0 },
        { "a=x 1:a c=y 2:c", "y", "c 2:c", 0 },
        { "If=x 1:c 2:d 3:a", "x", "If 1:c 2:d", 0 },
        { "Ie=x 1:c 2:e", "x", "Ie 1:c 2:e", 0 },
        { "Ib=x 1:c 2:b", "x", "Ib 2:b", 0 },
        { "a=x c=x", "x", "a", 0 },
        { "1:a a=x 2:a", "x", "a 1:a 2:a", 0 },
        { "a 1:a", NULL, "a 1:a", 0 },
        { "a=x 1:a", NULL, "a 1:a", 0 },
        { "a=x c=latest", NULL, "c", 0 },
        { "a=x 1:a", "@a", "1:a", 0 },
        { "a=x 1:a", "@c", "", 0 },
        { "a 1:a 2!", NULL, "a 1:a", 0 },
        { "a=x 1:a 2!", "*", "1:a 2!", 0 },
        { "a=x", "*", "", 0 },
        { "1!", NULL, "oci:d: it holds no image", -ENOENT },
        { "a=x", "y", "oci:d: no tag 'y'; its tags are x", -ENOENT },
        { "", "y", "oci:d: no tag 'y'; it has no tags", -ENOENT },
        { "", NULL, "oci:d: it holds no image", -ENOENT },
        { "a=x c=y", NULL,
          "oci:d: it holds 2 images and no tag 'latest': name one; its tags are x, y", -ENOENT },
        { "a c", NULL, "oci:d: it holds 2 images and no tag 'latest': name one; it has no tags",
          -ENOENT },
        { "a=1 a=2 a=3 a=4 a=5 a=6 a=7 a=8 a=9 a=10 a=11 a=12", "y",
          "oci:d: no tag 'y'; its tags are 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 2 more", -ENOENT },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tarn_autojson json_t *index = index_of(cases[i].index);
        tarn_autojson json_t *listing = NULL;
        struct tarn_digest digest;
        struct tarn_layout_query query = { .name = "oci:d",
                                           .tag = cases[i].tag,
                                           .source = { .read = source_read } };
        if (cases[i].tag && cases[i].tag[0] == '@') {
            char text[TARN_DIGEST_TEXT];
            digest_text(cases[i].tag[1], text);
            assert_int_equal(tarn_digest_parse(text, &digest, NULL), 0);
            query.digest = &digest;
            query.tag = NULL;
        }
        query.layers = cases[i].tag && cases[i].tag[0] == '*';
        struct tarn_err err = { 0 };
        char got[200];
        const int ret = tarn_layout_index_list(index, &query, &listing, &err);
        words_of(listing, got);
        if (ret != cases[i].code || strcmp(ret < 0 ? err.text : got, cases[i].want) != 0)
            fail_msg("'%s' %s: want %d '%s', got %d '%s'", cases[i].index,
                     cases[i].tag ? cases[i].tag : "", cases[i].code, cases[i].want, ret,
                     ret < 0 ? err.text : got);
    }
}

static void test_parse(void **state)
{
    static const struct {
        const char *text;
        int code;
        const char *words;
    } cases[] = {
        { "{\"schemaVersion\":2,\"manifests\":[]}", 0, "" },
        { "{\"manifests\":[{}],\"x\":1}", 0, "" },
        { "", -EUCLEAN, "oci:d: index.json: not JSON" },
        { "[]", -EUCLEAN, "not a JSON object" },
        { "{}", -EUCLEAN, "no array 'manifests'" },
        { "{\"manifests\":{}}", -EUCLEAN, "no array 'manifests'" },
        { "{\"manifests\":[1]}", -EUCLEAN, "manifests[0] is not an object" },
        { "{\"schemaVersion\":1,\"manifests\":[]}", -EUCLEAN, "schemaVersion is not 2" },
        { "{\"manifests\":[],\"manifests\":[]}", -EUCLEAN, "not JSON" },
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        tarn_autojson json_t *index = NULL;
        struct tarn_err err = { 0 };
        const int ret =
            tarn_layout_index_parse(cases[i].text, strlen(cases[i].text), "oci:d", &index, &err);
        if (ret != cases[i].code || !strstr(err.text, cases[i].words))
            fail_msg("%s: want %d '%s', got %d '%s'", cases[i].text, cases[i].code, cases[i].words,
                     ret, err.text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_publish),
        cmocka_unit_test(test_notes),
        cmocka_unit_test(test_list),
        cmocka_unit_test(test_parse),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
