/* order.c: the garbage as candidates, in an order in which any front part may be handed over: components
 * (strongly connected) whole, and each after all that refer to it. Works on the extracted numbers; asks
 * the host only for tags and for what counts for the order alone.
 *
 * Postcondition (ORDERED): candidates holds every garbage object once; for each reference between two of them
 * the referring one's component is the same or an earlier one.
 *
 * What hangs below a source should follow it soon: freeing a cycle frees what only it holds, and a slice
 * should be charged for that itself. A depth-first search gives it, if it starts at the sources. No reverse
 * edges are needed to find those: flood from each object not yet reached, in number order, and note where
 * a flood started. The last start cannot be reached from outside its own component (else an earlier flood
 * would have reached it), and so on backwards. So the search takes the starts last to first, and fills the
 * candidates from the back. It is Pearce's ("A Space-Efficient Algorithm for Finding Strongly Connected
 * Components", 2016): one word per object, path and component stack in one array of that size.
 *
 * All numbers here are garbage numbers: 0 is the first garbage object in address order. */
#include "internal.h"

struct order_frame { /* an object on the path of the search */
    uint32_t cursor; /* edges from begin up to here are still to be looked at: last one first */
    uint32_t index;  /* its mark when it was entered */
};

/* --- the garbage gets numbers of its own -------------------------------------------------------- */

/* Objects beyond the last count as reached from here on. */
static enum graph_status renumber(struct graph *graph)
{
    uint64_t *reached = graph_bits(graph, REGION_REACHED);
    uint32_t *numbers = graph_words(graph, REGION_NUMBERS), garbage = 0;
    size_t words = (graph->objects + 63) / 64;
    if (graph->objects % 64)
        reached[words - 1] |= UINT64_MAX << (graph->objects % 64);
    for (size_t word = 0; word < words; word++) {
        numbers[word] = garbage;
        garbage += (uint32_t)__builtin_popcountll(~reached[word]);
    }
    graph->garbage = garbage;
    return graph_stopped(graph) ? GRAPH_STOPPED : GRAPH_OK;
}

/* Squeeze begin and edges to what is between garbage objects, in place: a number never grows, and nothing
 * is written before it was read. */
static enum graph_status squeeze(struct graph *graph)
{
    uint32_t *begin = graph_words(graph, REGION_BEGIN), *edges = graph_words(graph, REGION_EDGES);
    const uint64_t *reached = graph_bits(graph, REGION_REACHED);
    const uint32_t *numbers = graph_words(graph, REGION_NUMBERS);
    uint32_t kept = 0;
    size_t number = 0;
    for (size_t word = 0; word * 64 < graph->objects; word++) {
        for (uint64_t dead = ~reached[word]; dead; dead &= dead - 1) {
            size_t i = word * 64 + (size_t)__builtin_ctzll(dead);
            size_t from = begin[i], to = begin[i + 1];
            begin[number++] = kept;
            for (size_t e = from; e < to; e++) {
                uint32_t target = edges[e];
                uint64_t bit = (uint64_t)1 << (target % 64), there = ~reached[target / 64];
                edges[kept] = numbers[target / 64] + (uint32_t)__builtin_popcountll(there & (bit - 1));
                kept += (there & bit) != 0;
            }
        }
        if (word % (GRAPH_POLL / 64) == 0 && graph_stopped(graph))
            return GRAPH_STOPPED;
    }
    begin[number] = kept;
    graph_tally(graph);
    graph_release(graph, REGION_NUMBERS);
    graph_shrink(graph, REGION_EDGES, kept * sizeof(uint32_t));
    graph_shrink(graph, REGION_BEGIN, (number + 1) * sizeof(uint32_t));
    return GRAPH_OK;
}

/* --- what counts for the order alone ------------------------------------------------------------ */

struct precedence {
    struct graph *graph;
    size_t n;      /* pairs so far, by rising `from` */
    uint32_t from; /* who is asked: a garbage number */
    bool refused;
};

