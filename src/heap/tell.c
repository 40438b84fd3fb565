/* tell.c: figures, and the view of all pages. Walks descriptors; only heap_view walks free lists. */
#include "internal.h"

/* Pages of a slab that hold memory. */
static size_t resident_pages(const struct heap_slab *slab)
{
    return held_pages(slab) - (size_t)__builtin_popcount(slab->purged);
}

/* Every unit of the open arenas of a region. */
static void each_unit(const struct heap *heap, unsigned region,
                      void (*visit)(void *context, const struct heap_slab *slab, const struct arena *arena,
                                    unsigned unit),
                      void *context)
{
    for (uint32_t number = 0; number < heap->inside->regions[region].arenas_open; number++) {
        const struct heap_slab *slabs = heap_slab_of(heap, arena_start(heap, region, number));
        for (unsigned unit = 0; unit < UNITS_PER_ARENA; unit++)
            visit(context, slabs + unit, arena_at(heap, region, number), unit);
    }
}

/* --- figures ------------------------------------------------------------------------------------ */

static void add_unit(void *context, const struct heap_slab *slab, const struct arena *arena, unsigned unit)
{
    struct heap_figures *f = context;
    f->mapped_bytes += HEAP_UNIT;
    if (arena->free >> unit & 1) {
        f->resident_bytes += arena->dirty >> unit & 1 ? HEAP_UNIT : 0;
        return;
    }
    f->blocks += slab->live;
    f->live_bytes += (size_t)slab->live * slab->slot_bytes;
    f->resident_bytes += resident_pages(slab) * HEAP_PAGE;
}

void heap_tell(const struct heap *heap, struct heap_figures *figures)
{
    const struct heap_inside *inside = heap->inside;
    *figures = (struct heap_figures){
        .returned_bytes = inside->returned_bytes,
        .side_bytes = heap_side_bytes(heap),
        .moved_blocks = inside->moved_blocks,
        .moved_bytes = inside->moved_bytes,
        .advised = inside->advised,
        .purges = inside->purges,
    };
    for (unsigned region = 0; region < HEAP_REGIONS; region++)
        each_unit(heap, region, add_unit, figures);
    for (const struct heap_slab *room = NULL; (room = room_next(heap, room)) != NULL;) {
        figures->blocks += room->bytes != 0;
        figures->live_bytes += room->bytes;
        figures->mapped_bytes += room->bytes != 0 ? room_bytes(room) : 0;
        figures->resident_bytes += room->resident_pages * HEAP_PAGE;
    }
    figures->free_bytes =
        figures->resident_bytes > figures->live_bytes ? figures->resident_bytes - figures->live_bytes : 0;
}

struct class_sum {
    unsigned size_class;
    struct heap_class_figures *figures;
};

static void add_to_class(void *context, const struct heap_slab *slab, const struct arena *arena,
                         unsigned unit)
{
    const struct class_sum *sum = context;
    if ((arena->free >> unit & 1) || slab->size_class != sum->size_class)
        return;
    struct heap_class_figures *f = sum->figures;
    f->slabs++;
    f->blocks += slab->live;
    f->slots += slab->capacity;
    f->resident_bytes += resident_pages(slab) * HEAP_PAGE;
    f->purged_bytes += (size_t)__builtin_popcount(slab->purged) * HEAP_PAGE;
}

void heap_tell_class(const struct heap *heap, enum heap_region region, unsigned size_class,
                     struct heap_class_figures *figures)
{
    *figures = (struct heap_class_figures){.slot_bytes = class_bytes(size_class)};
    struct class_sum sum = {size_class, figures};
    each_unit(heap, region, add_to_class, &sum);
}

/* --- the view ----------------------------------------------------------------------------------- */

#define FULL_PAGE 254u
#define NO_MEMORY 255u

struct viewer {
    const struct heap *heap;
    void (*visit)(void *context, const struct heap_unit_view *view);
    void *context;
};

static void view_slab(const struct heap *heap, const struct heap_slab *slab, struct heap_unit_view *view)
{
    struct slot_set live;
    size_t used[PAGES_PER_UNIT] = {0};
    slab_live_slots(heap, slab, &live);
    for (unsigned slot = 0; slot < slab->carved; slot++) {
        if (!slot_in(&live, slot))
            continue;
        size_t from = (size_t)slot * slab->slot_bytes, to = from + slab->slot_bytes;
        while (from < to) {
            size_t page = from / HEAP_PAGE, end = (page + 1) * HEAP_PAGE < to ? (page + 1) * HEAP_PAGE : to;
            used[page] += end - from;
            from = end;
        }
    }
    for (size_t page = 0; page < PAGES_PER_UNIT; page++) {
        bool gone = page >= held_pages(slab) || (slab->purged >> page & 1) != 0;
        /* Rounded up: a page with one small block is not an empty one. */
        view->occupancy[page] =
            (uint8_t)(gone ? NO_MEMORY : (used[page] * FULL_PAGE + HEAP_PAGE - 1) / HEAP_PAGE);
    }
}

static void view_unit(void *context, const struct heap_slab *slab, const struct arena *arena, unsigned unit)
{
    const struct viewer *viewer = context;
    char *start = unit_start(viewer->heap, slab);
    bool free = (arena->free >> unit & 1) != 0, dirty = (arena->dirty >> unit & 1) != 0;
    struct heap_unit_view view = {
        .at = (uintptr_t)start,
        .kind = free ? (slab->kind == HEAP_UNIT_UNUSED ? HEAP_UNIT_UNUSED : HEAP_UNIT_FREE) : HEAP_UNIT_SLAB,
        .region = (uint8_t)((size_t)(start - viewer->heap->base) / viewer->heap->inside->region_span),
        .huge = arena->huge,
        .slot_bytes = free ? 0 : slab->slot_bytes,
    };
    if (free)
        memset(view.occupancy, dirty ? 0 : NO_MEMORY, sizeof view.occupancy);
    else
        view_slab(viewer->heap, slab, &view);
    viewer->visit(viewer->context, &view);
}

void heap_view(const struct heap *heap, void (*visit)(void *context, const struct heap_unit_view *view),
               void *context)
{
    struct viewer viewer = {heap, visit, context};
    for (unsigned region = 0; region < HEAP_REGIONS; region++)
        each_unit(heap, region, view_unit, &viewer);
    for (const struct heap_slab *room = NULL; (room = room_next(heap, room)) != NULL;) {
        if (room->bytes == 0 && room->resident_pages == 0)
            continue;
        size_t pages = (room->bytes + HEAP_PAGE - 1) / HEAP_PAGE;
        size_t shown = pages > room->resident_pages ? pages : room->resident_pages;
        for (size_t first = 0; first < shown; first += PAGES_PER_UNIT) {
            struct heap_unit_view view = {.at = (uintptr_t)unit_start(heap, room) + first * HEAP_PAGE,
                                          .kind = HEAP_UNIT_ROOM,
                                          .region = HEAP_REGIONS,
                                          .huge = room->bytes >= HUGE_ROOM};
            for (size_t i = 0; i < PAGES_PER_UNIT; i++)
                view.occupancy[i] = (uint8_t)(first + i < pages                  ? FULL_PAGE
                                              : first + i < room->resident_pages ? 0
                                                                                 : NO_MEMORY);
            visit(context, &view);
        }
    }
}
