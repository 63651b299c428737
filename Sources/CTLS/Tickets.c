// Tickets: their keys, which the loops' contexts share and which are made anew as they age, and the
// end of the sessions in them.
#include "CMillraceTLS.h"

#include <endian.h>
#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/x509_vfy.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

typedef struct {
    uint8_t name[16];
    uint8_t cipher[32];
    uint8_t mac[32];
} ticket_key;

enum { MOST_KEYS = 16 };

struct mr_tls_tickets {
    pthread_mutex_t lock;
    ticket_key keys[MOST_KEYS];
    size_t count;
    int64_t lifetime;
    int64_t made;
};

static int64_t now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec;
}

// The key before stays for the tickets that were sealed with it.
static bool make_key(mr_tls_tickets *tickets) {
    ticket_key key;
    if (RAND_priv_bytes((unsigned char *)&key, sizeof key) != 1) return false;
    tickets->keys[1] = tickets->keys[0];
    tickets->keys[0] = key;
    if (tickets->count < 2) tickets->count += 1;
    tickets->made = now();
    OPENSSL_cleanse(&key, sizeof key);
    return true;
}

mr_tls_tickets *mr_tls_tickets_new(const uint8_t *keys, size_t count, int64_t lifetime) {
    mr_tls_tickets *tickets = calloc(1, sizeof *tickets);
    if (!tickets) return NULL;
    pthread_mutex_init(&tickets->lock, NULL);
    // Keys that were given are the caller's to exchange.
    tickets->lifetime = count > 0 ? 0 : lifetime;
    if (count > 0) {
        tickets->count = count < MOST_KEYS ? count : MOST_KEYS;
        memcpy(tickets->keys, keys, tickets->count * sizeof *tickets->keys);
    } else if (!make_key(tickets)) {
        mr_tls_tickets_free(tickets);
        return NULL;
    }
    return tickets;
}

void mr_tls_tickets_free(mr_tls_tickets *tickets) {
    pthread_mutex_destroy(&tickets->lock);
    OPENSSL_cleanse(tickets, sizeof *tickets);
    free(tickets);
}

// Copies the key that seals, or the one with this name. Returns its place, or -1.
static int find_key(mr_tls_tickets *tickets, const uint8_t *name, bool seals, ticket_key *key) {
    int place = -1;
    pthread_mutex_lock(&tickets->lock);
    if (seals && tickets->lifetime > 0 && now() - tickets->made >= tickets->lifetime) {
        make_key(tickets);
    }
    for (size_t index = 0; index < tickets->count && place < 0; index++) {
        if (seals || memcmp(tickets->keys[index].name, name, sizeof key->name) == 0) {
            *key = tickets->keys[index];
            place = (int)index;
        }
    }
    pthread_mutex_unlock(&tickets->lock);
    return place;
}

mr_tls_tickets *mr_tls_tickets_of(SSL_CTX *context);

// Called by the library for each ticket: 1 seals or opens it, 2 opens it and asks for a new one, 0
// leaves a ticket alone that no key of ours has sealed.
static int seal_or_open(
    SSL *ssl, unsigned char *name, unsigned char *iv, EVP_CIPHER_CTX *cipher, EVP_MAC_CTX *mac,
    int seals
) {
    mr_tls_tickets *tickets = mr_tls_tickets_of(SSL_get_SSL_CTX(ssl));
    ticket_key key;
    int place = tickets ? find_key(tickets, name, seals, &key) : -1;
    if (place < 0) return 0;
    bool is_ready = !seals || RAND_bytes(iv, 16) == 1;
    if (seals) memcpy(name, key.name, sizeof key.name);
    const EVP_CIPHER *kind = EVP_aes_256_cbc();
    is_ready = is_ready && EVP_CipherInit_ex(cipher, kind, NULL, key.cipher, iv, seals);
    OSSL_PARAM parameters[] = {
        OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac, sizeof key.mac),
        OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, "SHA256", 0),
        OSSL_PARAM_construct_end(),
    };
    is_ready = is_ready && EVP_MAC_CTX_set_params(mac, parameters);
    OPENSSL_cleanse(&key, sizeof key);
    if (!is_ready) return -1;
    if (seals) return 1;
    // With TLS 1.3 a client uses each ticket once (RFC 8446, C.4), so it needs the next one.
    return place == 0 && SSL_version(ssl) < TLS1_3_VERSION ? 1 : 2;
}

