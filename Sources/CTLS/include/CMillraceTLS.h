/// OpenSSL for Swift: its macros as functions, and a connection's byte streams without a socket.
#ifndef CMILLRACE_TLS_H
#define CMILLRACE_TLS_H

#include <openssl/ssl.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#pragma clang assume_nonnull begin

// MARK: Contexts

/// The keys with which tickets of resumption are sealed, shared by contexts and threads.
typedef struct mr_tls_tickets mr_tls_tickets;

/// Makes the keys. With `count` keys of 80 bytes each (a name of 16, 32 for AES, 32 for the HMAC),
/// the first seals and all open. With none, a random one is made now and every `lifetime` seconds,
/// and the last two open.
mr_tls_tickets *_Nullable mr_tls_tickets_new(
    const uint8_t *_Nullable keys, size_t count, int64_t lifetime);
void mr_tls_tickets_free(mr_tls_tickets *tickets);

/// Makes a context in a library context of its own, so that loops share no locks.
SSL_CTX *_Nullable mr_tls_context_new(bool is_server, OSSL_LIB_CTX *_Nullable library);
/// Sets the versions, 0x0303 for TLS 1.2. False if the library has none of them.
bool mr_tls_set_minimum(SSL_CTX *context, int version);
void mr_tls_set_keeps_buffers(SSL_CTX *context);
bool mr_tls_set_groups(SSL_CTX *context, const char *groups);
/// Uses a chain and its key, as PEM texts. Returns 0, or the number of the text that is at fault: 1
/// for the chain, 2 for the key, 3 if the key is not the certificate's.
int mr_tls_use(
    SSL_CTX *context, OSSL_LIB_CTX *library, const char *chain, const char *key);
/// Trusts these certificates, as PEM text. Returns their number. A server also names them to its
/// clients.
int mr_tls_trust(SSL_CTX *context, OSSL_LIB_CTX *library, const char *text, bool tells);
bool mr_tls_trust_system(SSL_CTX *context);
/// Asks the peer for a certificate, and with `fails` refuses one without. `checks` verifies it.
void mr_tls_verify(SSL_CTX *context, bool asks, bool fails, bool checks);
/// Protocols in wire form, in the order of preference. A server without a common one refuses, or
/// goes on without. The bytes are copied.
bool mr_tls_set_protocols(
    SSL_CTX *context, const uint8_t *bytes, size_t count, bool is_server, bool refuses);
/// Gives clients `each` tickets; NULL: none. The sessions of a full handshake, with all that are
/// resumed from them, end after the context's time for sessions, or with the client's certificate.
void mr_tls_set_tickets(SSL_CTX *context, mr_tls_tickets *_Nullable tickets, int each);
/// Sets the purpose of a server's sessions: a ticket opens no session of another purpose.
bool mr_tls_set_session_id(SSL_CTX *context, const uint8_t *bytes, size_t count);
/// Appends the secrets of each connection to a file, for tools that read recorded traffic.
bool mr_tls_set_key_log(SSL_CTX *context, int descriptor);
/// Sends this response (OCSP, DER) to clients that ask for one.
bool mr_tls_set_staple(SSL_CTX *context, const uint8_t *bytes, size_t count);

/// Returns a reference to the context for a server's name, which the caller frees, or NULL for the
/// default.
typedef SSL_CTX *_Nullable (*mr_tls_choose)(void *object, const char *name);
void mr_tls_set_choice(SSL_CTX *context, mr_tls_choose choose, void *object);

/// Called with each session that a server gives us. The callee owns it if it returns true.
typedef bool (*mr_tls_keep)(void *object, void *connection, SSL_SESSION *session);
void mr_tls_set_keeper(SSL_CTX *context, mr_tls_keep keep, void *object);

/// Calls `name` with each name of a certificate in PEM text. False if it is no certificate.
typedef void (*mr_tls_name)(void *object, const char *name, size_t count);
bool mr_tls_names(const char *chain, mr_tls_name name, void *object);

/// The oldest error of this thread in words, or NULL; forgets all of them.
const char *_Nullable mr_tls_error(char *buffer, size_t size);

// MARK: Connections

/// A connection: OpenSSL's object between bytes that it is given and bytes that it gives.
typedef struct mr_tls mr_tls;

typedef void (*mr_tls_output)(void *object, const void *bytes, size_t count);

typedef enum {
    mr_tls_none,
    mr_tls_established,
    mr_tls_ended,
    mr_tls_failed,
} mr_tls_event;

typedef struct {
    size_t taken;
    size_t plain;
    mr_tls_event event;
} mr_tls_opened;

mr_tls *_Nullable mr_tls_new(SSL_CTX *context, bool is_server);
/// Names the server, for SNI and if `verifies` for the verification. With `address`, of 4 or 16
/// bytes, the certificate must be for that.
bool mr_tls_set_peer(
    mr_tls *connection, const char *_Nullable name, const uint8_t *_Nullable address, size_t count,
    bool verifies);
void mr_tls_set_owner(mr_tls *connection, void *owner);
/// False if the session cannot be resumed: the server's certificate has expired, for example.
bool mr_tls_resume(mr_tls *connection, SSL_SESSION *session);
/// Sets the most bytes of a record; 0: as many as the library allows.
void mr_tls_set_record_size(mr_tls *connection, unsigned int size);
void mr_tls_free(mr_tls *connection);

/// Opens the wire's bytes. In the handshake, `plain` stays empty.
mr_tls_opened mr_tls_open(
    mr_tls *connection, const void *_Nullable bytes, size_t count, void *_Nullable plain,
    size_t room, mr_tls_output output, void *object);
/// Returns 1, or 0 if nothing can be sealed before the next bytes of the wire were opened: the
/// peer is in the middle of a message. -1 after a failure.
int mr_tls_seal(
    mr_tls *connection, const void *bytes, size_t count, mr_tls_output output, void *object);
/// Like `mr_tls_seal` for our end: false if it must wait for the next bytes of the wire.
bool mr_tls_end(mr_tls *connection, mr_tls_output output, void *object);

/// Changes our keys and asks the peer to do the same: with TLS 1.2 by another handshake. For tests.
bool mr_tls_update_keys(mr_tls *connection, mr_tls_output output, void *object);

/// Why it failed, in words: what the library says, or why the peer's certificate was refused.
const char *mr_tls_reason(mr_tls *connection);
/// The result of the verification (X509_V_OK is 0), and its words.
long mr_tls_verified(mr_tls *connection);

// MARK: What was agreed

const char *mr_tls_version(mr_tls *connection);
const char *mr_tls_cipher(mr_tls *connection);
const char *_Nullable mr_tls_server_name(mr_tls *connection);
const uint8_t *_Nullable mr_tls_protocol(mr_tls *connection, unsigned int *count);
bool mr_tls_is_resumed(mr_tls *connection);
bool mr_tls_has_peer(mr_tls *connection);
/// Calls `certificate` with each of the peer's certificates (DER), its own first.
typedef void (*mr_tls_certificate)(void *object, const uint8_t *bytes, size_t count);
void mr_tls_peers(mr_tls *connection, mr_tls_certificate certificate, void *object);

#pragma clang assume_nonnull end
#endif
