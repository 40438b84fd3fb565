/* extract.c: the one traversal of the host's objects, from which all later phases live.
 *
 * Postcondition (EXTRACTED): refs[i] is the count of object i (2^32 - 1: reachable whatever comes);
 * edges[begin[i]] up to edges[begin[i + 1]] are the numbers of the objects it refers to, as often as it does,
 * those outside the set left out.
 *
 * The heap is far larger than any cache, so the time goes into waiting for memory. Objects are taken in
 * address order, 64 at a time, in three stages, each one batch apart: prefetch the headers; let the host
 * prefetch what hangs behind them; traverse. A traversal's visits only note where in the rank bitmap the
 * answer will be, and prefetch it; one batch later the notes are resolved to numbers. (Measured:
 * without the host's prefetching it takes twice as long. Batches of 32 or 128, resolving in the same batch,
 * or no notes for addresses where there is no chunk change nothing that can be told from noise.)
 *
 * Reads the host's objects only through the host. Writes nothing there. */
#include "internal.h"

#ifndef MIDDEN_TORTURE
#define BATCH 64u
#define NOTES 1024u /* a power of two, more than a few batches make; when full, half is resolved */
#else
#define BATCH 2u
#define NOTES 4u
#endif

/* Not a grain: from here on the notes are the next object's. Without this bit it reads as grain 0, which
 * is never an object, so that resolving needs no branch for it either. */
#define NOTE_BEGINS ((uint64_t)1 << 63)

struct batch {
    size_t size;
    uintptr_t objects[BATCH];
};

struct extraction {
    struct graph *graph;
    struct rank_index index;
    enum graph_status status;
    uint32_t head, tail; /* notes taken and resolved so far, modulo 2^32 */
    size_t references;
    uint32_t *begin; /* where the next NOTE_BEGINS writes */
    uint64_t notes[NOTES];
};

/* Turn the oldest n notes into edges. Without a branch on what they are, since nobody can predict it: the
 * number is always written, and kept by counting it. */
static void resolve(struct extraction *x, uint32_t n)
{
    size_t references = x->references;
    if (x->status == GRAPH_OK &&
        !graph_reserve(x->graph, REGION_EDGES, (references + n + EDGES_AHEAD) * sizeof(uint32_t)))
        x->status = GRAPH_NO_MEMORY;
    if (x->status != GRAPH_OK) { /* the traversal under way cannot be cut short: let it run dry */
        x->tail += n;
        return;
    }
    const struct rank_entry *entries = x->index.entries;
    uint32_t *edges = graph_words(x->graph, REGION_EDGES);
    uint32_t *begin = x->begin;
    for (uint32_t i = x->tail; i != x->tail + n; i++) {
        uint64_t note = x->notes[i & (NOTES - 1)];
        const struct rank_entry *entry = &entries[(note & ~NOTE_BEGINS) / 64];
        uint64_t below = entry->bits & (((uint64_t)1 << (note % 64)) - 1);
        edges[references] = entry->rank + (uint32_t)__builtin_popcountll(below);
        references += entry->bits >> (note % 64) & 1;
        *begin = (uint32_t)references;
        begin += note >> 63;
    }
    x->begin = begin;
    x->tail += n;
    x->references = references;
    if (references > x->graph->references_max)
        x->status = GRAPH_TOO_LARGE;
}

static inline void take_note(struct extraction *x, uint64_t note)
{
    x->notes[x->head++ & (NOTES - 1)] = note;
    if (x->head - x->tail == NOTES)
        resolve(x, NOTES / 2);
}

static int note_reference(void *object, void *arg)
{
    struct extraction *x = arg;
    uintptr_t address = (uintptr_t)object;
    if (!(address & RANK_OUTSIDE)) {
        uint64_t grain = rank_grain(&x->index, address);
        __builtin_prefetch(&x->index.entries[grain / 64]);
        take_note(x, grain);
    }
    return 0;
}

static void prefetch_headers(const struct batch *batch)
{
    for (size_t i = 0; i < batch->size; i++) {
        /* A host may keep words in front of the object: CPython its list links and up to two pointers. */
        __builtin_prefetch((const void *)(batch->objects[i] - 32));
        __builtin_prefetch((const void *)batch->objects[i]);
    }
}

static void traverse(struct extraction *x, const struct batch *batch, uint32_t *refs)
{
    const struct graph_host *host = x->graph->host;
    uint32_t before = x->head;
    for (size_t i = 0; i < batch->size; i++) {
        void *object = (void *)batch->objects[i];
        take_note(x, NOTE_BEGINS);
        refs[i] = graph_saturated(host->count(host->context, object));
        host->traverse(host->context, object, note_reference, x);
    }
    if ((int32_t)(before - x->tail) > 0) /* not if this batch was so large that it did so itself */
        resolve(x, before - x->tail);
}

static enum graph_status traverse_all(struct extraction *x, uint32_t *refs)
{
    const struct graph *graph = x->graph;
    const struct graph_host *host = graph->host;
    struct rank_cursor cursor = rank_start(graph);
    struct batch batches[3] = {{0}};
    size_t rank = 0;
    for (size_t step = 0; rank < graph->objects; step++) {
        struct batch *entering = &batches[step % 3];
        const struct batch *middle = &batches[(step + 2) % 3], *leaving = &batches[(step + 1) % 3];
        entering->size = rank_walk(graph, &cursor, entering->objects, BATCH);
        prefetch_headers(entering);
        if (host->prefetch)
            for (size_t i = 0; i < middle->size; i++)
                host->prefetch(host->context, (void *)middle->objects[i]);
        traverse(x, leaving, refs + rank);
        rank += leaving->size;
        if (x->status != GRAPH_OK)
            return x->status;
        if (step % (GRAPH_POLL / BATCH) == 0 && graph_stopped(graph))
            return GRAPH_STOPPED;
    }
    resolve(x, x->head - x->tail);
    return x->status;
}

enum graph_status graph_extract(struct graph *graph)
{
    size_t n = graph->objects;
    if (!graph_reserve(graph, REGION_REFS, n * sizeof(uint32_t)) ||
        !graph_reserve(graph, REGION_BEGIN, (n + 1) * sizeof(uint32_t)) ||
        !graph_reserve(graph, REGION_EDGES, EDGES_AHEAD * sizeof(uint32_t)))
        return GRAPH_NO_MEMORY;
    struct extraction x = {
        .graph = graph,
        .index = rank_index(graph),
        .begin = graph_words(graph, REGION_BEGIN),
    };
    enum graph_status status = traverse_all(&x, graph_words(graph, REGION_REFS));
    if (status != GRAPH_OK)
        return status;
    *x.begin = (uint32_t)x.references;
    memset(graph_words(graph, REGION_EDGES) + x.references, 0, EDGES_AHEAD * sizeof(uint32_t));
    graph->references = x.references;
    graph->phase = GRAPH_EXTRACTED;
    return GRAPH_OK;
}
