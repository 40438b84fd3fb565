/* test_clone.c: what a clone is and is not: its descriptors, signals, score, limits, its end. */
#define _GNU_SOURCE
#include "processes.h"

#include <grp.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>

#ifndef SYS_close_range
#define SYS_close_range 436
#endif

/* Run in a clone; gives how it ended, and its status. */
static enum platform_reaped in_clone(int (*run)(void), int *status)
{
    int64_t pid = platform_clone();
    if (pid == 0)
        platform_clone_exit(run());
    assert_true(pid > 0);
    return platform_reap(pid, true, status, NULL);
}

static int64_t sleeping_clone(void)
{
    int64_t program = platform_process_id();
    int64_t pid = platform_clone();
    if (pid == 0) {
        while (platform_program_lives(program))
            platform_nap(5 * MS);
        platform_clone_exit(0);
    }
    return pid;
}

static void end(int64_t pid)
{
    int status;
    platform_kill(pid);
    assert_int_equal(platform_reap(pid, true, &status, NULL), PLATFORM_KILLED);
    assert_int_equal(status, SIGKILL);
}

static int give_42(void)
{
    return 42;
}

static int crash(void)
{
    volatile char *page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    *page = 1;
    return 0;
}

static void how_it_ends(void **state)
{
    (void)state;
    int status = -1;
    errno = 77;
    assert_int_equal(in_clone(give_42, &status), PLATFORM_ENDED);
    assert_int_equal(status, 42);
    assert_int_equal(errno, 77);

    int64_t pid = sleeping_clone();
    assert_int_equal(platform_reap(pid, false, &status, NULL), PLATFORM_RUNNING);
    end(pid);
    assert_int_equal(platform_reap(pid, true, &status, NULL), PLATFORM_GONE);
    assert_int_equal(platform_reap(-1, true, &status, NULL), PLATFORM_GONE);
    assert_int_equal(platform_reap(0, true, &status, NULL), PLATFORM_GONE);
}

/* A blocked SIGSEGV still kills: no handler of the program's runs in the clone. */
static void a_crash_ends_it(void **state)
{
    (void)state;
    int status = -1;
    assert_int_equal(in_clone(crash, &status), PLATFORM_KILLED);
    assert_int_equal(status, SIGSEGV);
}

static int burn_30_ms(void)
{
    while (platform_cpu_ns() < 30 * MS)
        continue;
    return 0;
}

static void its_cpu_time_is_told(void **state)
{
    (void)state;
    int status;
    uint64_t cpu_ns = 0;
    int64_t pid = platform_clone();
    if (pid == 0)
        platform_clone_exit(burn_30_ms());
    assert_int_equal(platform_reap(pid, true, &status, &cpu_ns), PLATFORM_ENDED);
    assert_in_range(cpu_ns, 20 * MS, 2 * SECOND);
}

static int burn(void)
{
    platform_clone_limit_cpu(1);
    while (platform_cpu_ns() < 20 * SECOND)
        continue;
    return 0;
}

static void its_cpu_time_is_limited(void **state)
{
    (void)state;
    int status;
    assert_int_equal(in_clone(burn, &status), PLATFORM_KILLED);
    assert_int_equal(status, SIGKILL);
}

static int open_descriptors(void)
{
    int count = 0;
    for (int number = 0; number < 3000; number++)
        count += fcntl(number, F_GETFD) >= 0;
    return count;
}

static void it_has_no_descriptors(void **state)
{
    (void)state;
    int status = -1, far = fcntl(1, F_DUPFD, 700);
    assert_true(open_descriptors() >= 4);
    assert_int_equal(in_clone(open_descriptors, &status), PLATFORM_ENDED);
    assert_int_equal(status, 0);
    assert_true(fcntl(far, F_GETFD) >= 0); /* and the program still has its own */
    close(far);
}

/* A kernel before 5.9, or a sandbox that does not know the call. */
static int forbid_close_range(void)
{
    struct sock_filter filter[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_close_range, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOSYS),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog program = {.len = 4, .filter = filter};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) != 0)
        return -1;
    return prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program);
}

static int descriptors_on_an_old_kernel(void)
{
    int status = -1;
    EXPECT(forbid_close_range() == 0);
    EXPECT(syscall(SYS_close_range, ~0U, ~0U, 0) == -1 && errno == ENOSYS);
    EXPECT(fcntl(1, F_DUPFD, 700) >= 700);
    while (open("/dev/null", O_RDONLY) >= 0) /* not one left for /proc/self/fd */
        continue;
    int before = open_descriptors();
    EXPECT(before > 700);
    int64_t pid = platform_clone();
    if (pid == 0)
        platform_clone_exit(open_descriptors());
    EXPECT(pid > 0);
    EXPECT(platform_reap(pid, true, &status, NULL) == PLATFORM_ENDED);
    EXPECT(status == 0);
    EXPECT(open_descriptors() == before);
    return 0;
}

static void it_has_no_descriptors_on_an_old_kernel(void **state)
{
    (void)state;
    /* First in its process: what the kernel can do is asked once. */
    assert_int_equal(in_child(descriptors_on_an_old_kernel, 20), 0);
}

static _Atomic int handled;

