/* book.c: the pages of books. */
#include "book.h"

#include "platform/platform.h"

static _Atomic uint64_t mapped_bytes;

/* Pages for a directory entry, once; whoever comes second uses the first one's. NULL when refused. */
static void *entry_make(void *_Atomic *entry, size_t bytes)
{
    void *made = platform_map(bytes), *present = NULL;
    if (made == NULL)
        return NULL;
    if (!atomic_compare_exchange_strong(entry, &present, made)) {
        platform_unmap(made, bytes);
        return present;
    }
    atomic_fetch_add(&mapped_bytes, bytes);
    return made;
}

struct book_chunk *book_make(struct book *book, uintptr_t address)
{
    struct book_leaf *_Atomic *place = &book->top[address >> (BOOK_CHUNK_SHIFT + BOOK_LEAF_BITS)];
    struct book_leaf *leaf = atomic_load_explicit(place, memory_order_acquire);
    if (leaf == NULL)
        leaf = entry_make((void *_Atomic *)place, sizeof *leaf);
    if (leaf == NULL)
        return NULL;
    size_t index = address >> BOOK_CHUNK_SHIFT & ((1u << BOOK_LEAF_BITS) - 1);
    return entry_make((void *_Atomic *)&leaf->chunks[index], sizeof(struct book_chunk));
}

uint64_t book_bytes(void)
{
    return mapped_bytes;
}
