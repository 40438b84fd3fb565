/* ticks.c: midden hears of CPython's collections, through a callback in gc.callbacks.
 *
 * "start" comes before the lists are merged and is where a slice is handed over; "stop" comes after all is
 * done and is where a flight is launched. The callback is an object that only gc.callbacks owns: when the
 * program empties that list the object dies, and its death is what puts a new one there. */
#include "collector.h"

#include "compaction.h"
#include "platform/platform.h"
#include "roster.h"

static uint64_t ticks;
static PyObject *generation_key; /* "generation" */
static PyObject *current;        /* the callback that counts (borrowed); another one is an old one */

uint64_t ticks_count(void)
{
    return ticks;
}

/* --- start -------------------------------------------------------------------------------------- */

static void hand_over_middle(int generation)
{
    struct collector *c = &collector;
    /* Only into generation 1: its survivors go back to the oldest list in the same collection. */
    if (generation != 1)
        return;
    uint64_t most = pacer_whole(&c->pacer, &c->whole_all);
    if (most == 0)
        return;
    roster_before(&c->gc, false);
    size_t taken = gcstate_take_middle(&c->gc, c->whole_all, most, generation);
    if (taken == SIZE_MAX) {
        pacer_whole_refused(&c->pacer, most, c->whole_all);
        return;
    }
    pacer_whole_taken(&c->pacer, taken, c->whole_all);
    c->whole = taken;
    c->whole_count += taken != 0;
    c->whole_objects += taken;
}

/* CPython calls nobody when it has no memory for the call: a "stop" may be missing. */
static void make_up_for_stop(void)
{
    struct collector *c = &collector;
    c->usual = false;
    if (c->flight == FLIGHT_RECLAIMING && c->slice_begin != c->next)
        collector_account(0, 0);
    if (c->whole != 0)
        pacer_whole_done(&c->pacer, c->whole, c->whole, (uint64_t)c->pacer.young_ns[1], c->whole_all);
    c->whole = 0;
}

static void on_start(int generation)
{
    struct collector *c = &collector;
    lifecycle_check_process();
    if (c->within)
        make_up_for_stop();
    c->within = true;
    c->whole = 0;
    /* gc.disable() may have let it grow; then what a collection takes says nothing about ours. */
    c->usual = c->gc.generations[0].count <= 2 * c->gc.generations[0].threshold;
    if (generation == 2)
        roster_before(&c->gc, c->aside == NULL);
    else if (lifecycle_automatic()) {
        collector_look();
        if (c->flight == FLIGHT_RECLAIMING)
            collector_hand_over(generation);
        else if (!c->torture)
            hand_over_middle(generation);
    }
    c->start_ns = platform_now_ns();
}

/* --- stop --------------------------------------------------------------------------------------- */

/* All generations were collected in the program. */
static void after_full(void)
{
    struct collector *c = &collector;
    uint64_t total = 0;
    if (c->aside != NULL) {
        gcstate_put_back(&c->gc, c->aside);
        c->aside = NULL;
        total = c->aside_total;
    }
    gcstate_suppress_full(&c->gc);
    roster_after(&c->gc, true);
    c->gc.host_total += (Py_ssize_t)total;
    collector_give_up(); /* what it would find has been found */
    gcstate_mark(&c->gc);
    pacer_host_collected(&c->pacer, (uint64_t)c->gc.host_total);
}

static int let_host_collect(void *unused)
{
    (void)unused;
    PyObject *collect = request_host_collect();
    if (collector.enabled && collect != NULL) {
        PyObject *result = PyObject_CallNoArgs(collect);
        if (result == NULL)
            PyErr_WriteUnraisable(collect);
        Py_XDECREF(result);
    }
    return 0;
}

static void decide(void)
{
    struct collector *c = &collector;
    if (c->torture) {
        if (c->flight == FLIGHT_NONE && ++c->torture_turn % c->torture == 0)
            collector_launch(c->torture_turn / c->torture % 3 ? FINDER_MIDDLE : FINDER_FULL, 0, false);
        return;
    }
    switch (pacer_decide(&c->pacer, platform_now_ns())) {
    case PACER_REST: break;
    case PACER_MIDDLE: collector_launch(FINDER_MIDDLE, 0, false); break;
    case PACER_FULL: collector_launch(FINDER_FULL, pacer_grown_at(&c->pacer), false); break;
    case PACER_IN_PLACE:
        if (c->flight == FLIGHT_RECLAIMING)
            break; /* it has landed: reclaiming is what helps now */
        collector_give_up();
        collector_search_in_place();
        break;
    case PACER_HOST:
        c->fallbacks++;
        pacer_host_collected(&c->pacer, c->pacer.old + c->pacer.grown);
        Py_AddPendingCall(let_host_collect, NULL);
        break;
    }
}

static void nap(void)
{
    struct collector *c = &collector;
    uint64_t ns = c->flight == FLIGHT_SEARCHING ? pacer_nap(&c->pacer) : 0;
    if (ns == 0)
        return;
    Py_BEGIN_ALLOW_THREADS platform_nap(ns);
    Py_END_ALLOW_THREADS pauses_add(&c->pauses[PAUSE_NAP], ns);
}

