// Contexts: certificates, trust, and what all connections of a loop share.
#include "CMillraceTLS.h"

#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void *mr_tls_owner(SSL *ssl);

// The data of a context's callbacks, freed with it.
typedef struct {
    uint8_t *protocols;
    size_t protocols_count;
    bool refuses;
    mr_tls_choose choose;
    void *choose_object;
    mr_tls_keep keep;
    void *keep_object;
    int key_log;
    uint8_t *staple;
    size_t staple_count;
    mr_tls_tickets *tickets;
} settings;

static int settings_index = -1;

static void free_settings(
    void *parent, void *pointer, CRYPTO_EX_DATA *data, int index, long number, void *object
) {
    (void)parent, (void)data, (void)index, (void)number, (void)object;
    settings *all = pointer;
    if (!all) return;
    if (all->key_log >= 0) close(all->key_log);
    free(all->protocols);
    free(all->staple);
    free(all);
}

__attribute__((constructor)) static void prepare(void) {
    // At its exit a process may still have loops: the library must not free what they use.
    OPENSSL_init_crypto(OPENSSL_INIT_NO_ATEXIT, NULL);
    settings_index = SSL_CTX_get_ex_new_index(0, NULL, NULL, NULL, free_settings);
}

static settings *settings_of(SSL_CTX *context) {
    return SSL_CTX_get_ex_data(context, settings_index);
}

mr_tls_tickets *mr_tls_tickets_of(SSL_CTX *context) { return settings_of(context)->tickets; }

/// The most certificates between a peer's own and a trusted one. Chains in use have one or two.
enum { MOST_ISSUERS = 10 };

SSL_CTX *mr_tls_context_new(bool is_server, OSSL_LIB_CTX *library) {
    SSL_CTX *context =
        SSL_CTX_new_ex(library, NULL, is_server ? TLS_server_method() : TLS_client_method());
    settings *all = calloc(1, sizeof *all);
    if (!context || !all || !SSL_CTX_set_ex_data(context, settings_index, all)) {
        SSL_CTX_free(context);
        free(all);
        return NULL;
    }
    all->key_log = -1;
    // Compression tells secrets by its sizes. A peer that may renegotiate may do so without end.
    SSL_CTX_set_options(
        context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION | SSL_OP_CIPHER_SERVER_PREFERENCE
                     | SSL_OP_PRIORITIZE_CHACHA);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    // Data in the first flight can be recorded and sent again.
    SSL_CTX_set_max_early_data(context, 0);
    // A chain costs a verification for each certificate. OpenSSL would check a hundred.
    SSL_CTX_set_verify_depth(context, MOST_ISSUERS);
    return context;
}

bool mr_tls_set_minimum(SSL_CTX *context, int version) {
    return SSL_CTX_set_min_proto_version(context, version)
        && SSL_CTX_set_max_proto_version(context, 0);
}

void mr_tls_set_keeps_buffers(SSL_CTX *context) {
    SSL_CTX_clear_mode(context, SSL_MODE_RELEASE_BUFFERS);
}

bool mr_tls_set_groups(SSL_CTX *context, const char *groups) {
    bool is_set = SSL_CTX_set1_groups_list(context, groups);
    // The caller may try another list.
    if (!is_set) ERR_clear_error();
    return is_set;
}

// MARK: Certificates

// A password cannot be asked for: the default would read the terminal.
static int no_password(char *to, int size, int writes, void *object) {
    (void)to, (void)size, (void)writes, (void)object;
    return -1;
}

static X509 *read_certificate(BIO *text, OSSL_LIB_CTX *library) {
    X509 *one = X509_new_ex(library, NULL);
    if (one && PEM_read_bio_X509(text, &one, no_password, NULL)) return one;
    X509_free(one);
    return NULL;
}

// Whether reading ended because the text holds no more, and not at a damaged certificate. Forgets
// the error.
static bool is_at_end(void) {
    unsigned long error = ERR_peek_last_error();
    bool is_end = ERR_GET_LIB(error) == ERR_LIB_PEM && ERR_GET_REASON(error) == PEM_R_NO_START_LINE;
    if (is_end) ERR_clear_error();
    return is_end;
}