// MARK: Sessions

// The wall clock: other processes open the tickets too. Or the time that the context's verification
// has been set to.
static int64_t today(SSL *ssl) {
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);
    bool is_set = X509_VERIFY_PARAM_get_flags(rules) & X509_V_FLAG_USE_CHECK_TIME;
    return is_set ? X509_VERIFY_PARAM_get_time(rules) : time(NULL);
}

// Whether the peer's certificate has expired since the full handshake, which has verified it. The
// library verifies nothing again in a resumed one.
bool mr_tls_has_expired(SSL *ssl, SSL_SESSION *session) {
    X509 *peer = SSL_SESSION_get0_peer(session);
    // Where any certificate is accepted, its dates mean nothing.
    bool is_verified =
        (SSL_get_verify_mode(ssl) & SSL_VERIFY_PEER) && !SSL_get_verify_callback(ssl);
    return peer && is_verified
           && ASN1_TIME_cmp_time_t(X509_get0_notAfter(peer), today(ssl)) < 0;
}

// The time of the full handshake. With TLS 1.3 each resumed session has a time of its own, so that
// a client could go on for ever with tickets of tickets.
static bool note_time(SSL *ssl, SSL_SESSION *session) {
    void *data = NULL;
    size_t count = 0;
    // A resumed session has it from its ticket.
    if (SSL_SESSION_get0_ticket_appdata(session, &data, &count) && count > 0) return true;
    uint64_t began = htobe64((uint64_t)today(ssl));
    return SSL_SESSION_set1_ticket_appdata(session, &began, sizeof began);
}

static bool is_too_old(SSL *ssl, SSL_SESSION *session) {
    void *data = NULL;
    size_t count = 0;
    uint64_t began;
    if (!SSL_SESSION_get0_ticket_appdata(session, &data, &count)) return true;
    if (count != sizeof began) return true;
    memcpy(&began, data, sizeof began);
    return today(ssl) - (int64_t)be64toh(began) > SSL_CTX_get_timeout(SSL_get_SSL_CTX(ssl));
}

// A resumed connection of TLS 1.2 has the name of its session, which the library notes only if a
// callback has accepted the name. Such a callback would also make it choose TLS 1.3 for
// certificates that only TLS 1.2 can use.
static bool note_name(SSL *ssl, SSL_SESSION *session) {
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name || SSL_version(ssl) >= TLS1_3_VERSION || SSL_SESSION_get0_hostname(session)) {
        return true;
    }
    return SSL_SESSION_set1_hostname(session, name);
}

// Called by the library with the session of each ticket, before it is sealed.
static int note_session(SSL *ssl, void *object) {
    (void)object;
    SSL_SESSION *session = SSL_get_session(ssl);
    return note_time(ssl, session) && note_name(ssl, session);
}

// Called by the library with the session of each ticket that came. A refused one leads to a full
// handshake with a ticket of its own.
static SSL_TICKET_RETURN judge_session(
    SSL *ssl, SSL_SESSION *session, const unsigned char *name, size_t count,
    SSL_TICKET_STATUS status, void *object
) {
    (void)name, (void)count, (void)object;
    bool is_open = status == SSL_TICKET_SUCCESS || status == SSL_TICKET_SUCCESS_RENEW;
    if (!is_open || mr_tls_has_expired(ssl, session) || is_too_old(ssl, session)) {
        return SSL_TICKET_RETURN_IGNORE_RENEW;
    }
    return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

void mr_tls_use_tickets(SSL_CTX *context) {
    SSL_CTX_set_tlsext_ticket_key_evp_cb(context, seal_or_open);
    SSL_CTX_set_session_ticket_cb(context, note_session, judge_session, NULL);
}
