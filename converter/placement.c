// SPDX-License-Identifier: Apache-2.0
// The words are those of Debian's packages, of Python's and of npm's. The case of ASCII letters does
// not count.
#include "converter/placement.h"

#include <stdbool.h>
#include <string.h>

enum { WORD_MAX = 15 }; // bytes; the longest word below has them

// What is rare wherever it lies below one of these directories, ...
static const char *const rare_directories[] = {
    "__tests__", "bug",     "common-licenses", "doc",     "docs", "example",
    "examples",  "i18n",    "icons",           "include", "info", "license",
    "licenses",  "lintian", "locale",          "man",     "test", "tests",
};

// ... by the extension of its name: sources and what is linked; types and source maps; texts, pages
// and pictures; translations; dpkg's records; ...
static const char *const rare_extensions[] = {
    "a",      "c",       "cc",    "cmake",    "cpp",     "flow",      "h",    "hh",      "hpp",
    "la",     "o",       "pc",    "pxd",      "pyi",     "pyx",       "cts",  "map",     "mts",
    "ts",     "css",     "html",  "markdown", "md",      "png",       "rst",  "svg",     "txt",
    "yaml",   "yml",     "gz",    "mo",       "po",      "conffiles", "list", "md5sums", "postinst",
    "postrm", "preinst", "prerm", "shlibs",   "symbols", "triggers",
};

// ... or by what its name begins with.
static const char *const rare_names[] = { "changelog", "copyright", "license", "notice", "readme" };

static const struct {
    const char *extension;
    enum tarn_placement_rank rank;
} kinds[] = {
    { "so", TARN_PLACEMENT_LIBRARY },      { "node", TARN_PLACEMENT_LIBRARY },
    { "pyc", TARN_PLACEMENT_BYTECODE },    { "js", TARN_PLACEMENT_JAVASCRIPT },
    { "cjs", TARN_PLACEMENT_JAVASCRIPT },  { "mjs", TARN_PLACEMENT_JAVASCRIPT },
    { "json", TARN_PLACEMENT_JAVASCRIPT }, { "py", TARN_PLACEMENT_PYTHON },
};

// Bytes of a path. No word of the tables is longer than WORD_MAX, so what is cut off makes no match.
struct word {
    char text[WORD_MAX + 2]; // in lower case, terminated
};

static struct word lower(const char *bytes, size_t length)
{
    struct word word;
    size_t i = 0;
    for (; i < length && i <= WORD_MAX; i++)
        word.text[i] = (char)(bytes[i] >= 'A' && bytes[i] <= 'Z' ? bytes[i] - 'A' + 'a' : bytes[i]);
    word.text[i] = '\0';
    return word;
}

static bool is_one_of(const struct word *word, const char *const *list, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (strcmp(word->text, list[i]) == 0)
            return true;
    return false;
}
#define IS_ONE_OF(word, list) is_one_of(word, list, sizeof(list) / sizeof *(list))

// directories: with the slash behind the last one.
static bool lies_in_rare_directory(const char *directories, size_t length)
{
    for (size_t start = 0; start < length;) {
        const char *slash = memchr(directories + start, '/', length - start);
        const size_t end = (size_t)(slash - directories);
        const struct word word = lower(directories + start, end - start);
        if (IS_ONE_OF(&word, rare_directories))
            return true;
        start = end + 1;
    }
    return false;
}

static bool has_rare_start(const struct word *name)
{
    for (size_t i = 0; i < sizeof rare_names / sizeof *rare_names; i++)
        if (strncmp(name->text, rare_names[i], strlen(rare_names[i])) == 0)
            return true;
    return false;
}

// NAME.so.1.2
static bool has_library_version(const char *name, size_t length)
{
    size_t end = length;
    while (end > 0 && (name[end - 1] == '.' || (name[end - 1] >= '0' && name[end - 1] <= '9')))
        end--;
    return end >= 3 && end < length && name[end] == '.' && memcmp(name + end - 3, ".so", 3) == 0;
}

// Bytes behind the last dot; none of a name that only begins with one.
static size_t extension_length(const char *name, size_t length)
{
    const char *dot = length > 0 ? memrchr(name + 1, '.', length - 1) : NULL;
    return dot ? length - 1 - (size_t)(dot - name) : 0;
}

struct tarn_placement tarn_placement_of(const char *path, size_t length)
{
    const char *slash = memrchr(path, '/', length);
    const size_t directories = slash ? (size_t)(slash - path) + 1 : 0;
    const char *name = path + directories;
    const size_t name_length = length - directories;
    const size_t extension = extension_length(name, name_length);
    const struct word start = lower(name, name_length);
    const struct word end = lower(path + length - extension, extension);
    if (IS_ONE_OF(&end, rare_extensions) || has_rare_start(&start) ||
        lies_in_rare_directory(path, directories))
        return (struct tarn_placement){ TARN_PLACEMENT_RARE, (uint16_t)extension };
    if (has_library_version(name, name_length))
        return (struct tarn_placement){ TARN_PLACEMENT_LIBRARY, 0 };
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        if (strcmp(end.text, kinds[i].extension) == 0)
            return (struct tarn_placement){ kinds[i].rank, 0 };
    return (struct tarn_placement){ TARN_PLACEMENT_OTHER, 0 };
}
