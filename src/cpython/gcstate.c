/* gcstate.c: finding CPython's generation lists, and the surgery on them. */
#include "gcstate.h"

#include <string.h>

/* --- the marker: a real object, so that every list stays one of real objects -------------------- */

static int marker_traverse(PyObject *self, visitproc visit, void *arg)
{
    (void)self, (void)visit, (void)arg;
    return 0;
}

static void marker_dealloc(PyObject *self)
{
    PyObject_GC_UnTrack(self);
    PyObject_GC_Del(self);
}

static PyTypeObject marker_type = {
    PyVarObject_HEAD_INIT(NULL, 0).tp_name = "midden._core.Marker",
    .tp_doc = "Marks a place in the collector's oldest list.",
    .tp_basicsize = sizeof(PyObject),
    .tp_flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
    .tp_traverse = marker_traverse,
    .tp_dealloc = marker_dealloc,
};

PyObject *gcstate_new_marker(void)
{
    PyObject *marker = PyObject_GC_New(PyObject, &marker_type);
    if (marker != NULL)
        PyObject_GC_Track(marker);
    return marker;
}

/* --- finding the lists -------------------------------------------------------------------------- */

static bool well_linked(const struct gc_links *head)
{
    const struct gc_links *next = (const struct gc_links *)head->next;
    const struct gc_links *prev = (const struct gc_links *)head->prev;
    return next != NULL && prev != NULL && (head->prev & GC_FLAGS) == 0 &&
           (next->prev & ~GC_FLAGS) == (uintptr_t)head && prev->next == (uintptr_t)head;
}

/* Compare the mirror with everything that Python code can see of the real thing. */
static const char *verify(const struct gc_generation_mirror *generations, const struct gc_state_mirror *state,
                          PyObject *gc_module)
{
    const char *wrong = NULL;
    PyObject *thresholds = PyObject_CallMethod(gc_module, "get_threshold", NULL);
    PyObject *garbage = thresholds != NULL ? PyObject_GetAttrString(gc_module, "garbage") : NULL;
    PyObject *callbacks = garbage != NULL ? PyObject_GetAttrString(gc_module, "callbacks") : NULL;
    if (callbacks == NULL || !PyTuple_Check(thresholds) || PyTuple_GET_SIZE(thresholds) != 3) {
        bool no_memory = PyErr_Occurred() && PyErr_ExceptionMatches(PyExc_MemoryError);
        wrong = no_memory ? "" : "the gc module does not answer";
        goto done;
    }
    /* In this order: each line makes it likelier that the next one may be read at all. */
    if (state->generation0 != &generations[0].head) {
        wrong = "this collector has other generation lists";
        goto done;
    }
    for (int i = 0; i < 3; i++) {
        if (!well_linked(&generations[i].head) ||
            generations[i].threshold != PyLong_AsLong(PyTuple_GET_ITEM(thresholds, i))) {
            wrong = "the generation lists are not where they should be";
            goto done;
        }
    }
    if (!well_linked(&state->permanent.head) || state->garbage != garbage || state->callbacks != callbacks ||
        (state->collecting | 1) != 1 || state->long_lived_total < 0 || state->long_lived_pending < 0)
        wrong = "the collector's figures are not where they should be";
done:
    if (wrong == NULL || wrong[0] != '\0')
        PyErr_Clear();
    Py_XDECREF(thresholds);
    Py_XDECREF(garbage);
    Py_XDECREF(callbacks);
    return wrong;
}

const char *gcstate_open(struct gcstate *gc)
{
    if (COMPAT_REASON != NULL)
        return COMPAT_REASON;
    if (Py_Version < COMPAT_FIRST_VERSION)
        return "the incremental collector of CPython 3.14.0 to 3.14.4 has other lists; 3.14.5 is served";
    if (!compat_same_version())
        return "this extension was built for another version of CPython";
    PyObject *gc_module = PyImport_ImportModule("gc");
    if (gc_module == NULL || PyType_Ready(&marker_type) < 0) {
        Py_XDECREF(gc_module);
        return "";
    }
    /* The object tracked last is the last of the youngest list: what follows it is that list's head. */
    PyObject *marker = gcstate_new_marker();
    const char *wrong = "";
    if (marker != NULL) {
        struct gc_generation_mirror *generations = (struct gc_generation_mirror *)gc_links_of(marker)->next;
        struct gc_state_mirror *state = gc_state_after(generations);
        wrong = verify(generations, state, gc_module);
        if (wrong == NULL) {
            *gc = (struct gcstate){.generations = generations, .state = state, .marker = marker};
            gcstate_mark(gc);
        } else {
            Py_DECREF(marker);
        }
    }
    Py_DECREF(gc_module);
    return wrong;
}