static void count_signal(int signal)
{
    (void)signal;
    atomic_fetch_add(&handled, 1);
}

static int raise_signals(void)
{
    int64_t self = platform_process_id();
    for (int signal = 1; signal <= 31; signal++)
        if (signal != SIGKILL && signal != SIGSTOP)
            EXPECT(kill((pid_t)self, signal) == 0);
    return atomic_load(&handled) == 0 ? 0 : 1;
}

/* Ctrl-C and Ctrl-Z go to every process of the terminal. */
static void no_signal_reaches_it(void **state)
{
    (void)state;
    int status = -1;
    struct sigaction action = {.sa_handler = count_signal}, before;
    sigaction(SIGINT, &action, &before);
    assert_int_equal(in_clone(raise_signals, &status), PLATFORM_ENDED);
    assert_int_equal(status, 0);
    sigaction(SIGINT, &before, NULL);
}

static void the_program_keeps_its_mask(void **state)
{
    (void)state;
    sigset_t mask, before, after;
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, &before);
    end(sleeping_clone());
    sigprocmask(SIG_SETMASK, &before, &after);
    sigaddset(&before, SIGUSR2);
    for (int signal = 1; signal <= 64; signal++)
        assert_int_equal(sigismember(&before, signal), sigismember(&after, signal));
}

static bool scored(int64_t pid)
{
    uint64_t end_ns = platform_now_ns() + 10 * SECOND;
    while (strcmp(file_of(pid, "comm"), "midden-snapshot\n") != 0 && platform_now_ns() < end_ns)
        platform_nap(MS);
    return strcmp(file_of(pid, "oom_score_adj"), "1000\n") == 0;
}

static bool killed(int64_t pid)
{
    int status;
    platform_kill(pid);
    return platform_reap(pid, true, &status, NULL) == PLATFORM_KILLED;
}

static void the_oom_killer_takes_it_first(void **state)
{
    (void)state;
    long before = strtol(file_text("/proc/self/oom_score_adj"), NULL, 10);
    int64_t pid = sleeping_clone();
    assert_true(scored(pid));
    assert_int_equal(strtol(file_text("/proc/self/oom_score_adj"), NULL, 10), before);
    end(pid);
}

/* Raising the score needs no privilege, but a program that gave up root owns nothing in its /proc. And
 * RLIMIT_NPROC does not hold for root. */
static int as_ordinary_user(void)
{
    if (getuid() == 0) {
        EXPECT(setgroups(0, NULL) == 0 && setgid(65534) == 0 && setuid(65534) == 0);
        EXPECT(prctl(PR_GET_DUMPABLE) != 1);
        int64_t pid = sleeping_clone();
        EXPECT(pid > 0 && !scored(pid) && killed(pid));
        EXPECT(prctl(PR_SET_DUMPABLE, 1) == 0); /* from here on as after an ordinary login */
    }
    int64_t pid = sleeping_clone();
    EXPECT(pid > 0 && scored(pid) && killed(pid));
    EXPECT(prctl(PR_GET_DUMPABLE) == 1);

    struct rlimit none = {0, 0};
    EXPECT(setrlimit(RLIMIT_NPROC, &none) == 0);
    EXPECT(platform_clone() == -EAGAIN);
    sigset_t mask;
    sigprocmask(SIG_SETMASK, NULL, &mask);
    EXPECT(sigismember(&mask, SIGTERM) == 0); /* after a refusal, too */
    return 0;
}

static void an_ordinary_user_may(void **state)
{
    (void)state;
    assert_int_equal(in_child(as_ordinary_user, 20), 0);
}

/* The launcher of the clone ends first; we are made the one who inherits it, to see its end. */
static int clone_outlives_its_program(void)
{
    int ends[2];
    EXPECT(prctl(PR_SET_CHILD_SUBREAPER, 1) == 0);
    EXPECT(pipe(ends) == 0);
    pid_t program = fork();
    if (program == 0) {
        int64_t pid = sleeping_clone();
        _exit(write(ends[1], &pid, sizeof pid) != sizeof pid);
    }
    int64_t pid = 0;
    int status;
    EXPECT(read(ends[0], &pid, sizeof pid) == sizeof pid && pid > 0);
    EXPECT(waitpid(program, &status, 0) == program);
    EXPECT(waitpid((pid_t)pid, &status, 0) == pid); /* the alarm of in_child is the limit */
    EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    return 0;
}

static void it_sees_the_program_end(void **state)
{
    (void)state;
    assert_int_equal(in_child(clone_outlives_its_program, 20), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_has_no_descriptors_on_an_old_kernel),
        cmocka_unit_test(how_it_ends),
        cmocka_unit_test(a_crash_ends_it),
        cmocka_unit_test(its_cpu_time_is_told),
        cmocka_unit_test(its_cpu_time_is_limited),
        cmocka_unit_test(it_has_no_descriptors),
        cmocka_unit_test(no_signal_reaches_it),
        cmocka_unit_test(the_program_keeps_its_mask),
        cmocka_unit_test(the_oom_killer_takes_it_first),
        cmocka_unit_test(an_ordinary_user_may),
        cmocka_unit_test(it_sees_the_program_end),
    };
    return cmocka_run_group_tests_name("platform: clone", tests, NULL, NULL);
}
