#ifndef URING_H
#define URING_H

/// Echoes until a signal comes.
void serve_with_ring(int fd);

#endif
