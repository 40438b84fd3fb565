/* domains.h: the managed heap as the allocator of CPython's OBJ and MEM domains.
 *
 * Invariant: a block goes back to the allocator that made it, whoever serves now; the heap's range tells. Both
 * domains change hands together. Once installed, the functions stay in place for good, since blocks of the heap
 * may be freed at any later time; when not serving they pass new requests on to the allocator below.
 *
 * Who is served: the main interpreter, and interpreters that share its GIL on 3.11. Other interpreters
 * get memory from the allocator below; a block of the heap that one of them frees waits until the main one
 * takes it back (heap_free_remote).
 *
 * Threads: needs the main interpreter's GIL, as the domains themselves do. */
#ifndef MIDDEN_CPYTHON_DOMAINS_H
#define MIDDEN_CPYTHON_DOMAINS_H

#include "compat.h"
#include "heap/heap.h"

/* Serve new requests from the heap. NULL, or one phrase that says why not; then nothing has changed.
 * May be called again at any moment. */
const char *domains_serve(void);
/* What would keep the heap from serving; NULL: nothing. */
const char *domains_obstacle(void);
/* Serve no new requests; blocks of the heap live on, and go back to it. */
void domains_rest(void);
bool domains_serving(void);
/* Who wants to know of the OBJ domain's blocks below, before they are freed or resized; NULL: nobody. Called by
 * whichever thread frees. */
void domains_on_foreign_free(void (*tell)(void *block));
/* The heap; NULL when there never was one. */
struct heap *domains_heap(void);

#endif
