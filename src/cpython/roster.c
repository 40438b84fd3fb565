/* roster.c: setting, clearing and listing the bits of old objects. */
#include "roster.h"

#include "book.h"
#include "domains.h"

/* It begins when there are so many old objects: with fewer, nothing is searched for in clones. More are not brought
 * in at once, except within a collection that looks at all of them anyway. */
#define BEGIN_FROM 30000
#define BEGIN_UNTIL 200000

static struct roster {
    bool open, complete;
    bool refrozen;       /* since it was opened, somebody froze or unfroze objects */
    PyObject *marker;    /* in the oldest list: everything before it has been brought in */
    uintptr_t frozen;    /* the last frozen object when it began */
    uint64_t epoch;      /* of the book */
    struct book book;    /* objects that are not the heap's */
    uintptr_t low, high; /* where those lie */
} roster;

static bool forbidden;

void roster_allow(bool allowed)
{
    forbidden = !allowed;
}

/* --- bits --------------------------------------------------------------------------------------- */

static bool set_in_book(uintptr_t address)
{
    struct book_chunk *chunk = book_holds(address) ? book_chunk(&roster.book, address) : NULL;
    if (chunk == NULL && book_holds(address))
        chunk = book_make(&roster.book, address);
    if (chunk == NULL)
        return false;
    if (chunk->epoch != roster.epoch) {
        for (size_t i = 0; i < BOOK_CHUNK_WORDS; i++)
            atomic_store_explicit(&chunk->bits[i], 0, memory_order_relaxed);
        chunk->epoch = roster.epoch;
    }
    atomic_fetch_or_explicit(book_word(chunk, address), book_bit(address), memory_order_relaxed);
    if (address < roster.low)
        roster.low = address;
    if (address > roster.high)
        roster.high = address;
    return true;
}

static void clear_in_book(uintptr_t address)
{
    if (!book_has(&roster.book, address, roster.epoch))
        return;
    atomic_fetch_and_explicit(book_word(book_chunk(&roster.book, address), address), ~book_bit(address),
                              memory_order_relaxed);
}

/* A block that is not the heap's is freed or resized, by whichever interpreter: an object begins 16 bytes behind its
 * start, or 32. */
static void on_foreign_free(void *block)
{
    uintptr_t address = (uintptr_t)block;
    if (address > roster.high || address + 32 < roster.low)
        return;
    clear_in_book(address + 16);
    clear_in_book(address + 32);
}

/* Bring an object in. An object whose memory does not go back through PyObject_GC_Del, or does not begin where
 * it should, stays outside. */
static void bring(struct gc_links *links)
{
    PyObject *object = gc_object_of(links);
    PyTypeObject *type = Py_TYPE(object);
    if (type->tp_free != PyList_Type.tp_free)
        return;
    struct heap *heap = domains_heap();
    bool done;
    if (heap_owns(heap, object)) {
        const char *block = (const char *)links - (compat_has_preheader(type) ? 16 : 0);
        done = !heap_is_block_start(heap, block) || heap_mark(heap, object);
    } else {
        done = set_in_book((uintptr_t)object);
    }
    if (!done)
        roster.complete = false;
}

static void bring_all(struct gc_links *head)
{
    for (struct gc_links *links = gcstate_next(head); links != head; links = gcstate_next(links)) {
        __builtin_prefetch(gcstate_next(links));
        bring(links);
    }
}

/* --- beginning ---------------------------------------------------------------------------------- */

static void move_marker(const struct gcstate *gc)
{
    gcstate_move(gc_links_of(roster.marker), gcstate_head(gc, 2));
}

/* Forget everything; bring the old objects in now, or when there are enough, and not too many, of them. */
static void begin(const struct gcstate *gc, bool now)
{
    heap_unmark_all(domains_heap());
    roster.epoch++;
    roster.low = UINTPTR_MAX;
    roster.high = 0;
    roster.refrozen |= roster.frozen != 0 && gcstate_frozen(gc) != roster.frozen;
    roster.frozen = gcstate_frozen(gc);
    roster.complete = false;
    if (!now)
        return;
    roster.complete = true;
    bring_all(gcstate_head(gc, 2));
    move_marker(gc);
}

void roster_open(const struct gcstate *gc)
{
    if (roster.open || domains_heap() == NULL || forbidden)
        return;
    roster.marker = gcstate_new_marker();
    if (roster.marker == NULL) {
        PyErr_Clear();
        return;
    }
    roster.open = true;
    roster.refrozen = false;
    roster.frozen = 0;
    domains_on_foreign_free(on_foreign_free);
    begin(gc, false);
}

