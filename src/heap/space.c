/* space.c: the range, the tables beside it, arenas and units.
 *
 * The range is address space only, and as a rule not even reserved: a program that limits its address space
 * (RLIMIT_AS) would get nothing any more. It lies where the system puts nothing by itself, and should somebody else come to lie
 * in it, it ends there. Arenas are opened one after the other; what lies before the last is usable memory,
 * so the system keeps one record of it (and one more for each change of advice about huge pages). */
#include "internal.h"

#define LARGEST_RANGE ((size_t)1 << 40)
#define SMALLEST_RANGE ((size_t)64 << 20)
#define COMMIT_AT_MOST ((size_t)64 << 20)

/* --- tables ------------------------------------------------------------------------------------- */

bool space_commit(bool claimed, char *at, size_t bytes)
{
    if (!(claimed ? platform_take(at, bytes) : platform_commit(at, bytes)))
        return false;
    if (claimed) /* where the system gives huge pages unasked, it shall ask us */
        platform_advise_huge(at, bytes, false);
    return true;
}

bool table_reach(struct table *table, size_t bytes)
{
    if (bytes <= table->committed)
        return true;
    size_t wanted = bytes + bytes / 8 + HEAP_UNIT;
    wanted = wanted < table->reserved ? wanted & ~(HEAP_UNIT - 1) : table->reserved;
    if (bytes > wanted ||
        !space_commit(table->claimed, table->at + table->committed, wanted - table->committed))
        return false;
    table->committed = wanted;
    return true;
}

/* Give a table its place at an offset from `start`; returns the offset of its end. */
static size_t table_place(struct table *table, char *start, size_t offset, size_t bytes)
{
    size_t page = platform_page_bytes();
    bytes = (bytes + page - 1) & ~(page - 1);
    *table = (struct table){.at = start != NULL ? start + offset : NULL, .reserved = bytes};
    return offset + bytes;
}

static void table_drop(struct table *table)
{
    platform_unmap(table->committed != 0 ? table->at : NULL, table->committed);
}

/* Lay the tables out from `start` on; returns their bytes. start may be NULL: to learn those. */
static size_t tables_place(struct heap_inside *inside, char *start)
{
    size_t span = inside->region_span, units = span / HEAP_UNIT, end = 0;
    /* One table of descriptors, in three parts that grow on their own. */
    for (unsigned part = 0; part <= HEAP_REGIONS; part++)
        end = table_place(&inside->slabs[part], start, end,
                          units * (part == HEAP_REGIONS ? 2 : 1) * sizeof(struct heap_slab));
    for (unsigned region = 0; region < HEAP_REGIONS; region++)
        end = table_place(&inside->arenas[region], start, end, span / HEAP_ARENA * sizeof(struct arena));
    end = table_place(&inside->marks, start, end, span / HEAP_GRAIN / 8);
    end = table_place(&inside->freed, start, end, span / HEAP_GRAIN / 8);
    for (unsigned region = 0; region < HEAP_REGIONS; region++)
        end = table_place(&inside->sites[region], start, end, span / HEAP_GRAIN * sizeof(uint32_t));
    return end;
}

static void claim_tables(struct heap_inside *inside)
{
    for (unsigned part = 0; part <= HEAP_REGIONS; part++)
        inside->slabs[part].claimed = true;
    for (unsigned region = 0; region < HEAP_REGIONS; region++)
        inside->arenas[region].claimed = inside->sites[region].claimed = true;
    inside->marks.claimed = inside->freed.claimed = true;
}

/* The range and its tables, without the system's knowledge. */
static bool range_claim(struct heap *heap, struct heap_inside *inside, size_t bytes)
{
    inside->region_span = bytes / 4;
    inside->tables_bytes = tables_place(inside, NULL);
    heap->base = platform_claim(bytes, HEAP_ARENA);
    inside->tables = heap->base != NULL ? platform_claim(inside->tables_bytes, HEAP_UNIT) : NULL;
    if (inside->tables == NULL) {
        platform_unclaim(heap->base);
        return false;
    }
    heap->span = bytes;
    tables_place(inside, inside->tables);
    claim_tables(inside);
    heap->slabs = (struct heap_slab *)inside->slabs[0].at;
    inside->claimed = true;
    return true;
}

