// Connections: a BIO that reads lent bytes in place and hands written bytes to its caller.
#include "CMillraceTLS.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/x509v3.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

// Messages of the handshake's kind that may follow each other without application data. Each
// KeyUpdate costs a derivation of keys.
enum { MOST_MESSAGES = 32 };

struct mr_tls {
    SSL *ssl;
    const uint8_t *bytes;
    size_t left;
    mr_tls_output output;
    void *object;
    void *owner;
    unsigned int messages;
    // The most bytes of a record; 0: those of the library.
    unsigned int record_size;
    bool is_established;
    bool is_flooded;
    bool has_written;
    // Of the failure; NULL without one, since most connections have none.
    char *reason;
};

// MARK: The BIO

static int bio_read(BIO *bio, char *to, size_t most, size_t *count) {
    mr_tls *connection = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    if (connection->is_flooded) return 0;
    if (connection->left == 0) {
        BIO_set_retry_read(bio);
        return 0;
    }
    *count = most < connection->left ? most : connection->left;
    memcpy(to, connection->bytes, *count);
    connection->bytes += *count;
    connection->left -= *count;
    return 1;
}

static int bio_write(BIO *bio, const char *bytes, size_t count, size_t *written) {
    mr_tls *connection = BIO_get_data(bio);
    BIO_clear_retry_flags(bio);
    connection->has_written = true;
    if (connection->output) connection->output(connection->object, bytes, count);
    *written = count;
    return 1;
}

static long bio_control(BIO *bio, int command, long number, void *pointer) {
    (void)number, (void)pointer;
    // The library asks ten times for a request, mostly for what a socket would have.
    if (command != BIO_CTRL_EOF) return command == BIO_CTRL_FLUSH;
    mr_tls *connection = BIO_get_data(bio);
    // An end that the library believes in, so that it sends an alert.
    return connection->is_flooded;
}

static BIO_METHOD *method;

static void make_method(void) {
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "millrace");
    if (!method) return;
    BIO_meth_set_read_ex(method, bio_read);
    BIO_meth_set_write_ex(method, bio_write);
    BIO_meth_set_ctrl(method, bio_control);
}

static BIO *make_bio(mr_tls *connection) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, make_method);
    BIO *bio = method ? BIO_new(method) : NULL;
    if (!bio) return NULL;
    BIO_set_data(bio, connection);
    BIO_set_init(bio, 1);
    return bio;
}

// MARK: Life

// Counts the messages behind the handshake that a peer may send without end.
static void saw_message(
    int is_written, int version, int type, const void *bytes, size_t count, SSL *ssl, void *object
) {
    (void)version, (void)bytes, (void)count, (void)ssl;
    mr_tls *connection = object;
    if (is_written || type != SSL3_RT_HANDSHAKE || !connection->is_established) return;
    if (++connection->messages > MOST_MESSAGES) connection->is_flooded = true;
}

mr_tls *mr_tls_new(SSL_CTX *context, bool is_server) {
    mr_tls *connection = calloc(1, sizeof *connection);
    if (!connection) return NULL;
    connection->ssl = SSL_new(context);
    BIO *bio = connection->ssl ? make_bio(connection) : NULL;
    if (!bio) {
        mr_tls_free(connection);
        return NULL;
    }
    SSL_set_bio(connection->ssl, bio, bio);
    SSL_set_msg_callback(connection->ssl, saw_message);
    SSL_set_msg_callback_arg(connection->ssl, connection);
    if (is_server) SSL_set_accept_state(connection->ssl);
    else SSL_set_connect_state(connection->ssl);
    return connection;
}

void mr_tls_free(mr_tls *connection) {
    SSL_free(connection->ssl);
    free(connection->reason);
    free(connection);
}

bool mr_tls_set_peer(
    mr_tls *connection, const char *name, const uint8_t *address, size_t count, bool verifies
) {
    SSL *ssl = connection->ssl;
    if (name && !SSL_set_tlsext_host_name(ssl, name)) return false;
    if (!verifies) return true;
    X509_VERIFY_PARAM *rules = SSL_get0_param(ssl);
    X509_VERIFY_PARAM_set_hostflags(
        rules, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS | X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);
    if (name) return X509_VERIFY_PARAM_set1_host(rules, name, 0);
    return !address || X509_VERIFY_PARAM_set1_ip(rules, address, count);
}

