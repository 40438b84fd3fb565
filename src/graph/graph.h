/* graph.h: from "objects, counts, references" to garbage, in an order that is safe to hand over.
 *
 * Invariant: for every object of the set, count = references from inside the set + references from
 * outside. An object with references from outside is reachable, and so is all that it refers to; what
 * remains is garbage. The invariant holds while the host's objects do not change: in a snapshot, or with
 * the program stopped.
 *
 * Pure: knows no Python and no processes, writes nothing into the objects, maps its own memory
 * (platform_map), takes no locks; so it runs in a clone. Not thread-safe: one graph, one thread.
 *
 * Phases: graph_new -> graph_add ... -> graph_find -> graph_emit -> graph_free.
 * docs/architecture.md, "The finder", tells the algorithm; files: rank.c (which number has this
 * address?), extract.c (the one traversal), mark.c (subtract, mark), order.c (components, sources first),
 * graph.c (phases and pages), check.c (graph_check). */
#ifndef MIDDEN_GRAPH_H
#define MIDDEN_GRAPH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum graph_status {
    GRAPH_OK,
    GRAPH_NO_MEMORY, /* the system refused pages */
    GRAPH_TOO_LARGE, /* more objects or references than 32-bit numbers hold (2^31 references) */
    GRAPH_STOPPED    /* the host's proceed() said so */
};
const char *graph_status_name(enum graph_status status);

/* Called by the host for every reference that an object holds, as often as it holds it. NULL and objects
 * outside the set are allowed. Returns 0, always: a traversal is never cut short. */
typedef int graph_visit(void *object, void *arg);

#define GRAPH_REACHABLE UINT64_MAX /* a count: reachable whatever the references say */

/* What the host must tell. All are called with objects that were added, in address order. None may
 * change anything, nor call the C library. */
struct graph_host {
    void *context;
    /* The reference count, or GRAPH_REACHABLE (immortal; unknown; not to be proposed). A count of 0 or
     * of 2^31 - 1 and more counts as reachable too. Fewer than the references from inside (the traversal told
     * a borrowed one) is none from outside. */
    uint64_t (*count)(void *context, void *object);
    void (*traverse)(void *context, void *object, graph_visit *visit, void *arg);
    /* Optional. Prefetch what traverse() will read behind the object's first cache line (its own first
     * line has been prefetched a while ago and may be read). */
    void (*prefetch)(void *context, void *object);
    /* Optional. Visit what must come after this object although it does not refer to it: a weak reference
     * that has a callback goes before its referent, or it would be called back. Asked of garbage only. */
    void (*precede)(void *context, void *object, graph_visit *visit, void *arg);
    /* Optional. Up to 3 bits that graph_emit adds to the candidate, e.g. how its block is laid out. */
    unsigned (*tag)(void *context, void *object);
    /* Optional. Polled about every 65,536 objects, in every phase; non-zero ends the work (GRAPH_STOPPED). */
    int (*proceed)(void *context);
};

/* One garbage object: its address (aligned to 16), and in the low bits: */
#define GRAPH_FIRST ((uint64_t)1) /* it opens a component */
#define GRAPH_TAG(candidate) ((unsigned)((candidate) >> 1) & 7u)
#define GRAPH_OBJECT(candidate) ((void *)(uintptr_t)((candidate) & ~(uint64_t)15))

struct graph;

struct graph_figures {
    size_t objects;    /* in the set */
    size_t references; /* inside the set */
    size_t garbage;
    size_t components;   /* strongly connected, of the garbage */
    size_t largest;      /* objects in the largest component */
    size_t memory_bytes; /* in use at most, all phases; lazily touched pages that never were are not */
};

/* NULL when pages are refused. The host is kept, not copied: it must outlive the graph. */
struct graph *graph_new(const struct graph_host *host);
/* Put an object in the set. Adding twice is adding once. An object not aligned to 16 bytes, or beyond
 * 48 bits, stays outside the set (so what it refers to is reachable): GRAPH_OK. pre: before graph_find. */
enum graph_status graph_add(struct graph *graph, void *object);
/* Put many in: a bit for each 16 bytes from `at` on, a multiple of 1024. As graph_add otherwise. */
enum graph_status graph_add_words(struct graph *graph, uintptr_t at, const uint64_t *words, size_t count);
/* Whether it was added (and did not stay outside). pre: before graph_find. */
bool graph_has(const struct graph *graph, void *object);
/* Prefetch what graph_add and graph_has will need for it. */
void graph_prefetch(const struct graph *graph, void *object);
/* Objects added so far. */
size_t graph_size(const struct graph *graph);
/* Take all objects out again, keeping nothing. pre: before graph_find. */
void graph_clear(struct graph *graph);
/* Extract the graph, subtract, mark, and order the garbage. Once. After any other status than GRAPH_OK
 * only graph_free is allowed. */
enum graph_status graph_find(struct graph *graph);
void graph_tell(const struct graph *graph, struct graph_figures *figures);
/* Write the garbage as candidates: components in an order where each comes after all that refer to it
 * or precede it (sources first), the objects of one component together, the first with GRAPH_FIRST. At
 * most room candidates, cut only between components. Returns how many were written. pre: graph_find gave
 * GRAPH_OK. */
size_t graph_emit(const struct graph *graph, uint64_t *candidates, size_t room);
void graph_free(struct graph *graph); /* NULL is allowed */

/* Verify every invariant of the phase that the graph is in (tests, and builds with -Dchecks=full).
 * NULL, or what is wrong. Costs a pass over all references. */
const char *graph_check(const struct graph *graph);

#endif
