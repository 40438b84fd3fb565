/* module.c: midden._core, what Python sees of the collector. The package documents it; here are types only. */
#include "collector.h"

#include "compaction.h"
#include "domains.h"
#include "picture.h"
#include "platform/platform.h"
#include "record.h"

#include <math.h>

static PyObject *unsupported; /* midden.Unsupported */
static const char *heap_why;  /* why the heap does not serve */

/* --- enable, disable, collect ------------------------------------------------------------------- */

static PyObject *core_enable(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    static char *names[] = {"collector", "heap", "fast_collect", NULL};
    int with_collector = 1, heap = 1, fast_collect = 0;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|ppp", names, &with_collector, &heap, &fast_collect))
        return NULL;
    const char *why = with_collector ? lifecycle_enable(fast_collect != 0) : NULL;
    if (why == NULL && heap) {
        heap_why = lifecycle_enable_heap();
        /* With a collector the heap is welcome, but no condition. */
        if (heap_why != NULL && (PyErr_Occurred() || !with_collector))
            why = heap_why;
    }
    if (why == NULL)
        Py_RETURN_NONE;
    if (!PyErr_Occurred())
        PyErr_SetString(unsupported, why);
    return NULL;
}

static PyObject *core_disable(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    lifecycle_disable();
    Py_RETURN_NONE;
}

static PyObject *core_is_enabled(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    return PyBool_FromLong(collector.enabled || domains_serving());
}

static PyObject *core_collect(PyObject *self, PyObject *args, PyObject *kwargs)
{
    (void)self;
    static char *names[] = {"wait", "timeout", "in_place", NULL};
    int wait = 1, in_place = 0;
    PyObject *timeout = Py_None;
    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|pOp", names, &wait, &timeout, &in_place))
        return NULL;
    uint64_t timeout_ns = UINT64_MAX;
    if (timeout != Py_None) {
        double seconds = PyFloat_AsDouble(timeout);
        if (seconds == -1 && PyErr_Occurred())
            return NULL;
        if (!(seconds >= 0)) {
            PyErr_SetString(PyExc_ValueError, "timeout must be a number of seconds, at least 0, or None");
            return NULL;
        }
        if (seconds < 1e9)
            timeout_ns = (uint64_t)(seconds * 1e9);
    }
    lifecycle_check_process();
    if (!collector.enabled) {
        PyErr_SetString(PyExc_RuntimeError, "midden is not enabled; call midden.enable() first");
        return NULL;
    }
    return request_collect(wait != 0, timeout_ns, in_place != 0);
}

static PyObject *core_compact(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    lifecycle_check_process();
    if (collector.enabled && gcstate_collecting(&collector.gc)) {
        PyErr_SetString(PyExc_RuntimeError, "compact() called within a garbage collection");
        return NULL;
    }
    return PyLong_FromSize_t(compaction_now());
}

/* --- hold --------------------------------------------------------------------------------------- */

static unsigned holds;
static bool held_enabled;

static PyObject *core_hold_enter(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    if (holds++ == 0)
        held_enabled = PyGC_Disable() != 0;
    Py_RETURN_NONE;
}

static PyObject *core_hold_leave(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    if (holds > 0 && --holds == 0 && held_enabled)
        PyGC_Enable();
    Py_RETURN_NONE;
}

/* --- stats -------------------------------------------------------------------------------------- */

static PyObject *pauses_dict(const struct pauses *pauses)
{
    return Py_BuildValue("{sKsdsdsdsd}", "count", (unsigned long long)pauses->count, "total_s",
                         (double)pauses->total_ns / 1e9, "max_s", (double)pauses->max_ns / 1e9, "p50_s",
                         (double)pauses_percentile(pauses, 0.50) / 1e9, "p99_s",
                         (double)pauses_percentile(pauses, 0.99) / 1e9);
}

static PyObject *all_pauses(void)
{
    const struct pauses *pauses = collector.pauses;
    PyObject *dict = PyDict_New();
    for (int cause = 0; cause < PAUSE_NAP && dict != NULL; cause++) {
        PyObject *one = pauses_dict(&pauses[cause]);
        if (one == NULL || PyDict_SetItemString(dict, pause_cause_name((enum pause_cause)cause), one) < 0)
            Py_CLEAR(dict);
        Py_XDECREF(one);
    }
    return dict;
}

