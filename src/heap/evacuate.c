/* evacuate.c: choosing slabs to be emptied, and moving their blocks to others.
 *
 * In each class the sparsest slabs are chosen, as long as what they hold fits into the gaps of the rest.
 * They leave their bins, so that nothing is allocated there; what empties is given back by heap_purge. */
#include "internal.h"

/* How sparse a slab must be: the last two bins. */
#define FROM_BIN BIN_HALF

static size_t choose(struct heap *heap, unsigned region, unsigned size_class)
{
    struct heap_slab **bins = heap->inside->bins[region][size_class];
    size_t gaps = 0, blocks = 0;
    for (unsigned bin = 0; bin < BINS; bin++)
        for (const struct heap_slab *slab = bins[bin]; slab != NULL; slab = slab->next)
            gaps += (size_t)(slab->capacity - slab->live);
    for (unsigned bin = BINS; bin-- > FROM_BIN;)
        for (struct heap_slab *slab = bins[bin], *next; slab != NULL; slab = next) {
            next = slab->next;
            size_t own = (size_t)(slab->capacity - slab->live);
            if (gaps < own + slab->live)
                return blocks * class_bytes(size_class); /* the others could not take them */
            gaps -= own + slab->live;
            blocks += slab->live;
            slab_unbin(heap, slab);
            slab->flags |= HEAP_FLAG_EVACUATE;
            slab->floor = 0;
        }
    return blocks * class_bytes(size_class);
}

bool heap_evacuating(const struct heap *heap)
{
    return heap->inside->evacuating;
}

size_t heap_evacuate_begin(struct heap *heap)
{
    if (heap->inside->evacuating)
        heap_evacuate_end(heap);
    heap_settle(heap);
    slabs_settle(heap);
    size_t bytes = 0;
    for (unsigned region = 0; region < HEAP_REGIONS; region++)
        for (unsigned i = 1; i < HEAP_CLASSES; i++)
            bytes += choose(heap, region, i);
    heap->inside->evacuating = bytes != 0;
    return bytes;
}

void heap_evacuate_end(struct heap *heap)
{
    if (!heap->inside->evacuating)
        return;
    heap->inside->evacuating = false;
    for (unsigned region = 0; region < HEAP_REGIONS; region++) {
        struct heap_slab *slab = heap_slab_of(heap, arena_start(heap, region, 0));
        const struct heap_slab *end = slab + heap->inside->regions[region].arenas_open * UNITS_PER_ARENA;
        for (; slab < end; slab++)
            if (slab->kind == HEAP_UNIT_SLAB && (slab->flags & HEAP_FLAG_EVACUATE) != 0) {
                slab->flags &= (uint16_t)~HEAP_FLAG_EVACUATE;
                slab_bin(heap, slab);
            }
    }
}

bool heap_points_at_moving(const struct heap *heap, uintptr_t word)
{
    if (!heap_owns(heap, (const void *)word))
        return false;
    size_t offset = word - (uintptr_t)heap->base, region = offset / heap->inside->region_span;
    if (region >= HEAP_REGIONS ||
        offset % heap->inside->region_span / HEAP_ARENA >= heap->inside->regions[region].arenas_open)
        return false; /* no slab's; and beyond the open arenas there are no descriptors */
    return (heap_slab_of(heap, (const void *)word)->flags & HEAP_FLAG_EVACUATE) != 0;
}

void *heap_move(struct heap *heap, void *block)
{
    struct heap_slab *slab = heap_slab_of(heap, block);
    void *moved = heap_alloc(heap, (enum heap_region)slab->region, slab->slot_bytes);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, slab->slot_bytes);
    uint32_t *from = heap_site(heap, block), *to = heap_site(heap, moved);
    if (from != NULL && to != NULL)
        *to = *from;
    heap->inside->moved_blocks++;
    heap->inside->moved_bytes += slab->slot_bytes;
    heap_free(heap, block);
    return moved;
}
