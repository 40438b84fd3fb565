/* faults.c: the failures that a test asks for (see platform.h); empty unless built with MIDDEN_FAULTS.
 *
 * Counts are per process: a clone starts with the program's, and what it counts stays its own. */
#include "platform.h"

#ifdef MIDDEN_FAULTS

#include <string.h>

#define EVERY UINT64_MAX

static const char *const names[PLATFORM_FAULTS] = {
    [PLATFORM_FAULT_MAP] = "map",       [PLATFORM_FAULT_SHARED] = "shared", [PLATFORM_FAULT_CLONE] = "clone",
    [PLATFORM_FAULT_THREAD] = "thread", [PLATFORM_FAULT_COMMIT] = "commit", [PLATFORM_FAULT_PURGE] = "purge",
    [PLATFORM_FAULT_MOVE] = "move",     [PLATFORM_FAULT_KILL] = "kill",     [PLATFORM_FAULT_HANG] = "hang",
};

static struct {
    _Atomic uint64_t wanted; /* the call that fails, from 1; 0: none; EVERY */
    _Atomic uint64_t calls;
} faults[PLATFORM_FAULTS];

/* One "name=number" or "name=*"; what cannot be read asks for nothing. */
static void load_one(const char *text, size_t length)
{
    for (int kind = 0; kind < PLATFORM_FAULTS; kind++) {
        size_t name = strlen(names[kind]);
        if (length < name + 2 || memcmp(text, names[kind], name) != 0 || text[name] != '=')
            continue;
        uint64_t wanted = 0;
        for (size_t at = name + 1; at < length; at++) {
            if (text[at] == '*' && length == name + 2)
                wanted = EVERY;
            else if (text[at] >= '0' && text[at] <= '9')
                wanted = wanted * 10 + (uint64_t)(text[at] - '0');
            else
                return;
        }
        faults[kind].wanted = wanted;
    }
}

void platform_faults_load(const char *text)
{
    for (int kind = 0; kind < PLATFORM_FAULTS; kind++) {
        faults[kind].wanted = 0;
        faults[kind].calls = 0;
    }
    while (text != NULL && *text != '\0') {
        size_t length = strcspn(text, ",");
        load_one(text, length);
        text += length + (text[length] == ',');
    }
}

bool platform_fault(enum platform_fault kind)
{
    uint64_t call = atomic_fetch_add(&faults[kind].calls, 1) + 1;
    uint64_t wanted = faults[kind].wanted;
    return wanted == EVERY || wanted == call;
}

static bool asked_for(enum platform_fault kind, uint32_t stage)
{
    uint64_t wanted = faults[kind].wanted;
    return wanted == EVERY || (wanted != 0 && wanted == stage);
}

void platform_fault_at(uint32_t stage)
{
    if (asked_for(PLATFORM_FAULT_KILL, stage))
        platform_kill(platform_process_id());
    if (asked_for(PLATFORM_FAULT_HANG, stage)) {
        /* Deaf to everything that a job would listen to; but a test that is itself killed leaves no
         * sleepers behind: the net under the nets of the tests is one minute. */
        uint64_t end = platform_now_ns() + UINT64_C(60000000000);
        while (platform_now_ns() < end)
            platform_nap(UINT64_C(100000000));
        platform_clone_exit(3);
    }
}

#endif
