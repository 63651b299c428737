/// SHA-1 and base64 of OpenSSL's libcrypto, for the handshake of a WebSocket.
#ifndef CLIBCRYPTO_H
#define CLIBCRYPTO_H

#include <openssl/evp.h>
#include <openssl/sha.h>

#endif
