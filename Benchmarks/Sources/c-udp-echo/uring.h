#ifndef URING_H
#define URING_H

/// Echoes datagrams until SIGTERM or SIGINT comes.
void serve_with_ring(int fd);

#endif
