// SPDX-License-Identifier: Apache-2.0
#include "registry/image_index.h"

#include <string.h>
#include <sys/utsname.h>

#include "registry/oci.h"

enum { SCORE_PLAIN = 1000 };

static bool copy_part(char field[TARN_PLATFORM_PART], const char *text, size_t length)
{
    if (length >= TARN_PLATFORM_PART)
        return false;
    for (size_t i = 0; i < length; i++)
        if (text[i] <= ' ' || text[i] > '~' || text[i] == '/')
            return false;
    memcpy(field, text, length);
    field[length] = '\0';
    return true;
}

static void set_part(char field[TARN_PLATFORM_PART], const char *text)
{
    snprintf(field, TARN_PLATFORM_PART, "%s", text);
}

// The names that containerd's platforms package takes for one thing.
static void normalise(struct tarn_platform *platform)
{
    static const struct {
        const char *from;
        const char *architecture;
        const char *variant;
    } aliases[] = {
        { "x86_64", "amd64", NULL },  { "x86-64", "amd64", NULL },
        { "i386", "386", NULL },      { "i486", "386", NULL },
        { "i586", "386", NULL },      { "i686", "386", NULL },
        { "aarch64", "arm64", NULL }, { "armhf", "arm", "v7" },
        { "armel", "arm", "v6" },     { "armv8l", "arm", "v7" },
        { "armv7l", "arm", "v7" },    { "armv6l", "arm", "v6" },
        { "armv5tel", "arm", "v5" },  { "loongarch64", "loong64", NULL },
    };
    for (size_t i = 0; i < sizeof aliases / sizeof aliases[0]; i++)
        if (strcmp(platform->architecture, aliases[i].from) == 0) {
            set_part(platform->architecture, aliases[i].architecture);
            if (aliases[i].variant)
                set_part(platform->variant, aliases[i].variant);
            break;
        }
    const char *architecture = platform->architecture;
    char *variant = platform->variant;
    if (variant[0] >= '1' && variant[0] <= '9' && variant[1] == '\0')
        snprintf(variant, TARN_PLATFORM_PART, "v%c", variant[0]);
    if ((strcmp(architecture, "arm64") == 0 && strcmp(variant, "v8") == 0) ||
        (strcmp(architecture, "amd64") == 0 && strcmp(variant, "v1") == 0))
        variant[0] = '\0';
    if (strcmp(architecture, "arm") == 0 && variant[0] == '\0')
        set_part(variant, "v7");
}

int tarn_platform_parse(const char *text, struct tarn_platform *platform, struct tarn_err *err)
{
    *platform = (struct tarn_platform){ 0 };
    const char *slash = strchr(text, '/');
    const char *second = slash ? strchr(slash + 1, '/') : NULL;
    const char *end = text + strlen(text);
    const char *architecture_end = second ? second : end;
    if (!slash || slash == text || slash + 1 == architecture_end || (second && second + 1 == end) ||
        !copy_part(platform->os, text, (size_t)(slash - text)) ||
        !copy_part(platform->architecture, slash + 1, (size_t)(architecture_end - slash - 1)) ||
        (second && !copy_part(platform->variant, second + 1, (size_t)(end - second - 1))))
        return tarn_fail(err, -EINVAL,
                         "platform '%.200s': expected OS/ARCHITECTURE[/VARIANT], for example "
                         "linux/arm64",
                         text);
    normalise(platform);
    return 0;
}

int tarn_platform_from_machine(const char *machine, struct tarn_platform *platform,
                               struct tarn_err *err)
{
    static const char *const known[] = { "amd64",   "386",     "arm64", "arm",
                                         "riscv64", "ppc64le", "s390x", "loong64" };
    *platform = (struct tarn_platform){ .os = "linux" };
    if (copy_part(platform->architecture, machine, strlen(machine))) {
        normalise(platform);
        for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
            if (strcmp(platform->architecture, known[i]) == 0)
                return 0;
    }
    return tarn_fail(err, -ENOTSUP, "machine '%.100s' has no known platform name; give --platform",
                     machine);
}

int tarn_platform_host(struct tarn_platform *platform, struct tarn_err *err)
{
    struct utsname name;
    if (uname(&name) < 0)
        return tarn_fail_errno(err, -errno, "uname");
    return tarn_platform_from_machine(name.machine, platform, err);
}

bool tarn_platform_from_json(const json_t *json, struct tarn_platform *platform)
{
    *platform = (struct tarn_platform){ 0 };
    const char *os = tarn_json_string(json, "os");
    const char *architecture = tarn_json_string(json, "architecture");
    const char *variant = tarn_json_string(json, "variant");
    if (!os || !*os || !architecture || !*architecture ||
        !copy_part(platform->os, os, strlen(os)) ||
        !copy_part(platform->architecture, architecture, strlen(architecture)) ||
        (variant && !copy_part(platform->variant, variant, strlen(variant))))
        return false;
    normalise(platform);
    return true;
}

char *tarn_platform_format(const struct tarn_platform *platform, char text[TARN_PLATFORM_TEXT])
{
    snprintf(text, TARN_PLATFORM_TEXT, "%s/%s%s%s", platform->os, platform->architecture,
             platform->variant[0] ? "/" : "", platform->variant);
    return text;
}