void gcstate_close(struct gcstate *gc)
{
    if (gc->suppressed && gc->state->long_lived_total == PY_SSIZE_T_MAX)
        gc->state->long_lived_total = gc->host_total;
    gc->suppressed = false;
    Py_CLEAR(gc->marker);
}

void gcstate_suppress_full(struct gcstate *gc)
{
    if (gc->state->long_lived_total != PY_SSIZE_T_MAX)
        gc->host_total = gc->state->long_lived_total;
    gc->state->long_lived_total = PY_SSIZE_T_MAX;
    gc->suppressed = true;
}

/* --- surgery ------------------------------------------------------------------------------------ */

static void set_prev(struct gc_links *links, struct gc_links *prev)
{
    links->prev = (links->prev & GC_FLAGS) | (uintptr_t)prev;
}

/* Put the chain first..last (linked with each other) before an object, or a head: at the end of its list. */
static void append_chain(struct gc_links *first, struct gc_links *last, struct gc_links *list)
{
    struct gc_links *tail = gcstate_prev(list);
    tail->next = (uintptr_t)first;
    set_prev(first, tail);
    last->next = (uintptr_t)list;
    set_prev(list, last);
}

static void unlink_chain(struct gc_links *first, struct gc_links *last)
{
    struct gc_links *before = gcstate_prev(first), *after = gcstate_next(last);
    before->next = (uintptr_t)after;
    set_prev(after, before);
}

void gcstate_move(struct gc_links *links, struct gc_links *list)
{
    unlink_chain(links, links);
    append_chain(links, links, list);
}

void gcstate_mark(struct gcstate *gc)
{
    gcstate_move(gc_links_of(gc->marker), gcstate_head(gc, 2));
}

size_t gcstate_take_middle(struct gcstate *gc, bool all, size_t most, int generation)
{
    /* From the end backwards, so that a marker which gc.freeze() took away is simply not met. */
    struct gc_links *head = gcstate_head(gc, 2), *marker = gc_links_of(gc->marker);
    struct gc_links *last = gcstate_prev(head), *first = last;
    size_t count = 0;
    for (; first != head && (all || first != marker); first = gcstate_prev(first)) {
        __builtin_prefetch(gcstate_prev(first));
        if (++count > most)
            return SIZE_MAX;
    }
    if (count == 0)
        return 0;
    first = gcstate_next(first);
    unlink_chain(first, last);
    append_chain(first, last, gcstate_head(gc, generation));
    return count;
}

static void move_all(struct gc_links *from, struct gc_links *to)
{
    if (gcstate_next(from) == from)
        return;
    struct gc_links *first = gcstate_next(from), *last = gcstate_prev(from);
    append_chain(first, last, to);
    from->next = from->prev = (uintptr_t)from;
}

void gcstate_put_aside(struct gcstate *gc, struct gc_links *aside)
{
    aside->next = aside->prev = (uintptr_t)aside;
    move_all(gcstate_head(gc, 2), aside);
}

void gcstate_put_back(struct gcstate *gc, struct gc_links *aside)
{
    move_all(aside, gcstate_head(gc, 2));
}

const char *gcstate_check(const struct gcstate *gc)
{
    const struct gc_links *heads[] = {gcstate_head(gc, 0), gcstate_head(gc, 1), gcstate_head(gc, 2),
                                      &gc->state->permanent.head};
    size_t marked = 0;
    for (int i = 0; i < 4; i++) {
        const struct gc_links *prev = heads[i];
        struct gc_links *links = (struct gc_links *)prev->next;
        for (; links != heads[i]; links = gcstate_next(links)) {
            if (links == NULL || (links->next & GC_FLAGS) != 0)
                return "a list has a broken next link";
            if (gcstate_prev(links) != prev)
                return "a list's prev link does not match its next link";
            if (gc->marker != NULL && links == gc_links_of(gc->marker))
                marked++;
            prev = links;
        }
        if ((const struct gc_links *)heads[i]->prev != prev)
            return "a list's head does not know its last object";
    }
    return gc->marker != NULL && marked != 1 ? "the marker is not in one list exactly once" : NULL;
}
