/* internal.h: what the files of this folder share. Who owns what:
 *
 *   space.c     the range, the tables beside it, arenas and units
 *   slab.c      size classes: slabs, their bins, allocating and freeing slots
 *   room.c      blocks that are larger than any class
 *   purge.c     giving pages back
 *   evacuate.c  choosing slabs to be emptied, moving their blocks
 *   side.c      marks, freed bits, sites
 *   tell.c      figures, the view of all pages
 *   check.c     every invariant
 */
#ifndef MIDDEN_HEAP_INTERNAL_H
#define MIDDEN_HEAP_INTERNAL_H

#include "heap.h"
#include "platform/platform.h"

#include <stdatomic.h>

#define PAGES_PER_UNIT (HEAP_UNIT / HEAP_PAGE)   /* 16 */
#define UNITS_PER_ARENA (HEAP_ARENA / HEAP_UNIT) /* 32 */
#define WORDS_PER_UNIT (HEAP_UNIT / HEAP_GRAIN / 64)
#define ALL_UNITS 0xFFFFFFFFu
#define ROOM_CLASSES 28u

#ifndef MIDDEN_TORTURE
/* In a region smaller than that, half an empty arena would show in its size. */
#define HUGE_FROM ((size_t)64 << 20)
#define HUGE_ROOM ((size_t)8 << 20)
#define CARVE_BYTES HEAP_PAGE /* slots that are put on the list at once */
#else
#define HUGE_FROM ((size_t)4 << 20)
#define HUGE_ROOM ((size_t)2 << 20)
#define CARVE_BYTES ((size_t)1)
#endif

/* So many of a block's first grains can carry marks. More flags of a descriptor: a room's. */
#define MARKABLE 3u
#define FLAG_ROOM_MARKS 112u
#define FLAG_ROOM_MARK(grain) (16u << (grain))
#define FLAG_ROOM_OBJECT 128u /* asked of HEAP_OBJECTS, where its block goes when it shrinks to a slot */
#define FLAG_ROOM_LOOSE 256u  /* it is in the list of loose ones */

/* Where a slab is listed, by how full it was when it came there. FULL, CURRENT and NONE are no lists. */
enum heap_bin { BIN_FULLEST, BIN_FULLER, BIN_HALF, BIN_SPARSE, BINS, BIN_FULL = BINS, BIN_CURRENT, BIN_NONE };
#define FLOOR_NEVER 0xFFFFu

struct arena {
    uint32_t free;         /* units not taken, a bit each */
    uint32_t dirty;        /* of those, the ones that may hold memory */
    uint32_t stale;        /* of those, the ones that already did at the last look */
    uint32_t next, prev;   /* in its list; numbers, 0: none, so that arena i is told as i + 1 */
    uint16_t purged_pages; /* of its slabs */
    uint8_t list;          /* 0: none; else 1 + how many units are taken + UNITS_PER_ARENA * its family */
    bool huge;
    bool bare; /* all free, and the tables beside it have gone back, too */
};
/* Arenas with free units, by what these are like. */
enum family { PLAIN_CLEAN, PLAIN_DIRTY, HUGE_CLEAN, HUGE_DIRTY, FAMILIES };
#define ARENA_LISTS (FAMILIES * (unsigned)UNITS_PER_ARENA + 1)

/* A table beside the range that grows with it: pages are made usable from the front. */
struct table {
    char *at;
    size_t committed, reserved;
    bool claimed;
};

struct region {
    uint32_t arenas_open;
    size_t committed; /* bytes of the range, from the region's start */
    size_t dirty_units;
    uint32_t lists[ARENA_LISTS]; /* arenas by list; [0] is not used */
    uint32_t occupied[FAMILIES]; /* which of them have any; a bit for how many units are taken */
    uint32_t collapsed; /* arenas up to here were made huge after the fact, or found not to be worth it */
};