static bool range_reserve(struct heap *heap, struct heap_inside *inside, size_t bytes)
{
    inside->region_span = bytes / 4;
    /* Nothing may lie between the parts of the table of descriptors: each must be whole pages. */
    if (inside->region_span / HEAP_UNIT * sizeof(struct heap_slab) % platform_page_bytes() != 0)
        return false;
    inside->tables_bytes = tables_place(inside, NULL);
    inside->tables = platform_reserve(inside->tables_bytes, HEAP_UNIT);
    if (inside->tables == NULL)
        return false;
    heap->base = platform_reserve(bytes, HEAP_ARENA);
    if (heap->base == NULL) {
        platform_unmap(inside->tables, inside->tables_bytes);
        return false;
    }
    heap->span = bytes;
    tables_place(inside, inside->tables);
    heap->slabs = (struct heap_slab *)inside->slabs[0].at;
    return true;
}

/* --- the heap itself ---------------------------------------------------------------------------- */

struct both {
    struct heap heap;
    struct heap_inside inside;
};

struct heap *heap_new(const struct heap_options *options)
{
    if (platform_page_bytes() > HEAP_UNIT)
        return NULL;
    struct both *both = platform_map(sizeof *both);
    if (both == NULL)
        return NULL;
    struct heap *heap = &both->heap;
    struct heap_inside *inside = &both->inside;
    size_t asked = options != NULL ? options->reserve : 0;
    size_t bytes = asked != 0 ? asked : LARGEST_RANGE;
    if (asked == 0 && range_claim(heap, inside, bytes))
        asked = bytes;
    while (!inside->claimed && bytes >= SMALLEST_RANGE && !range_reserve(heap, inside, bytes))
        bytes = asked != 0 ? 0 : bytes / 4;
    if (bytes < SMALLEST_RANGE) {
        platform_unmap(both, sizeof *both);
        return NULL;
    }
    heap->inside = inside;
    inside->page_bytes = platform_page_bytes();
    inside->turn = 1;
    inside->ticks = options != NULL && options->ticks;
    inside->none.bin = BIN_NONE;
    inside->none.floor = FLOOR_NEVER;
    for (unsigned region = 0; region < HEAP_REGIONS; region++)
        for (unsigned i = 0; i < HEAP_CLASSES; i++)
            heap->current[region][i] = &inside->none;
    /* Where the system gives huge pages unasked, it shall ask us. */
    if (!inside->claimed)
        platform_advise_huge(heap->base, heap->span, false);
    return heap;
}

void heap_delete(struct heap *heap)
{
    if (heap == NULL)
        return;
    struct heap_inside *inside = heap->inside;
    if (inside->claimed) { /* what lies between is not ours */
        for (unsigned region = 0; region < HEAP_REGIONS; region++) {
            const struct region *r = &inside->regions[region];
            platform_unmap(r->committed != 0 ? arena_start(heap, region, 0) : NULL, r->committed);
            table_drop(&inside->arenas[region]);
            table_drop(&inside->sites[region]);
        }
        platform_unmap(inside->rooms.committed != 0 ? heap->base + HEAP_REGIONS * inside->region_span : NULL,
                       inside->rooms.committed);
        for (unsigned part = 0; part <= HEAP_REGIONS; part++)
            table_drop(&inside->slabs[part]);
        table_drop(&inside->marks);
        table_drop(&inside->freed);
        platform_unclaim(heap->base);
        platform_unclaim(inside->tables);
    } else {
        platform_unmap(heap->base, heap->span);
        platform_unmap(inside->tables, inside->tables_bytes);
    }
    platform_unmap(heap, sizeof(struct both));
}

/* --- arenas ------------------------------------------------------------------------------------- */

static void arena_unlist(struct heap *heap, unsigned region, uint32_t number)
{
    struct region *r = &heap->inside->regions[region];
    struct arena *arena = arena_at(heap, region, number);
    if (arena->list == 0)
        return;
    if (arena->prev != 0)
        arena_at(heap, region, arena->prev - 1)->next = arena->next;
    else
        r->lists[arena->list] = arena->next;
    if (arena->next != 0)
        arena_at(heap, region, arena->next - 1)->prev = arena->prev;
    if (r->lists[arena->list] == 0)
        r->occupied[(arena->list - 1) / UNITS_PER_ARENA] &=
            ~((uint32_t)1 << ((arena->list - 1) % UNITS_PER_ARENA));
    arena->list = 0;
}

unsigned arena_list(const struct arena *arena)
{
    if (arena->free == 0)
        return 0;
    unsigned family = (arena->huge ? HUGE_CLEAN : PLAIN_CLEAN) + (arena->dirty != 0);
    return 1 + (unsigned)__builtin_popcount(~arena->free) + family * (unsigned)UNITS_PER_ARENA;
}

