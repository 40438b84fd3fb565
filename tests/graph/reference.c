/* reference.c: the garbage and its components, found the plain way: a hash of addresses, counts less
 * references from inside, a search from what is left over, and Kosaraju's two searches for the components
 * (the graph uses another algorithm). Slow and short. */
#include "fake.h"

#include <stdlib.h>

struct tables {
    const struct fake_heap *heap;
    struct reference *reference;
    size_t *begin, *back_begin; /* index -> first of its references, of the references to it */
    uint32_t *to, *back;
    uint32_t *before;                     /* what it must precede, or NONE */
    uint32_t *before_first, *before_next; /* who must precede it: a list by index */
    uint32_t *stack;
};
#define NONE UINT32_MAX

/* --- which index has this address? One table, of the heap that was asked about last ----------------- */

static struct {
    const void **addresses;
    uint32_t *indices;
    size_t mask;
} hash;

static size_t hash_slot(const void *address)
{
    size_t i =
        (size_t)(((uintptr_t)address ^ (uintptr_t)address >> 21) * 0x9e3779b97f4a7c15u >> 24) & hash.mask;
    while (hash.addresses[i] && hash.addresses[i] != address)
        i = (i + 1) & hash.mask;
    return i;
}

static void hash_fill(const struct fake_heap *heap)
{
    for (hash.mask = 15; hash.mask < heap->n * 2; hash.mask = hash.mask * 2 + 1)
        ;
    hash.addresses = calloc(hash.mask + 1, sizeof *hash.addresses);
    hash.indices = calloc(hash.mask + 1, sizeof *hash.indices);
    for (size_t i = 0; i < heap->n; i++)
        if (!heap->outside[i]) {
            size_t slot = hash_slot(heap->objects[i]);
            hash.addresses[slot] = heap->objects[i];
            hash.indices[slot] = (uint32_t)i;
        }
}

size_t reference_index(const struct reference *reference, const struct fake_heap *heap, const void *address)
{
    (void)reference;
    (void)heap;
    size_t slot = hash_slot(address);
    return address && hash.addresses[slot] ? hash.indices[slot] : FAKE_NULL;
}

/* --- references by index, both ways ----------------------------------------------------------------- */

static void make_tables(struct tables *t)
{
    const struct fake_heap *heap = t->heap;
    size_t n = heap->n, m = 0;
    t->begin = calloc(n + 2, sizeof *t->begin);
    t->back_begin = calloc(n + 2, sizeof *t->back_begin);
    t->to = malloc((heap->references + 1) * sizeof *t->to);
    t->back = malloc((heap->references + 1) * sizeof *t->back);
    t->stack = malloc((n + 1) * sizeof *t->stack);
    for (size_t i = 0; i < n; i++) {
        t->begin[i] = m;
        for (size_t k = 0; !heap->outside[i] && k < heap->objects[i]->size; k++) {
            size_t to = reference_index(t->reference, heap, heap->objects[i]->items[k]);
            if (to != FAKE_NULL) {
                t->to[m++] = (uint32_t)to;
                t->back_begin[to + 2]++;
            }
        }
    }
    t->begin[n] = m;
    t->before = malloc((n + 1) * sizeof *t->before);
    t->before_first = malloc((n + 1) * sizeof *t->before_first);
    t->before_next = malloc((n + 1) * sizeof *t->before_next);
    for (size_t i = 0; i < n; i++)
        t->before_first[i] = NONE;
    for (size_t i = 0; i < n; i++) {
        size_t to = heap->outside[i] || !heap->objects[i]->before
                        ? FAKE_NULL
                        : reference_index(t->reference, heap, heap->objects[i]->before);
        t->before[i] = to == FAKE_NULL ? NONE : (uint32_t)to;
        if (to != FAKE_NULL) {
            t->before_next[i] = t->before_first[to];
            t->before_first[to] = (uint32_t)i;
        }
    }
    for (size_t i = 0; i < n; i++)
        t->back_begin[i + 2] += t->back_begin[i + 1];
    for (size_t i = 0; i < n; i++) /* after this, back_begin[i + 1] is where i's end */
        for (size_t r = t->begin[i]; r < t->begin[i + 1]; r++)
            t->back[t->back_begin[t->to[r] + 1]++] = (uint32_t)i;
}

