/* slab.c: size classes. Slabs, their bins by fullness, allocating and freeing slots.
 *
 * A class takes its slots from one current slab. When that has none left, the fullest of the others
 * becomes current, so that sparse slabs get the time to become empty. A slab changes its bin only when
 * `live` has fallen to `floor`: one compare on each free covers "was full", "is much emptier now" and "is
 * empty". */
#include "internal.h"

/* --- classes ------------------------------------------------------------------------------------ */

#define SMALL_CLASSES 32u                       /* 16, 32, .. 512 */
#define MIDDLE_CLASSES (SMALL_CLASSES + 3 * 8u) /* 576, 640, .. 4096 */

unsigned class_of(size_t bytes)
{
    if (bytes <= HEAP_SMALLEST_STEP_END)
        return bytes <= HEAP_GRAIN ? 1 : (unsigned)((bytes + HEAP_GRAIN - 1) / HEAP_GRAIN);
    unsigned log = 63u - (unsigned)__builtin_clzll(bytes - 1); /* 9 for 513 .. 1024 */
    if (bytes <= HEAP_PAGE)
        return SMALL_CLASSES + (log - 9) * 8 + (unsigned)((bytes - 1) >> (log - 3)) - 7;
    return MIDDLE_CLASSES + (log - 12) * 4 + (unsigned)((bytes - 1) >> (log - 2)) - 3;
}

size_t class_bytes(unsigned size_class)
{
    if (size_class <= SMALL_CLASSES)
        return size_class == 0 ? HEAP_GRAIN : size_class * HEAP_GRAIN;
    unsigned step = size_class - SMALL_CLASSES - 1;
    if (size_class <= MIDDLE_CLASSES)
        return (size_t)(9 + step % 8) << (step / 8 + 6);
    step = size_class - MIDDLE_CLASSES - 1;
    return (size_t)(5 + step % 4) << (step / 4 + 10);
}

/* --- bins --------------------------------------------------------------------------------------- */

static unsigned bin_of(const struct heap_slab *slab)
{
    return (unsigned)(slab->capacity - slab->live - 1) * BINS / slab->capacity;
}

void slab_bin(struct heap *heap, struct heap_slab *slab)
{
    unsigned enough = slab_enough(slab);
    if (slab->capacity - slab->live < (int)enough) {
        slab->bin = BIN_FULL;
        slab->floor = (uint16_t)(slab->capacity - enough);
        return;
    }
    unsigned bin = bin_of(slab);
    struct heap_slab **first = &heap->inside->bins[slab->region][slab->size_class][bin];
    slab->bin = (uint8_t)bin;
    slab->prev = NULL;
    slab->next = *first;
    if (*first != NULL)
        (*first)->prev = slab;
    *first = slab;
    /* The largest `live` of the next bin. */
    unsigned gap = ((bin + 1) * slab->capacity + BINS - 1) / BINS + 1;
    slab->floor = bin + 1 < BINS && gap < slab->capacity ? (uint16_t)(slab->capacity - gap) : 0;
}

void slab_unbin(struct heap *heap, struct heap_slab *slab)
{
    if (slab->bin < BINS) {
        if (slab->prev != NULL)
            slab->prev->next = slab->next;
        else
            heap->inside->bins[slab->region][slab->size_class][slab->bin] = slab->next;
        if (slab->next != NULL)
            slab->next->prev = slab->prev;
    }
    slab->bin = BIN_NONE;
}

void heap_slab_fell(struct heap *heap, struct heap_slab *slab)
{
    slab_unbin(heap, slab);
    if (slab->live == 0)
        unit_give(heap, slab);
    else
        slab_bin(heap, slab);
}

/* --- slots -------------------------------------------------------------------------------------- */

static inline char *slot_start(const struct heap *heap, const struct heap_slab *slab, unsigned slot)
{
    return unit_start(heap, slab) + (size_t)slot * slab->slot_bytes;
}

