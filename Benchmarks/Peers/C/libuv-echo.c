// An echo server on libuv: one buffer for all reads. It tries to write the bytes at once, and
// copies only those that the socket does not accept.
#include <stdlib.h>
#include <string.h>
#include <uv.h>

#include "serving.h"

enum { BUFFER = 64 * 1024, BACKLOG = 4096 };

static char buffer[BUFFER];

struct pending {
    uv_write_t request;
    uv_tcp_t *connection;
    char bytes[];
};

static void allocate(uv_handle_t *handle, size_t wanted, uv_buf_t *out) {
    (void)handle;
    (void)wanted;
    *out = uv_buf_init(buffer, sizeof buffer);
}

static void release(uv_handle_t *handle) { free(handle); }

static void drop(uv_stream_t *connection) {
    if (!uv_is_closing((uv_handle_t *)connection)) { uv_close((uv_handle_t *)connection, release); }
}

static void received(uv_stream_t *connection, ssize_t count, const uv_buf_t *bytes);

static void written(uv_write_t *request, int status) {
    struct pending *pending = request->data;
    if (status != 0) {
        drop((uv_stream_t *)pending->connection);
    } else {
        uv_read_start((uv_stream_t *)pending->connection, allocate, received);
    }
    free(pending);
}

static void received(uv_stream_t *connection, ssize_t count, const uv_buf_t *bytes) {
    if (count == 0) { return; }
    if (count < 0) {
        drop(connection);
        return;
    }
    uv_buf_t due = uv_buf_init(bytes->base, (unsigned)count);
    int sent = uv_try_write(connection, &due, 1);
    if (sent == (int)count) { return; }
    if (sent < 0 && sent != UV_EAGAIN) {
        drop(connection);
        return;
    }
    size_t done = sent < 0 ? 0 : (size_t)sent;
    size_t left = (size_t)count - done;
    struct pending *pending = malloc(sizeof *pending + left);
    if (pending == NULL) { abort(); }
    memcpy(pending->bytes, bytes->base + done, left);
    pending->request.data = pending;
    pending->connection = (uv_tcp_t *)connection;
    // Nothing is read meanwhile: a client that does not read must not fill our memory.
    uv_read_stop(connection);
    uv_buf_t rest = uv_buf_init(pending->bytes, (unsigned)left);
    if (uv_write(&pending->request, connection, &rest, 1, written) != 0) { abort(); }
}

static void connected(uv_stream_t *listener, int status) {
    if (status != 0) { return; }
    uv_tcp_t *connection = malloc(sizeof *connection);
    if (connection == NULL) { abort(); }
    uv_tcp_init(listener->loop, connection);
    if (uv_accept(listener, (uv_stream_t *)connection) != 0) {
        drop((uv_stream_t *)connection);
        return;
    }
    uv_tcp_nodelay(connection, 1);
    uv_read_start((uv_stream_t *)connection, allocate, received);
}

static void stop(uv_signal_t *signal, int number) {
    (void)number;
    uv_stop(signal->loop);
}

int main(int count, char **arguments) {
    uint16_t port = port_from(count, arguments);
    raise_descriptor_limit();
    int fd = listen_on(port);
    uv_loop_t *loop = uv_default_loop();
    uv_tcp_t listener;
    uv_tcp_init(loop, &listener);
    if (uv_tcp_open(&listener, fd) != 0) { fail("uv_tcp_open"); }
    if (uv_listen((uv_stream_t *)&listener, BACKLOG, connected) != 0) { fail("uv_listen"); }
    uv_signal_t terminated, interrupted;
    uv_signal_init(loop, &terminated);
    uv_signal_init(loop, &interrupted);
    uv_signal_start(&terminated, stop, SIGTERM);
    uv_signal_start(&interrupted, stop, SIGINT);
    announce(fd);
    uv_run(loop, UV_RUN_DEFAULT);
    return 0;
}
