/* test_program.c: the program goes on as if there were no clone: its waits, signals, descriptors, locks,
 * forks, threads; and when it ends, the clone ends. */
#define _GNU_SOURCE
#include "jobs.h"

#include <poll.h>
#include <pthread.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/prctl.h>

static struct orders *orders;
static struct snapshot snapshot;

static int set_up(void **state)
{
    (void)state;
    orders = new_orders();
    orders->words = 10;
    orders->stop = SNAPSHOT_STAGE_LISTED; /* until told to go on */
    snapshot = (struct snapshot){.state = SNAPSHOT_IDLE};
    return 0;
}

static int tear_down(void **state)
{
    (void)state;
    end_orders(orders);
    if (snapshot.state != SNAPSHOT_IDLE) /* after a failure: do not spoil the tests that follow */
        (void)release_all(&snapshot);
    return has_children();
}

static bool launched(void)
{
    return snapshot_launch(&snapshot, obey, orders, 10, 10, 30 * SECOND) == SNAPSHOT_FLYING &&
           reached(&snapshot, SNAPSHOT_STAGE_LISTED);
}

static bool answered(void)
{
    atomic_store(&orders->go, 1);
    return finish(&snapshot) == SNAPSHOT_ANSWERED && snapshot.answer->count == 10 &&
           snapshot.answer->words[9] == 27 && release_all(&snapshot);
}

static void wait_does_not_see_it(void **state)
{
    (void)state;
    int status;
    assert_true(launched());
    for (int turn = 0; turn < 200; turn++) {
        assert_int_equal(waitpid(-1, &status, turn % 2 ? WNOHANG : 0), -1);
        assert_int_equal(errno, ECHILD);
    }
    atomic_store(&orders->go, 1);
    while (atomic_load(&snapshot.answer->stage) != SNAPSHOT_STAGE_DONE)
        assert_int_equal(waitpid(-1, &status, 0), -1);
    for (int turn = 0; turn < 20; turn++) { /* it ends; it is a zombie */
        assert_int_equal(waitpid(-1, &status, WNOHANG), -1);
        assert_int_equal(errno, ECHILD);
        platform_nap(MS);
    }
    assert_true(answered());
}

static void the_programs_own_children_are_its_own(void **state)
{
    (void)state;
    int status;
    assert_true(launched());
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    assert_int_equal(waitpid(-1, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 7);
    child = fork();
    if (child == 0)
        _exit(8);
    atomic_store(&orders->go, 1);
    assert_int_equal(finish(&snapshot), SNAPSHOT_ANSWERED);
    for (int turn = 0; turn < 50; turn++) { /* reaps the clone, and nothing else */
        snapshot_release(&snapshot);
        platform_nap(MS);
    }
    assert_int_equal(waitpid(-1, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 8);
    assert_true(release_all(&snapshot));
}

static _Atomic int handled;

static void count_signal(int signal)
{
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

static void sigchld_is_not_sent(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = count_signal}, before;
    sigaction(SIGCHLD, &action, &before);
    atomic_store(&handled, 0);
    assert_true(launched());
    assert_true(answered());
    atomic_store(&orders->go, 0);
    assert_true(launched());
    kill((pid_t)snapshot.pid, SIGKILL);
    assert_int_equal(finish(&snapshot), SNAPSHOT_FAILED);
    assert_true(release_all(&snapshot));
    assert_int_equal(atomic_load(&handled), 0);
    sigaction(SIGCHLD, &before, NULL);
}

static void sigchld_may_be_ignored(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = SIG_IGN}, before;
    sigaction(SIGCHLD, &action, &before);
    assert_true(launched());
    assert_true(answered());
    atomic_store(&orders->go, 0);
    assert_true(launched());
    kill((pid_t)snapshot.pid, SIGKILL);
    assert_int_equal(finish(&snapshot), SNAPSHOT_FAILED);
    assert_int_equal(snapshot.error, SIGKILL); /* it is still there to be reaped */
    assert_true(release_all(&snapshot));
    sigaction(SIGCHLD, &before, NULL);
}

static void a_closed_pipe_is_closed(void **state)
{
    (void)state;
    int ends[2];
    char byte;
    assert_int_equal(pipe(ends), 0);
    assert_true(launched());
    close(ends[1]);
    struct pollfd reader = {.fd = ends[0], .events = POLLIN};
    assert_int_equal(poll(&reader, 1, 5000), 1);
    assert_int_equal(read(ends[0], &byte, 1), 0); /* end of file, with the clone in flight */
    assert_int_equal(atomic_load(&snapshot.answer->stage), SNAPSHOT_STAGE_LISTED);
    close(ends[0]);
    assert_true(answered());
}

static void epoll_forgets_what_is_closed(void **state)
{
    (void)state;
    int ends[2], epoll = epoll_create1(EPOLL_CLOEXEC);
    struct epoll_event event = {.events = EPOLLIN};
    assert_int_equal(pipe(ends), 0);
    int other = dup(ends[1]);
    assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, ends[0], &event), 0);
    assert_int_equal(write(other, "x", 1), 1);
    assert_int_equal(epoll_wait(epoll, &event, 1, 0), 1);
    assert_true(launched());
    close(ends[0]); /* a second holder would keep it in the set, ready for ever */
    assert_int_equal(epoll_wait(epoll, &event, 1, 0), 0);
    close(ends[1]);
    close(other);
    close(epoll);
    assert_true(answered());
}

