/* check.c: every invariant of the whole heap, told by the first one that does not hold. */
#include "internal.h"

/* --- slabs -------------------------------------------------------------------------------------- */

static const char *check_list(const struct heap *heap, const struct heap_slab *slab, unsigned *count)
{
    struct slot_set seen = {{0}};
    *count = 0;
    for (void **at = slab->free; at != NULL; at = *at) {
        if (!heap_owns(heap, at) || heap_slab_of(heap, at) != slab)
            return "a free list leaves its slab";
        unsigned slot = slot_of(heap, slab, at);
        if ((char *)at != unit_start(heap, slab) + (size_t)slot * slab->slot_bytes)
            return "a free list does not point at a slot";
        if (slot >= slab->carved)
            return "a free list has a slot that was never carved";
        if (slot_in(&seen, slot))
            return "a slot is on its free list twice";
        if (slot_pages(slab, slot) & slab->purged)
            return "a free list has a slot on a purged page";
        slot_add(&seen, slot);
        ++*count;
    }
    return NULL;
}

static const char *check_marks(const struct heap *heap, const struct heap_slab *slab,
                               const struct slot_set *live)
{
    const struct table *marks = &heap->inside->marks;
    if (slab->region != HEAP_OBJECTS || marks->committed == 0)
        return slab->flags & HEAP_FLAG_MARKED ? "a slab is marked where there are no marks" : NULL;
    size_t first = (size_t)(unit_start(heap, slab) - heap->base) / HEAP_GRAIN;
    const uint64_t *words = (const uint64_t *)marks->at + first / 64;
    for (size_t grain = 0; grain < HEAP_UNIT / HEAP_GRAIN; grain++)
        if (words[grain / 64] >> (grain % 64) & 1) {
            unsigned slot = (unsigned)(grain * HEAP_GRAIN / slab->slot_bytes);
            if ((slab->flags & HEAP_FLAG_MARKED) == 0)
                return "a slab has marks, and is not flagged";
            if (slot >= slab->carved || !slot_in(live, slot))
                return "a free slot is marked";
        }
    return NULL;
}

static const char *check_sites(const struct heap *heap, const struct heap_slab *slab,
                               const struct slot_set *live)
{
    if ((slab->flags & HEAP_FLAG_SITES) == 0)
        return NULL;
    const uint32_t *sites = heap_site(heap, unit_start(heap, slab));
    for (unsigned slot = 0; slot < slab->capacity; slot++)
        if (sites[slot] != 0 && (slot >= slab->carved || !slot_in(live, slot)))
            return "a free slot has a site";
    return NULL;
}

static const char *check_slab(const struct heap *heap, const struct heap_slab *slab)
{
    if (slab->size_class == 0 || slab->size_class >= HEAP_CLASSES ||
        slab->slot_bytes != class_bytes(slab->size_class) || slab->capacity != HEAP_UNIT / slab->slot_bytes)
        return "a slab's size is not its class's";
    if (slab->carved > slab->capacity || slab->live > slab->carved)
        return "a slab has more slots than there are";
    if (slab->resident_pages > PAGES_PER_UNIT || slab->purged >> carved_pages(slab) != 0)
        return "a slab holds pages that it does not have";
    unsigned listed, live;
    struct slot_set slots;
    const char *wrong = check_list(heap, slab, &listed);
    if (wrong != NULL)
        return wrong;
    live = slab_live_slots(heap, slab, &slots);
    if (live != slab->live)
        return "a slab counts its slots in use wrongly";
    const struct heap_slab *current = heap->current[slab->region][slab->size_class];
    if ((slab == current) != (slab->bin == BIN_CURRENT))
        return "a slab is current and does not know it, or the other way round";
    if (slab->bin == BIN_CURRENT ? slab->floor != FLOOR_NEVER : slab->live <= slab->floor)
        return "a slab has fallen to its floor unseen";
    if (slab->bin == BIN_FULL && slab->capacity - slab->live >= (int)slab_enough(slab))
        return "a slab that is not full is not in a bin";
    if (slab->bin == BIN_NONE && (slab->flags & HEAP_FLAG_EVACUATE) == 0)
        return "a slab is in no bin";
    wrong = check_marks(heap, slab, &slots);
    return wrong != NULL ? wrong : check_sites(heap, slab, &slots);
}

/* --- arenas ------------------------------------------------------------------------------------- */

static const char *check_arena(const struct heap *heap, unsigned region, uint32_t number, size_t *dirty,
                               size_t *binned)
{
    const struct arena *arena = arena_at(heap, region, number);
    const struct heap_slab *slabs = heap_slab_of(heap, arena_start(heap, region, number));
    if ((arena->dirty & ~arena->free) != 0 || (arena->stale & ~arena->dirty) != 0)
        return "an arena has dirty units that are not free";
    if (arena->list != arena_list(arena))
        return "an arena is in the wrong list";
    size_t purged = 0;
    for (unsigned i = 0; i < UNITS_PER_ARENA; i++) {
        if (arena->free >> i & 1) {
            if (slabs[i].kind == HEAP_UNIT_SLAB || slabs[i].flags != 0)
                return "a free unit is a slab";
            continue;
        }
        if (slabs[i].kind != HEAP_UNIT_SLAB || slabs[i].region != region)
            return "a unit in use is no slab of its region";
        const char *wrong = check_slab(heap, &slabs[i]);
        if (wrong != NULL)
            return wrong;
        purged += (size_t)__builtin_popcount(slabs[i].purged);
        *binned += slabs[i].bin < BINS;
    }
    if (purged != arena->purged_pages)
        return "an arena counts its purged pages wrongly";
    *dirty += (size_t)__builtin_popcount(arena->dirty);
    return NULL;
}

