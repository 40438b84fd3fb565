/* model.c: see model.h. */
#define _GNU_SOURCE
#include "model.h"

#include "../../src/platform/platform.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define KIB ((size_t)1024)
#define MIB (1024 * KIB)
#define MS UINT64_C(1000000)

void model_must(bool so, const char *what, const char *file, int line)
{
    if (so)
        return;
    fflush(stdout);
    fprintf(stderr, "%s:%d: not so: %s\n", file, line, what);
    abort();
}

/* --- choosing ----------------------------------------------------------------------------------- */

size_t model_random_below(struct model *model, size_t n)
{
    uint64_t z = (model->random += 0x9e3779b97f4a7c15u);
    z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9u;
    z = (z ^ z >> 27) * 0x94d049bb133111ebu;
    return (size_t)((z ^ z >> 31) % n);
}

size_t model_input_below(struct model *model, size_t n)
{
    size_t number = 0;
    for (size_t most = n - 1; most != 0; most >>= 8)
        number = number << 8 | (model->input < model->input_end ? *model->input++ : 0);
    return number % n;
}

static size_t draw(struct model *model, size_t n)
{
    return model->below(model, n);
}

static bool one_in(struct model *model, size_t n)
{
    return draw(model, n) == 0;
}

size_t model_class_bytes(unsigned size_class)
{
    if (size_class <= 32)
        return size_class * HEAP_GRAIN;
    if (size_class <= 56)
        return (size_t)(9 + (size_class - 33) % 8) << ((size_class - 33) / 8 + 6);
    return (size_t)(5 + (size_class - 57) % 4) << ((size_class - 57) / 4 + 10);
}

/* One less, that, or one more. */
static size_t about(struct model *model, size_t bytes)
{
    return bytes - 1 + draw(model, 3);
}

static size_t some_bytes(struct model *model)
{
    switch (draw(model, 16)) {
    case 0: return draw(model, 33);
    case 1:
    case 2: return draw(model, HEAP_SMALLEST_STEP_END + 1);
    case 3: return draw(model, 4 * KIB);
    case 4: return draw(model, HEAP_LARGEST_SLOT);
    case 5:
    case 6: return about(model, model_class_bytes(1 + (unsigned)draw(model, HEAP_CLASSES - 1)));
    case 7: return about(model, HEAP_LARGEST_SLOT << draw(model, 4));
    case 8: return one_in(model, 4) ? draw(model, 300 * KIB) : draw(model, 60 * KIB);
    case 9:
        switch (draw(model, 16)) {
        case 0: return about(model, 9 * MIB);
        case 1: return draw(model, 12 * MIB);
        case 2:
        case 3: return about(model, MIB << draw(model, 2));
        default: return draw(model, 2 * MIB);
        }
    default: return model->favourites[draw(model, 4)];
    }
}

static enum heap_region some_region(struct model *model)
{
    return one_in(model, 2) ? HEAP_OBJECTS : HEAP_BUFFERS;
}

/* --- addresses ---------------------------------------------------------------------------------- */

static size_t set_at(const struct model_set *set, uintptr_t address)
{
    size_t at = (address >> 4) * 0x9e3779b97f4a7c15u >> 20 & (set->room - 1);
    while (set->slots[at] != 0 && set->slots[at] != address)
        at = (at + 1) & (set->room - 1);
    return at;
}

static bool set_has(const struct model_set *set, const void *address)
{
    return set->room != 0 && set->slots[set_at(set, (uintptr_t)address)] != 0;
}

/* What was dropped keeps its slot, with a bit that no address has. */
static void set_drop(struct model_set *set, const void *address)
{
    set->slots[set_at(set, (uintptr_t)address)] |= 1;
}

static void set_clear(struct model_set *set)
{
    free(set->slots);
    *set = (struct model_set){NULL, 0, 0};
}

static void set_add(struct model_set *set, const void *address)
{
    if (2 * set->count >= set->room) {
        struct model_set larger = {NULL, set->count, set->room == 0 ? 64 : 2 * set->room};
        larger.slots = calloc(larger.room, sizeof *larger.slots);
        for (size_t i = 0; i < set->room; i++)
            if (set->slots[i] != 0)
                larger.slots[set_at(&larger, set->slots[i])] = set->slots[i];
        free(set->slots);
        *set = larger;
    }
    size_t at = set_at(set, (uintptr_t)address);
    set->count += set->slots[at] == 0;
    set->slots[at] = (uintptr_t)address;
}

