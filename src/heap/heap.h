/* heap.h: a heap that knows its slots. Memory in size classes, with everything about a slot kept beside it.
 *
 * Invariant: for any address, a range compare says whether it is the heap's, a shift finds its unit, and
 * the unit's descriptor says what the slot is. Nothing about a slot lies in its page but the link of a
 * free one, and not even that in a page that was purged. heap_check verifies all of it; it may be called
 * between any two operations. The one exception is a struct heap that heap_evacuate_begin has prepared:
 * its slabs in evacuation are in no bin until heap_evacuate_end.
 *
 *   range   reserved once; three parts, one for each region
 *   arena   2 MiB of a region of slots, aligned: what may be a huge page
 *   unit    64 KiB: a slab, or free, or a piece of a room
 *   slab    a unit cut into slots of one size class
 *   room    a power of two of units, for one block that is larger than any class
 *   page    4 KiB: what goes back to the system
 *
 * Regions: HEAP_OBJECTS is for what does not move, as a rule, HEAP_BUFFERS for what has one owner and may. Which
 * blocks do move the host decides (heap_move). Blocks larger than HEAP_LARGEST_SLOT are the third part's,
 * whatever region was asked for.
 *
 * Threads: a heap belongs to one thread at a time; whoever shares it brings the lock (CPython: the GIL). Only
 * heap_owns, and heap_free_remote, may be called by any thread at any time. Signals: nothing here may be
 * called in a handler. Clones and forked children may read, and a forked child may go on using it.
 *
 * Errors: no memory is NULL or false, and then nothing has changed. Nothing aborts. errno stays as it was. */
#ifndef MIDDEN_HEAP_H
#define MIDDEN_HEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum heap_region { HEAP_OBJECTS, HEAP_BUFFERS, HEAP_REGIONS };

#define HEAP_PAGE ((size_t)4096)
#define HEAP_UNIT_SHIFT 16
#define HEAP_UNIT ((size_t)1 << HEAP_UNIT_SHIFT)
#define HEAP_ARENA ((size_t)2 << 20)
#define HEAP_GRAIN ((size_t)16) /* every block begins at, and is, a multiple of it */

/* Size classes: every 16 bytes up to 512, 8 to each doubling up to a page, then 4: there, what a block
 * leaves of its slot are pages that nobody touches. */
#define HEAP_SMALLEST_STEP_END ((size_t)512)
#define HEAP_LARGEST_SLOT ((size_t)32768)
#define HEAP_CLASSES 69u /* 1 to 68; 0 stands for a request of no bytes, and is served as 1 */

/* What a unit is: one descriptor for each, in a table beside the range. */
struct heap_slab {
    void *free;          /* the free slots, linked through their first words */
    uint16_t live;       /* slots in use */
    uint16_t floor;      /* when live falls to this, heap_slab_fell must see to it */
    uint16_t flags;      /* HEAP_FLAG_..: freeing a slot here needs more than putting it on the list */
    uint8_t size_class;  /* of a room: the logarithm of its units */
    uint8_t kind;        /* enum heap_kind */
    uint32_t slot_bytes; /* of a free room: the turn in which it was freed */
    uint32_t reciprocal; /* slot = offset * reciprocal >> 32; of a room: its site */
    uint16_t capacity;   /* slots in all */
    uint16_t carved;     /* slots that ever were on the list; those behind it were not touched */
    uint16_t purged;     /* a bit for each page that went back; slots that touch one are on no list */
    uint8_t region;
    uint8_t bin; /* the list of slabs that it is in, by fullness (enum heap_bin) */
    struct heap_slab *next, *prev;
    size_t bytes;   /* of a room: what was asked for; 0: free */
    uint32_t epoch; /* when its "freed" bits, or that of a room, were written last */
    /* Pages that may hold memory, from the first on: of a room now, of a slab when it began. */
    uint32_t resident_pages;
};

enum heap_kind {
    HEAP_UNIT_UNUSED, /* never touched, or within a room */
    HEAP_UNIT_FREE,
    HEAP_UNIT_SLAB,
    HEAP_UNIT_ROOM
};

#define HEAP_FLAG_ROOM 1u     /* not a slab at all */
#define HEAP_FLAG_MARKED 2u   /* some slots may carry a mark */
#define HEAP_FLAG_EVACUATE 4u /* its blocks are to be moved elsewhere */
#define HEAP_FLAG_SITES 8u    /* some slots may have a site */

struct heap {
    char *base;                                            /* the range */
    size_t span;                                           /* its bytes */
    struct heap_slab *slabs;                               /* one for each unit of the range */
    struct heap_slab *current[HEAP_REGIONS][HEAP_CLASSES]; /* never NULL: where a class takes slots from */
    struct heap_inside *inside;                            /* the rest; internal.h */
};

struct heap_options {
    size_t reserve; /* bytes of address space, a power of two from 64 MiB on; 0: 1 TiB, less where refused */
    bool ticks;     /* call heap_tick from within, as units and rooms become free */
};

