/* purge.c: giving pages back to the system.
 *
 * Two ways. The tick gives back whole units and rooms that have been free for a while; it is all that a
 * program under load sees, and costs one look at a few counters when there is nothing. heap_purge looks
 * into every slab, and gives back each page that no block touches. An arena goes back in runs of pages,
 * one system call for each run, and only if enough of it is free: a huge page that is nearly full stays
 * whole. */
#include "internal.h"

#define PAGES_PER_ARENA ((size_t)HEAP_ARENA / HEAP_PAGE)
/* Free pages from which a huge page is broken up. */
#ifndef MIDDEN_TORTURE
#define BREAK_ON_TICK (PAGES_PER_ARENA / 4)
#define BREAK_ON_PURGE (PAGES_PER_ARENA / 16)
#else
#define BREAK_ON_TICK 1u
#define BREAK_ON_PURGE 1u
#endif
#define LOOK_EVERY 16u /* so many free units and rooms to a look at the clock */
/* Unused memory that is not worth giving back in exchange for fresh: as much is lost in any heap. Not less
 * than a room or two, and a share of all. */
#define EXCHANGE_FROM ((size_t)256 << 10)
#define EXCHANGE_SHARE 32u
/* And between two ticks not more than that, and half of the heap, or of a large one: a program that
 * breathes faster would pay for each breath with page faults. */
#define EXCHANGE_A_TURN ((size_t)4 << 20)
#define EXCHANGE_LARGE ((size_t)256 << 20)
#define EXCHANGE_AT_ONCE ((size_t)1 << 20)

/* --- one arena ---------------------------------------------------------------------------------- */

struct page_set {
    uint16_t units[UNITS_PER_ARENA]; /* a bit for each page */
};

static bool page_in(const struct page_set *set, size_t page)
{
    return (set->units[page / PAGES_PER_UNIT] >> (page % PAGES_PER_UNIT) & 1) != 0;
}

static void page_drop(struct page_set *set, size_t page)
{
    set->units[page / PAGES_PER_UNIT] &= (uint16_t) ~(1u << (page % PAGES_PER_UNIT));
}

/* Where the system's pages are larger than ours: only whole ones of its. */
static void round_in(const struct heap *heap, struct page_set *set)
{
    size_t step = heap->inside->page_bytes / HEAP_PAGE;
    for (size_t page = 0; step > 1 && page < PAGES_PER_ARENA; page += step)
        for (size_t i = 0; i < step; i++)
            if (!page_in(set, page + i)) {
                for (i = 0; i < step; i++)
                    page_drop(set, page + i);
                break;
            }
}

/* Give the pages of a set back. What the system refuses is taken out of the set. Returns bytes. */
static size_t give(struct heap *heap, char *start, struct page_set *set)
{
    size_t given = 0;
    for (size_t page = 0; page < PAGES_PER_ARENA;) {
        if (!page_in(set, page)) {
            page++;
            continue;
        }
        size_t end = page;
        while (end < PAGES_PER_ARENA && page_in(set, end))
            end++;
        size_t bytes = (end - page) * HEAP_PAGE;
        if (platform_purge(start + page * HEAP_PAGE, bytes)) {
            given += bytes;
            heap->inside->purges++;
        } else {
            for (size_t i = page; i < end; i++)
                page_drop(set, i);
        }
        page = end;
    }
    heap->inside->returned_bytes += given;
    return given;
}

/* The arena no longer deserves a huge page. */
static void forsake(struct heap *heap, struct arena *arena, char *start)
{
    if (!arena->huge)
        return;
    platform_advise_huge(start, HEAP_ARENA, false);
    heap->inside->advised++;
    arena->huge = false;
}

/* Give back the free units of a mask. */
static size_t give_units(struct heap *heap, unsigned region, uint32_t number, uint32_t units,
                         size_t break_from)
{
    struct arena *arena = arena_at(heap, region, number);
    char *start = arena_start(heap, region, number);
    size_t pages = (size_t)__builtin_popcount(units) * PAGES_PER_UNIT;
    if (units == 0 || (arena->huge && pages + arena->purged_pages < break_from))
        return 0;
    struct page_set set = {{0}};
    for (unsigned i = 0; i < UNITS_PER_ARENA; i++)
        if (units >> i & 1)
            set.units[i] = UINT16_MAX;
    forsake(heap, arena, start);
    size_t given = give(heap, start, &set);
    for (unsigned i = 0; i < UNITS_PER_ARENA; i++)
        if ((units >> i & 1) && set.units[i] == UINT16_MAX) {
            arena->dirty &= ~((uint32_t)1 << i);
            heap->inside->regions[region].dirty_units--;
        }
    arena->stale &= arena->dirty;
    arena_relist(heap, region, number);
    return given;
}