static bool use_chain(SSL_CTX *context, OSSL_LIB_CTX *library, const char *text) {
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509 *own = bio ? read_certificate(bio, library) : NULL;
    bool is_used = own && SSL_CTX_use_certificate(context, own) == 1;
    X509_free(own);
    SSL_CTX_clear_chain_certs(context);
    X509 *next = NULL;
    while (is_used && (next = read_certificate(bio, library))) {
        is_used = SSL_CTX_add0_chain_cert(context, next);
        if (!is_used) X509_free(next);
    }
    is_used = is_used && is_at_end();
    BIO_free(bio);
    return is_used;
}

int mr_tls_use(SSL_CTX *context, OSSL_LIB_CTX *library, const char *chain, const char *key) {
    ERR_clear_error();
    if (!use_chain(context, library, chain)) return 1;
    BIO *bio = BIO_new_mem_buf(key, -1);
    EVP_PKEY *own =
        bio ? PEM_read_bio_PrivateKey_ex(bio, NULL, no_password, NULL, library, NULL) : NULL;
    BIO_free(bio);
    if (!own) return 2;
    bool is_used = SSL_CTX_use_PrivateKey(context, own) == 1;
    EVP_PKEY_free(own);
    return is_used && SSL_CTX_check_private_key(context) == 1 ? 0 : 3;
}

int mr_tls_trust(SSL_CTX *context, OSSL_LIB_CTX *library, const char *text, bool tells) {
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(text, -1);
    X509_STORE *store = SSL_CTX_get_cert_store(context);
    int count = 0;
    X509 *one = NULL;
    while (bio && (one = read_certificate(bio, library))) {
        if (X509_STORE_add_cert(store, one) == 1) count += 1;
        if (tells) SSL_CTX_add_client_CA(context, one);
        X509_free(one);
    }
    if (!is_at_end()) count = 0;
    BIO_free(bio);
    return count;
}

bool mr_tls_trust_system(SSL_CTX *context) {
    return SSL_CTX_set_default_verify_paths(context) == 1;
}

// Accepts every certificate; the program looks at it.
static int accept_any(int is_good, X509_STORE_CTX *store) {
    (void)is_good;
    X509_STORE_CTX_set_error(store, X509_V_OK);
    return 1;
}

void mr_tls_verify(SSL_CTX *context, bool asks, bool fails, bool checks) {
    int mode = asks ? SSL_VERIFY_PEER : SSL_VERIFY_NONE;
    if (asks && fails) mode |= SSL_VERIFY_FAIL_IF_NO_PEER_CERT;
    SSL_CTX_set_verify(context, mode, checks ? NULL : accept_any);
}

bool mr_tls_names(const char *chain, mr_tls_name name, void *object) {
    ERR_clear_error();
    BIO *bio = BIO_new_mem_buf(chain, -1);
    X509 *one = bio ? PEM_read_bio_X509(bio, NULL, no_password, NULL) : NULL;
    BIO_free(bio);
    ERR_clear_error();
    if (!one) return false;
    GENERAL_NAMES *names = X509_get_ext_d2i(one, NID_subject_alt_name, NULL, NULL);
    for (int index = 0; index < sk_GENERAL_NAME_num(names); index++) {
        GENERAL_NAME *next = sk_GENERAL_NAME_value(names, index);
        if (next->type != GEN_DNS) continue;
        name(
            object, (const char *)ASN1_STRING_get0_data(next->d.dNSName),
            (size_t)ASN1_STRING_length(next->d.dNSName));
    }
    GENERAL_NAMES_free(names);
    X509_free(one);
    return true;
}

// MARK: Protocols, names, sessions

static int choose_protocol(
    SSL *ssl, const unsigned char **chosen, unsigned char *count, const unsigned char *offered,
    unsigned int offered_count, void *object
) {
    (void)ssl;
    settings *all = object;
    unsigned char *found = NULL;
    int result = SSL_select_next_proto(
        &found, count, all->protocols, (unsigned int)all->protocols_count, offered, offered_count);
    if (result == OPENSSL_NPN_NEGOTIATED) {
        *chosen = found;
        return SSL_TLSEXT_ERR_OK;
    }
    return all->refuses ? SSL_TLSEXT_ERR_ALERT_FATAL : SSL_TLSEXT_ERR_NOACK;
}

bool mr_tls_set_protocols(
    SSL_CTX *context, const uint8_t *bytes, size_t count, bool is_server, bool refuses
) {
    if (!is_server) return SSL_CTX_set_alpn_protos(context, bytes, (unsigned int)count) == 0;
    settings *all = settings_of(context);
    uint8_t *copy = malloc(count);
    if (!copy) return false;
    memcpy(copy, bytes, count);
    free(all->protocols);
    all->protocols = copy;
    all->protocols_count = count;
    all->refuses = refuses;
    SSL_CTX_set_alpn_select_cb(context, choose_protocol, all);
    return true;
}