static PyObject *heap_dict(void)
{
    if (domains_heap() == NULL)
        return Py_BuildValue("{sOsOsnsOsOsz}", "live_bytes", Py_None, "mapped_bytes", Py_None,
                             "resident_bytes", (Py_ssize_t)platform_resident_bytes(), "returned_bytes",
                             Py_None, "serving", Py_False, "declined", heap_why);
    struct heap_figures f;
    const struct compaction_figures *c = &compaction_figures;
    heap_tell(domains_heap(), &f);
    return Py_BuildValue(
        "{snsnsnsnsOszsnsnsnsnsnsnsKsKsdsd}", "live_bytes", (Py_ssize_t)f.live_bytes, "mapped_bytes",
        (Py_ssize_t)f.mapped_bytes, "resident_bytes", (Py_ssize_t)f.resident_bytes, "returned_bytes",
        (Py_ssize_t)f.returned_bytes, "serving", domains_serving() ? Py_True : Py_False, "declined", heap_why,
        "blocks", (Py_ssize_t)f.blocks, "free_bytes", (Py_ssize_t)f.free_bytes, "side_bytes",
        (Py_ssize_t)f.side_bytes, "moved_blocks", (Py_ssize_t)f.moved_blocks, "moved_bytes",
        (Py_ssize_t)f.moved_bytes, "purges", (Py_ssize_t)f.purges, "compactions",
        (unsigned long long)c->passes, "idle_compactions", (unsigned long long)c->idle_passes,
        "longest_evacuate_s", (double)c->longest_evacuate_ns / 1e9, "longest_purge_s",
        (double)c->longest_purge_ns / 1e9);
}

static PyObject *core_stats(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    const struct collector *c = &collector;
    lifecycle_check_process();
    if (c->enabled)
        collector_look();
    PyObject *pauses = all_pauses(), *naps = pauses_dict(&c->pauses[PAUSE_NAP]), *heap = heap_dict();
    if (pauses == NULL || naps == NULL || heap == NULL) {
        Py_XDECREF(heap);
        Py_XDECREF(pauses);
        Py_XDECREF(naps);
        return NULL;
    }
    return Py_BuildValue(
        "{sOsOsKsKsKsKsKsdsN"
        "sN"
        "sN"
        "s{sKsK}"
        "sKsdsKsKsKss}",
        "enabled", c->enabled ? Py_True : Py_False, "in_flight",
        c->flight != FLIGHT_NONE ? Py_True : Py_False, "snapshots", (unsigned long long)c->snapshots,
        "snapshots_failed", (unsigned long long)c->snapshots_failed, "candidates",
        (unsigned long long)c->candidates_total, "reclaimed", (unsigned long long)c->reclaimed_total,
        "fallbacks", (unsigned long long)c->fallbacks, "child_cpu_s", (double)c->child_cpu_ns / 1e9, "pauses",
        pauses, "heap", heap, "naps", naps, "middle", "count", (unsigned long long)c->whole_count, "objects",
        (unsigned long long)c->whole_objects, "oversized", (unsigned long long)c->oversized, "find_s",
        (double)c->find_ns / 1e9, "finder_bytes", (unsigned long long)c->child_bytes, "record_bytes",
        (unsigned long long)record_bytes(), "page_faults", (unsigned long long)c->cow_faults, "last_failure",
        c->last_failure);
}

/* --- support, and checks for the tests ---------------------------------------------------------- */

static bool add_item(PyObject *list, const char *item, bool good, const char *detail)
{
    PyObject *tuple = Py_BuildValue("(sOs)", item, good ? Py_True : Py_False, detail);
    bool added = tuple != NULL && PyList_Append(list, tuple) == 0;
    Py_XDECREF(tuple);
    return added;
}