/* --- the tick ----------------------------------------------------------------------------------- */

size_t heap_dirty_bytes(const struct heap *heap)
{
    const struct heap_inside *inside = heap->inside;
    return (inside->regions[HEAP_OBJECTS].dirty_units + inside->regions[HEAP_BUFFERS].dirty_units) *
               HEAP_UNIT +
           inside->rooms.dirty_bytes + inside->rooms.loose_bytes;
}

void heap_tick(struct heap *heap, uint64_t now_ns)
{
    struct heap_inside *inside = heap->inside;
    if (now_ns - inside->tick_ns < HEAP_TICK_NS)
        return;
    inside->tick_ns = now_ns;
    inside->turn++;
    heap_settle(heap);
    for (unsigned region = 0; region < HEAP_REGIONS; region++) {
        struct region *r = &inside->regions[region];
        if (r->dirty_units == 0)
            continue;
        for (uint32_t number = 0; number < r->arenas_open; number++) {
            struct arena *arena = arena_at(heap, region, number);
            if (arena->stale != 0)
                give_units(heap, region, number, arena->stale, BREAK_ON_TICK);
            arena->stale = arena->dirty;
        }
    }
    inside->exchanged_bytes = 0;
    if (inside->rooms.dirty_bytes + inside->rooms.loose_bytes != 0)
        rooms_purge(heap, inside->turn - 1, SIZE_MAX);
}

void purge_given(struct heap *heap)
{
    if (++heap->inside->given % LOOK_EVERY == 0 && heap->inside->ticks)
        heap_tick(heap, platform_now_ns());
}

/* Give back free units of one family, of the emptiest arenas first. */
static size_t exchange(struct heap *heap, unsigned region, enum family family, size_t bytes)
{
    const struct region *r = &heap->inside->regions[region];
    size_t given = 0;
    for (uint32_t lists = r->occupied[family]; lists != 0 && given < bytes; lists &= lists - 1) {
        unsigned list = 1 + (unsigned)__builtin_ctz(lists) + family * (unsigned)UNITS_PER_ARENA;
        for (uint32_t number = r->lists[list], next; number != 0 && given < bytes; number = next) {
            const struct arena *arena = arena_at(heap, region, number - 1);
            next = arena->next;
            given += give_units(heap, region, number - 1, arena->dirty, BREAK_ON_TICK);
        }
    }
    return given;
}

void purge_in_exchange(struct heap *heap, unsigned region, size_t bytes)
{
    struct heap_inside *inside = heap->inside;
    size_t dirty = heap_dirty_bytes(heap);
    size_t arenas =
        (size_t)inside->regions[HEAP_OBJECTS].arenas_open + inside->regions[HEAP_BUFFERS].arenas_open;
    size_t all = arenas * HEAP_ARENA + inside->rooms.live_bytes;
    size_t limit = EXCHANGE_A_TURN + (all < EXCHANGE_LARGE ? all : EXCHANGE_LARGE) / 2;
    if (dirty < EXCHANGE_FROM || dirty < all / EXCHANGE_SHARE || inside->exchanged_bytes > limit)
        return;
    size_t before = inside->returned_bytes;
    bytes = bytes < EXCHANGE_AT_ONCE ? EXCHANGE_AT_ONCE : bytes;
    size_t given = rooms_purge(heap, UINT32_MAX, bytes);
    for (unsigned other = 0; other < HEAP_REGIONS && given < bytes; other++)
        if (other != region) {
            given += exchange(heap, other, PLAIN_DIRTY, bytes);
            given += given < bytes ? exchange(heap, other, HUGE_DIRTY, bytes - given) : 0;
        }
    inside->exchanged_bytes += inside->returned_bytes - before;
}

/* --- all of it ---------------------------------------------------------------------------------- */

/* The first so many pages of a unit. */
static uint32_t first_pages(unsigned count)
{
    return (1u << count) - 1;
}