static int note_precedence(void *object, void *arg)
{
    struct precedence *p = arg;
    const uint64_t *reached = graph_bits(p->graph, REGION_REACHED);
    uint32_t i = rank_find(p->graph, (uintptr_t)object);
    if (i == RANK_NONE || bit_get(reached, i))
        return 0;
    if (!graph_reserve(p->graph, REGION_PRECEDENCE, (p->n + 1) * 2 * sizeof(uint32_t))) {
        p->refused = true;
        return 0;
    }
    uint64_t below = ~reached[i / 64] & (((uint64_t)1 << (i % 64)) - 1);
    uint32_t *pair = graph_words(p->graph, REGION_PRECEDENCE) + 2 * p->n++;
    pair[0] = p->from;
    pair[1] = graph_words(p->graph, REGION_NUMBERS)[i / 64] + (uint32_t)__builtin_popcountll(below);
    return 0;
}

/* Ask the host about all garbage. pre: renumbered, not squeezed. */
static enum graph_status ask_precedence(struct graph *graph, size_t *pairs)
{
    const struct graph_host *host = graph->host;
    struct precedence p = {.graph = graph};
    struct rank_cursor cursor = rank_start(graph);
    uintptr_t objects[64];
    for (size_t word = 0; host->precede && word * 64 < graph->objects; word++) {
        uint64_t all = ~graph_bits(graph, REGION_REACHED)[word];
        rank_walk(graph, &cursor, objects, 64);
        for (uint64_t dead = all; dead; dead &= dead - 1)
            __builtin_prefetch((void *)objects[__builtin_ctzll(dead)]);
        for (uint64_t dead = all; dead; dead &= dead - 1) {
            host->precede(host->context, (void *)objects[__builtin_ctzll(dead)], note_precedence, &p);
            p.from++;
        }
        if (word % (GRAPH_POLL / 64) == 0 && graph_stopped(graph))
            return GRAPH_STOPPED;
    }
    *pairs = p.n;
    return p.refused ? GRAPH_NO_MEMORY : GRAPH_OK;
}

/* Put them among the edges, from the back. pre: squeezed. */
static enum graph_status add_precedence(struct graph *graph, size_t pairs)
{
    uint32_t *begin = graph_words(graph, REGION_BEGIN);
    size_t number = graph->garbage, room = begin[number] + pairs;
    if (room > graph->references_max)
        return GRAPH_TOO_LARGE;
    if (!graph_reserve(graph, REGION_EDGES, (room + EDGES_AHEAD) * sizeof(uint32_t)))
        return GRAPH_NO_MEMORY;
    uint32_t *edges = graph_words(graph, REGION_EDGES), to = (uint32_t)room;
    const uint32_t *pair = graph_words(graph, REGION_PRECEDENCE) + 2 * pairs;
    while (pairs > 0) {
        size_t end = begin[number];
        begin[number--] = to;
        for (; pairs > 0 && pair[-2] == number; pairs--, pair -= 2)
            edges[--to] = pair[-1];
        for (size_t e = end; e > begin[number]; e--)
            edges[--to] = edges[e - 1];
    }
    graph_release(graph, REGION_PRECEDENCE);
    return GRAPH_OK;
}

/* --- where to start ----------------------------------------------------------------------------- */

static enum graph_status find_roots(struct graph *graph)
{
    struct flood flood = {
        .begin = graph_words(graph, REGION_BEGIN),
        .edges = graph_words(graph, REGION_EDGES),
        .reached = graph_bits(graph, REGION_FLOODED),
        .stack = graph_words(graph, REGION_STACK),
        .steps = GRAPH_POLL,
    };
    uint64_t *roots = graph_bits(graph, REGION_ROOTS);
    for (size_t i = 0; i < graph->garbage; i++)
        if (!bit_get(flood.reached, i)) {
            bit_set(roots, i);
            bit_set(flood.reached, i);
            flood.stack[flood.top++] = (uint32_t)i;
            if (flood_drain(graph, &flood, graph->garbage) != GRAPH_OK)
                return GRAPH_STOPPED;
        }
    return GRAPH_OK;
}

