// Receives several datagrams with one call, and sends their answers with another.
#ifndef BATCH_H
#define BATCH_H

#include <sys/socket.h>

enum {
    BATCH = 64,
    /// No datagram of IPv4 is longer.
    LONGEST = 65536,
};

/// Must be called before the first batch.
void open_batch(void);

/// Receives the available datagrams, with these flags of recvmmsg, and sends them back. There may
/// be none, since a signal also ends the wait.
void echo_batch(int fd, int flags);

/// Sends all messages. Datagrams for which the receiver has no room are lost.
void send_all(int fd, struct mmsghdr *messages, int count);

#endif
