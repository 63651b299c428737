// Signals as file descriptors. Unlike signalfd(2), this also works in a program whose other threads
// do not block the signal. With signalfd(2) a default action would end the process before the
// descriptor is read.
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <unistd.h>

#include "CLinux.h"

enum { SLOTS = 32 };

// A slot's eventfd is made once and never closed. Otherwise a late handler could write to a
// descriptor number that belongs to another file by then.
static struct {
    _Atomic int signal;
    int descriptor;
} slots[SLOTS];

static struct sigaction before[64];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void count_arrival(int signal) {
    int saved = errno;
    uint64_t one = 1;
    for (int i = 0; i < SLOTS; i++) {
        if (atomic_load(&slots[i].signal) == signal) {
            if (write(slots[i].descriptor, &one, sizeof(one)) < 0) continue;
        }
    }
    errno = saved;
}

static int watchers(int signal) {
    int count = 0;
    for (int i = 0; i < SLOTS; i++) count += atomic_load(&slots[i].signal) == signal;
    return count;
}

static int take_slot(int signal) {
    for (int i = 0; i < SLOTS; i++) {
        if (atomic_load(&slots[i].signal) != 0) continue;
        if (slots[i].descriptor == 0) {
            int descriptor = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
            if (descriptor < 0) return -1;
            slots[i].descriptor = descriptor;
        }
        uint64_t old;
        while (read(slots[i].descriptor, &old, sizeof(old)) > 0) {}
        atomic_store(&slots[i].signal, signal);
        return i;
    }
    return -1;
}

int mr_signal_watch(int signal) {
    if (signal < 1 || signal >= 64) return -1;
    pthread_mutex_lock(&lock);
    int isFirst = watchers(signal) == 0;
    int slot = take_slot(signal);
    if (slot >= 0 && isFirst) {
        struct sigaction action;
        memset(&action, 0, sizeof(action));
        action.sa_handler = count_arrival;
        action.sa_flags = SA_RESTART;
        sigemptyset(&action.sa_mask);
        sigaction(signal, &action, &before[signal]);
    }
    pthread_mutex_unlock(&lock);
    return slot;
}

int mr_signal_descriptor(int slot) { return slots[slot].descriptor; }

void mr_signal_unwatch(int slot) {
    pthread_mutex_lock(&lock);
    int signal = atomic_load(&slots[slot].signal);
    if (watchers(signal) == 1) sigaction(signal, &before[signal], NULL);
    atomic_store(&slots[slot].signal, 0);
    pthread_mutex_unlock(&lock);
}
