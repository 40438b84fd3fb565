/* lifecycle.c: enabling, disabling, following the process through forks, exec and its end. */
#include "collector.h"

#include "compaction.h"
#include "domains.h"
#include "platform/platform.h"
#include "record.h"
#include "roster.h"

#include <stdlib.h>
#include <string.h>

bool lifecycle_automatic(void)
{
    return collector.enabled && (collector.requested || PyGC_IsEnabled());
}

/* --- forks -------------------------------------------------------------------------------------- */

static void in_child(void)
{
    struct collector *c = &collector;
    c->process = platform_process_id();
    collector_forked();
    memset(c->pauses, 0, sizeof c->pauses);
    c->snapshots = c->snapshots_failed = c->candidates_total = c->reclaimed_total = c->fallbacks = 0;
    c->whole_count = c->whole_objects = c->oversized = c->child_cpu_ns = c->find_ns = c->cow_faults = 0;
    compaction_forget();
}

void lifecycle_check_process(void)
{
    if (collector.process != 0 && collector.process != platform_process_id())
        in_child();
}

static PyObject *before_fork(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    compaction_stop();
    if (collector.enabled)
        idle_stop();
    Py_RETURN_NONE;
}

static PyObject *after_fork_in_parent(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    if (collector.enabled && collector.flight != FLIGHT_NONE)
        idle_start();
    Py_RETURN_NONE;
}

static PyObject *after_fork_in_child(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    lifecycle_check_process();
    Py_RETURN_NONE;
}

static PyMethodDef fork_methods[] = {{"before", before_fork, METH_NOARGS, NULL},
                                     {"after_in_parent", after_fork_in_parent, METH_NOARGS, NULL},
                                     {"after_in_child", after_fork_in_child, METH_NOARGS, NULL}};

static PyObject *at_exit(PyObject *self, PyObject *unused)
{
    (void)self, (void)unused;
    lifecycle_disable();
    Py_RETURN_NONE;
}

static PyMethodDef exit_method = {"midden_at_exit", at_exit, METH_NOARGS, NULL};

/* os.register_at_fork and atexit.register, once a process: neither can be taken back. */
static bool register_hooks(void)
{
    static bool registered;
    if (registered)
        return true;
    PyObject *os = PyImport_ImportModule("os"), *atexit = PyImport_ImportModule("atexit");
    PyObject *at_fork = os != NULL ? PyObject_GetAttrString(os, "register_at_fork") : NULL;
    PyObject *none = PyTuple_New(0), *functions = PyDict_New(), *result = NULL;
    bool good = at_fork != NULL && atexit != NULL && none != NULL && functions != NULL;
    for (size_t i = 0; i < 3 && good; i++) {
        PyObject *function = PyCFunction_NewEx(&fork_methods[i], NULL, NULL);
        good = function != NULL && PyDict_SetItemString(functions, fork_methods[i].ml_name, function) == 0;
        Py_XDECREF(function);
    }
    if (good) {
        PyObject *function = PyCFunction_NewEx(&exit_method, NULL, NULL);
        result = function != NULL ? PyObject_CallMethod(atexit, "register", "O", function) : NULL;
        good = result != NULL;
        Py_XDECREF(function);
        Py_XDECREF(result);
    }
    if (good) {
        result = PyObject_Call(at_fork, none, functions);
        good = result != NULL;
        Py_XDECREF(result);
    }
    Py_XDECREF(os);
    Py_XDECREF(atexit);
    Py_XDECREF(at_fork);
    Py_XDECREF(none);
    Py_XDECREF(functions);
    registered = good;
    return good;
}

/* --- the environment, for tests ----------------------------------------------------------------- */

static void read_environment(struct collector *c)
{
    const char *torture = getenv("MIDDEN_TORTURE"), *timeout = getenv("MIDDEN_TIMEOUT");
    c->torture = torture != NULL ? (unsigned)strtoul(torture, NULL, 10) : 0;
    c->timeout_ns = timeout != NULL ? (uint64_t)(strtod(timeout, NULL) * 1e9) : 0;
    c->check = getenv("MIDDEN_CHECK") != NULL;
    platform_faults_load(getenv("MIDDEN_FAULT"));
    const char *compact = getenv("MIDDEN_COMPACT");
    compaction_torture(compact != NULL ? (unsigned)strtoul(compact, NULL, 10) : 0);
    const char *roster = getenv("MIDDEN_ROSTER");
    roster_allow(roster == NULL || roster[0] != '0');
}

/* --- enable, disable ---------------------------------------------------------------------------- */

const char *lifecycle_enable(bool fast_collect)
{
    struct collector *c = &collector;
    lifecycle_check_process();
    if (compat_finalizing())
        return "the interpreter is shutting down";
    if (c->enabled) {
        if (fast_collect && !c->fast_collect) {
            c->fast_collect = true;
            if (!request_open(true))
                return "";
        }
        return NULL;
    }
    const char *why = platform_unsupported();
    if (why != NULL)
        return why;
    struct collector before =
        *c; /* what outlives it: flights are numbered on; a fast collection may be under way */
    struct gcstate gc;
    why = gcstate_open(&gc);
    if (why != NULL)
        return why;
    *c = (struct collector){.gc = gc,
                            .process = platform_process_id(),
                            .fast_collect = fast_collect,
                            .outcome.serial = before.outcome.serial,
                            .asked_for = before.asked_for,
                            .aside = before.aside,
                            .aside_total = before.aside_total};
    if (!register_hooks() || !request_open(fast_collect) || !ticks_install()) {
        PyObject *type, *value, *traceback;
        PyErr_Fetch(&type, &value, &traceback);
        request_close();
        gcstate_close(&c->gc);
        PyErr_Restore(type, value, traceback);
        return "";
    }
    read_environment(c);
    c->pending_seen = gcstate_pending(&c->gc);
    pacer_start(&c->pacer, (uint64_t)c->gc.state->long_lived_total, (uint64_t)c->pending_seen);
    uint64_t pages = platform_resident_bytes() / platform_page_bytes();
    pacer_expect(&c->pacer, pages * COLLECTOR_FAULT_NS, platform_now_ns());
    gcstate_suppress_full(&c->gc);
    c->enabled = true;
    roster_open(&c->gc);
    return NULL;
}

const char *lifecycle_enable_heap(void)
{
    lifecycle_check_process();
    if (compat_finalizing())
        return "the interpreter is shutting down";
    if (COMPAT_REASON != NULL)
        return COMPAT_REASON;
    if (!compat_same_version())
        return "this extension was built for another version of CPython";
    const char *why = platform_unsupported();
    if (why != NULL || domains_serving())
        return why;
    if (!register_hooks())
        return "";
    collector.process = platform_process_id();
    collector_give_up(); /* its record hooks an allocator that will no longer be on top */
    why = domains_serve();
    if (why == NULL && collector.enabled)
        roster_open(&collector.gc);
    return why;
}

void lifecycle_disable(void)
{
    struct collector *c = &collector;
    lifecycle_check_process();
    compaction_stop();
    domains_rest();
    if (!c->enabled)
        return;
    collector_give_up();
    snapshot_settle();
    c->enabled = false; /* before the callback dies, which would bring it back */
    ticks_remove();
    roster_close();
    request_close();
    gcstate_close(&c->gc);
}
