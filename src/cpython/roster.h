/* roster.h: which objects are old, without following lists.
 *
 * A list that a collection has permuted costs a cache miss for each object; the roster is a bit for each, beside the
 * heap (heap_mark) or in a book, set when the object gets old and cleared when its block is freed.
 *
 * Invariant, while roster_complete(): every object in the oldest list has its bit, except those of types that free
 * memory in their own way, which stay outside the set (and so count as reachable). A bit may also belong to an
 * object that has left the list since: that is young again, or rests in a type's free list, untracked. Never to freed
 * memory: all blocks pass domains.c when they are freed. Frozen objects have none: when somebody froze or
 * unfroze objects, the roster begins anew.
 *
 * It begins when there are enough old objects and not too many, or within the next full collection of CPython; until
 * then, and wherever the heap does not serve, searches follow the lists. Threads: needs the GIL, except roster_list in a clone. */
#ifndef MIDDEN_CPYTHON_ROSTER_H
#define MIDDEN_CPYTHON_ROSTER_H

#include "gcstate.h"
#include "graph/graph.h"

/* When the collector is enabled and the domains are installed. Without memory for it there is none. */
void roster_open(const struct gcstate *gc);
void roster_close(void);
/* "start" of a collection of everything, or of one that old objects take part in: what is young now may get old
 * anywhere in the list. all: bring the old ones in, too. */
void roster_before(const struct gcstate *gc, bool all);
/* "stop": what was promoted is behind the roster's marker; or was brought in before. */
void roster_after(const struct gcstate *gc, bool brought);
/* For measurements: MIDDEN_ROSTER=0 keeps searches on the lists. */
void roster_allow(bool allowed);
/* May a search use it? Proves that freed blocks are noticed. */
bool roster_ready(const struct gcstate *gc);
/* Put all of it into the graph. pre: roster_ready. */
enum graph_status roster_list(struct graph *graph);

#endif
