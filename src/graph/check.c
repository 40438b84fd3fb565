/* check.c: graph_check, which verifies what each phase promises, by a second way: it asks the host again,
 * keeps its own plain tables by number, marks by its own search, and compares.
 *
 * Changes nothing in the graph. Costs 20 bytes per object while it runs, and some traversals. Does not
 * show that a component is connected and as large as can be; the tests compare with a reference for it. */
#include "internal.h"

#include "../platform/platform.h"

const char graph_check_refused[] = "no pages for the check";

struct check {
    const struct graph *graph;
    size_t n;
    uint64_t *objects;   /* number -> address */
    uint32_t *inside;    /* references from inside */
    uint32_t *component; /* of garbage; 0 for others; from 1 in the order of the candidates */
    uint32_t *stack;
    uint64_t *reachable; /* bits */
    size_t top, edge;
    uint32_t from;     /* whose references are being visited */
    const char *wrong; /* the first thing found */
};

static void expect(struct check *c, bool holds, const char *otherwise)
{
    if (!holds && !c->wrong)
        c->wrong = otherwise;
}

static void traverse(struct check *c, uint32_t i, graph_visit *visit)
{
    const struct graph_host *host = c->graph->host;
    c->from = i;
    host->traverse(host->context, (void *)(uintptr_t)c->objects[i], visit, c);
}

static uint32_t count_of(const struct check *c, size_t i)
{
    const struct graph_host *host = c->graph->host;
    return graph_saturated(host->count(host->context, (void *)(uintptr_t)c->objects[i]));
}

/* --- what the host's objects say ---------------------------------------------------------------- */

static int count_inside(void *object, void *arg)
{
    struct check *c = arg;
    uint32_t i = rank_find(c->graph, (uintptr_t)object);
    if (i != RANK_NONE)
        c->inside[i]++;
    return 0;
}

static void reach(struct check *c, uint32_t i)
{
    if (!bit_get(c->reachable, i)) {
        bit_set(c->reachable, i);
        c->stack[c->top++] = i;
    }
}

static int reach_target(void *object, void *arg)
{
    struct check *c = arg;
    uint32_t i = rank_find(c->graph, (uintptr_t)object);
    if (i != RANK_NONE)
        reach(c, i);
    return 0;
}

static void mark_plainly(struct check *c)
{
    for (size_t i = 0; i < c->n; i++)
        traverse(c, (uint32_t)i, count_inside);
    for (size_t i = 0; i < c->n; i++)
        if (count_of(c, i) > c->inside[i])
            reach(c, (uint32_t)i);
    while (c->top > 0)
        traverse(c, c->stack[--c->top], reach_target);
}

/* --- what the phases say ------------------------------------------------------------------------ */

static void check_ranks(struct check *c)
{
    struct rank_cursor cursor = rank_start(c->graph);
    uintptr_t object;
    for (size_t i = 0; i < c->n; i++) {
        if (rank_walk(c->graph, &cursor, &object, 1) != 1) {
            expect(c, false, "the rank bitmap holds fewer objects than were added");
            return;
        }
        expect(c, i == 0 || object > c->objects[i - 1], "objects are not in address order");
        expect(c, rank_find(c->graph, object) == i, "an object's rank is not its place in address order");
        expect(c, rank_find(c->graph, object + 8) == RANK_NONE, "an address inside a grain has a rank");
        c->objects[i] = object;
    }
    expect(c, rank_walk(c->graph, &cursor, &object, 1) == 0,
           "the rank bitmap holds more objects than were added");
}

static int compare_edge(void *object, void *arg)
{
    struct check *c = arg;
    uint32_t i = rank_find(c->graph, (uintptr_t)object);
    if (i != RANK_NONE) {
        expect(c, c->edge < c->graph->references && graph_words(c->graph, REGION_EDGES)[c->edge] == i,
               "an edge is not the reference that the host tells");
        c->edge++;
    }
    return 0;
}

static void check_edges(struct check *c)
{
    const uint32_t *begin = graph_words(c->graph, REGION_BEGIN);
    for (size_t i = 0; i < c->n; i++) {
        expect(c, begin[i] == c->edge, "an object's edges do not begin where those before it end");
        traverse(c, (uint32_t)i, compare_edge);
    }
    expect(c, begin[c->n] == c->edge && c->graph->references == c->edge,
           "there are more edges than references");
}

