/* book.h: a bit for every 16 bytes of the address space, for blocks that are not the heap's.
 *
 * 48-bit addresses as 14 + 14 bits of directory, and chunks of 1 MiB that exist only where there are bits. A chunk
 * is of an epoch: of an older one than asked for, all its bits are zero in truth, so that a book is emptied by
 * counting on. Pages are kept for good.
 *
 * Threads: book_word and what is read through it may be used by any; who writes sees to the rest. */
#ifndef MIDDEN_CPYTHON_BOOK_H
#define MIDDEN_CPYTHON_BOOK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BOOK_CHUNK_SHIFT 20
#define BOOK_LEAF_BITS 14
#define BOOK_TOP_BITS 14
#define BOOK_CHUNK_WORDS (1u << (BOOK_CHUNK_SHIFT - 4 - 6))

struct book_chunk {
    _Atomic uint64_t epoch; /* of which the bits are */
    _Atomic uint64_t bits[BOOK_CHUNK_WORDS];
};

struct book_leaf {
    struct book_chunk *_Atomic chunks[1u << BOOK_LEAF_BITS];
};

struct book {
    struct book_leaf *_Atomic top[1u << BOOK_TOP_BITS];
};

/* Whether an address can be in a book at all. */
static inline bool book_holds(uintptr_t address)
{
    return address >> 48 == 0;
}

static inline struct book_chunk *book_chunk(const struct book *book, uintptr_t address)
{
    struct book_leaf *leaf = atomic_load_explicit(&book->top[address >> (BOOK_CHUNK_SHIFT + BOOK_LEAF_BITS)],
                                                  memory_order_acquire);
    if (leaf == NULL)
        return NULL;
    return atomic_load_explicit(&leaf->chunks[address >> BOOK_CHUNK_SHIFT & ((1u << BOOK_LEAF_BITS) - 1)],
                                memory_order_acquire);
}

/* pre: book_holds. NULL: no pages. */
struct book_chunk *book_make(struct book *book, uintptr_t address);
/* Bytes that all books hold on to. */
uint64_t book_bytes(void);

static inline _Atomic uint64_t *book_word(struct book_chunk *chunk, uintptr_t address)
{
    return &chunk->bits[address >> 10 & (BOOK_CHUNK_WORDS - 1)];
}

static inline uint64_t book_bit(uintptr_t address)
{
    return (uint64_t)1 << (address >> 4 & 63);
}

/* Whether the bit of an address is set, in that epoch. */
static inline bool book_has(const struct book *book, uintptr_t address, uint64_t epoch)
{
    struct book_chunk *chunk = book_holds(address) ? book_chunk(book, address) : NULL;
    return chunk != NULL && atomic_load_explicit(&chunk->epoch, memory_order_relaxed) == epoch &&
           (atomic_load_explicit(book_word(chunk, address), memory_order_relaxed) & book_bit(address)) != 0;
}

#endif
