/* rank.c: the rank bitmap. Which of all addresses are objects of the set, and which number has each?
 *
 * One bit per 16 bytes of address space, in chunks of 1 MiB that exist only where objects are. 64 bits
 * lie beside the number of the first of their objects, so that a query reads one cache line of it:
 *
 *   address  47 ......... 34 33 ......... 20 19 ..... 10 9 ..... 4 3..0
 *            directory word  leaf word       entry       bit       0
 *
 * Touches only its own pages. Costs 16 bytes per KiB of addresses that have objects: about 1.6 % of the
 * heap. Chunks are numbered as they come; only rank_seal learns their order. */
#include "internal.h"

#define LEAF_BYTES ((size_t)LEAF_WORDS * sizeof(uint32_t))
#define CHUNK_BYTES ((size_t)CHUNK_ENTRIES * sizeof(struct rank_entry))

/* The chunk number for a place, made if need be; 0 when pages are refused (and then all is as before). */
static uint32_t chunk_for(struct graph *graph, uint32_t place)
{
    if (graph->chunks == 0) { /* the first object: number 0 of both kinds stays empty for good */
        if (!graph_reserve(graph, REGION_DIRECTORY, LEAF_BYTES) ||
            !graph_reserve(graph, REGION_LEAVES, LEAF_BYTES) ||
            !graph_reserve(graph, REGION_CHUNKS, CHUNK_BYTES))
            return 0;
        graph->leaves = graph->chunks = 1;
    }
    uint32_t *directory = graph_words(graph, REGION_DIRECTORY);
    if (directory[place >> LEAF_SHIFT] == 0) {
        if (!graph_reserve(graph, REGION_LEAVES, (graph->leaves + (size_t)1) * LEAF_BYTES))
            return 0;
        directory[place >> LEAF_SHIFT] = graph->leaves++;
    }
    uint32_t *leaf =
        graph_words(graph, REGION_LEAVES) + ((size_t)directory[place >> LEAF_SHIFT] << LEAF_SHIFT);
    if (leaf[place & (LEAF_WORDS - 1)] == 0) {
        if (!graph_reserve(graph, REGION_CHUNKS, (graph->chunks + (size_t)1) * CHUNK_BYTES))
            return 0;
        leaf[place & (LEAF_WORDS - 1)] = graph->chunks++;
    }
    return leaf[place & (LEAF_WORDS - 1)];
}

/* The entries of the chunk that an address lies in, made if need be; NULL: no pages. */
static struct rank_entry *entries_for(struct graph *graph, uintptr_t address)
{
    uint32_t place = (uint32_t)(address >> CHUNK_SHIFT);
    uint32_t chunk = 0;
    if (graph->chunks) {
        uint32_t leaf = graph_words(graph, REGION_DIRECTORY)[place >> LEAF_SHIFT];
        chunk = graph_words(graph, REGION_LEAVES)[(size_t)leaf << LEAF_SHIFT | (place & (LEAF_WORDS - 1))];
    }
    if (chunk == 0)
        chunk = chunk_for(graph, place);
    struct rank_entry *entries = graph->pages[REGION_CHUNKS].at;
    return chunk != 0 ? entries + (size_t)chunk * CHUNK_ENTRIES : NULL;
}

enum graph_status graph_add(struct graph *graph, void *object)
{
    uintptr_t address = (uintptr_t)object;
    if ((address & RANK_OUTSIDE) || address == 0)
        return GRAPH_OK;
    struct rank_entry *entries = entries_for(graph, address);
    if (entries == NULL)
        return GRAPH_NO_MEMORY;
    struct rank_entry *entry = &entries[address >> 10 & (CHUNK_ENTRIES - 1)];
    uint64_t bit = (uint64_t)1 << (address >> 4 & 63);
    if (entry->bits & bit)
        return GRAPH_OK;
    if (graph->objects == graph->objects_max)
        return GRAPH_TOO_LARGE;
    entry->bits |= bit;
    graph->objects++;
    return GRAPH_OK;
}

enum graph_status graph_add_words(struct graph *graph, uintptr_t at, const uint64_t *words, size_t count)
{
    struct rank_entry *entries = NULL;
    uintptr_t place = 0;
    for (size_t i = 0; i < count; i++, at += 1024) {
        if (words[i] == 0)
            continue;
        if (at & RANK_OUTSIDE)
            return GRAPH_OK;
        if (entries == NULL || at >> CHUNK_SHIFT != place)
            entries = entries_for(graph, at);
        if (entries == NULL)
            return GRAPH_NO_MEMORY;
        place = at >> CHUNK_SHIFT;
        struct rank_entry *entry = &entries[at >> 10 & (CHUNK_ENTRIES - 1)];
        unsigned more = (unsigned)__builtin_popcountll(words[i] & ~entry->bits);
        if (more > graph->objects_max - graph->objects)
            return GRAPH_TOO_LARGE;
        entry->bits |= words[i];
        graph->objects += more;
    }
    return GRAPH_OK;
}

