/* listing.c: following the collector's lists, one step at a time or many. */
#include "listing.h"

#define POLL_EVERY 65536u

/* --- one chain, from the end backwards ---------------------------------------------------------- */

static enum graph_status list_back(struct graph *graph, struct gc_links *head, const struct gc_links *until,
                                   listing_proceed *proceed, void *context)
{
    size_t steps = 0;
    for (struct gc_links *links = gcstate_prev(head); links != head && links != until;) {
        struct gc_links *prev = gcstate_prev(links);
        __builtin_prefetch(prev);
        enum graph_status status = graph_add(graph, gc_object_of(links));
        if (status == GRAPH_OK && ++steps % POLL_EVERY == 0 && proceed(context) != 0)
            status = GRAPH_STOPPED;
        if (status != GRAPH_OK)
            return status;
        links = prev;
    }
    return GRAPH_OK;
}

enum graph_status listing_young(const struct gcstate *gc, struct graph *graph, listing_proceed *proceed,
                                void *context)
{
    enum graph_status status = list_back(graph, gcstate_head(gc, 0), NULL, proceed, context);
    if (status == GRAPH_OK)
        status = list_back(graph, gcstate_head(gc, 1), NULL, proceed, context);
    return status;
}

enum graph_status listing_middle(const struct gcstate *gc, struct graph *graph, listing_proceed *proceed,
                                 void *context)
{
    return list_back(graph, gcstate_head(gc, 2), gc_links_of(gc->marker), proceed, context);
}

/* --- many chains -------------------------------------------------------------------------------- */

#define CHAINS 32u
#define PLACES 64u      /* places to start from, kept in reserve */
#define LOOK_EVERY 512u /* steps between two looks for more of them */

struct chain {
    struct gc_links *at; /* the next to list; NULL: free */
    bool forward;
};

struct chains {
    const struct gcstate *gc;
    struct graph *graph;
    bool alone; /* no frozen objects, one interpreter: any tracked object is in a list of the set */
    struct chain chains[CHAINS];
    PyObject *places[PLACES];
    unsigned place_count;
};

static bool is_head(const struct gcstate *gc, const struct gc_links *links)
{
    return links == gcstate_head(gc, 2) || links == gcstate_head(gc, 1) || links == gcstate_head(gc, 0);
}

static int note_place(PyObject *object, void *arg)
{
    struct chains *c = arg;
    if (c->place_count < PLACES && PyObject_IS_GC(object) && gcstate_tracked(gc_links_of(object)))
        c->places[c->place_count++] = object;
    return 0;
}

/* What an object refers to lies elsewhere in the list, as a rule. */
static void look_for_places(struct chains *c, struct gc_links *links)
{
    PyObject *object = gc_object_of(links);
    if (c->alone && c->place_count < PLACES && Py_TYPE(object)->tp_traverse != NULL)
        Py_TYPE(object)->tp_traverse(object, note_place, c);
}

static void start(struct chains *c, struct chain *chain, struct gc_links *at, bool forward)
{
    *chain = (struct chain){at, forward};
    __builtin_prefetch(at);
    graph_prefetch(c->graph, gc_object_of(at));
}

/* A free chain, and its neighbour if that is free too, go both ways from a place in reserve. The first
 * object of both is listed by whichever comes to it first; the other begins behind it. */
static void restart(struct chains *c, unsigned i)
{
    while (c->place_count > 0) {
        struct gc_links *links = gc_links_of(c->places[--c->place_count]);
        if (graph_has(c->graph, gc_object_of(links)))
            continue;
        start(c, &c->chains[i], links, true);
        if (c->chains[i ^ 1].at == NULL)
            start(c, &c->chains[i ^ 1], gcstate_prev(links), false);
        return;
    }
}

/* List the object that a chain has come to, and go on. */
static enum graph_status step(struct chains *c, struct chain *chain)
{
    struct gc_links *links = chain->at;
    if (is_head(c->gc, links) || graph_has(c->graph, gc_object_of(links))) {
        chain->at = NULL;
        return GRAPH_OK;
    }
    start(c, chain, chain->forward ? gcstate_next(links) : gcstate_prev(links), chain->forward);
    return graph_add(c->graph, gc_object_of(links));
}

enum graph_status listing_old(const struct gcstate *gc, struct graph *graph, listing_proceed *proceed,
                              void *context)
{
    struct gc_links *head = gcstate_head(gc, 2);
    bool frozen = gcstate_frozen(gc) != (uintptr_t)&gc->state->permanent;
    bool others = PyInterpreterState_Next(PyInterpreterState_Head()) != NULL;
    struct chains c = {.gc = gc, .graph = graph, .alone = !frozen && !others};
    start(&c, &c.chains[0], gcstate_next(head), true);
    start(&c, &c.chains[1], gcstate_prev(head), false);
    size_t steps = 0;
    for (bool going = true; going;) {
        going = false;
        for (unsigned i = 0; i < CHAINS; i++) {
            struct chain *chain = &c.chains[i];
            if (chain->at == NULL) {
                restart(&c, i);
                continue;
            }
            going = true;
            if (++steps % LOOK_EVERY == 0 && !is_head(gc, chain->at))
                look_for_places(&c, chain->at);
            enum graph_status status = step(&c, chain);
            if (status == GRAPH_OK && steps % POLL_EVERY == 0 && proceed(context) != 0)
                status = GRAPH_STOPPED;
            if (status != GRAPH_OK)
                return status;
        }
    }
    return GRAPH_OK;
}