/* --- patterns ----------------------------------------------------------------------------------- */

/* Of a large block not every word counts, but some of each page. */
#define EVERY_WORD_TO (64 * KIB)

static uint64_t word_of(uint32_t number, size_t offset)
{
    uint64_t z = ((uint64_t)number << 32 | 1) * 0x9e3779b97f4a7c15u + offset * 0xbf58476d1ce4e5b9u;
    return z ^ z >> 29;
}

static size_t next_word(size_t offset, size_t filled)
{
    offset += sizeof(uint64_t);
    if (filled <= EVERY_WORD_TO || offset < 256 || offset + 256 >= filled || offset % HEAP_PAGE < 16)
        return offset;
    size_t page = (offset / HEAP_PAGE + 1) * HEAP_PAGE, end = (filled - 256) & ~(sizeof(uint64_t) - 1);
    return page < end ? page : end > offset ? end : offset;
}

static void fill(struct model *model, struct model_block *block)
{
    size_t usable = heap_block_bytes(model->heap, block->at), at = 0;
    MUST(usable >= block->bytes);
    block->number = ++model->numbers;
    block->filled = block->number % 3 == 0 ? usable : block->bytes;
    for (; at + sizeof(uint64_t) <= block->filled; at = next_word(at, block->filled)) {
        uint64_t word = word_of(block->number, at);
        memcpy(block->at + at, &word, sizeof word);
    }
    for (at = block->filled & ~(sizeof(uint64_t) - 1); at < block->filled; at++)
        block->at[at] = (char)word_of(block->number, at);
}

/* The first bytes of what is now at another place. */
static void verify_part(const char *at, const struct model_block *was, size_t bytes)
{
    for (size_t offset = 0; offset + sizeof(uint64_t) <= bytes; offset = next_word(offset, was->filled)) {
        uint64_t word;
        memcpy(&word, at + offset, sizeof word);
        MUST(word == word_of(was->number, offset));
    }
    for (size_t offset = was->filled & ~(size_t)7; offset < bytes; offset++)
        MUST(at[offset] == (char)word_of(was->number, offset));
}

static bool is_room(const struct model_block *block)
{
    return block->of_room != 0;
}

/* It is at its place. A block that shrinks to a slot's size stays in its room when no slot is to be had. */
static void settle_in(const struct model *model, struct model_block *block, char *at)
{
    if (block->bytes > HEAP_LARGEST_SLOT)
        block->of_room = block->bytes;
    else if (at != block->at)
        block->of_room = 0;
    else
        MUST(block->of_room == 0 || model->may_fail);
    block->at = at;
}

/* Slots of objects, and rooms. */
static bool has_marks(const struct model_block *block)
{
    return is_room(block) || block->region == HEAP_OBJECTS;
}

void model_verify(const struct model *model, const struct model_block *block)
{
    const struct heap *heap = model->heap;
    MUST(heap_owns(heap, block->at));
    MUST((uintptr_t)block->at % HEAP_GRAIN == 0);
    MUST(heap_block_bytes(heap, block->at) >= block->bytes);
    const struct heap_slab *slab = heap_slab_of(heap, block->at);
    MUST((slab->kind == HEAP_UNIT_ROOM) == is_room(block));
    MUST(is_room(block) || slab->region == block->region);
    verify_part(block->at, block, block->filled);
    if (has_marks(block))
        for (unsigned i = 0; i < MODEL_MARKS && i * HEAP_GRAIN < heap_block_bytes(heap, block->at); i++)
            MUST(heap_marked(heap, block->at + i * HEAP_GRAIN) == (block->marks >> i & 1));
    if (has_marks(block) && !model->unasked)
        MUST(heap_freed(heap, block->at) == set_has(&model->noted, block->at));
    if (model->sites) {
        const uint32_t *site = heap_site(heap, block->at);
        MUST(site != NULL && *site == block->site);
    }
}