static void locks_go_with_their_descriptor(void **state)
{
    (void)state;
    char path[] = "/tmp/midden-test-XXXXXX";
    int first = mkstemp(path), second = open(path, O_RDWR);
    assert_true(first >= 0 && second >= 0);
    assert_int_equal(flock(first, LOCK_EX), 0);
    assert_true(launched());
    assert_int_equal(flock(second, LOCK_EX | LOCK_NB), -1);
    close(first);
    assert_int_equal(flock(second, LOCK_EX | LOCK_NB), 0);
    assert_true(answered());
    close(second);
    unlink(path);
}

/* The clone closes what it got without closing it for the program: POSIX locks are lost at any close. */
static void locks_stay_when_the_clone_ends(void **state)
{
    (void)state;
    char path[] = "/tmp/midden-test-XXXXXX";
    int file = mkstemp(path), status;
    struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
    assert_int_equal(fcntl(file, F_SETLK, &lock), 0);
    assert_true(launched());
    assert_true(answered());
    pid_t child = fork();
    if (child == 0)
        _exit(fcntl(file, F_SETLK, &lock) == 0);
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(WEXITSTATUS(status), 0);
    close(file);
    unlink(path);
}

static int daemonize(void)
{
    EXPECT(launched());
    closefrom(0);
    EXPECT(setsid() > 0);
    EXPECT(open("/dev/null", O_RDWR) == 0);
    EXPECT(answered());
    EXPECT(open("/dev/null", O_RDWR) == 1); /* and 0 was left alone */
    return 0;
}

static int daemonize_and_tell(void)
{
    /* in_child's pipe is among what gets closed: the status is all there is */
    _exit(daemonize() != 0);
}

static void descriptors_may_all_be_closed(void **state)
{
    (void)state;
    assert_int_equal(in_child(daemonize_and_tell, 20), 0);
}

static int forked_in_flight(void)
{
    /* the child of a program with a snapshot in flight */
    int64_t clone = snapshot.pid;
    uint64_t end = platform_now_ns() + 10 * SECOND;
    while (snapshot_poll(&snapshot) == SNAPSHOT_FLYING && platform_now_ns() < end)
        platform_nap(MS);
    EXPECT(snapshot.state == SNAPSHOT_FAILED && snapshot.failure == SNAPSHOT_DIED);
    EXPECT(snapshot.error == ECHILD);
    snapshot_forget(&snapshot);
    EXPECT(snapshot.state == SNAPSHOT_IDLE && snapshot.answer == NULL);
    EXPECT(kill((pid_t)clone, 0) == 0); /* untouched */

    struct orders *own = new_orders();
    own->words = 10;
    EXPECT(snapshot_launch(&snapshot, obey, own, 10, 10, 20 * SECOND) == SNAPSHOT_FLYING);
    EXPECT(finish(&snapshot) == SNAPSHOT_ANSWERED && snapshot.answer->count == 10);
    EXPECT(release_all(&snapshot));
    return 0;
}

static int released_after_fork(void)
{
    int64_t clone = snapshot.pid;
    snapshot_release(&snapshot); /* not even then */
    EXPECT(snapshot.state == SNAPSHOT_IDLE);
    platform_nap(20 * MS);
    EXPECT(kill((pid_t)clone, 0) == 0);
    return 0;
}

static int done_after_fork(void)
{
    atomic_store(&orders->go, 1);
    EXPECT(reached(&snapshot, SNAPSHOT_STAGE_DONE));
    EXPECT(snapshot_poll(&snapshot) == SNAPSHOT_FAILED); /* it was asked for about the parent's heap */
    snapshot_forget(&snapshot);
    return 0;
}

static void fork_in_flight(void **state)
{
    (void)state;
    assert_true(launched());
    assert_int_equal(in_child(forked_in_flight, 20), 0);
    assert_int_equal(in_child(released_after_fork, 20), 0);
    assert_int_equal(snapshot_poll(&snapshot), SNAPSHOT_FLYING);
    assert_int_equal(in_child(done_after_fork, 20), 0);
    assert_true(answered());
}

