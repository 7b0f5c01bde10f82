// SPDX-License-Identifier: Apache-2.0
// The rows that are to be read. What nobody waits for gathers while a read ahead of the same blob waits or
// is under way: it becomes one request instead of many. Each step costs as much as rows change their list.
#include "daemon/fetch_internal.h"

static void append(struct tarn_row_list *list, struct tarn_fetch_row *row)
{
    row->list = list;
    row->before = list->last;
    row->after = NULL;
    if (list->last)
        list->last->after = row;
    else
        list->first = row;
    list->last = row;
}

static void take_out(struct tarn_fetch_row *row)
{
    struct tarn_row_list *list = row->list;
    if (row->before)
        row->before->after = row->after;
    else
        list->first = row->after;
    if (row->after)
        row->after->before = row->before;
    else
        list->last = row->before;
    row->list = NULL;
}

static void move(struct tarn_fetch_row *row, struct tarn_row_list *list)
{
    take_out(row);
    append(list, row);
}

static struct tarn_image_gather *gather_of(const struct tarn_fetch_row *row)
{
    return &row->run->image->gathers[row->run->blob];
}

void tarn_row_enqueue(struct tarn_fetch_row *row)
{
    assert(!row->list);
    row->state = TARN_ROW_QUEUED;
    tarn_run_hold(row->run);
    append(&row->run->fetch->queued, row);
}

void tarn_row_dequeue(struct tarn_fetch_row *row)
{
    take_out(row);
    tarn_run_release(row->run);
}

void tarn_row_hasten(struct tarn_fetch_row *row)
{
    move(row, &row->run->fetch->queued);
}

size_t tarn_fetch_gather(struct tarn_fetch *fetch)
{
    size_t left = 0;
    struct tarn_fetch_row *next;
    for (struct tarn_fetch_row *row = fetch->queued.first; row; row = next) {
        next = row->after;
        struct tarn_image_gather *gather = gather_of(row);
        if (!row->demanded && gather->reads > 0)
            move(row, &gather->rows);
        else
            left++;
    }
    return left;
}

void tarn_fetch_count_ahead(struct tarn_fetch_range *range)
{
    range->ahead = true;
    range->image->gathers[range->blob].reads++;
}

void tarn_fetch_uncount_ahead(struct tarn_fetch_range *range)
{
    struct tarn_image_gather *gather = &range->image->gathers[range->blob];
    if (!range->ahead || --gather->reads > 0)
        return;
    while (gather->rows.first)
        tarn_row_hasten(gather->rows.first);
}
