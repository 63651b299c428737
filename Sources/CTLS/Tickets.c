// The keys of tickets: shared by the loops' contexts, made anew as they age.
#include "CMillraceTLS.h"

#include <openssl/core_names.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
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
int mr_tls_ticket(
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