static int fork_with_ending_clones(void)
{
    struct snapshot own = {.state = SNAPSHOT_IDLE};
    snapshot_release(&own); /* looks at the list of ending clones, which is the parent's */
    EXPECT(!has_children());
    return 0;
}

static void fork_after_release(void **state)
{
    (void)state;
    assert_true(launched());
    snapshot_release(&snapshot);
    assert_int_equal(in_child(fork_with_ending_clones, 20), 0);
    assert_true(release_all(&snapshot));
}

static void *launch_and_end(void *arg)
{
    *(bool *)arg = snapshot_launch(&snapshot, obey, orders, 10, 10, 30 * SECOND) == SNAPSHOT_FLYING;
    return NULL;
}

static void the_launching_thread_may_end(void **state)
{
    (void)state;
    pthread_t thread;
    bool flying = false;
    pthread_create(&thread, NULL, launch_and_end, &flying);
    pthread_join(thread, NULL);
    assert_true(flying);
    assert_true(reached(&snapshot, SNAPSHOT_STAGE_LISTED));
    platform_nap(50 * MS); /* asking again and again whether the program lives */
    assert_int_equal(snapshot_poll(&snapshot), SNAPSHOT_FLYING);
    assert_true(answered());
}

static int program_is_killed(void)
{
    int ends[2], status;
    EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    EXPECT(pipe(ends) == 0);
    pid_t program = fork();
    if (program == 0) {
        bool fine = launched();
        if (!fine || write(ends[1], &snapshot.pid, sizeof snapshot.pid) != sizeof snapshot.pid)
            _exit(1);
        for (;;)
            pause();
    }
    int64_t clone = 0;
    EXPECT(read(ends[0], &clone, sizeof clone) == sizeof clone && clone > 0);
    EXPECT(kill(program, SIGKILL) == 0);
    EXPECT(waitpid(program, &status, 0) == program);
    uint64_t before = platform_now_ns();
    EXPECT(waitpid((pid_t)clone, &status, 0) == clone);
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    EXPECT(platform_now_ns() - before < 5 * SECOND);
    return 0;
}

static void the_clone_ends_with_the_program(void **state)
{
    (void)state;
    assert_int_equal(in_child(program_is_killed, 20), 0);
}

static void sleep_on(void *arg)
{
    (void)arg;
    for (;;)
        platform_nap(SECOND);
}

/* exec() keeps the process id, and the clone stays the child of whatever runs next; what the clone sees of an
 * exec is that the program's other threads are gone. */
static int exec_in_flight(void)
{
    int ends[2], status;
    EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    EXPECT(pipe(ends) == 0);
    pid_t program = fork();
    if (program == 0) {
        struct platform_thread thread;
        bool fine = launched() && platform_thread_start(&thread, sleep_on, NULL) == 0;
        while (fine && atomic_load(&thread.id) == 0)
            platform_nap(MS);
        if (fine)
            snapshot_watch(snapshot.answer, &thread);
        platform_nap(50 * MS);
        fine = fine && snapshot_poll(&snapshot) == SNAPSHOT_FLYING; /* while the watcher lives */
        if (!fine || write(ends[1], &snapshot.pid, sizeof snapshot.pid) != sizeof snapshot.pid)
            _exit(1);
        execlp("sleep", "sleep", "100", (char *)NULL);
        _exit(1);
    }
    int64_t clone = 0;
    EXPECT(read(ends[0], &clone, sizeof clone) == sizeof clone && clone > 0);
    uint64_t end = platform_now_ns() + 10 * SECOND;
    while (strstr(file_of(clone, "stat"), ") Z ") == NULL && platform_now_ns() < end)
        platform_nap(MS);
    EXPECT(strstr(file_of(clone, "stat"), ") Z ") != NULL);
    EXPECT(kill(program, SIGKILL) == 0);
    EXPECT(waitpid(program, &status, 0) == program && WIFSIGNALED(status));
    EXPECT(waitpid((pid_t)clone, &status, 0) == clone);
    return 0;
}

static void the_clone_ends_with_exec(void **state)
{
    (void)state;
    assert_int_equal(in_child(exec_in_flight, 20), 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        TEST(wait_does_not_see_it),
        TEST(the_programs_own_children_are_its_own),
        TEST(sigchld_is_not_sent),
        TEST(sigchld_may_be_ignored),
        TEST(a_closed_pipe_is_closed),
        TEST(epoll_forgets_what_is_closed),
        TEST(locks_go_with_their_descriptor),
        TEST(locks_stay_when_the_clone_ends),
        TEST(descriptors_may_all_be_closed),
        TEST(fork_in_flight),
        TEST(fork_after_release),
        TEST(the_launching_thread_may_end),
        TEST(the_clone_ends_with_the_program),
        TEST(the_clone_ends_with_exec),
    };
    return cmocka_run_group_tests_name("snapshot: the program", tests, NULL, NULL);
}
