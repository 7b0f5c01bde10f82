// SPDX-License-Identifier: Apache-2.0
// Image names in skopeo's form: docker://HOST/REPO[:TAG|@DIGEST], oci:DIR[:TAG|@DIGEST],
// oci-archive:FILE[:TAG|@DIGEST], tar:FILE, dir:PATH. A bare HOST/REPO... is docker://.
//
// docker:// needs a host: a first part with '.' or ':', or "localhost"; on docker.io a repository of
// one word stands for library/WORD. For oci: and oci-archive: the first ':' ends the path, as in
// skopeo, so that a path cannot hold one; all behind it is the tag, which may be any text. A
// "@sha256:<64 hex>" at the end is a digest, and where a digest is given it counts, not the tag.
// tar: and dir: take all that follows as the path.
#ifndef TARN_REGISTRY_REFERENCE_H
#define TARN_REGISTRY_REFERENCE_H

#include <stdbool.h>

#include "base/digest.h"

enum tarn_reference_kind {
    TARN_REFERENCE_DOCKER,
    TARN_REFERENCE_OCI,
    TARN_REFERENCE_OCI_ARCHIVE,
    TARN_REFERENCE_TAR, // one layer
    TARN_REFERENCE_DIR, // one directory tree
};

// All strings are owned.
struct tarn_reference {
    enum tarn_reference_kind kind;
    char *text; // as given, for messages
    char *host; // docker: with port; else NULL
    char *path; // docker: the repository; else the file or directory
    char *tag;  // NULL: none given; see tarn_reference_tag()
    bool has_digest;
    struct tarn_digest digest;
};

// -EINVAL with what is wrong and what is expected; -ENOTSUP for a digest that is not SHA-256. On an
// error nothing needs to be released.
int tarn_reference_parse(const char *text, struct tarn_reference *reference,
                         struct tarn_err *err) tarn_must_check;
void tarn_reference_release(struct tarn_reference *reference);

// The tag, or "latest". Borrowed. For reading from a layout pass reference->tag itself to
// tarn_repository_read(), which knows what no tag means there.
const char *tarn_reference_tag(const struct tarn_reference *reference);

#endif
