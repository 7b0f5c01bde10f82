// SPDX-License-Identifier: Apache-2.0
// Any text as an image name: what is accepted must be read again the same from its own parts.
#include <assert.h>
#include <stdint.h>
#include <string.h>

#include "base/file.h"
#include "registry/reference.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    tarn_autofree char *text = strndup((const char *)data, size);
    struct tarn_reference first;
    struct tarn_reference second;
    struct tarn_err err;
    if (tarn_reference_parse(text, &first, &err) < 0) {
        assert(err.code < 0 && err.text[0] != '\0');
        return 0;
    }
    static const char *const prefixes[] = { "docker://", "oci:", "oci-archive:", "tar:", "dir:" };
    char digest[TARN_DIGEST_TEXT] = "";
    tarn_autofree char *again =
        tarn_asprintf("%s%s%s%s%s%s%s%s", prefixes[first.kind], first.host ? first.host : "",
                      first.host ? "/" : "", first.path, first.tag ? ":" : "",
                      first.tag ? first.tag : "", first.has_digest ? "@" : "",
                      first.has_digest ? tarn_digest_format(&first.digest, digest) : "");
    const int ret = tarn_reference_parse(again, &second, &err);
    assert(ret == 0);
    (void)ret;
    assert(first.kind == second.kind && strcmp(first.path, second.path) == 0);
    assert(strcmp(tarn_reference_tag(&first), tarn_reference_tag(&second)) == 0);
    tarn_reference_release(&first);
    tarn_reference_release(&second);
    return 0;
}