/* Put slots first .. first + count - 1 on the list, in this order. */
static void thread(const struct heap *heap, struct heap_slab *slab, unsigned first, unsigned count)
{
    char *at = slot_start(heap, slab, first);
    void *rest = slab->free;
    slab->free = at;
    for (; --count > 0; at += slab->slot_bytes)
        *(void **)at = at + slab->slot_bytes;
    *(void **)at = rest;
}

/* Slots that were never used: as many as begin in the page where the first one does. */
static bool carve(const struct heap *heap, struct heap_slab *slab)
{
    unsigned first = slab->carved;
    if (first == slab->capacity)
        return false;
    size_t from = (size_t)first * slab->slot_bytes;
    size_t until = (from / CARVE_BYTES + 1) * CARVE_BYTES;
    unsigned end = (unsigned)((until + slab->slot_bytes - 1) / slab->slot_bytes);
    if (end <= first)
        end = first + 1;
    if (end > slab->capacity)
        end = slab->capacity;
    slab->carved = (uint16_t)end;
    thread(heap, slab, first, end - first);
    return true;
}

/* Bring a purged page back into use, with the slots on it: those that touch no other purged page. */
static bool restore(const struct heap *heap, struct heap_slab *slab)
{
    while (slab->purged != 0 && slab->free == NULL) {
        unsigned page = (unsigned)__builtin_ctz(slab->purged), unit;
        slab->purged &= (uint16_t)(slab->purged - 1);
        arena_of(heap, slab, &unit)->purged_pages--;
        unsigned first = (unsigned)(page * HEAP_PAGE / slab->slot_bytes);
        unsigned end = (unsigned)(((page + 1) * HEAP_PAGE + slab->slot_bytes - 1) / slab->slot_bytes);
        if (end > slab->carved)
            end = slab->carved;
        for (unsigned slot = end; slot-- > first;)
            if ((slot_pages(slab, slot) & slab->purged) == 0)
                thread(heap, slab, slot, 1);
    }
    return slab->free != NULL;
}

/* Slots for an empty list; false: all are in use. Purged pages come first: the next slot that was never
 * used may begin in one, behind the last that was. */
static bool more(const struct heap *heap, struct heap_slab *slab)
{
    return restore(heap, slab) || carve(heap, slab);
}

void slab_drop_pages(struct heap *heap, struct heap_slab *slab, uint16_t pages)
{
    unsigned unit;
    arena_of(heap, slab, &unit)->purged_pages += (uint16_t)__builtin_popcount(pages & ~slab->purged);
    slab->purged |= pages;
    void **link = &slab->free;
    while (*link != NULL) {
        void **slot = *link;
        if (slot_pages(slab, slot_of(heap, slab, slot)) & slab->purged)
            *link = *slot;
        else
            link = slot;
    }
}

unsigned slab_live_slots(const struct heap *heap, const struct heap_slab *slab, struct slot_set *live)
{
    struct slot_set gone = {{0}};
    for (void **slot = slab->free; slot != NULL; slot = *slot)
        slot_add(&gone, slot_of(heap, slab, slot));
    unsigned count = 0;
    memset(live, 0, sizeof *live);
    for (unsigned slot = 0; slot < slab->carved; slot++)
        if (!slot_in(&gone, slot) && (slot_pages(slab, slot) & slab->purged) == 0) {
            slot_add(live, slot);
            count++;
        }
    return count;
}

/* --- the current slab --------------------------------------------------------------------------- */

static struct heap_slab *slab_new(struct heap *heap, unsigned region, unsigned size_class)
{
    struct heap_slab *slab = unit_take(heap, region, class_bytes(size_class) <= HEAP_PAGE);
    if (slab == NULL)
        return NULL;
    uint32_t bytes = (uint32_t)class_bytes(size_class);
    slab->live = slab->carved = slab->purged = 0;
    slab->size_class = (uint8_t)size_class;
    slab->slot_bytes = bytes;
    slab->reciprocal = (uint32_t)((((uint64_t)1 << 32) + bytes - 1) / bytes);
    slab->capacity = (uint16_t)(HEAP_UNIT / bytes);
    return slab;
}

