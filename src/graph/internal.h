/* internal.h: what the files of src/graph share, and nobody else includes (but its tests and its bench).
 *
 * A graph is a handful of page regions, each mapped when its phase begins and unmapped as soon as its
 * data is dead. Numbers are 32 bits wide: an object's number is its rank in address order.
 *
 *   phase        regions that hold data then                              file
 *   FILLING      directory, leaves, chunks (bits)                         rank.c
 *   RANKED       + places, ranks in the chunks; all four stay to the end  rank.c
 *   EXTRACTED    + refs = count, begin and edges: the graph by numbers    extract.c
 *   SUBTRACTED   refs = count - references from inside, as a signed number mark.c
 *   MARKED       reached: set for reachable, clear for garbage; no refs   mark.c
 *   ORDERED      candidates; of all but the first line, nothing           order.c
 *
 * Why 32 bits do: a graph has fewer than 2^31 - 1 references, and "reachable whatever comes" is the count
 * 2^31 - 1. So count - inside neither overflows nor, for that count, falls to 0. A count that is too small
 * (the host's traversal told a borrowed reference) becomes negative, and counts as none from outside. */
#ifndef MIDDEN_GRAPH_INTERNAL_H
#define MIDDEN_GRAPH_INTERNAL_H

#include "graph.h"

#include <string.h>

enum graph_phase {
    GRAPH_FILLING,
    GRAPH_RANKED,
    GRAPH_EXTRACTED,
    GRAPH_SUBTRACTED,
    GRAPH_MARKED,
    GRAPH_ORDERED,
    GRAPH_BROKEN /* a phase failed: only graph_free is allowed */
};

enum graph_region {
    REGION_DIRECTORY, /* uint32_t per 16 GiB of addresses: its leaf, 0 for none */
    REGION_LEAVES,    /* per leaf a uint32_t per 1 MiB: its chunk, 0 for none */
    REGION_CHUNKS,    /* struct rank_entry, 1024 per chunk */
    REGION_PLACES,    /* struct rank_place per chunk, sorted by address */
    REGION_REFS,      /* uint32_t per object */
    REGION_BEGIN,     /* uint32_t per object and one more: where its edges begin */
    REGION_EDGES,     /* uint32_t per reference inside the set */
    REGION_STACK,     /* uint32_t: work lists of mark.c and order.c */
    REGION_REACHED,   /* bit per object: it is not garbage */
    REGION_NUMBERS,   /* uint32_t per 64 objects: garbage before them */
    REGION_FLOODED,   /* bit per garbage object, and the next too: order.c's search for where to start */
    REGION_ROOTS,
    REGION_MARKS,      /* uint32_t per garbage object: order.c's components, then positions */
    REGION_FRAMES,     /* struct order_frame: the search under way */
    REGION_PRECEDENCE, /* two uint32_t per reference that counts for the order alone */
    REGION_FIRST,      /* bit per candidate: it opens a component */
    REGION_CANDIDATES, /* uint64_t per garbage object, in the order of graph_emit */
    REGIONS
};

struct graph_pages {
    void *at;     /* NULL while not mapped */
    size_t bytes; /* mapped */
    size_t used;  /* of these the ones that were, or soon will be, touched */
};

struct graph {
    const struct graph_host *host;
    enum graph_phase phase;
    uint32_t leaves, chunks; /* in use, the always empty numbers included; 0 before any */
    size_t places;
    size_t objects, references;
    size_t garbage, components, largest;
    size_t objects_max, references_max; /* beyond: GRAPH_TOO_LARGE; tests lower them */
    size_t peak_bytes;
    struct graph_pages pages[REGIONS];
};

/* --- graph.c: regions --------------------------------------------------------------------------- */

/* Have at least that many bytes, keeping the content; what is new reads as zero. false when refused. */
bool graph_reserve(struct graph *graph, enum graph_region region, size_t bytes);
/* Give back what lies beyond bytes. The content up to there stays. */
void graph_shrink(struct graph *graph, enum graph_region region, size_t bytes);
void graph_release(struct graph *graph, enum graph_region region);
/* What graph_check returns when it lacks pages: nothing is known to be wrong. */
extern const char graph_check_refused[];
/* Bring peak_bytes up to date; called where much is mapped: before something is released. */
void graph_tally(struct graph *graph);

static inline uint32_t *graph_words(const struct graph *graph, enum graph_region region)
{
    return graph->pages[region].at;
}

static inline uint64_t *graph_bits(const struct graph *graph, enum graph_region region)
{
    return graph->pages[region].at;
}

static inline bool graph_stopped(const struct graph *graph)
{
    return graph->host->proceed && graph->host->proceed(graph->host->context) != 0;
}
#define GRAPH_POLL 65536u /* objects between two calls of graph_stopped; a power of two */

#define GRAPH_COUNT_LIMIT ((uint32_t)INT32_MAX)