static int choose_context(SSL *ssl, int *alert, void *object) {
    (void)alert;
    settings *all = object;
    const char *name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);
    if (!name) return SSL_TLSEXT_ERR_NOACK;
    SSL_CTX *chosen = all->choose(all->choose_object, name);
    if (chosen) SSL_set_SSL_CTX(ssl, chosen);
    SSL_CTX_free(chosen);
    // The program's closure may have left some.
    ERR_clear_error();
    return SSL_TLSEXT_ERR_OK;
}

void mr_tls_set_choice(SSL_CTX *context, mr_tls_choose choose, void *object) {
    settings *all = settings_of(context);
    all->choose = choose;
    all->choose_object = object;
    SSL_CTX_set_tlsext_servername_callback(context, choose_context);
    SSL_CTX_set_tlsext_servername_arg(context, all);
}

static int keep_session(SSL *ssl, SSL_SESSION *session) {
    settings *all = settings_of(SSL_get_SSL_CTX(ssl));
    void *owner = mr_tls_owner(ssl);
    return owner && all->keep(all->keep_object, owner, session);
}

void mr_tls_set_keeper(SSL_CTX *context, mr_tls_keep keep, void *object) {
    settings *all = settings_of(context);
    all->keep = keep;
    all->keep_object = object;
    SSL_CTX_set_session_cache_mode(
        context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL_STORE);
    SSL_CTX_sess_set_new_cb(context, keep_session);
}

bool mr_tls_set_session_id(SSL_CTX *context, const uint8_t *bytes, size_t count) {
    uint8_t digest[EVP_MAX_MD_SIZE];
    unsigned int size = 0;
    return EVP_Digest(bytes, count, digest, &size, EVP_sha256(), NULL)
        && SSL_CTX_set_session_id_context(context, digest, size);
}

// MARK: Logs and staples

static void log_line(const SSL *ssl, const char *line) {
    settings *all = settings_of(SSL_get_SSL_CTX(ssl));
    char text[1024];
    size_t count = strlen(line);
    if (all->key_log < 0 || count + 1 > sizeof text) return;
    memcpy(text, line, count);
    text[count] = '\n';
    // One write for each line: several loops append to the same file.
    if (write(all->key_log, text, count + 1) < 0) return;
}

bool mr_tls_set_key_log(SSL_CTX *context, int descriptor) {
    settings_of(context)->key_log = fcntl(descriptor, F_DUPFD_CLOEXEC, 3);
    SSL_CTX_set_keylog_callback(context, log_line);
    return settings_of(context)->key_log >= 0;
}

static int staple(SSL *ssl, void *object) {
    settings *all = object;
    uint8_t *copy = OPENSSL_malloc(all->staple_count);
    if (!copy) return SSL_TLSEXT_ERR_NOACK;
    memcpy(copy, all->staple, all->staple_count);
    SSL_set_tlsext_status_ocsp_resp(ssl, copy, (long)all->staple_count);
    return SSL_TLSEXT_ERR_OK;
}

bool mr_tls_set_staple(SSL_CTX *context, const uint8_t *bytes, size_t count) {
    settings *all = settings_of(context);
    uint8_t *copy = malloc(count);
    if (!copy) return false;
    memcpy(copy, bytes, count);
    all->staple = copy;
    all->staple_count = count;
    SSL_CTX_set_tlsext_status_cb(context, staple);
    SSL_CTX_set_tlsext_status_arg(context, all);
    return true;
}

void mr_tls_use_tickets(SSL_CTX *context);

void mr_tls_set_tickets(SSL_CTX *context, mr_tls_tickets *tickets, int each) {
    settings_of(context)->tickets = tickets;
    SSL_CTX_set_num_tickets(context, tickets ? (size_t)each : 0);
    if (!tickets) {
        SSL_CTX_set_options(context, SSL_OP_NO_TICKET);
        return;
    }
    mr_tls_use_tickets(context);
}

const char *mr_tls_error(char *buffer, size_t size) {
    unsigned long error = ERR_get_error();
    if (!error) return NULL;
    const char *reason = ERR_reason_error_string(error);
    if (reason) snprintf(buffer, size, "%s", reason);
    else ERR_error_string_n(error, buffer, size);
    ERR_clear_error();
    return buffer;
}
