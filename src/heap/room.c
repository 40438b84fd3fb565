/* room.c: blocks larger than any size class. Each has a power of two of units for its own, aligned to
 * that, so that it grows without moving until the room is full; address space is not memory. A block that
 * outgrows its room takes its pages along to a larger one, without copying.
 *
 * A free room keeps its memory until the second tick after, as the C library's heap would; larger than
 * KEEP_AT_MOST not at all. */
#include "internal.h"

#define KEEP_AT_MOST ((size_t)32 << 20) /* glibc's largest threshold for memory of its own (mallopt(3)) */
#define MOVE_FROM ((size_t)1 << 20)     /* below, copying is cheaper, and splits no mapping */
#define ROOMY 3u                        /* doublings that a room is larger than its block, to grow in place */
#define ROOMY_RANGE ((size_t)64 << 30)
#define ROOMY_BYTES ((size_t)1 << 20) /* for blocks up to that, and one less up to 64 times that */
#define TAIL ((size_t)256 << 10)      /* memory behind a block that is worth a system call */

static unsigned room_class(size_t bytes)
{
    size_t units = (bytes + HEAP_UNIT - 1) >> HEAP_UNIT_SHIFT;
    return units <= 1 ? 0 : 64u - (unsigned)__builtin_clzll(units - 1);
}

size_t room_bytes(const struct heap_slab *room)
{
    return HEAP_UNIT << room->size_class;
}

/* The room that a block gets: larger by some doublings, so that it can grow. Address space is cheap, but
 * not where there is little, nor for the largest. */
static unsigned roomy_class(const struct heap *heap, size_t bytes)
{
    if (heap->span < ROOMY_RANGE || platform_space_limited())
        return room_class(bytes);
    return room_class(bytes) + (bytes <= ROOMY_BYTES ? ROOMY : bytes <= 64 * ROOMY_BYTES ? ROOMY - 1 : 0);
}

static size_t whole_pages(const struct heap *heap, size_t bytes)
{
    size_t mask = heap->inside->page_bytes - 1;
    return (bytes + mask) & ~mask;
}

static uint32_t pages_of(const struct heap *heap, size_t bytes)
{
    return (uint32_t)(whole_pages(heap, bytes) / HEAP_PAGE);
}

/* --- lists of free rooms ------------------------------------------------------------------------ */

static void push(struct heap_slab **first, struct heap_slab *room)
{
    room->prev = NULL;
    room->next = *first;
    if (*first != NULL)
        (*first)->prev = room;
    *first = room;
}

static void take_out(struct heap_slab **first, struct heap_slab *room)
{
    if (room->prev != NULL)
        room->prev->next = room->next;
    else
        *first = room->next;
    if (room->next != NULL)
        room->next->prev = room->prev;
}

static struct heap_slab *define(struct heap *heap, size_t unit, unsigned size_class)
{
    struct heap_slab *room = rooms_first(heap) + unit;
    room->kind = HEAP_UNIT_ROOM;
    room->flags = HEAP_FLAG_ROOM;
    room->size_class = (uint8_t)size_class;
    room->region = HEAP_REGIONS;
    room->bin = BIN_NONE;
    room->bytes = 0;
    room->resident_pages = 0;
    push(&heap->inside->rooms.clean[size_class], room);
    return room;
}

/* Rooms at the end of the part: one of that class, aligned, and smaller ones up to there. */
static bool extend(struct heap *heap, unsigned size_class)
{
    struct heap_inside *inside = heap->inside;
    struct rooms *rooms = &inside->rooms;
    size_t units = (size_t)1 << size_class, at = (rooms->next + units - 1) & ~(units - 1);
    size_t all = 2 * inside->region_span, end = (at + units) << HEAP_UNIT_SHIFT;
    if (end > all || !table_reach(&inside->slabs[HEAP_REGIONS], (at + units) * sizeof(struct heap_slab)))
        return false;
    if (end > rooms->committed) {
        size_t wanted = (end + HEAP_ARENA - 1) & ~(HEAP_ARENA - 1);
        char *first = heap->base + HEAP_REGIONS * inside->region_span;
        if (wanted > all ||
            !space_commit(inside->claimed, first + rooms->committed, wanted - rooms->committed))
            return false;
        rooms->committed = wanted;
    }
    while (rooms->next < at) {
        unsigned small = (unsigned)__builtin_ctzll(rooms->next);
        while (rooms->next + ((size_t)1 << small) > at)
            small--;
        define(heap, rooms->next, small);
        rooms->next += (size_t)1 << small;
    }
    define(heap, at, size_class);
    rooms->next = at + units;
    return true;
}

/* Halve larger free rooms until there is one of that class; the last resort of a small range. */
static bool split(struct heap *heap, unsigned size_class)
{
    struct rooms *rooms = &heap->inside->rooms;
    unsigned larger = size_class + 1;
    while (larger < ROOM_CLASSES && rooms->clean[larger] == NULL)
        larger++;
    if (larger >= ROOM_CLASSES)
        return false;
    struct heap_slab *room = rooms->clean[larger];
    take_out(&rooms->clean[larger], room);
    size_t unit = (size_t)(room - rooms_first(heap));
    while (larger-- > size_class)
        define(heap, unit + ((size_t)1 << larger), larger);
    define(heap, unit, size_class);
    return true;
}

