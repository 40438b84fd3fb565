/* finder.h: CPython's objects as a graph, and the search for garbage among them, in a clone or in place.
 *
 * Invariant: the search only reads. It calls tp_traverse and nothing else of CPython; no reference
 * count changes, nothing is allocated by CPython, no lock is taken. Its memory is the graph's.
 *
 * A candidate is told with its block: where the allocator's block starts before the object (the tag). */
#ifndef MIDDEN_CPYTHON_FINDER_H
#define MIDDEN_CPYTHON_FINDER_H

#include "gcstate.h"
#include "graph/graph.h"
#include "snapshot/snapshot.h"

enum finder_scope {
    FINDER_MIDDLE, /* the two young lists, and what was promoted since the marker */
    FINDER_FULL    /* all lists but the frozen one */
};

struct finder_order {
    const struct gcstate *gc;
    enum finder_scope scope;
    uint64_t grown_at; /* FULL only if the oldest list has so many objects, else MIDDLE; 0: in any case */
    bool roster;       /* FULL: the old objects are in the roster; else in their list */
    bool in_place;     /* the candidates are handed over before anything can be freed */
    int (*proceed)(void *context); /* optional: non-zero ends the search */
    void *context;
};

struct finder_result {
    bool full;
    uint64_t counted;   /* objects in the oldest list; 0: not counted */
    uint64_t search_ns; /* wall time of it all */
    struct graph_figures graph;
};

/* Search. On GRAPH_OK *graph has the garbage (free it with graph_free); otherwise it is NULL. */
enum graph_status finder_search(const struct finder_order *order, struct graph **graph,
                                struct finder_result *result);

/* The same as a job in a clone (arg: a struct finder_order): candidates in the answer's words. */
int finder_job(struct snapshot_answer *answer, void *arg);
/* Read what the job told. pre: the snapshot is ANSWERED. */
void finder_told(const struct snapshot_answer *answer, struct finder_result *result);

/* Of a candidate: the object, its list links, its block. */
static inline struct gc_links *finder_links(uint64_t candidate)
{
    return gc_links_of(GRAPH_OBJECT(candidate));
}

static inline uintptr_t finder_block(uint64_t candidate)
{
    return (uintptr_t)finder_links(candidate) - 16 * (uintptr_t)(GRAPH_TAG(candidate) & 1);
}

#endif
