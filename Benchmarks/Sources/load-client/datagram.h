#ifndef DATAGRAM_H
#define DATAGRAM_H

/// Bytes of a datagram: it carries its number, and UDP over IPv4 allows at most 65,507.
enum { DATAGRAM_LEAST = 8, DATAGRAM_MOST = 65507 };

#endif
