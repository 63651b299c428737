// Several datagrams with one call, and their answers with another.
#ifndef BATCH_H
#define BATCH_H

#include <sys/socket.h>

enum {
    BATCH = 64,
    /// No datagram of IPv4 is longer.
    LONGEST = 65536,
};

/// Before the first batch.
void open_batch(void);

/// Receives what there is, with these flags of recvmmsg, and sends it back. Perhaps nothing: a
/// signal ends the wait too.
void echo_batch(int fd, int flags);

/// What the other side has no room for is lost, as datagrams are.
void send_all(int fd, struct mmsghdr *messages, int count);

#endif