/* A new heap; NULL when the system refuses even the smallest range. options may be NULL. */
struct heap *heap_new(const struct heap_options *options);
/* Give everything back, with all blocks. NULL is allowed. */
void heap_delete(struct heap *heap);

/* --- blocks ------------------------------------------------------------------------------------- */

/* The parts of the paths below that are not worth inlining. */
void *heap_alloc_slowly(struct heap *heap, enum heap_region region, size_t bytes);
void heap_free_specially(struct heap *heap, void *block, struct heap_slab *slab);
void heap_slab_fell(struct heap *heap, struct heap_slab *slab);

static inline bool heap_owns(const struct heap *heap, const void *address)
{
    return (uintptr_t)address - (uintptr_t)heap->base < heap->span;
}

/* pre: the heap owns the address. */
static inline struct heap_slab *heap_slab_of(const struct heap *heap, const void *address)
{
    return heap->slabs + (((uintptr_t)address - (uintptr_t)heap->base) >> HEAP_UNIT_SHIFT);
}

/* The usual way: a slot of a small class, from its current slab's list. NULL: take the slow way. */
static inline void *heap_alloc_fast(struct heap *heap, enum heap_region region, size_t bytes)
{
    if (__builtin_expect(bytes > HEAP_SMALLEST_STEP_END, 0))
        return NULL;
    struct heap_slab *slab = heap->current[region][(bytes + HEAP_GRAIN - 1) / HEAP_GRAIN];
    void *block = slab->free;
    if (__builtin_expect(block != NULL, 1)) {
        slab->free = *(void **)block;
        slab->live++;
    }
    return block;
}

/* A block of at least so many bytes, aligned to 16; distinct from all others also when bytes is 0. NULL: no
 * memory. Its content is undefined. */
static inline void *heap_alloc(struct heap *heap, enum heap_region region, size_t bytes)
{
    void *block = heap_alloc_fast(heap, region, bytes);
    return __builtin_expect(block != NULL, 1) ? block : heap_alloc_slowly(heap, region, bytes);
}

/* Make a small block zero, by whole grains; a call of memset would take longer. */
static inline void *heap_zero(void *block, size_t bytes)
{
    char *at = block;
    for (char *end = at + bytes; at < end; at += HEAP_GRAIN)
        memset(at, 0, HEAP_GRAIN);
    return block;
}

/* The same as heap_alloc, all zero. */
void *heap_alloc_zeroed(struct heap *heap, enum heap_region region, size_t bytes);

/* pre: block came from this heap and was not freed. NULL is not allowed. */
static inline void heap_free(struct heap *heap, void *block)
{
    struct heap_slab *slab = heap_slab_of(heap, block);
    if (__builtin_expect(slab->flags != 0, 0)) {
        heap_free_specially(heap, block, slab);
        return;
    }
    *(void **)block = slab->free;
    slab->free = block;
    if (__builtin_expect(--slab->live == slab->floor, 0))
        heap_slab_fell(heap, slab);
}

/* Change a block's size, keeping its content up to the smaller of both; it may move. NULL: no memory, and the
 * block is as it was. pre: block came from this heap. A block keeps the region that it is in. */
void *heap_realloc(struct heap *heap, void *block, size_t bytes);

/* Free a block from a thread that does not hold the heap. It takes effect with the holder's next pause
 * (heap_settle), or when memory is wanted. */
void heap_free_remote(struct heap *heap, void *block);
void heap_settle(struct heap *heap);

/* How many bytes of a block may be used. pre: a block of this heap. */
size_t heap_block_bytes(const struct heap *heap, const void *block);
/* Does a slot or a room begin at an address? Any address is allowed; whether it is in use is not asked. */
bool heap_is_block_start(const struct heap *heap, const void *address);
/* The block in use that an address lies in, and its bytes; NULL: it lies in none. Any address is allowed.
 * Walks a free list: not for hot paths. */
void *heap_block_at(const struct heap *heap, const void *address, size_t *bytes);

/* --- memory that goes back ---------------------------------------------------------------------- */

/* How often heap_tick looks: what was free at two looks in a row goes back. (jemalloc lets free pages
 * decay over 10 s, mimalloc over 10 ms; a second keeps a program that breathes from breathing system
 * calls.) */
#define HEAP_TICK_NS 500000000u

/* Give back whole units that have been free for a while. Cheap when there are none. Call it now and then. */
void heap_tick(struct heap *heap, uint64_t now_ns);
/* Bytes of free units and rooms that still hold memory. */
size_t heap_dirty_bytes(const struct heap *heap);

/* Give back every empty page, also within slabs; stop when the time is over, and go on there the next
 * time. Returns the bytes that went back. *done: it got to the end. */
size_t heap_purge(struct heap *heap, uint64_t budget_ns, bool *done);

