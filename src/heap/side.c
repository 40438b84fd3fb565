/* side.c: the tables beside the range. Marks and freed bits have one bit for each grain of the objects'
 * region, so a slab's are 512 bytes on their own; sites have a number for each slot. All are indexed by
 * address alone. */
#include "internal.h"

#define BITS_PER_UNIT (HEAP_UNIT / HEAP_GRAIN)

static size_t grain_of(const struct heap *heap, const void *address)
{
    return (size_t)((const char *)address - heap->base) / HEAP_GRAIN;
}

static bool is_object(const struct heap *heap, const void *address)
{
    return (uintptr_t)address - (uintptr_t)heap->base < heap->inside->region_span;
}

static bool is_room(const struct heap *heap, const void *address)
{
    return heap_owns(heap, address) &&
           (size_t)((const char *)address - heap->base) >= HEAP_REGIONS * heap->inside->region_span;
}

static uint64_t *word_of(const struct table *table, size_t grain)
{
    return (uint64_t *)table->at + grain / 64;
}

/* As far as arenas are open. */
static bool reach(struct heap *heap, struct table *table)
{
    return table_reach(table,
                       heap->inside->regions[HEAP_OBJECTS].arenas_open * (HEAP_ARENA / HEAP_GRAIN / 8));
}

/* --- marks -------------------------------------------------------------------------------------- */

bool heap_mark(struct heap *heap, const void *address)
{
    struct heap_slab *slab = heap_slab_of(heap, address);
    if (is_object(heap, address)) {
        if (heap->inside->marks.committed == 0 && !reach(heap, &heap->inside->marks))
            return false;
        size_t grain = grain_of(heap, address);
        const char *block = unit_start(heap, slab) + (size_t)slot_of(heap, slab, address) * slab->slot_bytes;
        if ((size_t)((const char *)address - block) >= MARKABLE * HEAP_GRAIN)
            return false;
        *word_of(&heap->inside->marks, grain) |= (uint64_t)1 << (grain % 64);
        slab->flags |= HEAP_FLAG_MARKED;
        return true;
    }
    if (!is_room(heap, address) || slab->kind != HEAP_UNIT_ROOM)
        return false;
    size_t grain = (size_t)((const char *)address - unit_start(heap, slab)) / HEAP_GRAIN;
    if (grain >= MARKABLE)
        return false;
    slab->flags |= (uint16_t)(HEAP_FLAG_MARKED | FLAG_ROOM_MARK(grain));
    return true;
}

bool heap_marked(const struct heap *heap, const void *address)
{
    if (is_object(heap, address)) {
        size_t grain = grain_of(heap, address);
        return (heap_slab_of(heap, address)->flags & HEAP_FLAG_MARKED) != 0 &&
               (*word_of(&heap->inside->marks, grain) >> (grain % 64) & 1) != 0;
    }
    if (!is_room(heap, address))
        return false;
    const struct heap_slab *slab = heap_slab_of(heap, address);
    size_t grain = (size_t)((const char *)address - unit_start(heap, slab)) / HEAP_GRAIN;
    return slab->kind == HEAP_UNIT_ROOM && grain < MARKABLE && (slab->flags & FLAG_ROOM_MARK(grain)) != 0;
}

void marks_clear(struct heap *heap, const void *block, struct heap_slab *slab)
{
    if (slab->flags & HEAP_FLAG_ROOM) {
        slab->flags &= (uint16_t) ~(HEAP_FLAG_MARKED | FLAG_ROOM_MARKS);
        return;
    }
    size_t grain = grain_of(heap, block), own = slab->slot_bytes / HEAP_GRAIN,
           count = own < MARKABLE ? own : MARKABLE;
    uint64_t *word = word_of(&heap->inside->marks, grain), bits = ((uint64_t)1 << count) - 1;
    word[0] &= ~(bits << (grain % 64));
    if (grain % 64 + count > 64) /* else the next word may lie behind the table */
        word[1] &= ~(bits >> (64 - grain % 64));
}

/* Every unit with marks, and every room. */
static int each_marked(const struct heap *heap, int (*visit)(void *context, struct heap_slab *slab),
                       void *context)
{
    struct heap_slab *slab = heap_slab_of(heap, heap->base);
    const struct heap_slab *end = slab + heap->inside->regions[HEAP_OBJECTS].arenas_open * UNITS_PER_ARENA;
    int ended = 0;
    for (; slab < end && ended == 0; slab++)
        if (slab->flags & HEAP_FLAG_MARKED)
            ended = visit(context, slab);
    for (slab = NULL; ended == 0 && (slab = room_next(heap, slab)) != NULL;)
        if (slab->flags & HEAP_FLAG_MARKED)
            ended = visit(context, slab);
    return ended;
}

static int unmark(void *context, struct heap_slab *slab)
{
    struct heap *heap = context;
    if ((slab->flags & HEAP_FLAG_ROOM) == 0)
        memset(word_of(&heap->inside->marks, grain_of(heap, unit_start(heap, slab))), 0, BITS_PER_UNIT / 8);
    slab->flags &= (uint16_t) ~(HEAP_FLAG_MARKED | FLAG_ROOM_MARKS);
    return 0;
}

void heap_unmark_all(struct heap *heap)
{
    (void)each_marked(heap, unmark, heap);
}

struct teller {
    const struct heap *heap;
    int (*visit)(void *context, uintptr_t at, const uint64_t *words, size_t count);
    void *context;
};

