/* evacuate.h: emptying sparse slabs of the heap. Buffers that one Python object owns move to denser ones.
 *
 * Invariant: a buffer moves only if nobody can notice. Its owner is referred to by an object of the
 * collector's oldest list; no word on a native stack points into it (stacks.h); and if C code outside of
 * CPython can come by the bare pointer (a list's items, a bytearray's bytes), the one reference to the owner
 * is that of a container which cannot have given the pointer away. docs/soundness.md, "Buffers that move",
 * has the argument for each type.
 *
 *   list        its items
 *   dict        its table; the values of a split one, if they are a block of their own
 *   set         its table, unless it is part of the set
 *   instances   up to 3.12: the values of attributes, as long as nobody asked for the dict
 *   bytearray   up to 3.14: its bytes, unless they are exported
 *
 * Exact types only. Everything else stays: array.array, whose buffer_info() promises that it does;
 * subclasses, since those of C may do as they like; the tables of OrderedDict, which remembers their
 * addresses.
 *
 * begin, slices, and the last slice ends it. Between two slices everything else may happen. Everything here
 * needs the main interpreter's GIL, at a moment when arbitrary Python code may run; the lists of the
 * collector are whole then: no collection is under way, except that its "stop" callbacks are being called. */
#ifndef MIDDEN_CPYTHON_EVACUATE_H
#define MIDDEN_CPYTHON_EVACUATE_H

#include "gcstate.h"

struct evacuate_figures {
    uint64_t longest_ns;   /* one slice */
    uint64_t held, shared; /* buffers that stayed: a stack held them; others may have the pointer */
    uint64_t refused;      /* slices in which nothing could move, since a stack was not understood */
};
extern struct evacuate_figures evacuate_figures;

/* Choose what to empty; returns the bytes of blocks that lie there. 0: it is not worth it, or not possible;
 * then there is nothing to end. A pass that was under way is abandoned. */
size_t evacuate_begin(void);
/* Go on for about so long (UINT64_MAX: to the end). True: the pass is over. */
bool evacuate_slice(const struct gcstate *gc, uint64_t budget_ns);
/* End the pass early, if there is one. Also in a forked child. */
void evacuate_abandon(void);

#endif
