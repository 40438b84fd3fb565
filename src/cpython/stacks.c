/* stacks.c: looking at native stacks. */
#include "stacks.h"

#include <stdlib.h>

#define WORDS_AT_MOST 4096
#define CLOSE 64 /* compilers keep pointers a little before or behind what they walk along */
#define FARTHEST_LOOP ((uintptr_t)1 << 20) /* two loops farther apart are not on the same stack */

static struct {
    uintptr_t words[WORDS_AT_MOST]; /* sorted, when all are there */
    size_t count;
} noted;

static int compare(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

static __attribute__((no_sanitize("address"))) bool look_between(const struct heap *heap, uintptr_t from,
                                                                 uintptr_t to)
{
    const uintptr_t *end = (const uintptr_t *)to;
    for (const uintptr_t *at = (const uintptr_t *)(from & ~(sizeof *at - 1)); at < end; at++) {
        uintptr_t word = *at;
        if (word - ((uintptr_t)heap->base - CLOSE) >= heap->span + 2 * CLOSE)
            continue;
        if (!heap_points_at_moving(heap, word) && !heap_points_at_moving(heap, word - CLOSE) &&
            !heap_points_at_moving(heap, word + CLOSE))
            continue;
        if (noted.count == WORDS_AT_MOST)
            return false;
        noted.words[noted.count++] = word;
    }
    return true;
}

/* from: where to begin; 0: at the newest loop. Saved registers lie above a loop's own place in its frame. */
static bool look_at_thread(const struct heap *heap, PyThreadState *thread, uintptr_t from)
{
    void *loop = NULL;
    for (uintptr_t at; (at = compat_next_loop(thread, &loop)) != 0; from = at)
        if (from != 0 && (at <= from || at - from > FARTHEST_LOOP || !look_between(heap, from, at)))
            return false;
    return true;
}

/* A function of its own, so that its frame lies below the registers that the caller has saved. */
static __attribute__((noinline)) bool look_from_here(const struct heap *heap)
{
    uintptr_t here = (uintptr_t)__builtin_frame_address(0);
    PyThreadState *own = PyThreadState_Get();
    PyThreadState *thread = PyInterpreterState_ThreadHead(PyInterpreterState_Main());
    for (; thread != NULL; thread = PyThreadState_Next(thread))
        if (!look_at_thread(heap, thread, thread == own ? here : 0))
            return false;
    return true;
}

bool stacks_look(const struct heap *heap)
{
    __builtin_unwind_init(); /* all registers that functions preserve go to the stack */
    noted.count = 0;
    bool good = look_from_here(heap);
    qsort(noted.words, noted.count, sizeof noted.words[0], compare);
    return good;
}

bool stacks_hold(const void *block, size_t bytes)
{
    uintptr_t low = (uintptr_t)block - CLOSE, high = (uintptr_t)block + bytes + CLOSE;
    size_t first = 0, end = noted.count;
    while (first < end) {
        size_t middle = (first + end) / 2;
        if (noted.words[middle] < low)
            first = middle + 1;
        else
            end = middle;
    }
    return first < noted.count && noted.words[first] <= high;
}
