/* mark.c: which objects are reachable? Works on the extracted numbers only; touches no object.
 *
 * Postconditions. SUBTRACTED: refs[i] = count - references from inside (internal.h says why that fits).
 * MARKED: a bit per object, set for everything reachable from an object that has references from outside,
 * and clear for the rest: the garbage.
 *
 * Bits, because where the edges lead is random: 4 M of them are 512 KiB, which a core's own cache holds.
 * What is read at random beyond it is begin and edges, and only for what the scan does not come by
 * anyway: marking goes through the objects in number order, and what a reachable object refers to gets
 * its bit. Ahead of the scan that is all. Behind it, the object also goes on a stack, which is drained
 * now and then. */
#include "internal.h"

enum graph_status graph_subtract(struct graph *graph)
{
    uint32_t *refs = graph_words(graph, REGION_REFS);
    const uint32_t *edges = graph_words(graph, REGION_EDGES);
    size_t m = graph->references;
    for (size_t from = 0; from < m; from += GRAPH_POLL) {
        size_t to = m - from < GRAPH_POLL ? m : from + GRAPH_POLL;
        for (size_t e = from; e < to; e++) {
            __builtin_prefetch(&refs[edges[e + EDGES_AHEAD]], 1);
            refs[edges[e]]--;
        }
        if (graph_stopped(graph))
            return GRAPH_STOPPED;
    }
    graph->phase = GRAPH_SUBTRACTED;
    return GRAPH_OK;
}

/* Objects between leaving the stack and being followed, so that what they need can be prefetched meanwhile:
 * first where their edges begin, then the edges. */
#define WINDOW 32u
#define WINDOW_EDGES 16u

static inline void follow(struct flood *flood, uint32_t i, size_t position)
{
    uint64_t *reached = flood->reached;
    for (size_t e = flood->begin[i], to = flood->begin[i + 1]; e < to; e++) {
        uint32_t target = flood->edges[e];
        if (!bit_get(reached, target)) {
            bit_set(reached, target);
            if (target < position)
                flood->stack[flood->top++] = target;
        }
    }
}

enum graph_status flood_drain(const struct graph *graph, struct flood *flood, size_t position)
{
    uint32_t window[WINDOW], head = 0, tail = 0; /* a queue; head and tail modulo 2^32 */
    for (;;) {
        if (flood->high < flood->top)
            flood->high = flood->top;
        while (head - tail < WINDOW && flood->top > 0) {
            uint32_t i = flood->stack[--flood->top];
            __builtin_prefetch(&flood->begin[i]);
            window[head++ % WINDOW] = i;
        }
        if (head == tail)
            return GRAPH_OK;
        if (head - tail > WINDOW_EDGES)
            __builtin_prefetch(&flood->edges[flood->begin[window[(tail + WINDOW_EDGES) % WINDOW]]]);
        follow(flood, window[tail++ % WINDOW], position);
        if (flood->steps-- == 0) {
            flood->steps = GRAPH_POLL;
            if (graph_stopped(graph))
                return GRAPH_STOPPED;
        }
    }
}

/* Reached are, to begin with, the objects that have references from outside. */
static void find_sources(const struct graph *graph, uint64_t *reached)
{
    const uint32_t *refs = graph_words(graph, REGION_REFS);
    for (size_t i = 0; i < graph->objects; i++)
        reached[i / 64] |= (uint64_t)((int32_t)refs[i] > 0) << (i % 64);
}

static enum graph_status mark_all(const struct graph *graph, struct flood *flood)
{
    for (size_t word = 0; word * 64 < graph->objects; word++) {
        uint64_t ahead = UINT64_MAX, bits;
        while ((bits = flood->reached[word] & ahead) != 0) { /* read again: it may have got bits meanwhile */
            size_t i = word * 64 + (size_t)__builtin_ctzll(bits);
            ahead = ~(bits ^ (bits - 1));
            follow(flood, (uint32_t)i, i);
        }
        if ((word + 1) % (GRAPH_POLL / 64) == 0) {
            if (graph_stopped(graph) || flood_drain(graph, flood, (word + 1) * 64) != GRAPH_OK)
                return GRAPH_STOPPED;
        }
    }
    return flood_drain(graph, flood, graph->objects);
}

enum graph_status graph_mark(struct graph *graph)
{
    size_t n = graph->objects;
    if (!graph_reserve(graph, REGION_REACHED, BIT_BYTES(n)) ||
        (n > 0 && !graph_reserve(graph, REGION_STACK, n * sizeof(uint32_t))))
        return GRAPH_NO_MEMORY;
    struct flood flood = {
        .begin = graph_words(graph, REGION_BEGIN),
        .edges = graph_words(graph, REGION_EDGES),
        .reached = graph_bits(graph, REGION_REACHED),
        .stack = graph_words(graph, REGION_STACK),
        .steps = GRAPH_POLL,
    };
    find_sources(graph, flood.reached);
    graph_release(graph, REGION_REFS);
    enum graph_status status = mark_all(graph, &flood);
    graph->pages[REGION_STACK].used = flood.high * sizeof(uint32_t);
    graph_tally(graph);
    graph_release(graph, REGION_STACK);
    if (status == GRAPH_OK)
        graph->phase = GRAPH_MARKED;
    return status;
}