/* --- blocks ------------------------------------------------------------------------------------- */

static bool refused(struct model *model, const void *block, size_t bytes)
{
    if (block != NULL)
        return false;
    /* A region has a quarter of the range; there is no larger block. */
    MUST(model->may_fail || bytes > model->heap->span / 4);
    model->refused++;
    return true;
}

struct model_block *model_alloc(struct model *model, enum heap_region region, size_t bytes, bool zeroed)
{
    char *at =
        zeroed ? heap_alloc_zeroed(model->heap, region, bytes) : heap_alloc(model->heap, region, bytes);
    if (refused(model, at, bytes))
        return NULL;
    MUST(!zeroed || bytes == 0 || (at[0] == 0 && memcmp(at, at + 1, bytes - 1) == 0));
    if (model->count == model->room) {
        model->room = model->room == 0 ? 256 : 2 * model->room;
        model->blocks = realloc(model->blocks, model->room * sizeof *model->blocks);
    }
    struct model_block *block = &model->blocks[model->count++];
    *block = (struct model_block){.bytes = bytes, .region = (uint8_t)region};
    settle_in(model, block, at);
    model->live_bytes += bytes;
    fill(model, block);
    model_verify(model, block);
    return block;
}

bool model_realloc(struct model *model, size_t index, size_t bytes)
{
    struct model_block *block = &model->blocks[index], was = *block;
    model_verify(model, block);
    char *at = heap_realloc(model->heap, block->at, bytes);
    if (refused(model, at, bytes)) {
        MUST(bytes > block->bytes);
        model_verify(model, block);
        return false;
    }
    verify_part(at, &was, bytes < was.filled ? bytes : was.filled);
    block->bytes = bytes;
    if (at != was.at) {
        block->marks = 0;
        block->site = 0;
    }
    settle_in(model, block, at);
    model->live_bytes += bytes - was.bytes;
    fill(model, block);
    model_verify(model, block);
    return true;
}

/* It is about to be freed: is it what it should be? The last block takes its index. */
static char *take_out(struct model *model, size_t index, bool note)
{
    struct model_block block = model->blocks[index];
    model_verify(model, &block);
    heap_freed_prefetch(model->heap, block.at);
    if (note && model->noting && has_marks(&block)) {
        if (set_has(&model->noted, block.at)) {
            heap_freed_forget(model->heap, block.at);
            set_drop(&model->noted, block.at);
        } else if (heap_freed_note(model->heap, block.at)) {
            MUST(heap_freed(model->heap, block.at));
            if (one_in(model, 4))
                heap_freed_forget(model->heap, block.at);
            else
                set_add(&model->noted, block.at);
        } else {
            MUST(model->may_fail);
        }
    }
    model->live_bytes -= block.bytes;
    model->blocks[index] = model->blocks[--model->count];
    return block.at;
}

void model_release(struct model *model, size_t index)
{
    heap_free(model->heap, take_out(model, index, false));
}

void model_thin(struct model *model, size_t n)
{
    for (size_t i = model->count; i-- > 0;)
        if (i % n != 0)
            model_release(model, i);
}

/* --- several at once ---------------------------------------------------------------------------- */

static void alloc_some(struct model *model)
{
    size_t bytes = some_bytes(model), count = 1 + draw(model, one_in(model, 8) ? 1000 : 20);
    enum heap_region region = some_region(model);
    for (size_t i = 0; i < count && model->live_bytes < model->at_most; i++) {
        if (model_alloc(model, region, bytes, false) == NULL)
            return;
        if (bytes > 64 * KIB)
            return;
    }
}

static void free_some(struct model *model)
{
    size_t count = draw(model, model->count + 1);
    for (size_t i = 0; i < count; i++)
        model_release(model, draw(model, model->count));
}

size_t model_evacuate(struct model *model, size_t at_most)
{
    size_t moved = 0;
    for (size_t i = 0; i < model->count && moved < at_most; i++) {
        struct model_block *block = &model->blocks[i];
        if (!heap_wants_move(model->heap, block->at))
            continue;
        model_verify(model, block);
        char *at = heap_move(model->heap, block->at);
        if (at == NULL) {
            MUST(model->may_fail);
            model_verify(model, block);
            continue;
        }
        MUST(at != block->at && !heap_wants_move(model->heap, at));
        block->at = at;
        block->marks = 0;
        model_verify(model, block);
        moved++;
    }
    model->moved += moved;
    return moved;
}

