/* model.h: a heap, and beside it a plain list of what must be in it: blocks with a pattern each, marks,
 * notes of freed addresses, sites. Every operation is done on both, and compared.
 *
 * Use: model_new, any of the operations, model_free. What an operation chooses it draws from `below`:
 * random numbers, or bytes of a fuzzer. Anything unexpected ends the process with a line that tells what;
 * in a forked child, in another thread and under a fuzzer there is no test framework to tell. */
#ifndef MIDDEN_TESTS_HEAP_MODEL_H
#define MIDDEN_TESTS_HEAP_MODEL_H

#include "../../src/heap/heap.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* So many of a block's first grains can carry marks. */
#define MODEL_MARKS 3u

struct model_block {
    char *at;
    size_t bytes;    /* asked for */
    size_t filled;   /* with the pattern, from the start */
    size_t of_room;  /* what its room was last asked for; 0: it is in a slot */
    uint32_t number; /* what the pattern comes from */
    uint32_t site;
    uint8_t region;
    uint8_t marks; /* a bit for each of the first grains */
};

struct model_set { /* of addresses */
    uintptr_t *slots;
    size_t count, room;
};

struct model {
    struct heap *heap;
    struct model_block *blocks;
    size_t count, room;
    size_t (*below)(struct model *model, size_t n); /* pre: n > 0 */
    uint64_t random;                                /* the state of model_random_below */
    const uint8_t *input, *input_end;               /* of a fuzzer's */
    size_t live_bytes, at_most;                     /* beyond that nothing more is allocated */
    size_t favourites[4];                           /* sizes that come often, so that slabs become full */
    unsigned growing;                               /* of 16 allocations and frees: allocations */
    uint32_t numbers;
    uint64_t now_ns; /* the clock of heap_tick */
    bool may_fail;   /* memory may be refused: NULL is an answer */
    bool alone;      /* no threads and no forks */
    bool sites;
    bool noting, unasked;   /* heap_freed_begin was called; heap_freed_end */
    struct model_set noted; /* addresses freed since heap_freed_begin */
    size_t refused, moved, given, steps;
};

struct model_options {
    size_t reserve, at_most;
    bool ticks;
};

size_t model_random_below(struct model *model, size_t n);
size_t model_input_below(struct model *model, size_t n); /* 0 when the input is at its end */

/* Sets everything but random and input. */
void model_new(struct model *model, const struct model_options *options,
               size_t (*below)(struct model *model, size_t n));
void model_free(struct model *model);

/* --- operations --------------------------------------------------------------------------------- */

/* A new block with its pattern; NULL when it was refused, and may be. Valid until the next operation. */
struct model_block *model_alloc(struct model *model, enum heap_region region, size_t bytes, bool zeroed);
bool model_realloc(struct model *model, size_t index, size_t bytes);
void model_release(struct model *model, size_t index); /* heap_free; the last block takes its index */
/* Free all blocks but every n-th one. */
void model_thin(struct model *model, size_t n);
/* Move what wants to be moved; returns how many blocks. */
size_t model_evacuate(struct model *model, size_t at_most);
/* Some operation or other. */
void model_step(struct model *model);

/* --- looking ------------------------------------------------------------------------------------ */

void model_verify(const struct model *model, const struct model_block *block);
/* heap_check, every pattern, every mark, note and site, and the figures. */
void model_verify_all(struct model *model);
void model_check(const struct model *model); /* heap_check alone */
size_t model_class_bytes(unsigned size_class);

void model_must(bool so, const char *what, const char *file, int line);
#define MUST(condition) model_must((condition), #condition, __FILE__, __LINE__)

#endif