struct rooms {
    size_t next, committed;                /* units; bytes */
    struct heap_slab *clean[ROOM_CLASSES]; /* free, without memory */
    struct heap_slab *dirty[ROOM_CLASSES]; /* free, the one freed last in front */
    struct heap_slab *loose;               /* in use, and holding much memory behind the block */
    size_t dirty_bytes, loose_bytes, live_bytes, live_count;
};

struct heap_inside {
    size_t region_span; /* of each region of slots; the rooms have twice that */
    bool claimed;       /* the range and the tables are not reserved: other mappings may come to lie there */
    char *tables;
    size_t tables_bytes, page_bytes;
    struct table slabs[HEAP_REGIONS + 1], arenas[HEAP_REGIONS], marks, freed, sites[HEAP_REGIONS];
    struct region regions[HEAP_REGIONS];
    struct rooms rooms;
    struct heap_slab none; /* the current slab of a class that has none: always full */
    struct heap_slab *bins[HEAP_REGIONS][HEAP_CLASSES][BINS];
    void *_Atomic remote; /* blocks freed by others, linked through their first words */
    uint64_t tick_ns;
    uint32_t turn;          /* counts ticks */
    uint32_t freed_epoch;   /* 0: heap_freed_begin was never called */
    size_t exchanged_bytes; /* in this turn */
    bool freed_wanted;      /* between heap_freed_begin and heap_freed_end */
    bool sites_enabled, evacuating, ticks;
    uint32_t given; /* units and rooms that became free, to tell when to look at the clock */
    uint32_t purge_region, purge_arena; /* where heap_purge goes on */
    size_t returned_bytes, moved_blocks, moved_bytes, advised, purges;
};

/* --- space.c ------------------------------------------------------------------------------------ */

static inline struct arena *arena_at(const struct heap *heap, unsigned region, uint32_t number)
{
    return (struct arena *)heap->inside->arenas[region].at + number;
}

static inline char *arena_start(const struct heap *heap, unsigned region, uint32_t number)
{
    return heap->base + region * heap->inside->region_span + number * HEAP_ARENA;
}

static inline char *unit_start(const struct heap *heap, const struct heap_slab *slab)
{
    return heap->base + ((size_t)(slab - heap->slabs) << HEAP_UNIT_SHIFT);
}

/* pre: a unit of a region of slots. */
static inline struct arena *arena_of(const struct heap *heap, const struct heap_slab *slab, unsigned *unit)
{
    size_t offset = (size_t)(unit_start(heap, slab) - heap->base) - slab->region * heap->inside->region_span;
    *unit = (unsigned)(offset % HEAP_ARENA >> HEAP_UNIT_SHIFT);
    return arena_at(heap, slab->region, (uint32_t)(offset / HEAP_ARENA));
}

static inline struct heap_slab *rooms_first(const struct heap *heap)
{
    return heap->slabs + (HEAP_REGIONS * heap->inside->region_span >> HEAP_UNIT_SHIFT);
}

/* Make pages of the range, or beside it, usable; they lie next to those that are. */
bool space_commit(bool claimed, char *at, size_t bytes);
/* Make the first `bytes` of a table usable. False: no memory. */
bool table_reach(struct table *table, size_t bytes);
/* A unit, made a free slab's (kind SLAB, nothing else set but region). fine: its slots are no larger than
 * a page, so that it may be part of a huge page; what larger ones leave of their slots is to stay
 * untouched. NULL: no memory. */
struct heap_slab *unit_take(struct heap *heap, unsigned region, bool fine);
/* The list that an arena belongs to. */
unsigned arena_list(const struct arena *arena);
/* pre: a slab in no bin, with nothing in use. */
void unit_give(struct heap *heap, struct heap_slab *slab);
/* Put an arena into the list that it belongs to, after its masks changed. */
void arena_relist(struct heap *heap, unsigned region, uint32_t number);

/* --- slab.c ------------------------------------------------------------------------------------- */

/* So many free slots make it worth to allocate from a slab again. With a single one, a queue would change the slab with
 * each object: what is freed there is taken at once. Up to a sixty-fourth of a full heap stays unused for it. */
