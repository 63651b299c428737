// Code that the baselines share around their loops: the command line, the listener, the end.
#ifndef SERVING_H
#define SERVING_H

#include <stdint.h>

/// Ends the program with status 1 and errno's message.
_Noreturn void fail(const char *what);

/// Returns the only argument; prints the usage and exits if it is not a port.
uint16_t port_from(int count, char **arguments);

void raise_descriptor_limit(void);

/// Returns a non-blocking listener on the loopback address; for port 0 the kernel selects a port.
int listen_on(uint16_t port);

/// Returns the listener of the only argument: a port, or an abstract Unix socket, unix://@name.
int listener_from(int count, char **arguments);

/// Returns the next connection that waits, non-blocking and without Nagle's delay; -1 if there is
/// none.
int accept_next(int listener);

/// Adds a descriptor to an epoll instance, or changes its events.
void watch(int epoll, int operation, int fd, uint32_t events, void *tag);

/// Returns a descriptor that is readable once SIGTERM or SIGINT has come.
int termination(void);

/// Prints the address. Must come last, because the reader of the line may end the server at once.
void announce(int listener);

#endif
