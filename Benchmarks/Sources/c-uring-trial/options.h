// The features on trial, alone or together. Each is off without its option.
#ifndef OPTIONS_H
#define OPTIONS_H

#include <stdbool.h>
#include <stddef.h>

// Constants of newer headers than those of Debian 12; the kernel never changes their values.
#define RECVSEND_BUNDLE (1U << 4)
#define BUFFER_MORE (1U << 4)
#define BUFFERS_INCREMENTAL 2

struct options {
    /// Flags of io_uring_setup.
    unsigned setup;
    /// Accepted sockets have a slot in the ring's table and no descriptor.
    bool direct;
    /// One completion for bytes in several buffers, and one send for all of them.
    bool bundle;
    /// Like `bundle`, but a send uses a ring of buffers that each connection has.
    bool send_bundle;
    /// A buffer serves several receives until it is full.
    bool incremental;
    /// Sends of at least this many bytes are not copied; 0 for none.
    size_t zero_copy_from;
    /// The time to wait for `wait_for` completions before one suffices; 0 always waits for one.
    unsigned minimum_wait_us;
    unsigned wait_for;
    unsigned buffers;
    size_t buffer_size;
    /// The pieces that one connection may hold before it is read no more. A client that does not
    /// read its answers must not starve the others.
    int most_held;
};

/// Parses the options and leaves the last argument, the port. Prints the usage and exits if needed.
struct options options_from(int count, char **arguments);

#endif
