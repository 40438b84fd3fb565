/* compaction.h: making the heap small again. Buffers move out of sparse slabs, empty pages go back, and the C library
 * gives back what it can spare.
 *
 * When: now, if asked (compaction_now); by slices in the ticks of the collector while memory is short; and
 * all of it when the program is idle, by a keeper thread that takes the GIL for a slice at a time. The keeper
 * exists only while there is something to give back, and is gone before the program forks.
 *
 * Everything here moves buffers that Python objects own, so it is done only where arbitrary Python code may run. */
#ifndef MIDDEN_CPYTHON_COMPACTION_H
#define MIDDEN_CPYTHON_COMPACTION_H

#include "compat.h"

struct compaction_figures {
    uint64_t passes;                                /* begun: asked for, idle, or for want of memory */
    uint64_t idle_passes;                           /* of those, by the keeper */
    uint64_t longest_evacuate_ns, longest_purge_ns; /* one slice of it */
};
extern struct compaction_figures compaction_figures;

/* All of it. Returns the bytes that went back. Needs the GIL; no collection is under way. */
size_t compaction_now(void);
/* In a "stop" tick, with its time: see whether there is something to give back, and whether memory is short. */
void compaction_tick(uint64_t now_ns);
/* A flight has ended: the keeper makes huge pages whole again that were written to meanwhile, without the GIL. */
void compaction_mend(void);
/* A flight is about to begin: no more of that. */
void compaction_mend_no_more(void);
/* The keeper ends; returns when it is gone. Releases the GIL meanwhile. */
void compaction_stop(void);
/* In a forked child: the keeper is not there, and a pass is not under way. */
void compaction_forget(void);
/* For tests: all of it in every so manieth "stop" tick; 0: as usual. */
void compaction_torture(unsigned every);

#endif