/* Try each thing for real: the lists, the allocator's hook, a clone. */
static PyObject *core_support(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    PyObject *list = PyList_New(0);
    if (list == NULL)
        return NULL;
    const char *system = platform_unsupported();
    bool good = add_item(list, "system", system == NULL, system != NULL ? system : "Linux");
    const char *lists = NULL;
    if (!collector.enabled) {
        struct gcstate gc;
        lists = gcstate_open(&gc);
        if (lists == NULL)
            gcstate_close(&gc);
        else if (lists[0] == '\0') {
            Py_DECREF(list);
            return NULL;
        }
    }
    good = good && add_item(list, "collector", lists == NULL,
                            lists != NULL ? lists : "the generation lists are where they should be");
    if (collector.flight == FLIGHT_NONE) {
        bool armed = record_arm();
        record_disarm();
        good = good && add_item(list, "allocator", armed,
                                armed ? "freed memory can be recorded" : "the allocator cannot be hooked");
    }
    const char *heap = domains_serving() ? NULL : domains_obstacle();
    good =
        good && add_item(list, "heap", heap == NULL, heap != NULL ? heap : "Python's memory can be served");
    int64_t pid = system == NULL ? platform_clone() : -1;
    if (pid == 0)
        platform_clone_exit(0);
    int status;
    bool cloned = pid > 0 && platform_reap(pid, true, &status, NULL) == PLATFORM_ENDED;
    good =
        good && add_item(list, "clone", cloned, cloned ? "the process can be cloned" : "the system refused");
    if (!good)
        Py_CLEAR(list);
    return list;
}

static PyObject *core_check_heap(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    const char *wrong = domains_heap() != NULL ? heap_check(domains_heap()) : NULL;
    if (wrong == NULL)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_SystemError, wrong);
    return NULL;
}

static PyObject *core_heap_view(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    return picture_take();
}

static PyObject *core_check_lists(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    const char *wrong = collector.enabled ? gcstate_check(&collector.gc) : NULL;
    if (wrong == NULL)
        Py_RETURN_NONE;
    PyErr_SetString(PyExc_SystemError, wrong);
    return NULL;
}

/* --- the module --------------------------------------------------------------------------------- */

#define KEYWORDS(function) (PyCFunction)(void (*)(void))(function), METH_VARARGS | METH_KEYWORDS

static PyMethodDef methods[] = {
    {"enable", KEYWORDS(core_enable), "enable(collector=True, heap=True, fast_collect=False)"},
    {"disable", core_disable, METH_NOARGS, "disable()"},
    {"is_enabled", core_is_enabled, METH_NOARGS, "is_enabled() -> bool"},
    {"collect", KEYWORDS(core_collect), "collect(wait=True, timeout=None, in_place=False) -> dict or None"},
    {"compact", core_compact, METH_NOARGS, "compact() -> bytes that went back to the system"},
    {"heap_view", core_heap_view, METH_NOARGS, "heap_view() -> dict or None: picture.h"},
    {"hold_enter", core_hold_enter, METH_NOARGS, "hold_enter()"},
    {"hold_leave", core_hold_leave, METH_NOARGS, "hold_leave()"},
    {"stats", core_stats, METH_NOARGS, "stats() -> dict"},
    {"support", core_support, METH_NOARGS, "support() -> list of (item, ok, detail)"},
    {"check_lists", core_check_lists, METH_NOARGS,
     "check_lists(): verify the collector's lists; SystemError if they are broken"},
    {"check_heap", core_check_heap, METH_NOARGS,
     "check_heap(): verify the managed heap; SystemError if it is broken"},
    {NULL, NULL, 0, NULL}};

static int core_exec(PyObject *module)
{
    if (PyInterpreterState_Get() != PyInterpreterState_Main()) {
        PyErr_SetString(PyExc_ImportError, "midden serves the main interpreter only");
        return -1;
    }
    if (unsupported == NULL)
        unsupported = PyErr_NewExceptionWithDoc("midden.Unsupported",
                                                "midden cannot work in this interpreter or on this machine.",
                                                PyExc_RuntimeError, NULL);
    return unsupported == NULL ? -1 : PyModule_AddObjectRef(module, "Unsupported", unsupported);
}

static PyModuleDef_Slot slots[] = {{Py_mod_exec, core_exec},
#ifdef Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED
                                   {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
                                   {0, NULL}};

static struct PyModuleDef definition = {PyModuleDef_HEAD_INIT, .m_name = "midden._core",
                                        .m_doc = "midden's C half.", .m_methods = methods, .m_slots = slots};

PyMODINIT_FUNC PyInit__core(void)
{
    return PyModuleDef_Init(&definition);
}