/* Where an object's bit is, or NULL when there is no chunk for it. */
static struct rank_entry *entry_of(const struct graph *graph, uintptr_t address)
{
    if (graph->chunks == 0 || (address & RANK_OUTSIDE))
        return NULL;
    const struct rank_index index = rank_index(graph);
    return (struct rank_entry *)graph->pages[REGION_CHUNKS].at + rank_grain(&index, address) / 64;
}

bool graph_has(const struct graph *graph, void *object)
{
    const struct rank_entry *entry = entry_of(graph, (uintptr_t)object);
    return entry != NULL && (entry->bits >> ((uintptr_t)object >> 4 & 63) & 1) != 0;
}

void graph_prefetch(const struct graph *graph, void *object)
{
    __builtin_prefetch(entry_of(graph, (uintptr_t)object), 1);
}

void rank_clear(struct graph *graph)
{
    graph_release(graph, REGION_DIRECTORY);
    graph_release(graph, REGION_LEAVES);
    graph_release(graph, REGION_CHUNKS);
    graph->leaves = graph->chunks = 0;
    graph->objects = 0;
}

/* Number the objects of one chunk from `rank` on; returns the number after the last. Entries without
 * objects stay untouched, and so do pages of a sparse chunk. */
static uint32_t number_chunk(struct rank_entry *entries, uint32_t rank)
{
    for (uint32_t i = 0; i < CHUNK_ENTRIES; i++)
        if (entries[i].bits) {
            entries[i].rank = rank;
            rank += (uint32_t)__builtin_popcountll(entries[i].bits);
        }
    return rank;
}

enum graph_status rank_seal(struct graph *graph)
{
    /* Walking the directory gives the chunks in address order: nothing is left to sort. */
    if (graph->objects > 0) {
        if (!graph_reserve(graph, REGION_PLACES, graph->chunks * sizeof(struct rank_place)))
            return GRAPH_NO_MEMORY;
        const uint32_t *directory = graph_words(graph, REGION_DIRECTORY);
        const uint32_t *leaves = graph_words(graph, REGION_LEAVES);
        struct rank_entry *entries = graph->pages[REGION_CHUNKS].at;
        struct rank_place *places = graph->pages[REGION_PLACES].at;
        uint32_t rank = 0;
        for (uint32_t i = 0; i < LEAF_WORDS; i++) {
            const uint32_t *leaf = leaves + ((size_t)directory[i] << LEAF_SHIFT);
            for (uint32_t j = 0; directory[i] && j < LEAF_WORDS; j++)
                if (leaf[j]) {
                    places[graph->places++] = (struct rank_place){i << LEAF_SHIFT | j, leaf[j]};
                    rank = number_chunk(entries + (size_t)leaf[j] * CHUNK_ENTRIES, rank);
                }
            if (directory[i] && graph_stopped(graph))
                return GRAPH_STOPPED;
        }
    }
    graph->phase = GRAPH_RANKED;
    return GRAPH_OK;
}

uint32_t rank_find(const struct graph *graph, uintptr_t address)
{
    if ((address & RANK_OUTSIDE) || graph->objects == 0)
        return RANK_NONE;
    struct rank_index index = rank_index(graph);
    uint64_t grain = rank_grain(&index, address);
    const struct rank_entry *entry = &index.entries[grain / 64];
    uint64_t bit = (uint64_t)1 << (grain % 64);
    if (!(entry->bits & bit))
        return RANK_NONE;
    return entry->rank + (uint32_t)__builtin_popcountll(entry->bits & (bit - 1));
}

static uint64_t bits_at(const struct graph *graph, size_t place, uint32_t entry)
{
    const struct rank_place *places = graph->pages[REGION_PLACES].at;
    const struct rank_entry *entries = graph->pages[REGION_CHUNKS].at;
    return entries[(size_t)places[place].chunk * CHUNK_ENTRIES + entry].bits;
}

struct rank_cursor rank_start(const struct graph *graph)
{
    return (struct rank_cursor){.bits = graph->places ? bits_at(graph, 0, 0) : 0};
}

size_t rank_walk(const struct graph *graph, struct rank_cursor *cursor, uintptr_t *objects, size_t room)
{
    const struct rank_place *places = graph->pages[REGION_PLACES].at;
    size_t n = 0;
    while (n < room) {
        while (cursor->bits == 0) {
            if (cursor->place == graph->places)
                return n;
            if (++cursor->entry == CHUNK_ENTRIES) {
                cursor->entry = 0;
                if (++cursor->place == graph->places)
                    return n;
            }
            cursor->bits = bits_at(graph, cursor->place, cursor->entry);
        }
        uintptr_t base = (uintptr_t)places[cursor->place].place << CHUNK_SHIFT | (uintptr_t)cursor->entry
                                                                                     << 10;
        while (cursor->bits && n < room) {
            objects[n++] = base | (uintptr_t)__builtin_ctzll(cursor->bits) << 4;
            cursor->bits &= cursor->bits - 1;
        }
    }
    return n;
}