void arena_relist(struct heap *heap, unsigned region, uint32_t number)
{
    struct region *r = &heap->inside->regions[region];
    struct arena *arena = arena_at(heap, region, number);
    unsigned list = arena_list(arena);
    if (list == arena->list)
        return;
    arena_unlist(heap, region, number);
    if (list == 0)
        return;
    arena->list = (uint8_t)list;
    arena->prev = 0;
    arena->next = r->lists[list];
    if (arena->next != 0)
        arena_at(heap, region, arena->next - 1)->prev = number + 1;
    r->lists[list] = number + 1;
    r->occupied[(list - 1) / UNITS_PER_ARENA] |= (uint32_t)1 << ((list - 1) % UNITS_PER_ARENA);
}

/* No page of it is free or was given back, nor left untouched behind a large slot. */
static bool dense(const struct heap *heap, unsigned region, uint32_t number)
{
    const struct arena *arena = arena_at(heap, region, number);
    const struct heap_slab *slabs = heap_slab_of(heap, arena_start(heap, region, number));
    bool good = !arena->huge && arena->free == 0 && arena->purged_pages == 0;
    for (unsigned i = 0; i < UNITS_PER_ARENA && good; i++)
        good = slabs[i].slot_bytes <= HEAP_PAGE;
    return good;
}

/* pre: it is dense. */
static void make_huge(struct heap *heap, unsigned region, uint32_t number)
{
    char *start = arena_start(heap, region, number);
    struct heap_slab *slabs = heap_slab_of(heap, start);
    platform_advise_huge(start, HEAP_ARENA, true);
    heap->inside->advised++;
    arena_at(heap, region, number)->huge = true;
    for (unsigned i = 0; i < UNITS_PER_ARENA; i++)
        slabs[i].resident_pages = PAGES_PER_UNIT; /* as soon as the system follows */
}

/* An arena that was opened when the heap was small is made huge when the heap is large and it is dense; one
 * for each that is opened, so that nobody waits for all of them. */
static void collapse_one(struct heap *heap, unsigned region)
{
    struct region *r = &heap->inside->regions[region];
    while (r->collapsed < r->arenas_open) {
        uint32_t number = r->collapsed++;
        if (!dense(heap, region, number))
            continue;
        make_huge(heap, region, number);
        (void)platform_collapse(arena_start(heap, region, number), HEAP_ARENA);
        return;
    }
}

static bool arena_open(struct heap *heap, unsigned region, bool fine)
{
    struct heap_inside *inside = heap->inside;
    struct region *r = &inside->regions[region];
    uint32_t number = r->arenas_open;
    size_t end = (size_t)(number + 1) * HEAP_ARENA;
    if (end > inside->region_span ||
        !table_reach(&inside->arenas[region], (number + 1) * sizeof(struct arena)) ||
        !table_reach(&inside->slabs[region], end / HEAP_UNIT * sizeof(struct heap_slab)))
        return false;
    if (inside->marks.committed != 0 && region == HEAP_OBJECTS &&
        !table_reach(&inside->marks, end / HEAP_GRAIN / 8))
        return false;
    if (inside->sites_enabled && !table_reach(&inside->sites[region], end / HEAP_GRAIN * sizeof(uint32_t)))
        return false;
    if (end > r->committed) {
        size_t more = (r->committed / 8 + HEAP_ARENA - 1) & ~(HEAP_ARENA - 1);
        more = more < HEAP_ARENA ? HEAP_ARENA : more > COMMIT_AT_MOST ? COMMIT_AT_MOST : more;
        if (r->committed + more > inside->region_span)
            more = inside->region_span - r->committed;
        char *at = arena_start(heap, region, 0) + r->committed;
        if (!space_commit(inside->claimed, at, more)) {
            more = HEAP_ARENA; /* limited: then no more than needed */
            if (!space_commit(inside->claimed, at, more))
                return false;
        }
        r->committed += more;
    }
    struct arena *arena = arena_at(heap, region, number);
    *arena = (struct arena){.free = ALL_UNITS};
    r->arenas_open++;
    if (end > HUGE_FROM && fine) {
        platform_advise_huge(arena_start(heap, region, number), HEAP_ARENA, true);
        inside->advised++;
        arena->huge = true;
        arena->dirty = ALL_UNITS; /* the first touch brings all of it */
        r->dirty_units += UNITS_PER_ARENA;
        if (end > 2 * HUGE_FROM)
            collapse_one(heap, region);
    }
    arena_relist(heap, region, number);
    return true;
}

bool heap_has_huge(const struct heap *heap)
{
    const struct region *regions = heap->inside->regions;
    return regions[HEAP_OBJECTS].arenas_open * HEAP_ARENA > HUGE_FROM ||
           regions[HEAP_BUFFERS].arenas_open * HEAP_ARENA > HUGE_FROM;
}