void roster_close(void)
{
    if (!roster.open)
        return;
    domains_on_foreign_free(NULL);
    roster.open = roster.complete = false;
    heap_unmark_all(domains_heap());
    roster.epoch++;
    Py_CLEAR(roster.marker);
}

/* --- keeping it --------------------------------------------------------------------------------- */

/* Nobody froze or unfroze objects, nor collected all of them without a tick. */
static bool still_valid(const struct gcstate *gc)
{
    if (gcstate_frozen(gc) != roster.frozen || !gcstate_suppressed(gc))
        begin(gc, false);
    return roster.complete;
}

/* Is it time to begin? */
static bool few_enough(const struct gcstate *gc)
{
    Py_ssize_t old = gc->host_total + gcstate_pending(gc);
    /* What was frozen or unfrozen is in no figure: then it waits for a full collection. */
    return roster.frozen == (uintptr_t)&gc->state->permanent && !roster.refrozen && old >= BEGIN_FROM &&
           old <= BEGIN_UNTIL;
}

void roster_before(const struct gcstate *gc, bool all)
{
    if (!roster.open)
        return;
    if (!still_valid(gc) && all)
        begin(gc, true);
    if (!roster.complete)
        return;
    bring_all(gcstate_head(gc, 0));
    bring_all(gcstate_head(gc, 1));
    if (all) /* promoted since the last "stop", by a collection whose end was not told */
        roster_after(gc, false);
}

void roster_after(const struct gcstate *gc, bool brought)
{
    if (!roster.open)
        return;
    if (!still_valid(gc)) {
        if (!few_enough(gc))
            return;
        begin(gc, true);
    }
    if (brought) {
        move_marker(gc);
        return;
    }
    /* From the end backwards, so that a marker which was carried off is simply not met. */
    struct gc_links *head = gcstate_head(gc, 2), *marker = gc_links_of(roster.marker);
    for (struct gc_links *links = gcstate_prev(head); links != head && links != marker;) {
        struct gc_links *prev = gcstate_prev(links);
        __builtin_prefetch(prev);
        bring(links);
        links = prev;
    }
    move_marker(gc);
}

/* --- using it ----------------------------------------------------------------------------------- */

/* Does a freed block pass domains.c? Another allocator may have taken its place. */
static bool probe(void)
{
    struct heap *heap = domains_heap();
    char *block = PyObject_Malloc(64);
    if (block == NULL)
        return false;
    bool noticed = false;
    if (heap_owns(heap, block) ? heap_mark(heap, block + 16) : set_in_book((uintptr_t)block + 16)) {
        PyObject_Free(block);
        noticed = heap_owns(heap, block) ? !heap_marked(heap, block + 16)
                                         : !book_has(&roster.book, (uintptr_t)block + 16, roster.epoch);
    } else {
        PyObject_Free(block);
    }
    return noticed;
}

bool roster_ready(const struct gcstate *gc)
{
    if (!roster.open || !roster.complete || !still_valid(gc))
        return false;
    heap_settle(domains_heap());
    if (!probe())
        roster.complete = false; /* and for good: bits may be wrong already */
    return roster.complete;
}

static int add_words(void *context, uintptr_t at, const uint64_t *words, size_t count)
{
    return (int)graph_add_words(context, at, words, count);
}

enum graph_status roster_list(struct graph *graph)
{
    int status = heap_each_marked(domains_heap(), add_words, graph);
    uintptr_t step = (uintptr_t)1 << BOOK_CHUNK_SHIFT;
    for (uintptr_t at = roster.low & ~(step - 1); status == GRAPH_OK && at <= roster.high; at += step) {
        const struct book_leaf *leaf = roster.book.top[at >> (BOOK_CHUNK_SHIFT + BOOK_LEAF_BITS)];
        if (leaf == NULL) { /* on to the next leaf */
            at |= ((uintptr_t)1 << (BOOK_CHUNK_SHIFT + BOOK_LEAF_BITS)) - 1;
            at -= step - 1;
            continue;
        }
        const struct book_chunk *chunk = book_chunk(&roster.book, at);
        if (chunk != NULL && chunk->epoch == roster.epoch)
            status = (int)graph_add_words(graph, at, (const uint64_t *)chunk->bits, BOOK_CHUNK_WORDS);
    }
    return (enum graph_status)status;
}
