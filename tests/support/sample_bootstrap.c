// SPDX-License-Identifier: Apache-2.0
#include "tests/support/sample_bootstrap.h"

#include <string.h>

#include "base/bytes.h"
#include "format/listing.h"

enum { FOREIGN_STORED = 5000, METADATA_LENGTH = 800 };

static void require(int ret, const char *what)
{
    if (ret == 0)
        return;
    (void)fprintf(stderr, "sample bootstrap: %s: %d\n", what, ret);
    abort();
}

// The foreign blob has chunks of 64 KiB, each a run of its own.
static void foreign_digest(uint64_t number, struct tarn_digest *digest)
{
    const uint64_t seed[2] = { number, UINT64_C(0xf0f0) };
    tarn_sha256(seed, sizeof seed, digest);
}

static void add_foreign_rows(struct tarn_tables_builder *tables, uint32_t first, uint32_t count)
{
    for (uint32_t i = first; i < first + count; i++) {
        // Four chunks make a run, and what is needed of it begins at its start.
        const struct tarn_location location = { .kind = TARN_LOCATION_STORED,
                                                .run_start = i % 4 == 0,
                                                .stored_length = FOREIGN_STORED,
                                                .offset = (uint64_t)i * FOREIGN_STORED };
        struct tarn_digest digest;
        foreign_digest(i, &digest);
        require(
            tarn_tables_builder_add_row(tables, (uint64_t)i * TARN_SAMPLE_CUT, &location, &digest),
            "foreign row");
    }
    require(tarn_tables_builder_add_gap(tables, (uint64_t)(first + count) * TARN_SAMPLE_CUT),
            "foreign gap");
}

// The first chunks of the space refer to the foreign blob, chunk by chunk; the others are raw.
static uint64_t add_own_rows(struct tarn_tables_builder *tables, const struct tarn_buf *space,
                             uint32_t layer, uint32_t first, uint32_t foreign)
{
    uint64_t stored = 0, run = TARN_RUN_LENGTH;
    for (uint64_t at = 0; at < space->length; at += TARN_SAMPLE_CUT) {
        const uint64_t length = tarn_min_u64(TARN_SAMPLE_CUT, space->length - at);
        const uint64_t number = at / TARN_SAMPLE_CUT;
        struct tarn_location location;
        struct tarn_digest digest;
        if (number < foreign && length == TARN_SAMPLE_CUT) {
            location = (struct tarn_location){ .kind = TARN_LOCATION_REFERENCE,
                                               .blob = layer + 1,
                                               .address = (first + number) * TARN_SAMPLE_CUT };
            foreign_digest(first + number, &digest);
            run = TARN_RUN_LENGTH;
        } else {
            location = (struct tarn_location){ .kind = TARN_LOCATION_STORED,
                                               .raw = true,
                                               .run_start = run >= TARN_RUN_LENGTH,
                                               .stored_length = (uint32_t)length,
                                               .offset = stored };
            run = (location.run_start ? 0 : run) + length;
            stored += length;
            tarn_sha256(space->data + at, length, &digest);
        }
        require(tarn_tables_builder_add_row(tables, at, &location, &digest), "row");
    }
    require(tarn_tables_builder_add_gap(tables, space->length), "gap");
    return stored;
}

static struct tarn_blob_record foreign_record(void)
{
    struct tarn_blob_record record = { .size = (100 << 20) + METADATA_LENGTH + 1000,
                                       .data_length = UINT64_C(1) << 30,
                                       .metadata_offset = 100 << 20,
                                       .metadata_length = METADATA_LENGTH,
                                       .role = TARN_BLOB_FOREIGN };
    tarn_sha256("foreign", 7, &record.digest);
    tarn_sha256("metadata", 8, &record.metadata_digest);
    return record;
}

static void make_layer(struct tarn_sample_layers *layers, uint32_t number, uint32_t foreign)
{
    struct tarn_sample *sample = layers->sample;
    struct tarn_tables_builder *tables = &layers->tables[number];
    struct tarn_bootstrap_layer *layer = &layers->layers[number];
    const struct tarn_buf *space = &sample->spaces[number];
    const uint32_t first = number - number % 4;
    const uint32_t whole = (uint32_t)(space->length / TARN_SAMPLE_CUT);
    if (foreign > whole)
        foreign = whole;
    for (uint32_t i = 0; i < number; i++) {
        struct tarn_blob_record lower = { .digest = sample->digests[i],
                                          .size = layers->layers[i].size,
                                          .data_length = sample->spaces[i].length };
        require(tarn_tables_builder_add_blob(tables, &lower), "lower");
    }
    const uint64_t stored = add_own_rows(tables, space, number, first, foreign);
    const struct tarn_blob_record own = { .data_length = space->length,
                                          .row_count = tarn_tables_builder_rows(tables) };
    require(tarn_tables_builder_add_blob(tables, &own), "own");
    if (foreign > 0) {
        struct tarn_blob_record record = foreign_record();
        record.first_row = own.row_count;
        record.row_count = foreign + 1;
        add_foreign_rows(tables, first, foreign);
        require(tarn_tables_builder_add_blob(tables, &record), "foreign");
    }
    struct tarn_layer_metadata *metadata = &layers->metadata[number];
    metadata->parameters = (struct tarn_layer_parameters){ .chain_index = number,
                                                           .data_length = space->length,
                                                           .chunks_length = stored };
    metadata->tables = tarn_tables_builder_view(tables);
    *layer = (struct tarn_bootstrap_layer){ .digest = sample->digests[number],
                                            .size = tarn_round_up(stored, 8) + 2000,
                                            .metadata_offset = tarn_round_up(stored, 8),
                                            .metadata_length = METADATA_LENGTH,
                                            .metadata = metadata };
    tarn_sha256(&number, sizeof number, &layer->metadata_digest);
}

struct tarn_sample_layers *tarn_sample_layers_new(struct tarn_sample *sample, uint32_t foreign)
{
    struct tarn_sample_layers *layers = calloc(1, sizeof *layers);
    require(layers ? 0 : -ENOMEM, "layers");
    layers->sample = sample;
    for (uint32_t i = 0; i < sample->chain; i++)
        make_layer(layers, i, foreign);
    return layers;
}

void tarn_sample_layers_free(struct tarn_sample_layers *layers)
{
    if (!layers)
        return;
    for (uint32_t i = 0; i < layers->sample->chain; i++)
        tarn_tables_builder_release(&layers->tables[i]);
    free(layers);
}

void tarn_sample_bootstrap(struct tarn_sample *sample, struct tarn_buf *out)
{
    tarn_cleanup(tarn_sample_layers_free_p) struct tarn_sample_layers *layers =
        tarn_sample_layers_new(sample, 3);
    struct tarn_err err = { 0 };
    struct tarn_bootstrap_source source = {
        layers->layers, sample->chain, sample->tree, { { 0 } }
    };
    require(tarn_listing_digest(sample->tree, &source.tree_digest), "no memory");
    const int ret = tarn_bootstrap_build(&source, out, &err);
    require(ret, err.text);
}
