/* finder.c: the graph's host table for CPython, the listing of the set, and the job in the clone. */
#include "finder.h"

#include "listing.h"
#include "platform/platform.h"
#include "roster.h"

/* --- the host table ----------------------------------------------------------------------------- */

/* An object whose type frees its memory by other means than the collector's own function may go without
 * passing the record: it is never proposed from a snapshot. (list's tp_free is PyObject_GC_Del, as the
 * interpreter sees it.) */
static uint64_t host_count(void *context, void *object)
{
    const struct finder_order *order = context;
    if (!gcstate_tracked(gc_links_of(object)))
        return GRAPH_REACHABLE; /* of the roster: it rests in its type's free list, or is no container any more */
    if (!order->in_place && Py_TYPE((PyObject *)object)->tp_free != PyList_Type.tp_free)
        return GRAPH_REACHABLE;
    uint64_t count = compat_count(object);
    return count < COMPAT_COUNT_LIMIT ? count : GRAPH_REACHABLE;
}

static void host_traverse(void *context, void *object, graph_visit *visit, void *arg)
{
    (void)context;
    traverseproc traverse = Py_TYPE((PyObject *)object)->tp_traverse;
    if (traverse != NULL && gcstate_tracked(gc_links_of(object)))
        traverse(object, (visitproc)(void (*)(void))visit, arg);
}

static void host_prefetch(void *context, void *object)
{
    (void)context;
    compat_prefetch(object);
}

/* A weak reference that is garbage is not called back, unless its referent is collected before it. */
static void host_precede(void *context, void *object, graph_visit *visit, void *arg)
{
    (void)context;
    if (PyObject_TypeCheck((PyObject *)object, &_PyWeakref_RefType)) {
        PyWeakReference *reference = object;
        if (reference->wr_callback != NULL)
            visit(reference->wr_object, arg);
    }
}

static unsigned host_tag(void *context, void *object)
{
    (void)context;
    return compat_has_preheader(Py_TYPE((PyObject *)object));
}

static int host_proceed(void *context)
{
    const struct finder_order *order = context;
    return order->proceed != NULL ? order->proceed(order->context) : 0;
}

/* --- the set ------------------------------------------------------------------------------------ */

/* Put the set together; result->full and ->counted tell which it became. */
static enum graph_status add_set(const struct finder_order *order, struct graph *graph,
                                 struct finder_result *result)
{
    void *context = (void *)order;
    result->full = order->scope == FINDER_FULL;
    result->counted = 0;
    enum graph_status status = listing_young(order->gc, graph, host_proceed, context);
    if (status == GRAPH_OK && result->full) {
        size_t young = graph_size(graph);
        status = order->roster ? roster_list(graph) : listing_old(order->gc, graph, host_proceed, context);
        result->counted = graph_size(graph) - young;
        if (status == GRAPH_OK && result->counted < order->grown_at) {
            result->full = false;
            graph_clear(graph);
            status = listing_young(order->gc, graph, host_proceed, context);
        }
    }
    if (status == GRAPH_OK && !result->full)
        status = listing_middle(order->gc, graph, host_proceed, context);
    return status;
}

/* --- the search --------------------------------------------------------------------------------- */

static enum graph_status search(const struct finder_order *order, struct graph_host *host,
                                struct graph **graph, struct finder_result *result,
                                struct snapshot_answer *answer)
{
    uint64_t start_ns = platform_now_ns();
    *host = (struct graph_host){
        .context = (void *)order,
        .count = host_count,
        .traverse = host_traverse,
        .prefetch = host_prefetch,
        .precede = host_precede,
        .tag = host_tag,
        .proceed = host_proceed,
    };
    *graph = graph_new(host);
    enum graph_status status = *graph != NULL ? add_set(order, *graph, result) : GRAPH_NO_MEMORY;
    if (answer != NULL)
        snapshot_stage(answer, SNAPSHOT_STAGE_LISTED);
    if (status == GRAPH_OK)
        status = graph_find(*graph);
    if (status == GRAPH_OK)
        graph_tell(*graph, &result->graph);
    result->search_ns = platform_now_ns() - start_ns;
    return status;
}

enum graph_status finder_search(const struct finder_order *order, struct graph **graph,
                                struct finder_result *result)
{
    /* The graph is emitted soon after and calls the host for tags: the table must live as long. */
    static struct graph_host host;
    enum graph_status status = search(order, &host, graph, result, NULL);
    if (status != GRAPH_OK) {
        graph_free(*graph);
        *graph = NULL;
    }
    return status;
}

/* --- the job ------------------------------------------------------------------------------------ */

enum told {
    TOLD_FULL,
    TOLD_COUNTED,
    TOLD_NS,
    TOLD_OBJECTS,
    TOLD_REFERENCES,
    TOLD_GARBAGE,
    TOLD_COMPONENTS,
    TOLD_LARGEST,
    TOLD_BYTES
};

static int job_proceed(void *context)
{
    return snapshot_proceed(context);
}

int finder_job(struct snapshot_answer *answer, void *arg)
{
    struct finder_order order = *(struct finder_order *)arg;
    order.proceed = job_proceed;
    order.context = answer;
    struct graph_host host;
    struct graph *graph;
    struct finder_result result = {0};
    enum graph_status status = search(&order, &host, &graph, &result, answer);
    if (status != GRAPH_OK)
        return (int)status;
    snapshot_stage(answer, SNAPSHOT_STAGE_FOUND);
    uint64_t start_ns = platform_now_ns();
    answer->count = graph_emit(graph, answer->words, answer->room);
    uint64_t *figures = answer->figures;
    figures[TOLD_FULL] = result.full;
    figures[TOLD_COUNTED] = result.counted;
    figures[TOLD_NS] = result.search_ns + (platform_now_ns() - start_ns);
    figures[TOLD_OBJECTS] = result.graph.objects;
    figures[TOLD_REFERENCES] = result.graph.references;
    figures[TOLD_GARBAGE] = result.graph.garbage;
    figures[TOLD_COMPONENTS] = result.graph.components;
    figures[TOLD_LARGEST] = result.graph.largest;
    figures[TOLD_BYTES] = result.graph.memory_bytes;
    snapshot_stage(answer, SNAPSHOT_STAGE_WRITTEN);
    return 0;
}

void finder_told(const struct snapshot_answer *answer, struct finder_result *result)
{
    const uint64_t *figures = answer->figures;
    *result = (struct finder_result){
        .full = figures[TOLD_FULL] != 0,
        .counted = figures[TOLD_COUNTED],
        .search_ns = figures[TOLD_NS],
        .graph = {.objects = figures[TOLD_OBJECTS],
                  .references = figures[TOLD_REFERENCES],
                  .garbage = figures[TOLD_GARBAGE],
                  .components = figures[TOLD_COMPONENTS],
                  .largest = figures[TOLD_LARGEST],
                  .memory_bytes = figures[TOLD_BYTES]},
    };
}
