/* test_memory.c: pages, time, and waiting on a word. */
#define _GNU_SOURCE
#include "processes.h"

#include <pthread.h>
#include <sys/resource.h>

static void pages_are_zeroed_and_private(void **state)
{
    (void)state;
    size_t page = platform_page_bytes();
    assert_true(page >= 4096 && (page & (page - 1)) == 0);
    unsigned char *pages = platform_map(3 * page - 1);
    assert_non_null(pages);
    for (size_t at = 0; at < 3 * page; at++)
        assert_int_equal(pages[at], 0);
    memset(pages, 7, 3 * page);
    platform_unmap(pages, 3 * page - 1);
    platform_unmap(NULL, 17);
}

static void more_than_there_is_is_refused(void **state)
{
    (void)state;
    errno = 77;
    assert_null(platform_map(0));
    assert_null(platform_map(SIZE_MAX));
    assert_null(platform_map(SIZE_MAX / 2));
    assert_null(platform_map_shared(SIZE_MAX / 4));
    void *pages = platform_map(1);
    assert_non_null(pages);
    assert_null(platform_remap(pages, 1, SIZE_MAX / 4));
    *(char *)pages = 1; /* still there */
    platform_unmap(pages, 1);
    assert_int_equal(errno, 77); /* midden works inside the program's malloc */
}

static void not_reserved_in_advance(void **state)
{
    (void)state;
    /* 64 GiB of room that nobody uses */
    size_t bytes = (size_t)64 << 30;
    char *pages = platform_map(bytes);
    if (pages == NULL)
        skip(); /* vm.overcommit_memory is 2 */
    pages[bytes - 1] = 1;
    platform_unmap(pages, bytes);
}

static void remap_keeps_content(void **state)
{
    (void)state;
    size_t page = platform_page_bytes();
    size_t *pages = platform_map(page);
    size_t each = page / sizeof *pages;
    for (size_t at = 0; at < each; at++)
        pages[at] = at;
    pages = platform_remap(pages, page, 1000 * page);
    assert_non_null(pages);
    for (size_t at = 0; at < 1000 * each; at++)
        assert_int_equal(pages[at], at < each ? at : 0);
    pages = platform_remap(pages, 1000 * page, page);
    assert_non_null(pages);
    assert_int_equal(pages[each - 1], each - 1);
    platform_unmap(pages, page);
}

#define MIB ((size_t)1 << 20)

static void reserved_pages_are_committed_and_purged(void **state)
{
    (void)state;
    size_t page = platform_page_bytes();
    unsigned char each[4];
    assert_null(platform_reserve(0, page));
    assert_null(platform_reserve(SIZE_MAX / 2, page));
    char *pages = platform_reserve(16 * MIB, 2 * MIB);
    assert_non_null(pages);
    assert_int_equal((uintptr_t)pages % (2 * MIB), 0);
    assert_true(platform_commit(pages + page, 4 * page));
    platform_advise_huge(pages, 16 * MIB, false);
    assert_int_equal(pages[page], 0);
    memset(pages + page, 7, 3 * page);
    assert_true(platform_resident(pages + page, 4 * page, each));
    assert_memory_equal(each, "\1\1\1\0", 4);
    assert_true(platform_purge(pages + 2 * page, page));
    assert_true(platform_resident(pages + page, 4 * page, each));
    assert_memory_equal(each, "\1\0\1\0", 4);
    assert_int_equal(pages[2 * page], 0);
    assert_int_equal(pages[3 * page], 7);
    platform_unmap(pages, 16 * MIB);
    assert_false(platform_resident(pages, page, each));
}

/* 9 MiB, which the system knows as several mappings, next to a place of the same size. */
static size_t *pages_to_move(char *pages)
{
    size_t *from = (size_t *)pages, count = 9 * MIB / sizeof *from;
    if (!platform_commit(pages, 32 * MIB))
        return NULL;
    platform_advise_huge(pages, 32 * MIB, false);
    platform_advise_huge(pages + MIB, 2 * MIB, true);
    platform_advise_huge(pages + 4 * MIB, 4 * MIB, true);
    for (size_t at = 0; at < count; at++)
        from[at] = at;
    memset(pages + 16 * MIB, 7, 10 * MIB);
    return from;
}

static int move_pages(void)
{
    char *pages = platform_reserve(32 * MIB, 2 * MIB);
    EXPECT(pages != NULL);
    size_t *from = pages_to_move(pages), *to = (size_t *)(pages + 16 * MIB), count = 9 * MIB / sizeof *to;
    EXPECT(from != NULL);
    if (!platform_move(from, to, 9 * MIB))
        return 0; /* before Linux 5.7 */
    for (size_t at = 0; at < count; at++)
        EXPECT(to[at] == at && from[at] == 0);
    EXPECT(pages[25 * MIB] == 7);
    /* Once more, and back: what was moved is a mapping of its own. */
    EXPECT(platform_move(to, from, 9 * MIB));
    EXPECT(platform_move(from, to, 9 * MIB));
    for (size_t at = 0; at < count; at++)
        EXPECT(to[at] == at && from[at] == 0);
    platform_unmap(pages, 32 * MIB);
    return 0;
}

