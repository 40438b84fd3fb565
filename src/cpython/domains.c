/* domains.c: the functions that CPython calls for its OBJ and MEM domains. */
#include "domains.h"

#include "platform/platform.h"

static struct heap *heap;
static PyInterpreterState *main_interpreter;
static PyInterpreterState *served; /* the main interpreter; NULL: nobody */
static PyMemAllocatorEx below[2];  /* what was there before: OBJ, MEM */
static bool installed;
static void (*foreign_free)(void *block);

/* --- the functions: the context is the domain, as a number ----------------------------------------- */

static const PyMemAllocatorDomain domain_names[2] = {PYMEM_DOMAIN_OBJ, PYMEM_DOMAIN_MEM};

/* The slow ways are functions of their own, so that the fast ones need no stack frame: a program makes and frees
 * a hundred million blocks a minute. */
#define DOMAIN_FUNCTIONS(name, domain, region)                                                             \
    static __attribute__((noinline)) void *name##_malloc_below(size_t bytes)                               \
    {                                                                                                      \
        void *block = compat_runs(served) ? heap_alloc_slowly(heap, region, bytes) : NULL;                 \
        return block != NULL ? block : below[domain].malloc(below[domain].ctx, bytes);                     \
    }                                                                                                      \
    static void *name##_malloc(void *context, size_t bytes)                                                \
    {                                                                                                      \
        void *block = compat_runs(served) ? heap_alloc_fast(heap, region, bytes) : NULL;                   \
        return __builtin_expect(block != NULL, 1) ? block : name##_malloc_below(bytes);                    \
    }                                                                                                      \
    static __attribute__((noinline)) void *name##_calloc_below(size_t count, size_t bytes)                 \
    {                                                                                                      \
        size_t all;                                                                                        \
        bool here = compat_runs(served) && !__builtin_mul_overflow(count, bytes, &all);                    \
        void *block = here ? heap_alloc_zeroed(heap, region, all) : NULL;                                  \
        return block != NULL ? block : below[domain].calloc(below[domain].ctx, count, bytes);              \
    }                                                                                                      \
    static void *name##_calloc(void *context, size_t count, size_t bytes)                                  \
    {                                                                                                      \
        size_t all = count * bytes;                                                                        \
        bool few = (count | bytes) >> 31 == 0 && compat_runs(served);                                      \
        void *block = few ? heap_alloc_fast(heap, region, all) : NULL;                                     \
        if (__builtin_expect(block == NULL, 0))                                                            \
            return name##_calloc_below(count, bytes);                                                      \
        return heap_zero(block, all);                                                                      \
    }                                                                                                      \
    static void *name##_realloc(void *context, void *block, size_t bytes)                                  \
    {                                                                                                      \
        if (block == NULL)                                                                                 \
            return name##_malloc(context, bytes);                                                          \
        return heap_owns(heap, block) ? resize(domain, block, bytes) : resize_below(domain, block, bytes); \
    }                                                                                                      \
    static void name##_free(void *context, void *block)                                                    \
    {                                                                                                      \
        if (__builtin_expect(!heap_owns(heap, block), 0))                                                  \
            free_below(domain, block);                                                                     \
        else if (__builtin_expect(compat_holds(main_interpreter), 1))                                      \
            heap_free(heap, block);                                                                        \
        else                                                                                               \
            heap_free_remote(heap, block);                                                                 \
    }

static void free_below(int domain, void *block)
{
    if (foreign_free != NULL && domain == 0 && block != NULL)
        foreign_free(block);
    below[domain].free(below[domain].ctx, block);
}

static void *resize_below(int domain, void *block, size_t bytes)
{
    if (foreign_free != NULL && domain == 0)
        foreign_free(block);
    return below[domain].realloc(below[domain].ctx, block, bytes);
}

/* A block of the heap gets another size. Where the heap does not serve, it moves to the allocator below. */
static void *resize(int domain, void *block, size_t bytes)
{
    bool ours = compat_holds(main_interpreter);
    if (ours && served != NULL) {
        void *moved = heap_realloc(heap, block, bytes);
        if (moved != NULL)
            return moved;
    }
    size_t usable = heap_block_bytes(heap, block);
    void *moved = below[domain].malloc(below[domain].ctx, bytes);
    if (moved == NULL)
        return NULL;
    memcpy(moved, block, bytes < usable ? bytes : usable);
    if (ours)
        heap_free(heap, block);
    else
        heap_free_remote(heap, block);
    return moved;
}

DOMAIN_FUNCTIONS(objects, 0, HEAP_OBJECTS)
DOMAIN_FUNCTIONS(buffers, 1, HEAP_BUFFERS)

static const PyMemAllocatorEx ours[2] = {
    {NULL, objects_malloc, objects_calloc, objects_realloc, objects_free},
    {NULL, buffers_malloc, buffers_calloc, buffers_realloc, buffers_free},
};

/* --- taking over -------------------------------------------------------------------------------- */

/* Is what serves now CPython's own small-object allocator, with nobody on top? Hooks (debug, tracemalloc, memray)
 * have a context, and would lose sight of what the heap serves; plain malloc serves RAW as well. */
static const char *plain(const PyMemAllocatorEx now[2])
{
    PyMemAllocatorEx raw;
    PyMem_GetAllocator(PYMEM_DOMAIN_RAW, &raw);
    if (now[0].ctx != NULL || now[1].ctx != NULL)
        return "a tool watches Python's allocations (tracemalloc, memray, PYTHONMALLOC=debug, -X dev)";
    if (now[0].malloc != now[1].malloc || now[0].malloc == raw.malloc)
        return "Python runs with another allocator (PYTHONMALLOC)";
    if (!platform_same_library((uintptr_t)now[0].malloc, (uintptr_t)PyObject_Malloc))
        return "another library has replaced Python's allocator";
    return NULL;
}

const char *domains_obstacle(void)
{
    if (installed)
        return NULL;
    PyMemAllocatorEx now[2];
    for (int i = 0; i < 2; i++)
        PyMem_GetAllocator(domain_names[i], &now[i]);
    return plain(now);
}

const char *domains_serve(void)
{
    if (served != NULL)
        return NULL;
    if (!installed) {
        const char *why = domains_obstacle();
        if (why != NULL)
            return why;
        const struct heap_options options = {.ticks = true};
        if (heap == NULL && (heap = heap_new(&options)) == NULL)
            return "the system grants no address space (ulimit -v)";
        main_interpreter = PyInterpreterState_Main();
        for (int i = 0; i < 2; i++) {
            PyMem_GetAllocator(domain_names[i], &below[i]);
            PyMemAllocatorEx with_heap = ours[i];
            PyMem_SetAllocator(domain_names[i], &with_heap);
        }
        installed = true;
    }
    served = main_interpreter;
    return NULL;
}

void domains_rest(void)
{
    served = NULL;
}

bool domains_serving(void)
{
    return served != NULL;
}

void domains_on_foreign_free(void (*tell)(void *block))
{
    foreign_free = tell;
}

struct heap *domains_heap(void)
{
    return heap;
}