static inline unsigned slab_enough(const struct heap_slab *slab)
{
    return slab->capacity >= 1024 ? 16 : slab->capacity >= 128 ? slab->capacity / 64u : 1;
}
unsigned class_of(size_t bytes); /* pre: bytes <= HEAP_LARGEST_SLOT */
size_t class_bytes(unsigned size_class);

static inline unsigned slot_of(const struct heap *heap, const struct heap_slab *slab, const void *address)
{
    uint32_t offset = (uint32_t)(((uintptr_t)address - (uintptr_t)heap->base) & (HEAP_UNIT - 1));
    return (unsigned)((uint64_t)offset * slab->reciprocal >> 32);
}

/* The pages that a slot touches, a bit each. */
static inline uint32_t slot_pages(const struct heap_slab *slab, unsigned slot)
{
    uint32_t first = slot * slab->slot_bytes / HEAP_PAGE;
    uint32_t last = ((slot + 1) * slab->slot_bytes - 1) / HEAP_PAGE;
    return (2u << last) - (1u << first);
}

/* Pages of a slab, from the first on: with slots that were carved; that may hold memory, but for the
 * purged ones. */
static inline unsigned carved_pages(const struct heap_slab *slab)
{
    return (unsigned)(((size_t)slab->carved * slab->slot_bytes + HEAP_PAGE - 1) / HEAP_PAGE);
}

static inline unsigned held_pages(const struct heap_slab *slab)
{
    unsigned carved = carved_pages(slab);
    return slab->resident_pages > carved ? slab->resident_pages : carved;
}

/* One bit for each slot. */
struct slot_set {
    uint64_t words[HEAP_UNIT / HEAP_GRAIN / 64];
};
static inline bool slot_in(const struct slot_set *set, unsigned slot)
{
    return (set->words[slot / 64] >> (slot % 64) & 1) != 0;
}
static inline void slot_add(struct slot_set *set, unsigned slot)
{
    set->words[slot / 64] |= (uint64_t)1 << (slot % 64);
}
/* Which slots are in use: carved, not on the list, not on a purged page. Returns how many. */
unsigned slab_live_slots(const struct heap *heap, const struct heap_slab *slab, struct slot_set *live);
/* Let go of the slabs that classes take from, as far as that is possible: the bins have them all. */
void slabs_settle(struct heap *heap);
void slab_bin(struct heap *heap, struct heap_slab *slab);   /* into the bin of its fullness */
void slab_unbin(struct heap *heap, struct heap_slab *slab); /* out of it */
/* Take the slots on some pages off the list of a slab, before the pages go back. */
void slab_drop_pages(struct heap *heap, struct heap_slab *slab, uint16_t pages);

/* --- room.c ------------------------------------------------------------------------------------- */

void *room_alloc(struct heap *heap, enum heap_region region, size_t bytes, bool zeroed);
void *room_realloc(struct heap *heap, void *block, struct heap_slab *room, size_t bytes);
void room_free(struct heap *heap, struct heap_slab *room);
size_t room_bytes(const struct heap_slab *room);
/* The room that holds an address of the rooms' part, in use or free; NULL beyond the last. */
struct heap_slab *room_at(const struct heap *heap, const void *address);
/* The first and the next room of all, in use or not; NULL after the last. */
struct heap_slab *room_next(const struct heap *heap, const struct heap_slab *room);
/* Give back the memory of free rooms that were freed before that turn; returns bytes. */
size_t rooms_purge(struct heap *heap, uint32_t before_turn, size_t at_most);
/* Give back what lies behind the blocks of rooms in use; returns bytes. */
size_t rooms_trim(struct heap *heap);

/* --- purge.c ------------------------------------------------------------------------------------ */

/* A unit or a room became free. */
void purge_given(struct heap *heap);
/* About to touch so many fresh bytes: give back as much elsewhere, if much lies unused. */
void purge_in_exchange(struct heap *heap, unsigned region, size_t bytes);

/* --- side.c ------------------------------------------------------------------------------------- */

/* A marked slab's, or a room's, block is freed. */
void marks_clear(struct heap *heap, const void *block, struct heap_slab *slab);

#endif