static void move_takes_pages_along(void **state)
{
    (void)state;
    assert_int_equal(in_child(move_pages, 20), 0);
}

/* A program may limit itself when it has long begun: the system then refuses some steps of a move, but not
 * others. */
static int move_without_address_space(void)
{
    char *pages = platform_reserve(32 * MIB, 2 * MIB);
    EXPECT(pages != NULL);
    size_t *from = pages_to_move(pages), *to = (size_t *)(pages + 16 * MIB), count = 9 * MIB / sizeof *to;
    EXPECT(from != NULL);
    const struct rlimit limit = {4 * MIB, 4 * MIB};
    EXPECT(setrlimit(RLIMIT_AS, &limit) == 0);
    if (platform_move(from, to, 9 * MIB))
        return 0;
    for (size_t at = 0; at < count; at++)
        EXPECT(from[at] == at);
    for (size_t at = 0; at < 9 * MIB; at++)
        EXPECT(pages[16 * MIB + at] == 7);
    return 0;
}

static void move_changes_nothing_when_refused(void **state)
{
    (void)state;
    if (SANITIZED)
        skip(); /* they need address space themselves */
    assert_int_equal(in_child(move_without_address_space, 20), 0);
}

static void resident_bytes_follow_what_is_touched(void **state)
{
    (void)state;
    size_t bytes = (size_t)64 << 20;
    size_t before = platform_resident_bytes();
    char *pages = platform_map(bytes);
    assert_true(before > 0);
    memset(pages, 1, bytes);
    assert_true(platform_resident_bytes() > before + bytes / 2);
    platform_unmap(pages, bytes);
    assert_true(platform_resident_bytes() < before + bytes / 2);
}

static int resident_without_descriptors(void)
{
    closefrom(0);
    while (open("/dev/null", O_RDONLY) >= 0)
        continue;
    EXPECT(errno == EMFILE);
    EXPECT(platform_resident_bytes() > 0);
    return 0;
}

static void resident_bytes_need_no_descriptor(void **state)
{
    (void)state;
    assert_int_equal(in_child(resident_without_descriptors, 20), 0);
}

static void time_goes_on(void **state)
{
    (void)state;
    uint64_t now = platform_now_ns(), cpu = platform_cpu_ns();
    platform_nap(20 * MS);
    assert_in_range(platform_now_ns() - now, 20 * MS, 2 * SECOND);
    assert_true(platform_cpu_ns() - cpu < 20 * MS);
    while (platform_cpu_ns() - cpu < 20 * MS)
        continue;
}

static void wait_ends_by_time_and_by_value(void **state)
{
    (void)state;
    _Atomic uint32_t word = 5;
    uint64_t now = platform_now_ns();
    platform_wait(&word, 4, UINT64_MAX); /* not that value: returns at once */
    platform_wait(&word, 5, 30 * MS);
    assert_in_range(platform_now_ns() - now, 30 * MS, 2 * SECOND);
}

static void *change_word(void *arg)
{
    _Atomic uint32_t *word = arg;
    platform_nap(20 * MS);
    atomic_store(word, 1);
    platform_wake(word);
    return NULL;
}

static void wait_ends_by_wake(void **state)
{
    (void)state;
    _Atomic uint32_t word = 0;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, change_word, (void *)&word), 0);
    while (atomic_load(&word) == 0)
        platform_wait(&word, 0, UINT64_MAX);
    pthread_join(thread, NULL);
}

static void this_machine_is_supported(void **state)
{
    (void)state;
    assert_null(platform_unsupported());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pages_are_zeroed_and_private),
        cmocka_unit_test(more_than_there_is_is_refused),
        cmocka_unit_test(not_reserved_in_advance),
        cmocka_unit_test(remap_keeps_content),
        cmocka_unit_test(reserved_pages_are_committed_and_purged),
        cmocka_unit_test(move_takes_pages_along),
        cmocka_unit_test(move_changes_nothing_when_refused),
        cmocka_unit_test(resident_bytes_follow_what_is_touched),
        cmocka_unit_test(resident_bytes_need_no_descriptor),
        cmocka_unit_test(time_goes_on),
        cmocka_unit_test(wait_ends_by_time_and_by_value),
        cmocka_unit_test(wait_ends_by_wake),
        cmocka_unit_test(this_machine_is_supported),
    };
    return cmocka_run_group_tests_name("platform: memory, time, waiting", tests, NULL, NULL);
}
