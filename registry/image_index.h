// SPDX-License-Identifier: Apache-2.0
// What an index holds: choosing an image by platform, and Tarn's entry for it. Pure functions over
// documents; image_resolve.h fetches them.
#ifndef TARN_REGISTRY_IMAGE_INDEX_H
#define TARN_REGISTRY_IMAGE_INDEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"

enum { TARN_PLATFORM_PART = 64, TARN_PLATFORM_TEXT = 3 * TARN_PLATFORM_PART };

// GOOS, GOARCH and, where it is known, the variant (else ""). Normal form: amd64 and not x86_64, arm64
// with no variant for v8, amd64 with none for v1, arm with v7 for none.
struct tarn_platform {
    char os[TARN_PLATFORM_PART];
    char architecture[TARN_PLATFORM_PART];
    char variant[TARN_PLATFORM_PART];
};

// Reads "os/arch[/variant]". -EINVAL.
int tarn_platform_parse(const char *text, struct tarn_platform *platform,
                        struct tarn_err *err) tarn_must_check;
// What this host runs, by uname(2). -ENOTSUP for an unknown machine.
int tarn_platform_host(struct tarn_platform *platform, struct tarn_err *err) tarn_must_check;
// The machine name of uname(2) as a platform, for example "aarch64" as linux/arm64. -ENOTSUP.
int tarn_platform_from_machine(const char *machine, struct tarn_platform *platform,
                               struct tarn_err *err) tarn_must_check;
// The "platform" object of an index's entry. False if it is none or lacks os or architecture.
bool tarn_platform_from_json(const json_t *json, struct tarn_platform *platform);
// "os/arch[/variant]". Returns text.
char *tarn_platform_format(const struct tarn_platform *platform, char text[TARN_PLATFORM_TEXT]);

enum tarn_entry_kind {
    TARN_ENTRY_IMAGE,
    TARN_ENTRY_INDEX, // an index inside the index
    TARN_ENTRY_TARN,  // Tarn's entry for another: dev.tarn.subject, and no other artifactType
    TARN_ENTRY_OTHER, // attestations, artifacts, unknown media types
};
enum tarn_entry_kind tarn_entry_kind(const json_t *entry);

// The best image entry for the platform in an array of image entries, or NULL. An entry without a
// platform is taken when no other serves. Borrowed.
const json_t *tarn_index_choose(const json_t *entries, const struct tarn_platform *wanted);

// "linux/amd64, linux/arm64", for messages. 0 or -ENOMEM.
int tarn_index_platforms(const json_t *entries, struct tarn_buf *text) tarn_must_check;

// Tarn's first entry for the image with this digest ("sha256:..."), or NULL. Borrowed.
const json_t *tarn_index_find_tarn(const json_t *entries, const char *subject);

// What the document is, by its own mediaType or, without one, by its members: the media type to write
// into its descriptor. -EUCLEAN if it is neither a manifest nor an index, or claims to be both.
int tarn_document_media_type(const json_t *document, const char *what, const char **media_type,
                             struct tarn_err *err) tarn_must_check;

#endif
