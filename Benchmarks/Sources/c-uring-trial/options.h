// What is tried, alone or together. None of it is on without its option.
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

// Names of newer headers than Debian 12 has; the kernel's numbers never change.
#define RECVSEND_BUNDLE (1U << 4)
#define BUFFER_MORE (1U << 4)
#define BUFFERS_INCREMENTAL 2

struct options {
    /// Flags of io_uring_setup.
    unsigned setup;
    /// Accepted sockets have a slot in a table of the ring's and no descriptor.
    bool direct;
    /// One completion for what came into several buffers, and one send for all of them.
    bool bundle;
    /// As bundle, but a send takes them from a ring of buffers that each connection has.
    bool send_bundle;
    /// A buffer serves several receives until it is full.
    bool incremental;
    /// Sends of so many bytes and more are not copied; 0 for none.
    size_t zero_copy_from;
    /// How long to wait for `wait_for` completions before one suffices; 0 waits for one at once.
    unsigned minimum_wait_us;
    unsigned wait_for;
    unsigned buffers;
    size_t buffer_size;
    /// How many pieces one connection may hold before it is read no more: a client that does not
    /// read its answers must not starve the others.
    int most_held;
};

/// What is left is the one argument of every baseline. Ends the program with its usage if it must.
struct options options_from(int count, char **arguments);

#endif