static int tell_marks(void *context, struct heap_slab *slab)
{
    const struct teller *teller = context;
    const char *start = unit_start(teller->heap, slab);
    if (slab->flags & HEAP_FLAG_ROOM) {
        uint64_t word = (slab->flags & FLAG_ROOM_MARKS) / FLAG_ROOM_MARK(0);
        return teller->visit(teller->context, (uintptr_t)start, &word, 1);
    }
    const uint64_t *words = word_of(&teller->heap->inside->marks, grain_of(teller->heap, start));
    return teller->visit(teller->context, (uintptr_t)start, words, WORDS_PER_UNIT);
}

int heap_each_marked(const struct heap *heap,
                     int (*visit)(void *context, uintptr_t at, const uint64_t *words, size_t count),
                     void *context)
{
    struct teller teller = {heap, visit, context};
    return each_marked(heap, tell_marks, &teller);
}

/* --- freed bits --------------------------------------------------------------------------------- */

bool heap_freed_begin(struct heap *heap)
{
    if (++heap->inside->freed_epoch == 0) /* after 4 billion flights: bits of the first would seem new */
        heap->inside->freed_epoch = 1;
    heap->inside->freed_wanted = true;
    return true;
}

void heap_freed_end(struct heap *heap)
{
    heap->inside->freed_wanted = false;
}

bool heap_freed_note(struct heap *heap, const void *block)
{
    struct heap_slab *slab = heap_slab_of(heap, block);
    uint32_t epoch = heap->inside->freed_epoch;
    if (epoch == 0)
        return true; /* nobody has begun */
    if (!is_object(heap, block)) {
        slab->epoch = epoch;
        return true;
    }
    struct table *table = &heap->inside->freed;
    if (slab->epoch != epoch) {
        if (!reach(heap, table))
            return false;
        memset(word_of(table, grain_of(heap, unit_start(heap, slab))), 0, BITS_PER_UNIT / 8);
        slab->epoch = epoch;
    }
    size_t grain = grain_of(heap, block);
    *word_of(table, grain) |= (uint64_t)1 << (grain % 64);
    return true;
}

bool heap_freed(const struct heap *heap, const void *block)
{
    const struct heap_slab *slab = heap_slab_of(heap, block);
    if (slab->epoch != heap->inside->freed_epoch || slab->epoch == 0)
        return false;
    size_t grain = grain_of(heap, block);
    return !is_object(heap, block) || (*word_of(&heap->inside->freed, grain) >> (grain % 64) & 1) != 0;
}

void heap_freed_forget(struct heap *heap, const void *block)
{
    size_t grain = grain_of(heap, block);
    if (is_object(heap, block))
        *word_of(&heap->inside->freed, grain) &= ~((uint64_t)1 << (grain % 64));
    else
        heap_slab_of(heap, block)->epoch--;
}

void heap_freed_prefetch(const struct heap *heap, const void *block)
{
    __builtin_prefetch(heap_slab_of(heap, block));
    if (is_object(heap, block))
        __builtin_prefetch(word_of(&heap->inside->freed, grain_of(heap, block)));
}

/* --- sites -------------------------------------------------------------------------------------- */

bool heap_sites_enable(struct heap *heap)
{
    struct heap_inside *inside = heap->inside;
    for (unsigned region = 0; region < HEAP_REGIONS; region++)
        if (!table_reach(&inside->sites[region],
                         inside->regions[region].arenas_open * (HEAP_ARENA / HEAP_GRAIN) * sizeof(uint32_t)))
            return false;
    inside->sites_enabled = true;
    return true;
}

uint32_t *heap_site(const struct heap *heap, const void *block)
{
    const struct heap_inside *inside = heap->inside;
    if (!inside->sites_enabled)
        return NULL;
    struct heap_slab *slab = heap_slab_of(heap, block);
    if (slab->flags & HEAP_FLAG_ROOM)
        return &slab->reciprocal;
    if (slab->kind != HEAP_UNIT_SLAB)
        return NULL;
    slab->flags |= HEAP_FLAG_SITES; /* freeing the block makes it 0 again */
    size_t unit =
        (size_t)(unit_start(heap, slab) - heap->base - slab->region * inside->region_span) / HEAP_UNIT;
    return (uint32_t *)inside->sites[slab->region].at + unit * BITS_PER_UNIT + slot_of(heap, slab, block);
}

/* Of a slab that may have sites: the pages that they lie in. */
static size_t site_bytes(const struct heap *heap, unsigned region)
{
    const struct heap_slab *slab = heap_slab_of(heap, arena_start(heap, region, 0));
    const struct heap_slab *end = slab + heap->inside->regions[region].arenas_open * UNITS_PER_ARENA;
    size_t bytes = 0;
    for (; heap->inside->sites_enabled && slab < end; slab++)
        if (slab->flags & HEAP_FLAG_SITES)
            bytes += (slab->capacity * sizeof(uint32_t) + HEAP_PAGE - 1) & ~(HEAP_PAGE - 1);
    return bytes;
}

size_t heap_side_bytes(const struct heap *heap)
{
    const struct heap_inside *inside = heap->inside;
    const struct region *objects = &inside->regions[HEAP_OBJECTS], *buffers = &inside->regions[HEAP_BUFFERS];
    size_t arenas = objects->arenas_open + (size_t)buffers->arenas_open,
           bytes = sizeof *heap + sizeof *inside;
    bytes += arenas * (sizeof(struct arena) + UNITS_PER_ARENA * sizeof(struct heap_slab));
    bytes += inside->rooms.next * sizeof(struct heap_slab);
    if (inside->marks.committed != 0)
        bytes += objects->arenas_open * (HEAP_ARENA / HEAP_GRAIN / 8);
    if (inside->freed.committed != 0)
        bytes += objects->arenas_open * (HEAP_ARENA / HEAP_GRAIN / 8);
    for (unsigned region = 0; region < HEAP_REGIONS; region++)
        bytes += site_bytes(heap, region);
    return bytes;
}
