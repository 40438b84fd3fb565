/* record.h: which blocks of memory were freed since the snapshot.
 *
 * Invariant, while armed and intact: every block of CPython's object allocator (PYMEM_DOMAIN_OBJ) that the
 * main interpreter freed or resized since record_arm() answers true to record_freed(). It may answer true for
 * a block that lives (reused memory; a resize that failed): then a candidate is passed over, no harm.
 * It is what makes it sound to read a candidate's header: docs/soundness.md, "Freed since the snapshot".
 *
 * One bit per 16 bytes of address space, in pages that are mapped as they are needed (1/128 of the memory
 * in which something is freed). The hook sits in the allocator only while armed; it replaces free and
 * realloc and leaves context, malloc and calloc alone, so that a thread of another interpreter that is
 * inside the allocator while the hook comes or goes sees either the one or the other.
 *
 * Threads: arm, disarm and the questions need the GIL; the hook itself needs nothing. */
#ifndef MIDDEN_CPYTHON_RECORD_H
#define MIDDEN_CPYTHON_RECORD_H

#include <stdbool.h>
#include <stdint.h>

/* Forget everything and start to record. False: no hook is to be had. pre: not armed. */
bool record_arm(void);
void record_disarm(void); /* may be called when not armed */
/* Whether nothing was missed: the hook is still in the allocator's chain, no page was refused. */
bool record_intact(void);
/* pre: armed; block is the address that the allocator gave. */
bool record_freed(uintptr_t block);
void record_prefetch(uintptr_t block);
/* Bytes of pages that the record holds on to (reused by the next snapshot). */
uint64_t record_bytes(void);

#endif
