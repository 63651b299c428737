/// Tests of a live stream's options, read back from the kernel.
import Glibc
import Testing

@testable import MillraceEventLoop

@Suite struct StreamOptionTests {
    private let sockets = KernelSockets()
    // The numbers from linux/tcp.h.
    private let tcp: CInt = 6
    private let noDelay: CInt = 1
    private let keepAliveIdle: CInt = 4
    private let keepAliveInterval: CInt = 5
    private let keepAliveCount: CInt = 6
    private let userTimeout: CInt = 18

    @Test("noDelay is set and cleared on a socket")
    func noDelayIsSetAndCleared() throws {
        let socket = try PlainSocket(family: AF_INET)
        try sockets.set(.noDelay(true), on: socket.descriptor)
        #expect(socket.option(tcp, noDelay) == 1)
        try sockets.set(.noDelay(false), on: socket.descriptor)
        #expect(socket.option(tcp, noDelay) == 0)
    }

    @Test("keepAlive is set with its times and count, and cleared by noKeepAlive")
    func keepAliveIsSetAndCleared() throws {
        let socket = try PlainSocket(family: AF_INET)
        try sockets.set(.keepAlive(idle: 61, interval: 7, count: 4), on: socket.descriptor)
        #expect(socket.option(SOL_SOCKET, SO_KEEPALIVE) == 1)
        #expect(socket.option(tcp, keepAliveIdle) == 61)
        #expect(socket.option(tcp, keepAliveInterval) == 7)
        #expect(socket.option(tcp, keepAliveCount) == 4)
        try sockets.set(.noKeepAlive, on: socket.descriptor)
        #expect(socket.option(SOL_SOCKET, SO_KEEPALIVE) == 0)
    }

    @Test("buffer sizes and the user timeout are set on a socket")
    func sizesAndTimes() throws {
        let socket = try PlainSocket(family: AF_INET)
        // The kernel doubles these sizes for its own bookkeeping: socket(7).
        try sockets.set(.receiveBuffer(20_000), on: socket.descriptor)
        try sockets.set(.sendBuffer(30_000), on: socket.descriptor)
        try sockets.set(.userTimeout(milliseconds: 1234), on: socket.descriptor)
        try sockets.set(.quickAck(true), on: socket.descriptor)
        #expect(socket.option(SOL_SOCKET, SO_RCVBUF) == 40_000)
        #expect(socket.option(SOL_SOCKET, SO_SNDBUF) == 60_000)
        #expect(socket.option(tcp, userTimeout) == 1234)
    }

    @Test("setting an option throws an error when the socket does not support it or is invalid")
    func whatASocketHasNotIsAnError() throws {
        let socket = try PlainSocket(family: AF_UNIX)
        #expect(throws: SystemError(EOPNOTSUPP, "setsockopt")) {
            try sockets.set(.noDelay(true), on: socket.descriptor)
        }
        #expect(throws: SystemError(EBADF, "setsockopt")) {
            try sockets.set(.linger(reset: true), on: Descriptor(-1))
        }
    }

    @Test("prepare sets noDelay and keepAlive from the options and ignores a Unix socket")
    func preparesAStream() throws {
        let plain = try PlainSocket(family: AF_INET)
        sockets.prepare(plain.descriptor, StreamOptions(noDelay: false))
        #expect(plain.option(tcp, noDelay) == 0)
        #expect(plain.option(SOL_SOCKET, SO_KEEPALIVE) == 0)
        let watched = try PlainSocket(family: AF_INET)
        sockets.prepare(watched.descriptor, StreamOptions(keepAlive: 2))
        #expect(watched.option(tcp, noDelay) == 1)
        #expect(watched.option(SOL_SOCKET, SO_KEEPALIVE) == 1)
        #expect(watched.option(tcp, keepAliveIdle) == 2)
        #expect(watched.option(tcp, keepAliveInterval) == 1, "no interval of nothing")
        // A Unix socket has no such options, and no error is reported.
        let unix = try PlainSocket(family: AF_UNIX)
        sockets.prepare(unix.descriptor, StreamOptions(keepAlive: 2))
    }

    @Test("closing a socket sends a reset only if it is requested", arguments: [true, false])
    func aResetIsSentOnlyIfAskedFor(reset: Bool) throws {
        let loopback = try #require(SocketAddress(host: "127.0.0.1", port: 0))
        let listener = try sockets.listen(on: loopback, ListenOptions())
        defer { sockets.discard(listener.descriptor) }
        let client = try PlainSocket.connected(to: listener.address)
        let accepted = try #require(
            try sockets.acceptWaiting(on: listener.descriptor)?.descriptor)
        sockets.resetOnClose(accepted)
        if !reset { try sockets.set(.linger(reset: false), on: accepted) }
        sockets.discard(accepted)
        #expect(isReadable(client.number, millisecondsMax: 30_000))
        var byte: UInt8 = 0
        let count = read(client.number, &byte, 1)
        if reset {
            #expect(count == -1 && errno == ECONNRESET)
        } else {
            #expect(count == 0)
        }
    }
}