// The number in "v7", or 0.
static unsigned variant_number(const char *variant)
{
    return variant[0] == 'v' && variant[1] >= '1' && variant[1] <= '9' && variant[2] == '\0'
               ? (unsigned)(variant[1] - '0')
               : 0;
}

// How well an entry's platform serves a wanted one: 0 not at all, else the larger the better. A wanted
// variant must be that one; on arm an older one serves too, the newest of them best.
static unsigned score_platform(const struct tarn_platform *wanted,
                               const struct tarn_platform *offered)
{
    if (strcmp(wanted->os, offered->os) != 0 ||
        strcmp(wanted->architecture, offered->architecture) != 0)
        return 0;
    if (strcmp(wanted->variant, offered->variant) == 0)
        return SCORE_PLAIN;
    const unsigned want = variant_number(wanted->variant);
    const unsigned offer = variant_number(offered->variant);
    // An older arm runs on a newer one. Where no variant is wanted, the least special one is best.
    if (strcmp(wanted->architecture, "arm") == 0 && offer > 0 && offer < want)
        return SCORE_PLAIN - (want - offer);
    return wanted->variant[0] == '\0' ? SCORE_PLAIN / 2 - offer : 0;
}

enum tarn_entry_kind tarn_entry_kind(const json_t *entry)
{
    const char *media_type = tarn_json_string(entry, "mediaType");
    const char *artifact = tarn_json_string(entry, "artifactType");
    const bool tarn = artifact && strcmp(artifact, TARN_ARTIFACT_TYPE) == 0;
    // Tools with the descriptors of OCI 1.0 drop artifactType when they rewrite an index.json.
    if ((tarn || !artifact) && tarn_media_is_manifest(media_type) &&
        tarn_oci_annotation(entry, TARN_ANNOTATION_SUBJECT))
        return TARN_ENTRY_TARN;
    if (tarn_media_is_index(media_type))
        return TARN_ENTRY_INDEX;
    if (!tarn_media_is_manifest(media_type))
        return TARN_ENTRY_OTHER;
    const char *os = tarn_json_string(json_object_get(entry, "platform"), "os");
    const bool unknown = os && strcmp(os, "unknown") == 0;
    return unknown || (artifact && !tarn) ? TARN_ENTRY_OTHER : TARN_ENTRY_IMAGE;
}

const json_t *tarn_index_choose(const json_t *entries, const struct tarn_platform *wanted)
{
    const json_t *best = NULL;
    const json_t *nameless = NULL;
    unsigned best_score = 0;
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        const json_t *json = json_object_get(entry, "platform");
        struct tarn_platform offered;
        if (!json_is_object(json)) {
            nameless = nameless ? nameless : entry;
            continue;
        }
        const unsigned score =
            tarn_platform_from_json(json, &offered) ? score_platform(wanted, &offered) : 0;
        if (score > best_score) {
            best = entry;
            best_score = score;
        }
    }
    return best ? best : nameless;
}

int tarn_index_platforms(const json_t *entries, struct tarn_buf *text)
{
    const size_t start = text->length;
    for (size_t i = 0; i < json_array_size(entries); i++) {
        struct tarn_platform platform;
        char name[TARN_PLATFORM_TEXT];
        if (!tarn_platform_from_json(json_object_get(json_array_get(entries, i), "platform"),
                                     &platform))
            continue;
        const int ret = tarn_buf_printf(text, "%s%s", text->length == start ? "" : ", ",
                                        tarn_platform_format(&platform, name));
        if (ret < 0)
            return ret;
    }
    return 0;
}

const json_t *tarn_index_find_tarn(const json_t *entries, const char *subject)
{
    for (size_t i = 0; i < json_array_size(entries); i++) {
        const json_t *entry = json_array_get(entries, i);
        const char *of = tarn_oci_annotation(entry, TARN_ANNOTATION_SUBJECT);
        if (tarn_entry_kind(entry) == TARN_ENTRY_TARN && strcmp(of, subject) == 0)
            return entry;
    }
    return NULL;
}

int tarn_document_media_type(const json_t *document, const char *what, const char **media_type,
                             struct tarn_err *err)
{
    const bool index = json_object_get(document, "manifests") != NULL;
    const bool manifest =
        json_object_get(document, "config") || json_object_get(document, "layers");
    const char *own = tarn_json_string(document, "mediaType");
    // One text must not be an index to one reader and a manifest to another.
    if (index && manifest)
        return tarn_fail(err, -EUCLEAN, "%s: has both 'manifests' and 'config' or 'layers'", what);
    if (json_object_get(document, "fsLayers"))
        return tarn_fail(err, -ENOTSUP,
                         "%s: a Docker schema 1 manifest is not supported; push the image again "
                         "with a client of today",
                         what);
    if (!index && !manifest)
        return tarn_fail(err, -EUCLEAN, "%s: neither a manifest nor an index", what);
    if (!own)
        own = index ? TARN_MEDIA_OCI_INDEX : TARN_MEDIA_OCI_MANIFEST;
    if (index ? !tarn_media_is_index(own) : !tarn_media_is_manifest(own))
        return tarn_fail(err, -ENOTSUP, "%s: media type '%.200s' is not supported for %s", what,
                         own, index ? "an index" : "a manifest");
    *media_type = own;
    return 0;
}
