/* request.c: collecting when asked: midden.collect(), and a faster gc.collect(). */
#include "collector.h"

#include "platform/platform.h"

#include <string.h>

static PyObject *host_collect;  /* gc.collect, the real one */
static PyObject *fast_function; /* what stands in its place, if anything */

PyObject *request_host_collect(void)
{
    return host_collect;
}

/* --- in place: the finder in the program, then CPython's full collection over the garbage alone - */

struct in_place {
    size_t found;
    uint64_t find_ns, reclaim_ns;
    PyObject *collected; /* what gc.collect() returned (new reference); NULL with an exception set */
};

/* Everything that is not garbage steps aside while CPython runs its full collection, callbacks, free lists,
 * statistics and all. Without memory for the search it is the ordinary collection. pre: no collection is
 * under way, in any thread; the GIL was not released since that was seen. */
static struct in_place collect_in_place(void)
{
    struct collector *c = &collector;
    struct in_place done = {0};
    collector_give_up();
    uint64_t start_ns = platform_now_ns();
    struct finder_order order = {.gc = &c->gc, .scope = FINDER_FULL, .in_place = true};
    struct finder_result result = {0};
    struct graph *graph = NULL;
    struct gc_links aside;
    enum graph_status status = finder_search(&order, &graph, &result);
    size_t bytes = (result.graph.garbage + 1) * sizeof(uint64_t);
    uint64_t *candidates = status == GRAPH_OK ? platform_map(bytes) : NULL;
    if (candidates != NULL) {
        done.found = graph_emit(graph, candidates, result.graph.garbage);
        for (size_t i = 0; i < done.found; i++) {
            if (i + 16 < done.found)
                __builtin_prefetch(finder_links(candidates[i + 16]));
            gcstate_move(finder_links(candidates[i]), gcstate_head(&c->gc, 1));
        }
        gcstate_put_aside(&c->gc, &aside);
        c->aside = &aside;
        c->aside_total = result.counted;
    }
    platform_unmap(candidates, bytes);
    graph_free(graph);
    done.find_ns = platform_now_ns() - start_ns;
    done.collected = PyObject_CallNoArgs(host_collect);
    done.reclaim_ns = platform_now_ns() - start_ns - done.find_ns;
    if (c->aside != NULL) { /* no "stop" tick came: the callback was taken away */
        gcstate_put_back(&c->gc, &aside);
        c->aside = NULL;
    }
    c->candidates_total += done.found;
    return done;
}

/* --- gc.collect(), faster ----------------------------------------------------------------------- */

static PyObject *fast_collect(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    bool plain = kwargs == NULL || PyDict_GET_SIZE(kwargs) == 0;
    bool full = plain && PyTuple_GET_SIZE(args) == 0;
    if (plain && PyTuple_GET_SIZE(args) == 1)
        full = PyLong_CheckExact(PyTuple_GET_ITEM(args, 0)) && PyLong_AsLong(PyTuple_GET_ITEM(args, 0)) == 2;
    PyErr_Clear();
    lifecycle_check_process();
    if (!full || !collector.enabled || gcstate_collecting(&collector.gc) ||
        PyInterpreterState_Get() != PyInterpreterState_Main())
        return PyObject_Call(host_collect, args, kwargs);
    struct in_place done = collect_in_place();
    if (done.collected != NULL)
        collector.reclaimed_total += (uint64_t)PyLong_AsSsize_t(done.collected);
    return done.collected;
}

static PyMethodDef fast_method = {"collect", (PyCFunction)(void (*)(void))fast_collect,
                                  METH_VARARGS | METH_KEYWORDS,
                                  "collect($module, /, generation=2)\n--\n\nRun the garbage collector "
                                  "(midden's search, CPython's collection).\n\n"
                                  "With no arguments, run a full collection.  The optional argument\n"
                                  "may be an integer specifying which generation to collect.  A ValueError\n"
                                  "is raised if the generation number is invalid.\n\n"
                                  "The number of unreachable objects is returned."};

bool request_open(bool fast)
{
    PyObject *gc_module = PyImport_ImportModule("gc");
    if (gc_module == NULL)
        return false;
    bool good = true;
    if (host_collect == NULL)
        host_collect = PyObject_GetAttrString(gc_module, "collect");
    good = host_collect != NULL;
    if (good && fast && fast_function == NULL) {
        fast_function = PyCFunction_NewEx(&fast_method, NULL, NULL);
        good = fast_function != NULL && PyObject_SetAttrString(gc_module, "collect", fast_function) == 0;
    }
    Py_DECREF(gc_module);
    return good;
}

void request_close(void)
{
    PyObject *gc_module = PyImport_ImportModule("gc");
    PyObject *now = gc_module != NULL ? PyObject_GetAttrString(gc_module, "collect") : NULL;
    if (now != NULL && now == fast_function && host_collect != NULL)
        PyObject_SetAttrString(gc_module, "collect", host_collect);
    PyErr_Clear();
    Py_XDECREF(now);
    Py_XDECREF(gc_module);
    /* Whoever kept the fast function may still call it: host_collect stays for that. */
    Py_CLEAR(fast_function);
}