static void set_current(struct heap *heap, unsigned region, unsigned size_class, struct heap_slab *slab)
{
    heap->current[region][size_class] = slab;
    if (size_class == 1)
        heap->current[region][0] = slab; /* requests of no bytes */
}

static struct heap_slab *sparsest_last(struct heap *heap, unsigned region, unsigned size_class)
{
    for (unsigned bin = 0; bin < BINS; bin++)
        if (heap->inside->bins[region][size_class][bin] != NULL)
            return heap->inside->bins[region][size_class][bin];
    return NULL;
}

/* A current slab with a free slot; NULL: no memory. pre: the current one has none on its list. */
static struct heap_slab *refill(struct heap *heap, unsigned region, unsigned size_class)
{
    struct heap_slab *slab = heap->current[region][size_class];
    if (more(heap, slab))
        return slab;
    heap_settle(heap);
    if (slab->free != NULL)
        return slab;
    struct heap_slab *next = sparsest_last(heap, region, size_class);
    if (next != NULL)
        slab_unbin(heap, next);
    else if ((next = slab_new(heap, region, size_class)) == NULL)
        return NULL;
    if (slab != &heap->inside->none)
        slab_bin(heap, slab); /* full */
    next->bin = BIN_CURRENT;
    next->floor = FLOOR_NEVER;
    set_current(heap, region, size_class, next);
    if (next->free == NULL)
        more(heap, next);
    return next;
}

void slabs_settle(struct heap *heap)
{
    struct heap_slab *none = &heap->inside->none;
    for (unsigned region = 0; region < HEAP_REGIONS; region++)
        for (unsigned i = 1; i < HEAP_CLASSES; i++) {
            struct heap_slab *slab = heap->current[region][i];
            if (slab == none)
                continue;
            set_current(heap, region, i, none);
            slab->bin = BIN_NONE;
            if (slab->live == 0)
                unit_give(heap, slab);
            else
                slab_bin(heap, slab);
        }
}

/* --- allocating and freeing --------------------------------------------------------------------- */

void *heap_alloc_slowly(struct heap *heap, enum heap_region region, size_t bytes)
{
    if (bytes > HEAP_LARGEST_SLOT)
        return room_alloc(heap, region, bytes, false);
    unsigned size_class = class_of(bytes);
    struct heap_slab *slab = heap->current[region][size_class];
    if (slab->free == NULL && (slab = refill(heap, region, size_class)) == NULL)
        return NULL;
    void *block = slab->free;
    slab->free = *(void **)block;
    slab->live++;
    return block;
}

void *heap_alloc_zeroed(struct heap *heap, enum heap_region region, size_t bytes)
{
    if (bytes > HEAP_LARGEST_SLOT)
        return room_alloc(heap, region, bytes, true);
    void *block = heap_alloc(heap, region, bytes);
    return block != NULL ? memset(block, 0, bytes) : NULL;
}

void heap_free_specially(struct heap *heap, void *block, struct heap_slab *slab)
{
    if (slab->flags & HEAP_FLAG_MARKED)
        marks_clear(heap, block, slab);
    if (slab->flags & HEAP_FLAG_ROOM) {
        room_free(heap, slab);
        return;
    }
    if (slab->flags & HEAP_FLAG_SITES)
        *heap_site(heap, block) = 0;
    *(void **)block = slab->free;
    slab->free = block;
    if (--slab->live == slab->floor)
        heap_slab_fell(heap, slab);
}

/* A buffer that has grown once will grow again: leave it some room, so that it is copied half as often. */
#define GROWS_FROM ((size_t)1024)

