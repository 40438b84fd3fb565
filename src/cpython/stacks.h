/* stacks.h: what C code on the native stacks holds on to. A buffer that any word there points into stays
 * where it is.
 *
 * CPython's rules let a buffer move wherever arbitrary Python code runs; but C code that trusts nobody to
 * resize a list meanwhile may keep a pointer to its items all the same (numpy 2.4 does, orjson 3.9 did, and
 * CPython itself here and there). Such a pointer lies on the stack, or in a register that a function called
 * since has saved there. So all words are looked at, whatever they may be: one that only looks like a pointer
 * keeps a buffer from moving, and does no other harm.
 *
 * What is looked at: the calling thread's stack from here to its oldest evaluation loop; of every other
 * thread of the main interpreter the part between its newest and its oldest one, which stands still while we
 * hold the GIL.
 *
 * Threads: needs the main interpreter's GIL. */
#ifndef MIDDEN_CPYTHON_STACKS_H
#define MIDDEN_CPYTHON_STACKS_H

#include "compat.h"
#include "heap/heap.h"

/* Note the words that point into what the heap wants to move. False: there are too many, or a stack is not
 * as it should be; then nothing may move. What was noted holds until Python code runs again. */
bool stacks_look(const struct heap *heap);
/* Whether a noted word points into a block, or close to it. */
bool stacks_hold(const void *block, size_t bytes);

#endif