void mr_tls_set_owner(mr_tls *connection, void *owner) { connection->owner = owner; }

void *mr_tls_owner(SSL *ssl) {
    // Not in the object's own data, for which the library would allocate a table.
    BIO *bio = SSL_get_rbio(ssl);
    mr_tls *connection = bio ? BIO_get_data(bio) : NULL;
    return connection ? connection->owner : NULL;
}

bool mr_tls_has_expired(SSL *ssl, SSL_SESSION *session);

bool mr_tls_resume(mr_tls *connection, SSL_SESSION *session) {
    return SSL_SESSION_is_resumable(session) && !mr_tls_has_expired(connection->ssl, session)
           && SSL_set_session(connection->ssl, session);
}

void mr_tls_set_record_size(mr_tls *connection, unsigned int size) {
    connection->record_size = size;
}

// MARK: Bytes

// The library keeps errors for each thread. One of another connection would pass for this one's.
static void forget_errors(void) {
    if (ERR_peek_error()) ERR_clear_error();
}

static void set_reason(mr_tls *connection, const char *reason) {
    if (!connection->reason) connection->reason = strdup(reason);
    forget_errors();
}

static void note_reason(mr_tls *connection, int error) {
    if (connection->reason) return;
    char reason[256];
    size_t size = sizeof reason;
    // Without a verification the library still computes a result, which refuses no peer.
    bool is_verified = SSL_get_verify_mode(connection->ssl) & SSL_VERIFY_PEER;
    long verified = is_verified ? SSL_get_verify_result(connection->ssl) : X509_V_OK;
    if (connection->is_flooded) {
        snprintf(reason, size, "more than %d messages without application data", MOST_MESSAGES);
    } else if (verified != X509_V_OK && !connection->is_established) {
        snprintf(reason, size, "%s", X509_verify_cert_error_string(verified));
    } else if (!mr_tls_error(reason, size)) {
        snprintf(reason, size, "the library gives no reason (%d)", error);
    }
    set_reason(connection, reason);
}

// Returns the event for a call of the library that returned no success.
static mr_tls_event event_of(mr_tls *connection, int result) {
    int error = SSL_get_error(connection->ssl, result);
    switch (error) {
    case SSL_ERROR_WANT_READ:
        if (!connection->is_flooded) return mr_tls_none;
        break;
    case SSL_ERROR_ZERO_RETURN:
        return mr_tls_ended;
    }
    note_reason(connection, error);
    return mr_tls_failed;
}

// Whether there is something to open. To ask the library costs about a tenth of a small request: it
// makes a buffer, and frees it again, to find that no byte has come.
static bool has_input(const mr_tls *connection) {
    return connection->left > 0 || SSL_has_pending(connection->ssl);
}

mr_tls_opened mr_tls_open(
    mr_tls *connection, const void *bytes, size_t count, void *plain, size_t room,
    mr_tls_output output, void *object
) {
    mr_tls_opened opened = {0, 0, mr_tls_none};
    connection->bytes = bytes;
    connection->left = count;
    if (connection->is_established && !has_input(connection)) return opened;
    connection->output = output;
    connection->object = object;
    forget_errors();
    if (!connection->is_established) {
        connection->has_written = false;
        int result = SSL_do_handshake(connection->ssl);
        connection->is_established = result == 1;
        opened.event = result == 1 ? mr_tls_established : event_of(connection, result);
        if (opened.event == mr_tls_ended) {
            set_reason(connection, "the peer ended the stream during the handshake");
            opened.event = mr_tls_failed;
        }
        // The library is silent towards a peer whose first bytes are another protocol's.
        if (opened.event == mr_tls_failed && !connection->has_written) {
            static const uint8_t alert[] = {21, 3, 1, 0, 2, 2, SSL_AD_PROTOCOL_VERSION};
            output(object, alert, sizeof alert);
        }
    } else {
        while (opened.plain < room && has_input(connection)) {
            size_t part = 0;
            int result = SSL_read_ex(
                connection->ssl, (char *)plain + opened.plain, room - opened.plain, &part);
            if (result != 1) {
                opened.event = event_of(connection, result);
                break;
            }
            connection->messages = 0;
            opened.plain += part;
        }
    }
    opened.taken = count - connection->left;
    connection->output = NULL;
    return opened;
}