bool heap_mend(const struct heap *heap, uint32_t *next)
{
    /* What is read here may be changing. Then it is mended another time; and an arena that is being given
     * back does not become huge, since it is first taken out of those that may. */
    uint32_t number = *next;
    for (unsigned region = 0; region < HEAP_REGIONS; region++) {
        uint32_t open = __atomic_load_n(&heap->inside->regions[region].arenas_open, __ATOMIC_RELAXED);
        if (number >= open) {
            number -= open;
            continue;
        }
        const struct arena *arena = arena_at(heap, region, number);
        ++*next;
        if (__atomic_load_n(&arena->huge, __ATOMIC_RELAXED) &&
            __atomic_load_n(&arena->free, __ATOMIC_RELAXED) != ALL_UNITS)
            (void)platform_collapse(arena_start(heap, region, number), HEAP_ARENA);
        return true;
    }
    return false;
}

/* --- units -------------------------------------------------------------------------------------- */

/* What holds memory goes first. */
static const enum family fine_order[] = {HUGE_DIRTY, PLAIN_DIRTY, HUGE_CLEAN, PLAIN_CLEAN};
static const enum family coarse_order[] = {PLAIN_DIRTY, PLAIN_CLEAN};

static enum family family_with_any(const struct region *region, bool fine)
{
    const enum family *order = fine ? fine_order : coarse_order;
    for (size_t i = 0; i < (fine ? 4 : 2); i++)
        if (region->occupied[order[i]] != 0)
            return order[i];
    return FAMILIES;
}

struct heap_slab *unit_take(struct heap *heap, unsigned region, bool fine)
{
    struct heap_inside *inside = heap->inside;
    struct region *r = &inside->regions[region];
    enum family family = family_with_any(r, fine);
    size_t fresh = family == PLAIN_CLEAN || family == HUGE_CLEAN ? HEAP_UNIT : 0; /* bytes */
    if (family == FAMILIES && arena_open(heap, region, fine)) {
        family = family_with_any(r, fine);
        fresh = family == HUGE_DIRTY ? HEAP_ARENA : HEAP_UNIT;
    }
    if (family == FAMILIES && !fine)
        family = family_with_any(r, true); /* no more address space */
    if (family == FAMILIES)
        return NULL;
    bool with_dirty = family == HUGE_DIRTY || family == PLAIN_DIRTY;
    if (fresh != 0)
        purge_in_exchange(heap, region, fresh);
    /* Of those the fullest arena, so that the others become empty. */
    unsigned list = 32u - (unsigned)__builtin_clz(r->occupied[family]) + family * (unsigned)UNITS_PER_ARENA;
    uint32_t number = r->lists[list] - 1;
    struct arena *arena = arena_at(heap, region, number);
    unsigned unit = (unsigned)__builtin_ctz(with_dirty ? arena->dirty : arena->free);
    uint32_t bit = (uint32_t)1 << unit;
    bool dirty = (arena->dirty & bit) != 0;
    arena->bare = false;
    arena->free &= ~bit;
    r->dirty_units -= dirty;
    arena->dirty &= ~bit;
    arena->stale &= ~bit;
    arena_relist(heap, region, number);
    struct heap_slab *slab = heap_slab_of(heap, arena_start(heap, region, number) + unit * HEAP_UNIT);
    slab->resident_pages = dirty ? PAGES_PER_UNIT : 0;
    /* It was sparse once, and is dense again: the system may make it huge when it likes. */
    slab->slot_bytes = fine ? 0 : HEAP_LARGEST_SLOT; /* until somebody says */
    if (r->collapsed > number && dense(heap, region, number))
        make_huge(heap, region, number);
    slab->kind = HEAP_UNIT_SLAB;
    slab->region = (uint8_t)region;
    slab->flags = 0;
    slab->free = NULL;
    return slab;
}

void unit_give(struct heap *heap, struct heap_slab *slab)
{
    unsigned unit;
    struct arena *arena = arena_of(heap, slab, &unit);
    uint32_t bit = (uint32_t)1 << unit;
    arena->purged_pages = (uint16_t)(arena->purged_pages - __builtin_popcount(slab->purged));
    slab->purged = 0;
    slab->kind = HEAP_UNIT_FREE;
    slab->flags = 0;
    slab->free = NULL;
    slab->bin = BIN_NONE;
    arena->free |= bit;
    arena->dirty |= bit;
    heap->inside->regions[slab->region].dirty_units++;
    arena_relist(heap, slab->region, (uint32_t)(arena - arena_at(heap, slab->region, 0)));
    purge_given(heap);
}