/* The pages of a slab that no block touches, and that may hold memory. */
static uint16_t empty_pages(const struct heap *heap, const struct heap_slab *slab)
{
    struct slot_set live;
    uint32_t used = slab->purged;
    if (slab->live == slab->capacity) {
        used = first_pages(carved_pages(slab));
    } else if (slab->live != 0) {
        slab_live_slots(heap, slab, &live);
        for (unsigned word = 0; word * 64 < slab->carved; word++)
            for (uint64_t bits = live.words[word]; bits != 0; bits &= bits - 1)
                used |= slot_pages(slab, word * 64 + (unsigned)__builtin_ctzll(bits));
    }
    return (uint16_t)(first_pages(held_pages(slab)) & ~used);
}

/* Nothing is in the arena: the tables beside it hold zeros, or what nobody asks for any more. */
static void strip(struct heap *heap, struct arena *arena, uint32_t number)
{
    struct table *const tables[] = {&heap->inside->marks, &heap->inside->freed};
    size_t bytes = HEAP_ARENA / HEAP_GRAIN / 8;
    if (arena->bare || heap->inside->freed_wanted || bytes % heap->inside->page_bytes != 0)
        return;
    arena->bare = true;
    for (size_t i = 0; i < 2; i++)
        if ((number + 1) * bytes <= tables[i]->committed)
            (void)platform_purge(tables[i]->at + number * bytes, bytes);
}

static size_t purge_arena(struct heap *heap, unsigned region, uint32_t number)
{
    struct arena *arena = arena_at(heap, region, number);
    char *start = arena_start(heap, region, number);
    struct heap_slab *slabs = heap_slab_of(heap, start);
    struct page_set set;
    if (arena->free == ALL_UNITS && region == HEAP_OBJECTS)
        strip(heap, arena, number);
    size_t pages = 0;
    for (unsigned i = 0; i < UNITS_PER_ARENA; i++) {
        uint32_t bit = (uint32_t)1 << i;
        if (arena->free & bit)
            set.units[i] = arena->dirty & bit ? UINT16_MAX : 0;
        else
            set.units[i] = empty_pages(heap, &slabs[i]);
    }
    round_in(heap, &set);
    for (unsigned i = 0; i < UNITS_PER_ARENA; i++)
        pages += (size_t)__builtin_popcount(set.units[i]);
    if (pages == 0 || (arena->huge && pages < BREAK_ON_PURGE))
        return 0;
    /* The links of free slots lie in these pages: take them off the lists first. A page that the system then
     * refuses to take counts as gone all the same, and is used again like any other. */
    struct page_set whole = set;
    for (unsigned i = 0; i < UNITS_PER_ARENA; i++)
        if ((arena->free >> i & 1) == 0) {
            uint16_t touched = (uint16_t)(set.units[i] & first_pages(carved_pages(&slabs[i])));
            if (touched != 0)
                slab_drop_pages(heap, &slabs[i], touched);
        }
    forsake(heap, arena, start);
    size_t given = give(heap, start, &set);
    for (unsigned i = 0; i < UNITS_PER_ARENA; i++) {
        if ((arena->free >> i & 1) == 0) {
            /* Behind the slots: pages that the unit had before. */
            uint32_t behind = first_pages(held_pages(&slabs[i])) & ~first_pages(carved_pages(&slabs[i]));
            if ((behind & ~set.units[i]) == 0)
                slabs[i].resident_pages = 0;
        } else if (whole.units[i] != 0 && set.units[i] == UINT16_MAX) {
            arena->dirty &= ~((uint32_t)1 << i);
            heap->inside->regions[region].dirty_units--;
        }
    }
    arena->stale &= arena->dirty;
    arena_relist(heap, region, number);
    return given;
}

size_t heap_purge(struct heap *heap, uint64_t budget_ns, bool *done)
{
    struct heap_inside *inside = heap->inside;
    uint64_t start_ns = budget_ns != UINT64_MAX ? platform_now_ns() : 0;
    size_t given = 0;
    if (inside->purge_region == 0 && inside->purge_arena == 0) {
        heap_settle(heap);
        if (!inside->evacuating)
            slabs_settle(heap);
        given += rooms_purge(heap, UINT32_MAX, SIZE_MAX) + rooms_trim(heap);
    }
    *done = false;
    for (; inside->purge_region < HEAP_REGIONS; inside->purge_region++, inside->purge_arena = 0)
        while (inside->purge_arena < inside->regions[inside->purge_region].arenas_open) {
            given += purge_arena(heap, inside->purge_region, inside->purge_arena++);
            /* Not before one is done: however little time there is each time, it comes to an end. */
            if (budget_ns != UINT64_MAX && platform_now_ns() - start_ns >= budget_ns)
                return given;
        }
    inside->purge_region = inside->purge_arena = 0;
    *done = true;
    return given;
}
