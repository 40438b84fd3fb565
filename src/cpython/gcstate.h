/* gcstate.h: CPython's own collector: where its lists are, and the few things midden does to them.
 *
 * Invariant: every list is circular, doubly linked, and ends at a head that midden knows; the two flag
 * bits of a prev link are never changed. All that midden ever writes in the collector's state is here: the
 * links of objects that it moves between lists, and long_lived_total (gcstate_suppress_full).
 *
 * Threads: all of it needs the GIL of the main interpreter, and no collection under way, except that
 * gcstate_collecting and the walking of lists are also done in a clone. docs/soundness.md, "Lists". */
#ifndef MIDDEN_CPYTHON_GCSTATE_H
#define MIDDEN_CPYTHON_GCSTATE_H

#include "compat.h"

struct gcstate {
    struct gc_generation_mirror *generations; /* three */
    struct gc_state_mirror *state;
    PyObject *marker;      /* in the oldest list: what comes after it was promoted since */
    Py_ssize_t host_total; /* the long_lived_total that CPython would have */
    bool suppressed;
};

/* Find and verify the lists, and make the marker (at the end of the oldest list). NULL, or one phrase
 * that says what does not fit, or "" with an exception set (no memory); then nothing has changed. */
const char *gcstate_open(struct gcstate *gc);
/* Take the marker out, give CPython its figures back. May be called twice. */
void gcstate_close(struct gcstate *gc);

/* Let CPython's automatic trigger never choose the oldest generation: it asks for pending >= total / 4
 * (gc_select_generation), and no figure that Python code can see is involved. Again after each full
 * collection, which sets total: that one is then remembered in host_total. */
void gcstate_suppress_full(struct gcstate *gc);

static inline struct gc_links *gcstate_head(const struct gcstate *gc, int generation)
{
    return &gc->generations[generation].head;
}

static inline bool gcstate_collecting(const struct gcstate *gc)
{
    return *(volatile int *)&gc->state->collecting != 0;
}

/* No full collection has ended since gcstate_suppress_full. */
static inline bool gcstate_suppressed(const struct gcstate *gc)
{
    return gc->state->long_lived_total == PY_SSIZE_T_MAX;
}

/* Objects promoted to the oldest generation since CPython's last full collection. */
static inline Py_ssize_t gcstate_pending(const struct gcstate *gc)
{
    return gc->state->long_lived_pending;
}

/* The last frozen object: changes when gc.freeze() was called. */
static inline uintptr_t gcstate_frozen(const struct gcstate *gc)
{
    return gc->state->permanent.head.prev;
}

static inline bool gcstate_tracked(struct gc_links *links)
{
    return links->next != 0;
}

static inline struct gc_links *gcstate_next(struct gc_links *links)
{
    return (struct gc_links *)links->next;
}

static inline struct gc_links *gcstate_prev(struct gc_links *links)
{
    return (struct gc_links *)(links->prev & ~GC_FLAGS);
}

/* Move a tracked object to the end of a list, or before another object, from whatever list it is in. */
void gcstate_move(struct gc_links *links, struct gc_links *list);
/* A new reference to another marker: a tracked object, in the youngest list; NULL with MemoryError. */
PyObject *gcstate_new_marker(void);
/* Put the marker at the end of the oldest list. */
void gcstate_mark(struct gcstate *gc);
/* Move what was promoted since the marker was put (all: the whole oldest list) to the end of the list of
 * that generation, if it is at most `most` objects. Returns how many were moved; SIZE_MAX: there were
 * more. */
size_t gcstate_take_middle(struct gcstate *gc, bool all, size_t most, int generation);
/* Move the whole oldest list, without looking at it, to a head outside the collector; and back. */
void gcstate_put_aside(struct gcstate *gc, struct gc_links *aside);
void gcstate_put_back(struct gcstate *gc, struct gc_links *aside);

/* Walk all lists and compare their links both ways. NULL, or what is wrong. For tests: costs a walk. */
const char *gcstate_check(const struct gcstate *gc);

#endif
