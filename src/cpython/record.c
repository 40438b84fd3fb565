/* record.c: the freed-since-snapshot record and its allocator hook. */
#include "record.h"

#include "book.h"
#include "compat.h"
#include "domains.h"

#include <stdatomic.h>

/* --- the record: bits of the heap's blocks are beside the heap, those of all others in books ------------------
 *
 * Two books. In `ours` writes whoever holds the main interpreter's GIL, with plain loads and stores. In
 * `others` write the threads of other interpreters, at the same time as each other: they may have GILs of
 * their own (3.12+), or share ours and free an object of the main interpreter. */
static struct book ours, others;

static _Atomic uint64_t epoch;
static atomic_bool armed;
static atomic_bool lost; /* a page was refused, or an address lies beyond 48 bits */
static PyInterpreterState *main_interpreter;
static struct heap *heap; /* NULL: there is none */

static bool noted(const struct book *book, uintptr_t address)
{
    return book_has(book, address, atomic_load_explicit(&epoch, memory_order_relaxed));
}

/* A thread of another interpreter frees. Rare where it matters, so it may cost: bits are set atomically, and
 * a stale chunk is emptied by whoever sees that first. A bit that gets lost in that race belongs to a
 * thread with its own GIL, whose blocks are no candidates; who shares our GIL cannot race. */
static __attribute__((noinline)) void note_other(uintptr_t address)
{
    struct book_chunk *chunk = book_chunk(&others, address);
    if (chunk == NULL)
        chunk = book_make(&others, address);
    if (chunk == NULL) {
        lost = true;
        return;
    }
    uint64_t now = epoch, was = chunk->epoch;
    if (was != now && atomic_compare_exchange_strong(&chunk->epoch, &was, now)) {
        for (size_t i = 0; i < BOOK_CHUNK_WORDS; i++)
            chunk->bits[i] = 0;
    }
    atomic_fetch_or(book_word(chunk, address), book_bit(address));
}

/* The first block in its chunk since the record was armed. */
static __attribute__((noinline)) struct book_chunk *chunk_renew(uintptr_t address)
{
    struct book_chunk *chunk = book_chunk(&ours, address);
    if (chunk == NULL)
        chunk = book_make(&ours, address);
    if (chunk == NULL) {
        lost = true;
        return NULL;
    }
    for (size_t i = 0; i < BOOK_CHUNK_WORDS; i++)
        atomic_store_explicit(&chunk->bits[i], 0, memory_order_relaxed);
    chunk->epoch = epoch;
    return chunk;
}

static inline void note(void *block)
{
    if (block == NULL || !atomic_load_explicit(&armed, memory_order_relaxed))
        return;
    uintptr_t address = (uintptr_t)block;
    if (__builtin_expect(!book_holds(address), 0)) {
        lost = true;
        return;
    }
    if (__builtin_expect(!compat_runs(main_interpreter), 0)) {
        note_other(address);
        return;
    }
    if (heap != NULL && heap_owns(heap, block)) {
        if (!heap_freed_note(heap, block))
            lost = true;
        return;
    }
    struct book_chunk *chunk = book_chunk(&ours, address);
    if (__builtin_expect(chunk == NULL || atomic_load_explicit(&chunk->epoch, memory_order_relaxed) !=
                                              atomic_load_explicit(&epoch, memory_order_relaxed),
                         0)) {
        chunk = chunk_renew(address);
        if (chunk == NULL)
            return;
    }
    _Atomic uint64_t *word = book_word(chunk, address);
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) | book_bit(address),
                          memory_order_relaxed);
}

/* --- hooks ------------------------------------------------------------------------------------------
 * A hook remembers the allocator that it was put on. Should somebody put theirs on top of it meanwhile
 * (tracemalloc.start()), it has to stay where it is, passing everything on, until it is on top again;
 * another arming then takes another hook. Functions instead of a context tell the hooks apart. */

#define HOOKS 4
static struct hook {
    PyMemAllocatorEx below;
    bool installed;
} hooks[HOOKS];

#define HOOK(i)                                                             \
    static void hook_free_##i(void *context, void *block)                   \
    {                                                                       \
        note(block);                                                        \
        hooks[i].below.free(context, block);                                \
    }                                                                       \
    static void *hook_realloc_##i(void *context, void *block, size_t bytes) \
    {                                                                       \
        note(block);                                                        \
        return hooks[i].below.realloc(context, block, bytes);               \
    }
HOOK(0)
HOOK(1)
HOOK(2)
HOOK(3)

static void (*const hook_free[HOOKS])(void *, void *) = {hook_free_0, hook_free_1, hook_free_2, hook_free_3};
static void *(*const hook_realloc[HOOKS])(void *, void *, size_t) = {hook_realloc_0, hook_realloc_1,
                                                                     hook_realloc_2, hook_realloc_3};

static bool freed(const void *block)
{
    return heap != NULL && heap_owns(heap, block) ? heap_freed(heap, block) : noted(&ours, (uintptr_t)block);
}

static void forget(const void *block)
{
    uintptr_t address = (uintptr_t)block;
    if (heap != NULL && heap_owns(heap, block))
        heap_freed_forget(heap, block);
    else
        *book_word(book_chunk(&ours, address), address) &= ~book_bit(address);
}

/* Is a hook of ours in the chain? Free a block and see whether it was noted. */
static bool probe(void)
{
    void *block = PyObject_Malloc(1);
    if (block == NULL)
        return false;
    /* It may be noted from an earlier free; then it must be noted again to be believed. */
    if (freed(block))
        forget(block);
    PyObject_Free(block);
    return freed(block);
}

static bool hook_install(void)
{
    for (int i = 0; i < HOOKS; i++) {
        struct hook *hook = &hooks[i];
        if (hook->installed)
            continue;
        PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &hook->below);
        PyMemAllocatorEx with_hook = hook->below;
        with_hook.free = hook_free[i];
        with_hook.realloc = hook_realloc[i];
        PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &with_hook);
        hook->installed = true;
        return true;
    }
    return false;
}

/* Take hooks of ours off as long as one is on top. */
static void hooks_remove(void)
{
    for (;;) {
        PyMemAllocatorEx now;
        PyMem_GetAllocator(PYMEM_DOMAIN_OBJ, &now);
        int i = 0;
        while (i < HOOKS && !(hooks[i].installed && now.free == hook_free[i]))
            i++;
        if (i == HOOKS)
            return;
        PyMem_SetAllocator(PYMEM_DOMAIN_OBJ, &hooks[i].below);
        hooks[i].installed = false;
    }
}

/* --- the record --------------------------------------------------------------------------------- */

bool record_arm(void)
{
    main_interpreter = PyInterpreterState_Main();
    heap = domains_heap();
    if (heap != NULL)
        heap_freed_begin(heap);
    epoch++;
    lost = false;
    armed = true;
    if (probe() || (hook_install() && probe()))
        return true;
    record_disarm();
    return false;
}

void record_disarm(void)
{
    armed = false;
    if (heap != NULL)
        heap_freed_end(heap);
    hooks_remove();
}

bool record_intact(void)
{
    return armed && probe() && !lost;
}

bool record_freed(uintptr_t block)
{
    return freed((const void *)block) || noted(&others, block);
}

void record_prefetch(uintptr_t block)
{
    if (heap != NULL && heap_owns(heap, (const void *)block)) {
        heap_freed_prefetch(heap, (const void *)block);
        return;
    }
    struct book_chunk *chunk = book_chunk(&ours, block);
    if (chunk != NULL)
        __builtin_prefetch(book_word(chunk, block));
}

uint64_t record_bytes(void)
{
    return book_bytes();
}