/* A write while a clone lives splits a huge page, and the next clone has to copy the 512 entries of each.
 * Make one arena after the other whole again, those that asked for huge pages and hold blocks; *next is 0
 * at first. Returns false after the last. Copies 2 MiB where there is something to mend, and little
 * happens elsewhere. The one call that may be made without holding the heap, while others use it. */
bool heap_mend(const struct heap *heap, uint32_t *next);
/* Whether there can be huge pages by now. */
bool heap_has_huge(const struct heap *heap);

/* Evacuation: begin, move blocks, end. Between them everything else may be called as well.
 * begin chooses the sparsest slabs whose blocks fit into the gaps of the others; returns how many bytes of
 * blocks they hold (0: nothing is worth it, and end need not be called). */
size_t heap_evacuate_begin(struct heap *heap);
void heap_evacuate_end(struct heap *heap);
bool heap_evacuating(const struct heap *heap);

/* Does this block lie where it should not stay? pre: a block of this heap, or not the heap's at all. */
static inline bool heap_wants_move(const struct heap *heap, const void *block)
{
    return heap_owns(heap, block) && (heap_slab_of(heap, block)->flags & HEAP_FLAG_EVACUATE) != 0;
}

/* Does any word, such as one found on a stack, point into a slab whose blocks want to move? */
bool heap_points_at_moving(const struct heap *heap, uintptr_t word);

/* Move a block to a denser slab and free the old one; returns the new one, or NULL when that is not
 * possible (it stays where it is). pre: heap_wants_move. The caller owns the only pointer to it. */
void *heap_move(struct heap *heap, void *block);

/* --- side tables -------------------------------------------------------------------------------- */

/* Marks: one for each of the first three grains (16 bytes each) of a block of HEAP_OBJECTS, or of a room;
 * CPython's objects begin in the second or third. Freeing the block takes them off. The first mark makes
 * the table. */
bool heap_mark(struct heap *heap, const void *address); /* false: no memory, or not such a place */
bool heap_marked(const struct heap *heap, const void *address);
void heap_unmark_all(struct heap *heap);
/* Tell every unit that may have marks: 64 grains a word, from `at` on. visit returns non-zero to end it. */
int heap_each_marked(const struct heap *heap,
                     int (*visit)(void *context, uintptr_t at, const uint64_t *words, size_t count),
                     void *context);

/* The blocks freed since heap_freed_begin: one bit for each grain that a block of HEAP_OBJECTS began at. */
bool heap_freed_begin(struct heap *heap);
void heap_freed_end(struct heap *heap);                     /* nobody will ask until the next begin */
bool heap_freed_note(struct heap *heap, const void *block); /* false: no memory */
bool heap_freed(const struct heap *heap, const void *block);
void heap_freed_forget(struct heap *heap, const void *block); /* take the note back; pre: heap_freed */
void heap_freed_prefetch(const struct heap *heap, const void *block);

/* Allocation sites: a number for each slot, 0 when the block is new. NULL: no memory, or a room's
 * interior. */
bool heap_sites_enable(struct heap *heap);
uint32_t *heap_site(const struct heap *heap, const void *block);

/* Bytes that all side tables and descriptors hold. */
size_t heap_side_bytes(const struct heap *heap);

/* --- what it holds ------------------------------------------------------------------------------ */

struct heap_figures {
    size_t blocks;
    size_t live_bytes;     /* of blocks, as slots and rooms count them */
    size_t mapped_bytes;   /* of arenas and rooms that are open */
    size_t resident_bytes; /* of those, what holds memory, as far as the heap knows */
    size_t free_bytes;     /* resident, and in no block */
    size_t returned_bytes; /* ever */
    size_t side_bytes;
    size_t moved_blocks, moved_bytes; /* by heap_move, ever */
    size_t advised, purges;           /* system calls: huge pages asked for or refused; pages given back */
};
void heap_tell(const struct heap *heap, struct heap_figures *figures);

struct heap_class_figures {
    size_t slot_bytes;
    size_t slabs, blocks, slots;
    size_t resident_bytes, purged_bytes;
};
/* pre: 1 <= size_class < HEAP_CLASSES. */
void heap_tell_class(const struct heap *heap, enum heap_region region, unsigned size_class,
                     struct heap_class_figures *figures);

/* Every page of every open arena and room in use, unit by unit in address order: how full is it? */
struct heap_unit_view {
    uintptr_t at;
    enum heap_kind kind;
    uint8_t region; /* HEAP_REGIONS: a room */
    bool huge;      /* its arena asked for huge pages */
    uint32_t slot_bytes;
    uint8_t occupancy[HEAP_UNIT / HEAP_PAGE]; /* in use: 0 to 254 of 254; 255: it holds no memory */
};
void heap_view(const struct heap *heap, void (*visit)(void *context, const struct heap_unit_view *view),
               void *context);

/* NULL, or what is wrong with the heap. Costs a walk of all free lists. */
const char *heap_check(const struct heap *heap);

#endif
