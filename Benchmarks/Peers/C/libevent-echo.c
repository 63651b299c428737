// An echo server on libevent's bufferevents: input moves to the output buffer without a copy.
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <event2/listener.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stddef.h>
#include <sys/socket.h>

#include "serving.h"

enum { BACKLOG = 4096, HIGH_MARK = 256 * 1024 };

static void written(struct bufferevent *connection, void *context) {
    (void)context;
    bufferevent_enable(connection, EV_READ);
}

static void received(struct bufferevent *connection, void *context) {
    (void)context;
    struct evbuffer *output = bufferevent_get_output(connection);
    bufferevent_write_buffer(connection, bufferevent_get_input(connection));
    // A client that does not read must not fill our memory.
    if (evbuffer_get_length(output) > HIGH_MARK) { bufferevent_disable(connection, EV_READ); }
}

static void happened(struct bufferevent *connection, short what, void *context) {
    (void)context;
    if ((what & (BEV_EVENT_EOF | BEV_EVENT_ERROR)) != 0) { bufferevent_free(connection); }
}

static void connected(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *peer,
                      int length, void *context) {
    (void)listener;
    (void)peer;
    (void)length;
    int on = 1;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    struct bufferevent *connection = bufferevent_socket_new(context, fd, BEV_OPT_CLOSE_ON_FREE);
    if (connection == NULL) { fail("bufferevent_socket_new"); }
    bufferevent_setcb(connection, received, written, happened, NULL);
    bufferevent_enable(connection, EV_READ | EV_WRITE);
}

static void stop(evutil_socket_t number, short events, void *context) {
    (void)number;
    (void)events;
    event_base_loopbreak(context);
}

int main(int count, char **arguments) {
    uint16_t port = port_from(count, arguments);
    raise_descriptor_limit();
    int fd = listen_on(port);
    struct event_base *base = event_base_new();
    if (base == NULL) { fail("event_base_new"); }
    if (evconnlistener_new(base, connected, base, LEV_OPT_CLOSE_ON_EXEC, BACKLOG, fd) == NULL) {
        fail("evconnlistener_new");
    }
    struct event *terminated = evsignal_new(base, SIGTERM, stop, base);
    struct event *interrupted = evsignal_new(base, SIGINT, stop, base);
    if (terminated == NULL || interrupted == NULL) { fail("evsignal_new"); }
    event_add(terminated, NULL);
    event_add(interrupted, NULL);
    announce(fd);
    event_base_dispatch(base);
    return 0;
}