/* --- midden.collect() --------------------------------------------------------------------------- */

static PyObject *told(size_t found, size_t reclaimed, uint64_t clone_ns, uint64_t find_ns,
                      uint64_t reclaim_ns, bool in_place)
{
    return Py_BuildValue("{snsnsdsdsdsO}", "found", (Py_ssize_t)found, "reclaimed", (Py_ssize_t)reclaimed,
                         "clone_s", (double)clone_ns / 1e9, "find_s", (double)find_ns / 1e9, "reclaim_s",
                         (double)reclaim_ns / 1e9, "in_place", in_place ? Py_True : Py_False);
}

static PyObject *collect_in_place_and_tell(void)
{
    struct in_place done = collect_in_place();
    if (done.collected == NULL)
        return NULL;
    size_t collected = (size_t)PyLong_AsSsize_t(done.collected);
    Py_DECREF(done.collected);
    collector.reclaimed_total += collected;
    return told(done.found, collected, 0, done.find_ns, done.reclaim_ns, true);
}

/* One step towards the end of the flight: wait for the clone, or reclaim a slice. */
static int advance(uint64_t rest_ns)
{
    struct collector *c = &collector;
    uint64_t nap_ns = rest_ns < 50000000 ? rest_ns : 50000000;
    collector_look();
    if (c->flight == FLIGHT_SEARCHING) {
        struct snapshot_answer *answer = c->snapshot.answer;
        uint32_t rung = snapshot_bell(answer);
        if (snapshot_poll(&c->snapshot) == SNAPSHOT_FLYING) {
            /* The answer may be unmapped meanwhile by another thread: the wait then returns at once. */
            Py_BEGIN_ALLOW_THREADS snapshot_wait(answer, rung, nap_ns);
            Py_END_ALLOW_THREADS
        }
    } else if (c->flight == FLIGHT_RECLAIMING) {
        uint64_t before = ticks_count();
        if (!ticks_install())
            return -1;
        PyObject *collected = PyObject_CallFunction(host_collect, "i", 0);
        if (collected == NULL)
            return -1;
        Py_DECREF(collected);
        Py_BEGIN_ALLOW_THREADS if (ticks_count() == before) /* another thread is in a collection */
            platform_nap(1000000);
        Py_END_ALLOW_THREADS
    }
    return PyErr_CheckSignals();
}

/* Until no thread is in a collection. */
static int wait_for_quiet(void)
{
    while (gcstate_collecting(&collector.gc)) {
        Py_BEGIN_ALLOW_THREADS platform_nap(1000000);
        Py_END_ALLOW_THREADS if (PyErr_CheckSignals() < 0) return -1;
    }
    return 0;
}

PyObject *request_collect(bool wait, uint64_t timeout_ns, bool in_place)
{
    struct collector *c = &collector;
    if (gcstate_collecting(&c->gc)) { /* in a finalizer or a gc callback: as gc.collect() does */
        if (!wait)
            Py_RETURN_NONE;
        return told(0, 0, 0, 0, 0, in_place);
    }
    if (in_place)
        return collect_in_place_and_tell();
    if (!wait && c->flight != FLIGHT_NONE && c->requested)
        Py_RETURN_NONE; /* one is under way */
    uint64_t start_ns = platform_now_ns();
    collector_give_up();
    bool launched = collector_launch(FINDER_FULL, 0, true);
    if (!wait)
        Py_RETURN_NONE;
    uint64_t serial = c->outcome.serial;
    while (launched && c->enabled) {
        if (c->asked_for.serial >= serial && c->asked_for.given_up && c->flight != FLIGHT_NONE &&
            c->requested)
            serial = c->outcome.serial; /* another thread asked later: its snapshot will do for us */
        if (c->asked_for.serial >= serial || c->flight == FLIGHT_NONE)
            break;
        uint64_t spent_ns = platform_now_ns() - start_ns;
        if (spent_ns >= timeout_ns) {
            PyErr_SetString(PyExc_TimeoutError,
                            "the collection is not over yet; it goes on in the background");
            return NULL;
        }
        if (advance(timeout_ns - spent_ns) < 0)
            return NULL;
    }
    struct outcome outcome = c->asked_for;
    bool made_it = outcome.serial == serial && !outcome.failed && !outcome.given_up;
    if (!made_it && wait_for_quiet() < 0)
        return NULL;
    if (!made_it && c->enabled) { /* the clone did not, and the caller is waiting: search in the program */
        c->fallbacks++;
        return collect_in_place_and_tell();
    }
    return told(outcome.found, outcome.reclaimed, outcome.clone_ns, outcome.find_ns, outcome.reclaim_ns,
                false);
}