static void evacuate_begin(struct model *model)
{
    size_t bytes = heap_evacuate_begin(model->heap), wanted = 0;
    MUST((bytes != 0) == heap_evacuating(model->heap));
    for (size_t i = 0; i < model->count; i++)
        if (heap_wants_move(model->heap, model->blocks[i].at))
            wanted += heap_block_bytes(model->heap, model->blocks[i].at);
    MUST(wanted == bytes);
}

/* --- threads and forks -------------------------------------------------------------------------- */

#define REMOTE_AT_MOST 64u

struct remote {
    struct heap *heap;
    void *blocks[REMOTE_AT_MOST];
    size_t count;
};

static void *free_remotely(void *context)
{
    struct remote *remote = context;
    for (size_t i = 0; i < remote->count; i++)
        heap_free_remote(remote->heap, remote->blocks[i]);
    return NULL;
}

static void basic_step(struct model *model);

/* Others free blocks, while this thread goes on. */
static void free_from_elsewhere(struct model *model)
{
    struct remote remotes[2];
    pthread_t threads[2];
    for (unsigned i = 0; i < 2; i++) {
        remotes[i].heap = model->heap;
        remotes[i].count = 0;
        size_t count = draw(model, REMOTE_AT_MOST);
        for (; remotes[i].count < count && model->count > 0; remotes[i].count++)
            remotes[i].blocks[remotes[i].count] = take_out(model, draw(model, model->count), false);
    }
    for (unsigned i = 0; i < 2; i++) {
        if (model->alone)
            free_remotely(&remotes[i]);
        else
            MUST(pthread_create(&threads[i], NULL, free_remotely, &remotes[i]) == 0);
    }
    for (size_t i = draw(model, 20); i > 0; i--)
        basic_step(model);
    for (unsigned i = 0; i < 2 && !model->alone; i++)
        MUST(pthread_join(threads[i], NULL) == 0);
}

static void *take_over(void *context)
{
    struct model *model = context;
    bool alone = model->alone;
    model->alone = true;
    for (size_t i = 1 + draw(model, 30); i > 0; i--)
        model_step(model);
    model->alone = alone;
    return NULL;
}

static void hand_over(struct model *model)
{
    pthread_t thread;
    if (model->alone)
        return;
    MUST(pthread_create(&thread, NULL, take_over, model) == 0);
    MUST(pthread_join(thread, NULL) == 0);
}