static void check_refs(struct check *c)
{
    const uint32_t *refs = graph_words(c->graph, REGION_REFS);
    for (size_t i = 0; i < c->n; i++)
        if (c->graph->phase == GRAPH_EXTRACTED)
            expect(c, refs[i] == count_of(c, i), "refs is not the count");
        else
            expect(c, refs[i] + c->inside[i] == count_of(c, i),
                   "refs and references from inside are not the count");
}

static void check_marks(struct check *c)
{
    const uint64_t *reached = graph_bits(c->graph, REGION_REACHED);
    for (size_t i = 0; i < c->n; i++) {
        expect(c, !bit_get(reached, i) || bit_get(c->reachable, i), "garbage is marked");
        expect(c, bit_get(reached, i) || !bit_get(c->reachable, i), "a reachable object is not marked");
    }
}

static int compare_components(void *object, void *arg)
{
    struct check *c = arg;
    uint32_t i = rank_find(c->graph, (uintptr_t)object);
    if (i != RANK_NONE && c->component[i])
        expect(c, c->component[c->from] <= c->component[i],
               "a candidate is referred to by a later component");
    return 0;
}

static void check_candidates(struct check *c)
{
    const uint64_t *candidates = graph_bits(c->graph, REGION_CANDIDATES);
    size_t garbage = 0, component = 0;
    for (size_t k = 0; k < c->graph->garbage; k++) {
        component += (candidates[k] & GRAPH_FIRST) != 0;
        uint32_t i = rank_find(c->graph, (uintptr_t)GRAPH_OBJECT(candidates[k]));
        if (i == RANK_NONE || component == 0) {
            expect(c, false,
                   i == RANK_NONE ? "a candidate is not in the set" : "the first component does not begin");
            return;
        }
        expect(c, c->component[i] == 0, "an object is a candidate twice");
        expect(c, !bit_get(c->reachable, i), "a candidate is reachable");
        c->component[i] = (uint32_t)component;
    }
    for (size_t i = 0; i < c->n; i++)
        garbage += !bit_get(c->reachable, i);
    expect(c, garbage == c->graph->garbage, "garbage is no candidate");
    expect(c, component == c->graph->components, "components are miscounted");
    for (size_t i = 0; i < c->n; i++)
        if (c->component[i]) {
            const struct graph_host *host = c->graph->host;
            traverse(c, (uint32_t)i, compare_components);
            if (host->precede)
                host->precede(host->context, (void *)(uintptr_t)c->objects[i], compare_components, c);
        }
}

static void check_all(struct check *c)
{
    check_ranks(c);
    if (c->wrong || c->graph->phase == GRAPH_RANKED)
        return;
    mark_plainly(c);
    if (c->graph->phase == GRAPH_ORDERED) {
        check_candidates(c);
        return;
    }
    check_edges(c);
    if (c->graph->phase == GRAPH_MARKED)
        check_marks(c);
    else
        check_refs(c);
}

/* FILLING: nothing is sorted yet, but each bit is an object. */
static const char *check_filling(const struct graph *graph)
{
    const struct rank_entry *entries = graph->pages[REGION_CHUNKS].at;
    size_t bits = 0;
    for (size_t i = 0; i < (size_t)graph->chunks * CHUNK_ENTRIES; i++) {
        bits += (size_t)__builtin_popcountll(entries[i].bits);
        if (i < CHUNK_ENTRIES && bits)
            return "chunk 0 is not empty";
    }
    return bits == graph->objects ? NULL : "the rank bitmap does not hold the objects that were added";
}

const char *graph_check(const struct graph *graph)
{
    if (graph->phase == GRAPH_FILLING)
        return check_filling(graph);
    if (graph->phase == GRAPH_BROKEN || graph->objects == 0)
        return NULL;
    size_t n = graph->objects, bytes = n * (sizeof(uint64_t) + 3 * sizeof(uint32_t)) + BIT_BYTES(n) + 8;
    char *pages = platform_map(bytes);
    if (!pages)
        return graph_check_refused;
    struct check c = {.graph = graph, .n = n, .objects = (uint64_t *)(void *)pages};
    c.reachable = c.objects + n;
    c.inside = (uint32_t *)(void *)((char *)c.reachable + BIT_BYTES(n));
    c.component = c.inside + n;
    c.stack = c.component + n;
    check_all(&c);
    platform_unmap(pages, bytes);
    return c.wrong;
}
