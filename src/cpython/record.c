/* record.c: the freed-since-snapshot record and its allocator hook. */
#include "record.h"

#include "compat.h"
#include "platform/platform.h"

#include <stdatomic.h>

/* --- books: a bit for every 16 bytes; 48-bit addresses as 14 + 14 bits of directory, and 1 MiB chunks  */

#define CHUNK_SHIFT 20
#define LEAF_BITS 14
#define TOP_BITS 14
#define CHUNK_WORDS (1u << (CHUNK_SHIFT - 4 - 6))

struct chunk {
    _Atomic uint64_t epoch; /* of which arming the bits are; of an older one: all zero in truth */
    _Atomic uint64_t bits[CHUNK_WORDS];
};

struct leaf {
    struct chunk *_Atomic chunks[1u << LEAF_BITS];
};

/* Two books. In `ours` writes whoever holds the main interpreter's GIL, with plain loads and stores. In
 * `others` write the threads of other interpreters, at the same time as each other: they may have GILs of
 * their own (3.12+), or share ours and free an object of the main interpreter. */
struct book {
    struct leaf *_Atomic top[1u << TOP_BITS];
};
static struct book ours, others;

static _Atomic uint64_t epoch;
static atomic_bool armed;
static atomic_bool lost; /* a page was refused, or an address lies beyond 48 bits */
static _Atomic uint64_t mapped_bytes;
static PyInterpreterState *main_interpreter;

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

static size_t top_index(uintptr_t address)
{
    return (address >> (CHUNK_SHIFT + LEAF_BITS)) & ((1u << TOP_BITS) - 1);
}

static size_t leaf_index(uintptr_t address)
{
    return (address >> CHUNK_SHIFT) & ((1u << LEAF_BITS) - 1);
}

static struct chunk *chunk_at(struct book *book, uintptr_t address)
{
    struct leaf *leaf = atomic_load_explicit(&book->top[top_index(address)], memory_order_acquire);
    if (leaf == NULL)
        return NULL;
    return atomic_load_explicit(&leaf->chunks[leaf_index(address)], memory_order_acquire);
}

static struct chunk *chunk_make(struct book *book, uintptr_t address)
{
    struct leaf *leaf = atomic_load_explicit(&book->top[top_index(address)], memory_order_acquire);
    if (leaf == NULL)
        leaf = entry_make((void *_Atomic *)&book->top[top_index(address)], sizeof *leaf);
    if (leaf == NULL)
        return NULL;
    return entry_make((void *_Atomic *)&leaf->chunks[leaf_index(address)], sizeof(struct chunk));
}

static _Atomic uint64_t *word_of(struct chunk *chunk, uintptr_t address)
{
    return &chunk->bits[(address >> 10) & (CHUNK_WORDS - 1)];
}

static uint64_t bit_of(uintptr_t address)
{
    return (uint64_t)1 << ((address >> 4) & 63);
}

static bool noted(struct book *book, uintptr_t address)
{
    struct chunk *chunk = chunk_at(book, address);
    if (chunk == NULL || atomic_load_explicit(&chunk->epoch, memory_order_relaxed) !=
                             atomic_load_explicit(&epoch, memory_order_relaxed))
        return false;
    return (atomic_load_explicit(word_of(chunk, address), memory_order_relaxed) & bit_of(address)) != 0;
}

/* A thread of another interpreter frees. Rare where it matters, so it may cost: bits are set atomically, and
 * a stale chunk is emptied by whoever sees that first. A bit that gets lost in that race belongs to a
 * thread with its own GIL, whose blocks are no candidates; who shares our GIL cannot race. */
static __attribute__((noinline)) void note_other(uintptr_t address)
{
    struct chunk *chunk = chunk_at(&others, address);
    if (chunk == NULL)
        chunk = chunk_make(&others, address);
    if (chunk == NULL) {
        lost = true;
        return;
    }
    uint64_t now = epoch, was = chunk->epoch;
    if (was != now && atomic_compare_exchange_strong(&chunk->epoch, &was, now)) {
        for (size_t i = 0; i < CHUNK_WORDS; i++)
            chunk->bits[i] = 0;
    }
    atomic_fetch_or(word_of(chunk, address), bit_of(address));
}

/* The first block in its chunk since the record was armed. */
static __attribute__((noinline)) struct chunk *chunk_renew(uintptr_t address)
{
    struct chunk *chunk = chunk_at(&ours, address);
    if (chunk == NULL)
        chunk = chunk_make(&ours, address);
    if (chunk == NULL) {
        lost = true;
        return NULL;
    }
    for (size_t i = 0; i < CHUNK_WORDS; i++)
        atomic_store_explicit(&chunk->bits[i], 0, memory_order_relaxed);
    chunk->epoch = epoch;
    return chunk;
}

static inline void note(void *block)
{
    if (block == NULL || !atomic_load_explicit(&armed, memory_order_relaxed))
        return;
    uintptr_t address = (uintptr_t)block;
    if (__builtin_expect(address >> 48 != 0, 0)) {
        lost = true;
        return;
    }
    if (__builtin_expect(!compat_runs(main_interpreter), 0)) {
        note_other(address);
        return;
    }
    struct chunk *chunk = chunk_at(&ours, address);
    if (__builtin_expect(chunk == NULL || atomic_load_explicit(&chunk->epoch, memory_order_relaxed) !=
                                              atomic_load_explicit(&epoch, memory_order_relaxed),
                         0)) {
        chunk = chunk_renew(address);
        if (chunk == NULL)
            return;
    }
    _Atomic uint64_t *word = word_of(chunk, address);
    atomic_store_explicit(word, atomic_load_explicit(word, memory_order_relaxed) | bit_of(address),
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

/* Is a hook of ours in the chain? Free a block and see whether it was noted. */
static bool probe(void)
{
    void *block = PyObject_Malloc(1);
    if (block == NULL)
        return false;
    uintptr_t address = (uintptr_t)block;
    struct chunk *chunk = chunk_at(&ours, address);
    if (chunk != NULL && chunk->epoch == epoch) /* it may be noted from an earlier free */
        *word_of(chunk, address) &= ~bit_of(address);
    PyObject_Free(block);
    return noted(&ours, address);
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
    hooks_remove();
}

bool record_intact(void)
{
    return armed && probe() && !lost;
}

bool record_freed(uintptr_t block)
{
    return noted(&ours, block) || noted(&others, block);
}

void record_prefetch(uintptr_t block)
{
    struct chunk *chunk = chunk_at(&ours, block);
    if (chunk != NULL)
        __builtin_prefetch(word_of(chunk, block));
}

uint64_t record_bytes(void)
{
    return mapped_bytes;
}