static void go_on_in_child(struct model *model)
{
    if (model->alone)
        return;
    fflush(stdout);
    pid_t child = fork();
    MUST(child >= 0);
    if (child == 0) {
        alarm(120);
        take_over(model);
        model_verify_all(model);
        _exit(0);
    }
    int status;
    MUST(waitpid(child, &status, 0) == child);
    MUST(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

/* --- side tables -------------------------------------------------------------------------------- */

static void mark(struct model *model, struct model_block *block)
{
    unsigned grain = (unsigned)draw(model, MODEL_MARKS);
    if (grain * HEAP_GRAIN >= heap_block_bytes(model->heap, block->at))
        return;
    if (heap_mark(model->heap, block->at + grain * HEAP_GRAIN)) {
        MUST(has_marks(block));
        block->marks |= (uint8_t)(1u << grain);
    } else {
        MUST(!has_marks(block) || model->may_fail);
    }
    if (heap_block_bytes(model->heap, block->at) > MODEL_MARKS * HEAP_GRAIN) {
        MUST(!heap_mark(model->heap, block->at + MODEL_MARKS * HEAP_GRAIN));
        MUST(!heap_mark(model->heap, block->at + heap_block_bytes(model->heap, block->at) - HEAP_GRAIN));
    }
}

static int by_address(const void *a, const void *b)
{
    uintptr_t first = *(const uintptr_t *)a, second = *(const uintptr_t *)b;
    return first < second ? -1 : first > second;
}

struct expected {
    uintptr_t *marks;
    size_t count, seen;
};

static int see_marks(void *context, uintptr_t at, const uint64_t *words, size_t count)
{
    struct expected *expected = context;
    for (size_t i = 0; i < count; i++)
        for (uint64_t bits = words[i]; bits != 0; bits &= bits - 1, expected->seen++) {
            uintptr_t address = at + (i * 64 + (size_t)__builtin_ctzll(bits)) * HEAP_GRAIN;
            MUST(expected->seen < expected->count && expected->marks[expected->seen] == address);
        }
    return 0;
}

static int end_at_once(void *context, uintptr_t at, const uint64_t *words, size_t count)
{
    (void)at, (void)words, (void)count;
    ++*(int *)context;
    return 7;
}

static void verify_marks(struct model *model)
{
    struct expected expected = {malloc((model->count * MODEL_MARKS + 1) * sizeof(uintptr_t)), 0, 0};
    int calls = 0;
    heap_settle(model->heap);
    for (size_t i = 0; i < model->count; i++)
        for (unsigned grain = 0; grain < MODEL_MARKS; grain++)
            if (model->blocks[i].marks >> grain & 1)
                expected.marks[expected.count++] = (uintptr_t)model->blocks[i].at + grain * HEAP_GRAIN;
    qsort(expected.marks, expected.count, sizeof(uintptr_t), by_address);
    MUST(heap_each_marked(model->heap, see_marks, &expected) == 0);
    MUST(expected.seen == expected.count);
    if (expected.count != 0)
        MUST(heap_each_marked(model->heap, end_at_once, &calls) == 7 && calls == 1);
    free(expected.marks);
}

static void unmark_all(struct model *model)
{
    heap_unmark_all(model->heap);
    for (size_t i = 0; i < model->count; i++)
        model->blocks[i].marks = 0;
}

static void set_site(struct model *model, struct model_block *block)
{
    if (!model->sites) {
        MUST(heap_site(model->heap, block->at) == NULL);
        if (!one_in(model, 4))
            return;
        model->sites = heap_sites_enable(model->heap);
        MUST(model->sites || model->may_fail);
        return;
    }
    uint32_t *site = heap_site(model->heap, block->at);
    MUST(site != NULL && *site == block->site);
    *site = block->site = (uint32_t)draw(model, 1000);
    if (block->bytes > HEAP_UNIT)
        MUST(heap_site(model->heap, block->at + HEAP_UNIT) == NULL);
}

/* --- looking at the whole ----------------------------------------------------------------------- */

static const struct model_block *block_around(const struct model *model, const char *address)
{
    for (size_t i = 0; i < model->count; i++) {
        const struct model_block *block = &model->blocks[i];
        if (address >= block->at && address < block->at + heap_block_bytes(model->heap, block->at))
            return block;
    }
    return NULL;
}

static void look_at(struct model *model, const char *address)
{
    size_t bytes = 0;
    const struct model_block *block = block_around(model, address);
    MUST(heap_block_at(model->heap, address, &bytes) == (block == NULL ? NULL : block->at));
    MUST(block == NULL || bytes == heap_block_bytes(model->heap, block->at));
    MUST(block == NULL ||
         heap_points_at_moving(model->heap, (uintptr_t)address) == heap_wants_move(model->heap, block->at));
    MUST(heap_owns(model->heap, address) || !heap_points_at_moving(model->heap, (uintptr_t)address));
    MUST(block == NULL || heap_is_block_start(model->heap, address) == (address == block->at));
    MUST(block != NULL || !heap_owns(model->heap, address) || !heap_is_block_start(model->heap, address) ||
         (uintptr_t)address % HEAP_GRAIN == 0);
}

static void look_around(struct model *model)
{
    char *base = model->heap->base;
    size_t span = model->heap->span;
    heap_settle(model->heap);
    look_at(model, NULL);
    look_at(model, (char *)model);
    look_at(model, base - 1);
    look_at(model, base + span);
    look_at(model, base + span - 1);
    for (unsigned part = 0; part < 4; part++) {
        look_at(model, base + part * (span / 4));
        look_at(model, base + part * (span / 4) + draw(model, span / 4));
        look_at(model, base + part * (span / 4) + draw(model, 4 * MIB));
    }
    for (unsigned i = 0; i < 4 && model->count > 0; i++) {
        const struct model_block *block = &model->blocks[draw(model, model->count)];
        size_t usable = heap_block_bytes(model->heap, block->at);
        look_at(model, block->at);
        look_at(model, block->at + draw(model, usable));
        look_at(model, block->at + usable - 1);
        look_at(model, block->at + usable);
        look_at(model, block->at + usable + draw(model, 2 * HEAP_UNIT));
    }
}

struct viewing {
    const struct model *model;
    const struct model_block *block; /* is to be seen */
    uintptr_t last;
    size_t pages_seen, resident;
};

static void view_unit(void *context, const struct heap_unit_view *view)
{
    struct viewing *viewing = context;
    uintptr_t from = (uintptr_t)viewing->block->at;
    uintptr_t to = from + heap_block_bytes(viewing->model->heap, viewing->block->at);
    MUST(view->at > viewing->last && view->at % HEAP_UNIT == 0);
    viewing->last = view->at;
    for (size_t i = 0; i < HEAP_UNIT / HEAP_PAGE; i++) {
        uintptr_t page = view->at + i * HEAP_PAGE;
        viewing->resident += view->occupancy[i] != 255 ? HEAP_PAGE : 0;
        if (page + HEAP_PAGE <= from || page >= to)
            continue;
        MUST(view->occupancy[i] != 0 && view->occupancy[i] != 255);
        viewing->pages_seen++;
    }
}

static void verify_view(struct model *model, const struct heap_figures *figures)
{
    if (model->count == 0)
        return;
    struct viewing viewing = {.model = model, .block = &model->blocks[draw(model, model->count)]};
    heap_view(model->heap, view_unit, &viewing);
    uintptr_t from = (uintptr_t)viewing.block->at / HEAP_PAGE;
    uintptr_t last =
        ((uintptr_t)viewing.block->at + heap_block_bytes(model->heap, viewing.block->at) - 1) / HEAP_PAGE;
    MUST(viewing.pages_seen == last - from + 1);
    MUST(viewing.resident == figures->resident_bytes);
}

static void verify_figures(struct model *model)
{
    struct heap_figures figures;
    struct heap_class_figures of_class;
    heap_settle(model->heap);
    heap_tell(model->heap, &figures);
    unsigned size_class = 1 + (unsigned)draw(model, HEAP_CLASSES - 1);
    enum heap_region region = some_region(model);
    size_t live = 0, in_class = 0;
    for (size_t i = 0; i < model->count; i++) {
        const struct model_block *block = &model->blocks[i];
        size_t usable = heap_block_bytes(model->heap, block->at);
        live += is_room(block) ? block->of_room : usable;
        in_class += !is_room(block) && block->region == region && usable == model_class_bytes(size_class);
    }
    MUST(figures.blocks == model->count);
    MUST(figures.live_bytes == live);
    MUST(figures.moved_blocks == model->moved);
    MUST(figures.resident_bytes >= heap_dirty_bytes(model->heap));
    MUST(figures.side_bytes == heap_side_bytes(model->heap));
    heap_tell_class(model->heap, region, size_class, &of_class);
    MUST(of_class.slot_bytes == model_class_bytes(size_class));
    MUST(of_class.blocks == in_class);
    MUST(of_class.blocks <= of_class.slots);
    MUST(of_class.slots == of_class.slabs * (HEAP_UNIT / of_class.slot_bytes));
    verify_view(model, &figures);
}

void model_check(const struct model *model)
{
    const char *wrong = heap_check(model->heap);
    if (wrong != NULL)
        fprintf(stderr, "heap_check: %s\n", wrong);
    MUST(wrong == NULL);
}

void model_verify_all(struct model *model)
{
    model_check(model);
    for (size_t i = 0; i < model->count; i++)
        model_verify(model, &model->blocks[i]);
    verify_marks(model);
    verify_figures(model);
    model_check(model);
}

/* --- steps -------------------------------------------------------------------------------------- */

static void basic_step(struct model *model)
{
    if (one_in(model, 200))
        model->growing = 4 + (unsigned)draw(model, 9);
    if (model->count > 0 && one_in(model, 4)) {
        size_t index = draw(model, model->count), old = model->blocks[index].bytes;
        size_t bytes = one_in(model, 2)   ? some_bytes(model)
                       : one_in(model, 2) ? old + draw(model, old + 2)
                                          : draw(model, old + 1);
        if (bytes < old || model->live_bytes + bytes - old < model->at_most)
            (void)model_realloc(model, index, bytes);
        return;
    }
    size_t bytes = some_bytes(model);
    if (draw(model, 16) < model->growing && model->live_bytes + bytes < model->at_most) {
        (void)model_alloc(model, some_region(model), bytes, one_in(model, 4));
    } else if (model->count > 0) {
        char *at = take_out(model, draw(model, model->count), one_in(model, 2));
        heap_free(model->heap, at);
    }
}

static const uint64_t budgets[] = {0, 1, 20000, 200000, UINT64_MAX, UINT64_MAX};

static void rare_step(struct model *model)
{
    bool done;
    struct model_block *block = model->count > 0 ? &model->blocks[draw(model, model->count)] : NULL;
    switch (draw(model, 24)) {
    case 0:
    case 1: alloc_some(model); return;
    case 2:
        if (one_in(model, 4))
            free_some(model);
        return;
    case 3:
        if (one_in(model, 8))
            model_thin(model, 1 + draw(model, 20));
        return;
    case 4:
    case 5:
        model->now_ns += draw(model, 700) * MS;
        heap_tick(model->heap, model->now_ns);
        return;
    case 6:
    case 7:
    case 8:
        model->given +=
            heap_purge(model->heap, budgets[draw(model, sizeof budgets / sizeof *budgets)], &done);
        return;
    case 9: evacuate_begin(model); return;
    case 10: (void)model_evacuate(model, draw(model, 20)); return;
    case 11:
        if (one_in(model, 2))
            (void)model_evacuate(model, SIZE_MAX);
        heap_evacuate_end(model->heap);
        MUST(!heap_evacuating(model->heap));
        return;
    case 12: free_from_elsewhere(model); return;
    case 13:
        if (one_in(model, 4))
            hand_over(model);
        return;
    case 14:
        if (one_in(model, 8))
            go_on_in_child(model);
        return;
    case 15:
        if (one_in(model, 4))
            unmark_all(model);
        else
            verify_marks(model);
        return;
    case 16:
        if (one_in(model, 4)) {
            MUST(heap_freed_begin(model->heap));
            set_clear(&model->noted);
            model->noting = true;
            model->unasked = false;
        } else if (model->noting && one_in(model, 2)) {
            heap_freed_end(model->heap);
            model->noting = false;
            model->unasked = true;
        }
        return;
    case 17: look_around(model); return;
    case 18: verify_figures(model); return;
    case 19:
    case 20:
        if (block != NULL)
            set_site(model, block);
        return;
    default:
        if (block != NULL)
            mark(model, block);
        return;
    }
}

void model_step(struct model *model)
{
    model->steps++;
    if (one_in(model, 4))
        rare_step(model);
    else
        basic_step(model);
}

/* --- the model itself --------------------------------------------------------------------------- */

void model_new(struct model *model, const struct model_options *options,
               size_t (*below)(struct model *model, size_t n))
{
    struct model fresh = {.random = model->random, .input = model->input, .input_end = model->input_end};
    const struct heap_options heap_options = {.reserve = options->reserve, .ticks = options->ticks};
    *model = fresh;
    model->below = below;
    model->at_most = options->at_most;
    model->may_fail = options->reserve != 0;
    model->growing = 10;
    for (unsigned i = 0; i < 4; i++)
        model->favourites[i] = i == 3 ? draw(model, 20 * KIB) : draw(model, HEAP_SMALLEST_STEP_END);
    model->heap = heap_new(&heap_options);
    MUST(model->heap != NULL);
    model_check(model);
}

void model_free(struct model *model)
{
    heap_delete(model->heap);
    set_clear(&model->noted);
    free(model->blocks);
}
