// What the baselines share around their loops: the command line, the listener, the end.
#ifndef SERVING_H
#define SERVING_H

#include <stdint.h>

/// Ends the program with status 1 and errno's message.
_Noreturn void fail(const char *what);

/// The only argument; anything else ends the program with its usage.
uint16_t port_from(int count, char **arguments);

void raise_descriptor_limit(void);

/// A non-blocking listener on the loopback address; port 0 leaves the choice to the kernel.
int listen_on(uint16_t port);

/// What the only argument names: a port, or an abstract Unix socket as unix://@name.
int listener_from(int count, char **arguments);

/// A descriptor that is readable once SIGTERM or SIGINT has come.
int termination(void);

/// Last of all, because whoever reads the line may end us at once.
void announce(int listener);

#endif