// Whether the last call of the library only lacked bytes. Unlike SSL_get_error this asks the BIO
// alone, not the thread's errors. So those that the program left need not be forgotten before each
// write, which costs a fiftieth of a small one.
static bool waits_for_input(const mr_tls *connection) {
    return SSL_want_read(connection->ssl) && BIO_should_read(SSL_get_rbio(connection->ssl))
           && !connection->is_flooded;
}

int mr_tls_seal(
    mr_tls *connection, const void *bytes, size_t count, mr_tls_output output, void *object
) {
    connection->output = output;
    connection->object = object;
    connection->left = 0;
    // Small records are cut here. The library's own size for them would also cut its messages, and
    // a change of it leaves the library a buffer of the old size.
    size_t most = connection->record_size > 0 ? connection->record_size : count;
    size_t sealed = 0;
    int result = 1;
    while (sealed < count && result == 1) {
        size_t part = count - sealed < most ? count - sealed : most;
        size_t written = 0;
        result = SSL_write_ex(connection->ssl, (const char *)bytes + sealed, part, &written);
        sealed += written;
    }
    connection->output = NULL;
    if (result == 1) return 1;
    if (sealed == 0 && waits_for_input(connection)) return 0;
    note_reason(connection, SSL_get_error(connection->ssl, result));
    return -1;
}

bool mr_tls_end(mr_tls *connection, mr_tls_output output, void *object) {
    connection->output = output;
    connection->object = object;
    connection->left = 0;
    forget_errors();
    SSL_shutdown(connection->ssl);
    forget_errors();
    connection->output = NULL;
    return !SSL_in_init(connection->ssl) || connection->reason;
}

bool mr_tls_update_keys(mr_tls *connection, mr_tls_output output, void *object) {
    connection->output = output;
    connection->object = object;
    connection->left = 0;
    bool is_new = SSL_version(connection->ssl) >= TLS1_3_VERSION;
    bool is_asked = is_new ? SSL_key_update(connection->ssl, SSL_KEY_UPDATE_REQUESTED) == 1
                           : SSL_renegotiate(connection->ssl) == 1;
    // The answer to a renegotiation is still to come.
    bool is_sent = is_asked && (SSL_do_handshake(connection->ssl) == 1 || !is_new);
    connection->output = NULL;
    return is_sent;
}

const char *mr_tls_reason(mr_tls *connection) {
    return connection->reason ? connection->reason : "";
}
long mr_tls_verified(mr_tls *connection) { return SSL_get_verify_result(connection->ssl); }

// MARK: What was agreed

const char *mr_tls_version(mr_tls *connection) { return SSL_get_version(connection->ssl); }
const char *mr_tls_cipher(mr_tls *connection) { return SSL_get_cipher_name(connection->ssl); }

const char *mr_tls_server_name(mr_tls *connection) {
    return SSL_get_servername(connection->ssl, TLSEXT_NAMETYPE_host_name);
}

const uint8_t *mr_tls_protocol(mr_tls *connection, unsigned int *count) {
    const uint8_t *bytes = NULL;
    *count = 0;
    SSL_get0_alpn_selected(connection->ssl, &bytes, count);
    return bytes;
}

bool mr_tls_is_resumed(mr_tls *connection) { return SSL_session_reused(connection->ssl); }
bool mr_tls_has_peer(mr_tls *connection) {
    return SSL_get0_peer_certificate(connection->ssl) != NULL;
}

static void give_certificate(X509 *one, mr_tls_certificate certificate, void *object) {
    uint8_t *bytes = NULL;
    int count = i2d_X509(one, &bytes);
    if (count > 0) certificate(object, bytes, (size_t)count);
    OPENSSL_free(bytes);
}

void mr_tls_peers(mr_tls *connection, mr_tls_certificate certificate, void *object) {
    X509 *own = SSL_get0_peer_certificate(connection->ssl);
    if (!own) return;
    give_certificate(own, certificate, object);
    STACK_OF(X509) *chain = SSL_get_peer_cert_chain(connection->ssl);
    for (int index = 0; index < sk_X509_num(chain); index++) {
        X509 *one = sk_X509_value(chain, index);
        // A client's chain begins with the server's own certificate, a server's does not.
        if (index > 0 || X509_cmp(one, own) != 0) give_certificate(one, certificate, object);
    }
}