/* See that there is a free room of that class that holds no memory. */
static bool provide(struct heap *heap, unsigned size_class)
{
    return heap->inside->rooms.clean[size_class] != NULL || extend(heap, size_class) ||
           split(heap, size_class);
}

/* A free room of class `least` at least, off its list. NULL: no address space, or no memory for its
 * descriptor. */
static struct heap_slab *room_take(struct heap *heap, unsigned least, unsigned wanted)
{
    struct rooms *rooms = &heap->inside->rooms;
    struct heap_slab *room;
    /* One that holds memory, also if it is larger: fresh pages are dearer than address space. */
    for (unsigned i = least; rooms->dirty_bytes != 0 && i < ROOM_CLASSES && i <= wanted + 1; i++)
        if ((room = rooms->dirty[i]) != NULL) {
            take_out(&rooms->dirty[i], room);
            rooms->dirty_bytes -= room->resident_pages * HEAP_PAGE;
            return room;
        }
    while (wanted > least && !provide(heap, wanted))
        wanted--;
    if (!provide(heap, wanted)) {
        if (rooms->dirty_bytes == 0)
            return NULL;
        rooms_purge(heap, UINT32_MAX, SIZE_MAX);
        if (!provide(heap, wanted))
            return NULL;
    }
    room = rooms->clean[wanted];
    take_out(&rooms->clean[wanted], room);
    return room;
}

/* Put a room that holds no block into the list that it belongs to. */
static void room_put(struct heap *heap, struct heap_slab *room)
{
    struct rooms *rooms = &heap->inside->rooms;
    room->bytes = 0;
    room->flags = HEAP_FLAG_ROOM;
    if (room->resident_pages == 0) {
        push(&rooms->clean[room->size_class], room);
        return;
    }
    room->slot_bytes = heap->inside->turn; /* when it was freed */
    push(&rooms->dirty[room->size_class], room);
    rooms->dirty_bytes += room->resident_pages * HEAP_PAGE;
}

/* --- memory of a room --------------------------------------------------------------------------- */

/* Only the first `keep` bytes, whole pages, hold memory now. */
static void went(struct heap *heap, struct heap_slab *room, size_t keep)
{
    size_t held = room->resident_pages * HEAP_PAGE;
    if (held >= HUGE_ROOM) { /* what comes to lie there may be shorter than a huge page */
        platform_advise_huge(unit_start(heap, room) + keep, held - keep, false);
        heap->inside->advised++;
    }
    room->resident_pages = (uint32_t)(keep / HEAP_PAGE);
}

/* Give back what lies behind the first `keep` bytes. */
static void cut(struct heap *heap, struct heap_slab *room, size_t keep)
{
    size_t from = whole_pages(heap, keep), to = room->resident_pages * HEAP_PAGE;
    if (from >= to || !platform_purge(unit_start(heap, room) + from, to - from))
        return;
    heap->inside->purges++;
    heap->inside->returned_bytes += to - from;
    went(heap, room, from);
}

/* --- loose rooms -------------------------------------------------------------------------------- */

/* They are in use, with much memory behind the block. It may grow into that; if it does not, the memory goes
 * back with the second tick, or in exchange. */

static size_t excess_of(const struct heap *heap, const struct heap_slab *room)
{
    size_t held = room->resident_pages * HEAP_PAGE, used = whole_pages(heap, room->bytes);
    return held > used ? held - used : 0;
}

static void tighten(struct heap *heap, struct heap_slab *room)
{
    if ((room->flags & FLAG_ROOM_LOOSE) == 0)
        return;
    room->flags &= (uint16_t)~FLAG_ROOM_LOOSE;
    take_out(&heap->inside->rooms.loose, room);
    heap->inside->rooms.loose_bytes -= excess_of(heap, room);
}

static void loosen(struct heap *heap, struct heap_slab *room)
{
    size_t excess = excess_of(heap, room);
    if (excess < TAIL)
        return;
    room->flags |= FLAG_ROOM_LOOSE;
    room->slot_bytes = heap->inside->turn;
    push(&heap->inside->rooms.loose, room);
    heap->inside->rooms.loose_bytes += excess;
}

/* The block's size is now that. */
static void settle_size(struct heap *heap, struct heap_slab *room, size_t bytes)
{
    size_t whole = bytes & ~(HEAP_ARENA - 1), before = room->bytes & ~(HEAP_ARENA - 1);
    if (whole > before && whole >= HUGE_ROOM) {
        platform_advise_huge(unit_start(heap, room), whole, true);
        heap->inside->advised++;
    }
    tighten(heap, room);
    heap->inside->rooms.live_bytes += bytes - room->bytes;
    room->bytes = bytes;
    uint32_t pages = pages_of(heap, bytes);
    if (pages > room->resident_pages) {
        purge_in_exchange(heap, HEAP_REGIONS, (pages - room->resident_pages) * HEAP_PAGE);
        room->resident_pages = pages;
    }
    loosen(heap, room);
}

