/* graph.c: the life of a graph, the page regions that it consists of, and the order of its phases.
 * Touches no object and no reference itself. The algorithm is in rank.c, extract.c, mark.c, order.c. */
#include "internal.h"

#include "../platform/platform.h"

/* The least bytes of a region. Costs addresses only, since pages come when touched. */
#ifndef MIDDEN_TORTURE
#define REGION_LEAST ((size_t)1 << 20)
#else
#define REGION_LEAST ((size_t)1)
#endif

bool graph_reserve(struct graph *graph, enum graph_region region, size_t bytes)
{
    struct graph_pages *pages = &graph->pages[region];
    if (bytes > pages->bytes) {
        size_t more = pages->bytes * 2;
        if (more < bytes)
            more = bytes;
        if (more < REGION_LEAST)
            more = REGION_LEAST;
        void *at = pages->at ? platform_remap(pages->at, pages->bytes, more) : platform_map(more);
        if (!at)
            return false;
        pages->at = at;
        pages->bytes = more;
    }
    if (bytes > pages->used)
        pages->used = bytes;
    return true;
}

void graph_shrink(struct graph *graph, enum graph_region region, size_t bytes)
{
    struct graph_pages *pages = &graph->pages[region];
    size_t page = platform_page_bytes();
    size_t kept = (bytes + page - 1) / page * page;
    if (kept == 0)
        kept = page;
    if (kept < pages->bytes) {
        void *at = platform_remap(pages->at, pages->bytes, kept);
        if (at) { /* else it stays larger, which is no harm */
            pages->at = at;
            pages->bytes = kept;
        }
    }
    if (pages->used > bytes)
        pages->used = bytes;
}

void graph_release(struct graph *graph, enum graph_region region)
{
    struct graph_pages *pages = &graph->pages[region];
    platform_unmap(pages->at, pages->bytes);
    *pages = (struct graph_pages){0};
}

static size_t now_bytes(const struct graph *graph)
{
    size_t page = platform_page_bytes();
    size_t sum = page; /* the struct itself */
    for (int i = 0; i < REGIONS; i++)
        sum += (graph->pages[i].used + page - 1) / page * page;
    return sum;
}

void graph_tally(struct graph *graph)
{
    size_t now = now_bytes(graph);
    if (graph->peak_bytes < now)
        graph->peak_bytes = now;
}

struct graph *graph_new(const struct graph_host *host)
{
    struct graph *graph = platform_map(sizeof *graph);
    if (!graph)
        return NULL;
    graph->host = host;
    graph->objects_max = UINT32_MAX - 1;   /* RANK_NONE is no number */
    graph->references_max = INT32_MAX - 1; /* see internal.h, "Why 32 bits do" */
    return graph;
}

void graph_free(struct graph *graph)
{
    if (!graph)
        return;
    for (int i = 0; i < REGIONS; i++)
        graph_release(graph, (enum graph_region)i);
    platform_unmap(graph, sizeof *graph);
}

void graph_clear(struct graph *graph)
{
    graph_tally(graph);
    rank_clear(graph);
}

size_t graph_size(const struct graph *graph)
{
    return graph->objects;
}

/* A build with checks=full looks at every phase's work. A broken invariant ends the process on the spot:
 * that is the clone, and the program sees a failed snapshot. */
static enum graph_status check_phase(const struct graph *graph)
{
#ifdef MIDDEN_CHECKS_FULL
    const char *wrong = graph_check(graph);
    if (wrong == graph_check_refused)
        return GRAPH_NO_MEMORY;
    if (wrong)
        __builtin_trap();
#endif
    (void)graph;
    return GRAPH_OK;
}

enum graph_status graph_find(struct graph *graph)
{
    static enum graph_status (*const phases[])(struct graph *) = {
        rank_seal, graph_extract, graph_subtract, graph_mark, graph_order,
    };
    enum graph_status status = GRAPH_OK;
    for (size_t i = 0; i < sizeof phases / sizeof *phases && status == GRAPH_OK; i++) {
        status = phases[i](graph);
        graph_tally(graph);
        if (status == GRAPH_OK)
            status = check_phase(graph);
    }
    if (status != GRAPH_OK)
        graph->phase = GRAPH_BROKEN;
    return status;
}

void graph_tell(const struct graph *graph, struct graph_figures *figures)
{
    size_t now = now_bytes(graph);
    *figures = (struct graph_figures){
        .objects = graph->objects,
        .references = graph->references,
        .garbage = graph->garbage,
        .components = graph->components,
        .largest = graph->largest,
        .memory_bytes = graph->peak_bytes > now ? graph->peak_bytes : now,
    };
}

size_t graph_emit(const struct graph *graph, uint64_t *candidates, size_t room)
{
    const uint64_t *all = graph_bits(graph, REGION_CANDIDATES);
    size_t n = graph->garbage;
    if (n > room) /* the cut is where a component would begin */
        for (n = room; n > 0 && !(all[n] & GRAPH_FIRST); n--)
            ;
    if (n > 0)
        memcpy(candidates, all, n * sizeof *all);
    return n;
}

const char *graph_status_name(enum graph_status status)
{
    switch (status) {
    case GRAPH_OK: return "ok";
    case GRAPH_NO_MEMORY: return "no memory";
    case GRAPH_TOO_LARGE: return "too large";
    case GRAPH_STOPPED: return "stopped";
    }
    return "unknown";
}