static const char *check_bins(const struct heap *heap, unsigned region, size_t *count)
{
    for (unsigned i = 1; i < HEAP_CLASSES; i++)
        for (unsigned bin = 0; bin < BINS; bin++) {
            const struct heap_slab *prev = NULL, *slab = heap->inside->bins[region][i][bin];
            for (; slab != NULL; prev = slab, slab = slab->next, ++*count)
                if (slab->prev != prev || slab->kind != HEAP_UNIT_SLAB || slab->size_class != i ||
                    slab->region != region || slab->bin != bin)
                    return "a bin holds a slab that does not belong there";
        }
    return NULL;
}

static const char *check_lists(const struct heap *heap, unsigned region)
{
    const struct region *r = &heap->inside->regions[region];
    uint32_t listed = 0, with_list = 0;
    for (unsigned list = 1; list < ARENA_LISTS; list++) {
        bool told = (r->occupied[(list - 1) / UNITS_PER_ARENA] >> ((list - 1) % UNITS_PER_ARENA) & 1) != 0;
        if (told != (r->lists[list] != 0))
            return "a list of arenas is empty, and said not to be";
        uint32_t prev = 0;
        for (uint32_t at = r->lists[list]; at != 0;
             prev = at, at = arena_at(heap, region, at - 1)->next, listed++)
            if (at > r->arenas_open || arena_at(heap, region, at - 1)->prev != prev ||
                arena_at(heap, region, at - 1)->list != list)
                return "a list of arenas is broken";
    }
    for (uint32_t number = 0; number < r->arenas_open; number++)
        with_list += arena_at(heap, region, number)->list != 0;
    if (listed != with_list)
        return "an arena is in a list, and not found there";
    return NULL;
}

/* --- rooms -------------------------------------------------------------------------------------- */

static const char *check_rooms(const struct heap *heap)
{
    const struct rooms *rooms = &heap->inside->rooms;
    size_t live = 0, count = 0, dirty = 0, free = 0, listed = 0;
    for (const struct heap_slab *room = NULL; (room = room_next(heap, room)) != NULL;) {
        size_t unit = (size_t)(room - rooms_first(heap));
        if (room->kind != HEAP_UNIT_ROOM || (room->flags & HEAP_FLAG_ROOM) == 0 ||
            (unit & (((size_t)1 << room->size_class) - 1)) != 0)
            return "a room is not what follows the one before";
        if (room->bytes == 0 && room->flags != HEAP_FLAG_ROOM)
            return "a free room has flags of a block";
        if (room->bytes > room_bytes(room) || room->resident_pages * HEAP_PAGE > room_bytes(room))
            return "a room holds more than it can";
        live += room->bytes;
        count += room->bytes != 0;
        dirty += room->bytes == 0 ? room->resident_pages * HEAP_PAGE : 0;
        free += room->bytes == 0;
    }
    for (unsigned i = 0; i < ROOM_CLASSES; i++)
        for (unsigned of_dirty = 0; of_dirty < 2; of_dirty++) {
            const struct heap_slab *prev = NULL, *room = of_dirty ? rooms->dirty[i] : rooms->clean[i];
            for (; room != NULL; prev = room, room = room->next, listed++)
                if (room->prev != prev || room->size_class != i || room->bytes != 0 ||
                    (room->resident_pages != 0) != of_dirty)
                    return "a list of free rooms is broken";
        }
    size_t loose = 0;
    for (const struct heap_slab *room = rooms->loose, *prev = NULL; room != NULL;
         prev = room, room = room->next) {
        if (room->prev != prev || room->bytes == 0 || (room->flags & FLAG_ROOM_LOOSE) == 0)
            return "the list of loose rooms is broken";
        loose += room->resident_pages * HEAP_PAGE -
                 ((room->bytes + heap->inside->page_bytes - 1) & ~(heap->inside->page_bytes - 1));
    }
    if (loose != rooms->loose_bytes)
        return "what is behind the blocks of loose rooms is counted wrongly";
    if (live != rooms->live_bytes || count != rooms->live_count || dirty != rooms->dirty_bytes ||
        free != listed)
        return "the rooms are counted wrongly";
    return NULL;
}

const char *heap_check(const struct heap *heap)
{
    const struct heap_inside *inside = heap->inside;
    for (unsigned region = 0; region < HEAP_REGIONS; region++) {
        size_t dirty = 0, binned = 0, listed = 0;
        for (uint32_t number = 0; number < inside->regions[region].arenas_open; number++) {
            const char *wrong = check_arena(heap, region, number, &dirty, &binned);
            if (wrong != NULL)
                return wrong;
        }
        const char *wrong = check_bins(heap, region, &listed);
        if (wrong == NULL)
            wrong = check_lists(heap, region);
        if (wrong != NULL)
            return wrong;
        if (dirty != inside->regions[region].dirty_units)
            return "the dirty units are counted wrongly";
        if (binned != listed)
            return "a slab is in a bin, and not found there";
        if (heap->current[region][0] != heap->current[region][1])
            return "requests of no bytes are not served as the smallest";
    }
    return check_rooms(heap);
}