static inline uint32_t graph_saturated(uint64_t count)
{
    return count == 0 || count >= GRAPH_COUNT_LIMIT ? GRAPH_COUNT_LIMIT : (uint32_t)count;
}

static inline bool bit_get(const uint64_t *bits, size_t i)
{
    return bits[i / 64] >> (i % 64) & 1;
}

static inline void bit_set(uint64_t *bits, size_t i)
{
    bits[i / 64] |= (uint64_t)1 << (i % 64);
}

#define BIT_BYTES(n) (((n) / 64 + 1) * sizeof(uint64_t))

/* --- rank.c: which number has this address? ----------------------------------------------------- */

#define RANK_NONE UINT32_MAX
#define CHUNK_SHIFT 20 /* bytes of addresses in a chunk, as a power of two */
#define CHUNK_ENTRIES 1024u
#define LEAF_SHIFT 14 /* chunks in a leaf, leaves in the directory */
#define LEAF_WORDS (1u << LEAF_SHIFT)
_Static_assert(sizeof(uintptr_t) == 8, "the rank bitmap covers 48 bits of a 64-bit address");
/* No object has these bits set: it would not be aligned, or lie beyond 48 bits. */
#define RANK_OUTSIDE ((uintptr_t)0xffff00000000000f)

struct rank_entry { /* 64 possible objects: 1 KiB of addresses */
    uint64_t bits;
    uint32_t rank;  /* of the first of them; meaningless while bits is 0 */
    uint32_t spare; /* keeps two halves of an entry from straddling cache lines */
};

struct rank_place {
    uint32_t place; /* address >> CHUNK_SHIFT */
    uint32_t chunk;
};

/* What a lookup needs, in registers. Chunk 0 and leaf 0 are always empty, so that absence needs no test.
 * Valid from RANKED on (nothing moves any more); before, until the next object is added. */
struct rank_index {
    const uint32_t *directory, *leaves;
    const struct rank_entry *entries;
};

static inline struct rank_index rank_index(const struct graph *graph)
{
    return (struct rank_index){
        graph_words(graph, REGION_DIRECTORY),
        graph_words(graph, REGION_LEAVES),
        graph->pages[REGION_CHUNKS].at,
    };
}

/* A grain is a possible object: chunk number, then address bits 4 to 19. Grain / 64 is its entry.
 * pre: no bit of RANK_OUTSIDE in address; the graph is not empty. */
static inline uint64_t rank_grain(const struct rank_index *index, uintptr_t address)
{
    uint32_t leaf = index->directory[address >> (CHUNK_SHIFT + LEAF_SHIFT)];
    uint32_t chunk = index->leaves[(size_t)leaf << LEAF_SHIFT | (address >> CHUNK_SHIFT & (LEAF_WORDS - 1))];
    return (uint64_t)chunk << 16 | (address >> 4 & 0xffff);
}

/* The object's number, or RANK_NONE. pre: RANKED or later. */
uint32_t rank_find(const struct graph *graph, uintptr_t address);
/* FILLING -> RANKED: list the chunks in address order, number the objects. */
enum graph_status rank_seal(struct graph *graph);
/* Unmap everything that graph_add mapped. */
void rank_clear(struct graph *graph);

struct rank_cursor {
    size_t place;
    uint32_t entry; /* within the chunk */
    uint64_t bits;  /* of that entry, not yet told */
};

struct rank_cursor rank_start(const struct graph *graph);
/* The next objects in address order, at most room; fewer only at the end. pre: RANKED or later. */
size_t rank_walk(const struct graph *graph, struct rank_cursor *cursor, uintptr_t *objects, size_t room);

/* --- the phases; each pre: the phase before ended in GRAPH_OK ----------------------------------- */

enum graph_status graph_extract(struct graph *graph);  /* RANKED -> EXTRACTED */
enum graph_status graph_subtract(struct graph *graph); /* EXTRACTED -> SUBTRACTED */
enum graph_status graph_mark(struct graph *graph);     /* SUBTRACTED -> MARKED */
enum graph_status graph_order(struct graph *graph);    /* MARKED -> ORDERED */

#define EDGES_AHEAD 32u /* edges are read ahead for prefetching: that many zeros follow the last one */

/* --- mark.c: flooding, used by order.c too ------------------------------------------------------ */

/* Bits are set for what can be reached over the edges. Each object is put on the stack at most once, so a
 * stack with room for all is never too small. */
struct flood {
    const uint32_t *begin, *edges;
    uint64_t *reached;
    uint32_t *stack;
    size_t top, high; /* on the stack now, and at most so far */
    size_t steps;     /* until the next poll */
};

/* Reach what the stacked objects refer to, and so on. Objects numbered from `position` on are only given
 * their bit, and not followed: the caller's own scan comes by there, and reads memory in sequence. */
enum graph_status flood_drain(const struct graph *graph, struct flood *flood, size_t position);

#endif