static void find_dead(struct tables *t)
{
    const struct fake_heap *heap = t->heap;
    struct reference *reference = t->reference;
    size_t top = 0;
    for (size_t i = 0; i < heap->n; i++)
        reference->dead[i] = !heap->outside[i];
    for (size_t i = 0; i < heap->n; i++) {
        uint64_t inside = t->back_begin[i + 1] - t->back_begin[i], count = heap->objects[i]->count;
        if (!heap->outside[i] && (count == 0 || count >= INT32_MAX || count > inside)) {
            reference->dead[i] = false;
            t->stack[top++] = (uint32_t)i;
        }
    }
    while (top > 0) {
        uint32_t i = t->stack[--top];
        for (size_t r = t->begin[i]; r < t->begin[i + 1]; r++)
            if (reference->dead[t->to[r]]) {
                reference->dead[t->to[r]] = false;
                t->stack[top++] = t->to[r];
            }
    }
}

/* The dead in the order in which a depth-first search leaves them. */
static size_t finish_order(struct tables *t, uint32_t *order)
{
    size_t n = t->heap->n, done = 0;
    bool *seen = calloc(n + 1, sizeof *seen);
    size_t *next = malloc((n + 1) * sizeof *next);
    for (size_t i = 0; i < n; i++) {
        if (!t->reference->dead[i] || seen[i])
            continue;
        size_t top = 0;
        seen[i] = true;
        next[i] = t->begin[i];
        t->stack[top++] = (uint32_t)i;
        while (top > 0) {
            uint32_t at = t->stack[top - 1], to;
            if (next[at] == t->begin[at + 1] + 1) {
                order[done++] = at;
                top--;
                continue;
            }
            if (next[at]++ == t->begin[at + 1])
                to = t->before[at]; /* the last edge: for the order alone */
            else
                to = t->to[next[at] - 1];
            if (to != NONE && t->reference->dead[to] && !seen[to]) {
                seen[to] = true;
                next[to] = t->begin[to];
                t->stack[top++] = to;
            }
        }
    }
    free(seen);
    free(next);
    return done;
}

static void find_components(struct tables *t)
{
    struct reference *reference = t->reference;
    uint32_t *order = malloc((t->heap->n + 1) * sizeof *order);
    reference->garbage = finish_order(t, order);
    reference->sizes = calloc(reference->garbage + 1, sizeof *reference->sizes);
    for (size_t k = reference->garbage; k-- > 0;) {
        if (reference->component[order[k]])
            continue;
        uint32_t component = (uint32_t)++reference->components;
        size_t top = 0, size = 0;
        reference->component[order[k]] = component;
        t->stack[top++] = order[k];
        while (top > 0) {
            uint32_t i = t->stack[--top];
            size++;
            for (size_t r = t->back_begin[i]; r < t->back_begin[i + 1]; r++)
                if (reference->dead[t->back[r]] && !reference->component[t->back[r]]) {
                    reference->component[t->back[r]] = component;
                    t->stack[top++] = t->back[r];
                }
            for (uint32_t j = t->before_first[i]; j != NONE; j = t->before_next[j])
                if (reference->dead[j] && !reference->component[j]) {
                    reference->component[j] = component;
                    t->stack[top++] = j;
                }
        }
        reference->sizes[component] = size;
        if (reference->largest < size)
            reference->largest = size;
    }
    free(order);
}

void reference_find(const struct fake_heap *heap, struct reference *reference)
{
    *reference = (struct reference){
        .dead = calloc(heap->n + 1, sizeof(bool)),
        .component = calloc(heap->n + 1, sizeof(uint32_t)),
    };
    struct tables t = {.heap = heap, .reference = reference};
    hash_fill(heap);
    make_tables(&t);
    for (size_t i = 0; i < heap->n; i++)
        reference->objects += !heap->outside[i];
    reference->references = t.begin[heap->n];
    find_dead(&t);
    find_components(&t);
    free(t.begin);
    free(t.back_begin);
    free(t.to);
    free(t.back);
    free(t.stack);
    free(t.before);
    free(t.before_first);
    free(t.before_next);
}

void reference_free(struct reference *reference)
{
    free(reference->dead);
    free(reference->component);
    free(reference->sizes);
    free(hash.addresses);
    free(hash.indices);
}