static void on_stop(int generation)
{
    struct collector *c = &collector;
    if (!c->within)
        return; /* enabled within this collection: its start was not ours */
    uint64_t ns = platform_now_ns() - c->start_ns;
    c->within = false;
    bool with_slice = c->flight == FLIGHT_RECLAIMING && c->slice_begin != c->next;
    pauses_add(&c->pauses[generation == 2               ? PAUSE_FULL
                          : with_slice || c->whole != 0 ? PAUSE_RECLAIM
                                                        : PAUSE_YOUNG],
               ns);
    Py_ssize_t pending = gcstate_pending(&c->gc);
    uint64_t promoted = pending > c->pending_seen ? (uint64_t)(pending - c->pending_seen) : 0;
    c->pending_seen = pending;
    if (generation == 2) {
        after_full();
        return;
    }
    if (generation == 1)
        roster_after(&c->gc, c->whole != 0);
    pacer_promoted(&c->pacer, promoted);
    if (c->whole != 0) {
        pacer_whole_done(&c->pacer, c->whole, promoted, ns, c->whole_all);
        gcstate_mark(&c->gc);
    }
    if (with_slice)
        collector_account(generation, ns);
    else if (c->whole == 0 && c->usual)
        pacer_young(&c->pacer, generation, ns);
    if (lifecycle_automatic())
        decide();
    nap();
    compaction_tick(platform_now_ns());
}

/* --- the callback object ------------------------------------------------------------------------ */

static PyObject *callback_call(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)kwargs;
    PyObject *phase, *info;
    if (!PyArg_UnpackTuple(args, "callback", 2, 2, &phase, &info))
        return NULL;
    if (!PyUnicode_Check(phase) || !PyDict_Check(info)) {
        PyErr_SetString(PyExc_TypeError, "this is midden's; only the collector may call it");
        return NULL;
    }
    /* Somebody may call it by hand: only CPython does so while it collects. */
    if (self != current || !collector.enabled || !gcstate_collecting(&collector.gc))
        Py_RETURN_NONE;
    PyObject *number = PyDict_GetItemWithError(info, generation_key);
    long generation = number != NULL ? PyLong_AsLong(number) : -1;
    if (generation < 0 || generation > 2) {
        PyErr_Clear();
        Py_RETURN_NONE;
    }
    ticks++;
    bool check = collector.check && collector.aside == NULL; /* the marker may be aside */
    const char *wrong = check ? gcstate_check(&collector.gc) : NULL;
    if (PyUnicode_CompareWithASCIIString(phase, "start") == 0)
        on_start((int)generation);
    else
        on_stop((int)generation);
    if (wrong == NULL && check && collector.enabled && collector.aside == NULL)
        wrong = gcstate_check(&collector.gc);
    if (wrong != NULL)
        Py_FatalError(wrong);
    Py_RETURN_NONE;
}

static int reinstall(void *unused)
{
    (void)unused;
    if (collector.enabled && !ticks_install())
        PyErr_WriteUnraisable(NULL);
    return 0;
}

static void callback_dealloc(PyObject *self)
{
    bool counted = self == current;
    Py_TYPE(self)->tp_free(self);
    if (!counted)
        return;
    current = NULL;
    if (collector.enabled)
        Py_AddPendingCall(reinstall, NULL);
}

static PyObject *callback_repr(PyObject *self)
{
    (void)self;
    return PyUnicode_FromString("<midden's collector>");
}

static PyTypeObject callback_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "midden._core.Callback",
    .tp_doc = "Tells midden of the collections that CPython runs.",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_call = callback_call,
    .tp_repr = callback_repr,
    .tp_dealloc = callback_dealloc,
};

bool ticks_install(void)
{
    PyObject *callbacks = collector.gc.state->callbacks;
    if (current != NULL) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(callbacks); i++) {
            if (PyList_GET_ITEM(callbacks, i) == current)
                return true;
        }
        return PyList_Append(callbacks, current) == 0;
    }
    if (PyType_Ready(&callback_type) < 0)
        return false;
    if (generation_key == NULL && (generation_key = PyUnicode_InternFromString("generation")) == NULL)
        return false;
    PyObject *callback = PyObject_New(PyObject, &callback_type);
    if (callback == NULL)
        return false;
    if (PyList_Append(callbacks, callback) == 0)
        current = callback;
    Py_DECREF(callback);
    return current != NULL;
}

void ticks_remove(void)
{
    PyObject *callbacks = collector.gc.state->callbacks;
    current = NULL;
    for (Py_ssize_t i = PyList_GET_SIZE(callbacks) - 1; i >= 0; i--) {
        if (Py_IS_TYPE(PyList_GET_ITEM(callbacks, i), &callback_type))
            PyList_SetSlice(callbacks, i, i + 1, NULL);
    }
}
