/* fake.h: a host without an interpreter, for the tests of src/graph: objects, references and counts as a
 * test wants them; the garbage found by a plain second way; and the comparison of the two.
 *
 * Use: fake_new, fake_refer and fake_hold as often as needed, fake_seal, then fake_verify. Objects
 * are told by index. Aborts the test (cmocka) on anything unexpected. */
#ifndef MIDDEN_TESTS_FAKE_H
#define MIDDEN_TESTS_FAKE_H

#include "../../src/graph/internal.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <cmocka.h>

/* --- random numbers; a test prints its seed and takes it back from MIDDEN_SEED ------------------------- */

extern uint64_t fake_random_state;
void fake_seed(uint64_t seed);             /* for reproducing one case out of many */
uint64_t fake_seed_from_environment(void); /* prints it */
uint64_t fake_random(void);
size_t fake_below(size_t n); /* pre: n > 0 */
/* n scaled by MIDDEN_TEST_SCALE (default 1), at least `least`. */
size_t fake_scaled(size_t n, size_t least);

/* --- the heap ------------------------------------------------------------------------------------------ */

struct fake_object {
    uint64_t count;
    struct fake_object **items;
    struct fake_object *before; /* what it must precede without referring to it, or NULL */
    size_t size;
    uint32_t index;
    unsigned tag;
};

enum fake_layout {
    FAKE_DENSE,  /* side by side, in index order */
    FAKE_HOLES,  /* random gaps, random order */
    FAKE_SPARSE, /* a handful here and there over the whole address space */
    FAKE_LAYOUTS
};

struct fake_pages {
    void *at;
    size_t bytes;
};

struct fake_heap {
    size_t n;
    struct fake_object **objects; /* by index */
    bool *outside;                /* by index: not added to the graph */
    uint32_t *from;               /* references in the order they were made, until sealed */
    struct fake_object **to;
    size_t references, room;
    struct fake_object **items; /* all of them, once sealed */
    struct fake_pages *pages;
    size_t mappings;
    struct graph_host host; /* context: this heap */
    uintptr_t last;         /* address of the last call, to see that they come in order */
    bool ordered;           /* look at it */
    size_t polls, stop_at;  /* proceed() stops at that poll, from 1; 0: never */
};

#define FAKE_NULL SIZE_MAX
#define FAKE_OUTSIDE (SIZE_MAX - 1) /* an aligned address far from all objects */
#define FAKE_INSIDE (SIZE_MAX - 2)  /* into the middle of an object */
#define FAKE_BEYOND (SIZE_MAX - 3)  /* object 0's, and bits above 48 */

void fake_new(struct fake_heap *heap, size_t n, enum fake_layout layout);
void fake_refer(struct fake_heap *heap, size_t from, size_t to);        /* counted, when to is an object */
void fake_hold(struct fake_heap *heap, size_t object, uint64_t times);  /* references from outside */
void fake_precede(struct fake_heap *heap, size_t object, size_t other); /* for the order alone */
void fake_seal(struct fake_heap *heap);
void fake_free(struct fake_heap *heap);
/* A graph of the heap, filled; NULL when pages were refused on the way. */
struct graph *fake_graph(struct fake_heap *heap);
/* Find, with graph_check after each phase (if check), and compare with the plain way. figures may be NULL. */
void fake_verify(struct fake_heap *heap, bool check, struct graph_figures *figures);
/* The same for what a graph has found already. */
void fake_compare(const struct fake_heap *heap, const struct graph *graph);

/* --- reference.c: the plain way --------------------------------------------------------------------- */

struct reference {
    bool *dead;          /* by index */
    uint32_t *component; /* by index, from 1; 0 for what is not dead */
    size_t *sizes;       /* by component */
    size_t objects, references, garbage, components, largest;
};
void reference_find(const struct fake_heap *heap, struct reference *reference);
void reference_free(struct reference *reference);
/* Is it the address of an object that was added? Its index, or FAKE_NULL. */
size_t reference_index(const struct reference *reference, const struct fake_heap *heap, const void *address);

#endif