/* --- components --------------------------------------------------------------------------------- */

/* mark: 0 for an object not met yet; then, while its component is open, the least index known to be
 * reached from it; then its position among the candidates and 1. An index is at most the number of objects
 * without a position, so marks of open objects are always below those with a position. */
struct search {
    const uint32_t *begin, *edges;
    uint32_t *mark;
    uint32_t *stack;            /* [0, depth) the path; [closed, n) left the path, component still open */
    struct order_frame *frames; /* of the path */
    uint64_t *first;
    size_t depth, closed, n;
    size_t unplaced; /* objects without a position: they are the front of the candidates */
    uint32_t index;  /* the next */
    size_t components, largest;
};

static void enter(struct search *s, uint32_t v)
{
    uint32_t from = s->begin[v], to = s->begin[v + 1];
    s->mark[v] = s->index;
    s->stack[s->depth] = v;
    s->frames[s->depth++] = (struct order_frame){to, s->index++};
    for (uint32_t e = from; e < to && e < from + 8; e++) {
        __builtin_prefetch(&s->mark[s->edges[e]], 1);
        __builtin_prefetch(&s->begin[s->edges[e]]);
    }
}

/* The object on top of the path has no edges left. */
static void leave(struct search *s)
{
    uint32_t v = s->stack[--s->depth];
    uint32_t mark = s->mark[v];
    if (mark != s->frames[s->depth].index) { /* it reaches something further up the path */
        s->stack[--s->closed] = v;
        return;
    }
    size_t end = s->closed;
    while (end < s->n && s->mark[s->stack[end]] >= mark)
        end++;
    size_t size = 1 + end - s->closed;
    s->unplaced -= size;
    uint32_t position = (uint32_t)s->unplaced;
    bit_set(s->first, position);
    s->mark[v] = ++position;
    for (size_t i = s->closed; i < end; i++) /* the last to be left comes first: depth-first order */
        s->mark[s->stack[i]] = ++position;
    s->closed = end;
    s->index -= (uint32_t)size;
    s->components++;
    if (s->largest < size)
        s->largest = size;
}

/* One object's edges, until one leads to an object not met yet (entered, and true) or none is left
 * (false). */
static bool advance(struct search *s)
{
    uint32_t v = s->stack[s->depth - 1], least = s->mark[v];
    struct order_frame *frame = &s->frames[s->depth - 1];
    for (uint32_t e = frame->cursor, from = s->begin[v]; e > from; e--) {
        uint32_t mark = s->mark[s->edges[e - 1]];
        if (mark == 0) {
            frame->cursor = e; /* comes back to this edge, to learn what its target reached */
            s->mark[v] = least;
            enter(s, s->edges[e - 1]);
            return true;
        }
        if (mark < least)
            least = mark;
    }
    s->mark[v] = least;
    return false;
}

static enum graph_status find_components(struct graph *graph)
{
    size_t n = graph->garbage, deepest = 0, steps = 0;
    const uint64_t *roots = graph_bits(graph, REGION_ROOTS);
    struct search s = {
        .begin = graph_words(graph, REGION_BEGIN),
        .edges = graph_words(graph, REGION_EDGES),
        .mark = graph_words(graph, REGION_MARKS),
        .stack = graph_words(graph, REGION_STACK),
        .frames = graph->pages[REGION_FRAMES].at,
        .first = graph_bits(graph, REGION_FIRST),
        .closed = n,
        .n = n,
        .unplaced = n,
        .index = 1,
    };
    for (size_t i = n; i-- > 0;) {
        if (!bit_get(roots, i) || s.mark[i] != 0) /* 0: no later start reaches it */
            continue;
        enter(&s, (uint32_t)i);
        while (s.depth > 0) {
            if (deepest < s.depth)
                deepest = s.depth;
            if (!advance(&s))
                leave(&s);
            if (++steps % GRAPH_POLL == 0 && graph_stopped(graph))
                return GRAPH_STOPPED;
        }
    }
    graph->pages[REGION_FRAMES].used = deepest * sizeof(struct order_frame);
    graph->components = s.components;
    graph->largest = s.largest;
    return GRAPH_OK;
}