void *heap_realloc(struct heap *heap, void *block, size_t bytes)
{
    struct heap_slab *slab = heap_slab_of(heap, block);
    if (slab->flags & HEAP_FLAG_ROOM)
        return room_realloc(heap, block, slab, bytes);
    size_t old = slab->slot_bytes;
    if (bytes <= old && 4 * bytes > 3 * old)
        return block;
    if (bytes <= old && class_of(bytes) == slab->size_class)
        return block;
    enum heap_region region = (enum heap_region)slab->region;
    size_t asked = bytes;
    if (bytes > old && old >= GROWS_FROM && bytes <= HEAP_LARGEST_SLOT &&
        bytes + bytes / 8 <= HEAP_LARGEST_SLOT)
        asked += bytes / 8;
    void *moved = heap_alloc(heap, region, asked);
    if (moved == NULL)
        return bytes <= old ? block : NULL;
    memcpy(moved, block, bytes < old ? bytes : old);
    heap_free(heap, block);
    return moved;
}

void heap_free_remote(struct heap *heap, void *block)
{
    void *first = atomic_load_explicit(&heap->inside->remote, memory_order_relaxed);
    do
        *(void **)block = first;
    while (!atomic_compare_exchange_weak_explicit(&heap->inside->remote, &first, block, memory_order_release,
                                                  memory_order_relaxed));
}

void heap_settle(struct heap *heap)
{
    if (atomic_load_explicit(&heap->inside->remote, memory_order_relaxed) == NULL)
        return;
    void *block = atomic_exchange_explicit(&heap->inside->remote, NULL, memory_order_acquire);
    while (block != NULL) {
        void *next = *(void **)block;
        heap_free(heap, block);
        block = next;
    }
}

size_t heap_block_bytes(const struct heap *heap, const void *block)
{
    const struct heap_slab *slab = heap_slab_of(heap, block);
    return slab->flags & HEAP_FLAG_ROOM ? (slab->bytes + HEAP_PAGE - 1) & ~(HEAP_PAGE - 1) : slab->slot_bytes;
}

bool heap_is_block_start(const struct heap *heap, const void *address)
{
    if (!heap_owns(heap, address))
        return false;
    size_t offset = (size_t)((const char *)address - heap->base), span = heap->inside->region_span;
    if (offset >= HEAP_REGIONS * span) {
        const struct heap_slab *room = room_at(heap, address);
        return room != NULL && address == unit_start(heap, room);
    }
    if (offset % span / HEAP_ARENA >= heap->inside->regions[offset / span].arenas_open)
        return false;
    const struct heap_slab *slab = heap_slab_of(heap, address);
    unsigned slot = slot_of(heap, slab, address);
    return slab->kind == HEAP_UNIT_SLAB && slot < slab->carved && address == slot_start(heap, slab, slot);
}

void *heap_block_at(const struct heap *heap, const void *address, size_t *bytes)
{
    if (!heap_owns(heap, address))
        return NULL;
    size_t offset = (size_t)((const char *)address - heap->base), span = heap->inside->region_span;
    if (offset >= HEAP_REGIONS * span) {
        struct heap_slab *room = room_at(heap, address);
        if (room == NULL || room->kind != HEAP_UNIT_ROOM || room->bytes == 0)
            return NULL;
        char *start = unit_start(heap, room);
        *bytes = heap_block_bytes(heap, start);
        return (const char *)address < start + *bytes ? start : NULL;
    }
    unsigned region = (unsigned)(offset / span);
    if (offset % span / HEAP_ARENA >= heap->inside->regions[region].arenas_open)
        return NULL;
    const struct heap_slab *slab = heap_slab_of(heap, address);
    if (slab->kind != HEAP_UNIT_SLAB)
        return NULL;
    struct slot_set live;
    slab_live_slots(heap, slab, &live);
    unsigned slot = slot_of(heap, slab, address);
    if (slot >= slab->capacity || !slot_in(&live, slot))
        return NULL;
    *bytes = slab->slot_bytes;
    return slot_start(heap, slab, slot);
}