size_t rooms_purge(struct heap *heap, uint32_t before_turn, size_t at_most)
{
    struct rooms *rooms = &heap->inside->rooms;
    size_t given = 0;
    for (struct heap_slab *room = rooms->loose, *next; room != NULL && given < at_most; room = next) {
        next = room->next;
        if (room->slot_bytes >= before_turn)
            continue;
        size_t excess = excess_of(heap, room);
        tighten(heap, room);
        cut(heap, room, room->bytes);
        loosen(heap, room); /* refused */
        given += excess - excess_of(heap, room);
    }
    for (unsigned i = ROOM_CLASSES; i-- > 0 && rooms->dirty_bytes != 0;) {
        struct heap_slab *room = rooms->dirty[i], *next;
        for (; room != NULL && given < at_most; room = next) {
            next = room->next;
            if (room->slot_bytes >= before_turn)
                continue;
            size_t bytes = room->resident_pages * HEAP_PAGE;
            cut(heap, room, 0);
            if (room->resident_pages != 0)
                continue; /* refused */
            take_out(&rooms->dirty[i], room);
            rooms->dirty_bytes -= bytes;
            given += bytes;
            room_put(heap, room);
        }
    }
    return given;
}

size_t rooms_trim(struct heap *heap)
{
    size_t before = heap->inside->returned_bytes;
    for (struct heap_slab *room = NULL; (room = room_next(heap, room)) != NULL;)
        if (room->bytes != 0) {
            tighten(heap, room);
            cut(heap, room, room->bytes);
            loosen(heap, room);
        }
    return heap->inside->returned_bytes - before;
}

/* --- blocks ------------------------------------------------------------------------------------- */

void *room_alloc(struct heap *heap, enum heap_region region, size_t bytes, bool zeroed)
{
    if (bytes > heap->inside->region_span)
        return NULL;
    struct heap_slab *room = room_take(heap, room_class(bytes), roomy_class(heap, bytes));
    if (room == NULL)
        return NULL;
    size_t held = room->resident_pages * HEAP_PAGE;
    settle_size(heap, room, bytes);
    room->reciprocal = 0; /* its site */
    if (region == HEAP_OBJECTS)
        room->flags |= FLAG_ROOM_OBJECT;
    heap->inside->rooms.live_count++;
    char *block = unit_start(heap, room);
    if (zeroed) /* what lies behind was never touched, or went back */
        memset(block, 0, bytes < held ? bytes : held);
    return block;
}

void room_free(struct heap *heap, struct heap_slab *room)
{
    tighten(heap, room);
    heap->inside->rooms.live_bytes -= room->bytes;
    heap->inside->rooms.live_count--;
    if (room->resident_pages * HEAP_PAGE > KEEP_AT_MOST)
        cut(heap, room, 0);
    room_put(heap, room);
    purge_given(heap);
}

void *room_realloc(struct heap *heap, void *block, struct heap_slab *room, size_t bytes)
{
    if (bytes > HEAP_LARGEST_SLOT && bytes <= room_bytes(room)) {
        settle_size(heap, room, bytes);
        return block;
    }
    size_t old = heap_block_bytes(heap, block); /* all of them may be used */
    void *moved = heap_alloc(heap, room->flags & FLAG_ROOM_OBJECT ? HEAP_OBJECTS : HEAP_BUFFERS, bytes);
    if (moved == NULL)
        return bytes <= old ? block : NULL;
    size_t pages = (bytes < old ? 0 : old) & ~(heap->inside->page_bytes - 1);
    if (pages >= MOVE_FROM && platform_move(block, moved, pages)) {
        memcpy((char *)moved + pages, (char *)block + pages, old - pages);
        if (room->resident_pages * HEAP_PAGE == pages) {
            tighten(heap, room);
            went(heap, room, 0);
        }
    } else {
        memcpy(moved, block, bytes < old ? bytes : old);
    }
    room_free(heap, room);
    return moved;
}

/* --- finding rooms ------------------------------------------------------------------------------ */

struct heap_slab *room_at(const struct heap *heap, const void *address)
{
    size_t unit = (size_t)(heap_slab_of(heap, address) - rooms_first(heap));
    if (unit >= heap->inside->rooms.next)
        return NULL;
    for (unsigned i = 0; i < ROOM_CLASSES; i++) {
        struct heap_slab *room = rooms_first(heap) + (unit & ~(((size_t)1 << i) - 1));
        if (room->kind == HEAP_UNIT_ROOM && room->size_class >= i &&
            unit < (size_t)(room - rooms_first(heap)) + ((size_t)1 << room->size_class))
            return room;
    }
    return NULL;
}

struct heap_slab *room_next(const struct heap *heap, const struct heap_slab *room)
{
    struct heap_slab *first = rooms_first(heap);
    size_t unit = room == NULL ? 0 : (size_t)(room - first) + ((size_t)1 << room->size_class);
    return unit < heap->inside->rooms.next ? first + unit : NULL;
}