/* --- back to addresses -------------------------------------------------------------------------- */

static enum graph_status write_candidates(struct graph *graph)
{
    const struct graph_host *host = graph->host;
    const uint32_t *mark = graph_words(graph, REGION_MARKS);
    const uint64_t *reached = graph_bits(graph, REGION_REACHED), *first = graph_bits(graph, REGION_FIRST);
    uint64_t *candidates = graph_bits(graph, REGION_CANDIDATES);
    struct rank_cursor cursor = rank_start(graph);
    uintptr_t objects[64];
    size_t number = 0;
    for (size_t word = 0; word * 64 < graph->objects; word++) {
        rank_walk(graph, &cursor, objects, 64);
        for (uint64_t dead = ~reached[word]; dead; dead &= dead - 1) {
            uintptr_t object = objects[__builtin_ctzll(dead)];
            uint64_t tag = host->tag ? host->tag(host->context, (void *)object) & 7 : 0;
            uint32_t position = mark[number++] - 1;
            candidates[position] = object | tag << 1 | (bit_get(first, position) ? GRAPH_FIRST : 0);
        }
        if (word % (GRAPH_POLL / 64) == 0 && graph_stopped(graph))
            return GRAPH_STOPPED;
    }
    return GRAPH_OK;
}

static void release_from(struct graph *graph, int from, int to)
{
    for (int region = from; region <= to; region++)
        graph_release(graph, (enum graph_region)region);
}

/* pre: there is some. */
static enum graph_status order_garbage(struct graph *graph)
{
    size_t n = graph->garbage;
    if (!graph_reserve(graph, REGION_STACK, n * sizeof(uint32_t)) ||
        !graph_reserve(graph, REGION_ROOTS, BIT_BYTES(n)) ||
        !graph_reserve(graph, REGION_FLOODED, BIT_BYTES(n)))
        return GRAPH_NO_MEMORY;
    enum graph_status status = find_roots(graph);
    if (status != GRAPH_OK)
        return status;
    graph_release(graph, REGION_FLOODED);
    if (!graph_reserve(graph, REGION_MARKS, n * sizeof(uint32_t)) ||
        !graph_reserve(graph, REGION_FRAMES, n * sizeof(struct order_frame)) ||
        !graph_reserve(graph, REGION_FIRST, BIT_BYTES(n)))
        return GRAPH_NO_MEMORY;
    status = find_components(graph);
    graph_tally(graph);
    release_from(graph, REGION_BEGIN, REGION_STACK);
    graph_release(graph, REGION_ROOTS);
    graph_release(graph, REGION_FRAMES);
    if (status != GRAPH_OK)
        return status;
    if (!graph_reserve(graph, REGION_CANDIDATES, n * sizeof(uint64_t)))
        return GRAPH_NO_MEMORY;
    return write_candidates(graph);
}

enum graph_status graph_order(struct graph *graph)
{
    if (!graph_reserve(graph, REGION_NUMBERS, (graph->objects / 64 + 1) * sizeof(uint32_t)))
        return GRAPH_NO_MEMORY;
    size_t pairs = 0;
    enum graph_status status = renumber(graph);
    if (status == GRAPH_OK)
        status = ask_precedence(graph, &pairs);
    if (status == GRAPH_OK)
        status = squeeze(graph);
    if (status == GRAPH_OK && pairs > 0)
        status = add_precedence(graph, pairs);
    if (status != GRAPH_OK)
        return status;
    if (graph->garbage > 0)
        status = order_garbage(graph);
    graph_tally(graph);
    release_from(graph, REGION_REFS, REGION_FIRST);
    if (status == GRAPH_OK)
        graph->phase = GRAPH_ORDERED;
    return status;
}
