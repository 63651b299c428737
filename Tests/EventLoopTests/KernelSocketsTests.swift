/// Tests of listening on real sockets: the bound address, port sharing, and waiting connections.
import Glibc
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

@Suite struct KernelSocketsTests {
    private let sockets = KernelSockets()
    private static let loopback = SocketAddress.v4(
        IPv4Bytes(UInt32(0x7F00_0001).bigEndian), port: 0)
    private static let loopbackV6 = SocketAddress.v6(
        IPv6Bytes(high: 0, low: UInt64(1).bigEndian), port: 0, scope: 0)
    private static let anyV6 = SocketAddress.v6(IPv6Bytes(high: 0, low: 0), port: 0, scope: 0)
    private static let hasV6 = FamilyProbe.canBind(loopbackV6)

    // MARK: Addresses

    @Test("a listener on port zero reports the port that the kernel assigned")
    func portZeroGivesTheRealPort() throws {
        try withListener(Self.loopback) { listener in
            let port = try #require(listener.address.port)
            #expect(port != 0)
            #expect(listener.address == at(Self.loopback, port))
            #expect(listener.path == nil)
            let client = try PlainSocket.connected(to: listener.address)
            #expect(try sockets.remoteAddress(of: client.descriptor) == listener.address)
        }
    }

    @Test(
        "an IPv6 listener on port zero reports the port that the kernel assigned",
        .enabled(if: hasV6))
    func portZeroGivesTheRealPortOfV6() throws {
        try withListener(Self.loopbackV6) { listener in
            let port = try #require(listener.address.port)
            #expect(port != 0)
            #expect(listener.address == at(Self.loopbackV6, port))
            _ = try PlainSocket.connected(to: listener.address)
        }
    }

    @Test("a listener on an abstract name creates no file and reports no path")
    func abstractNamesLeaveNoFile() throws {
        let address = SocketAddress.unix(TemporaryPath.abstractName(), abstract: true)
        try withListener(address) { listener in
            #expect(listener.address == address && listener.path == nil)
            _ = try PlainSocket.connected(to: address)
            #expect(throws: SystemError(EADDRINUSE, "bind")) {
                try sockets.listen(on: address, ListenOptions())
            }
            sockets.removePath(of: listener)
        }
    }

    @Test("a listener accepts Unix names of up to 107 bytes and refuses longer ones")
    func theLongestNamesWork() throws {
        let start = TemporaryPath.make()
        let path = start + String(repeating: "x", count: 107 - start.utf8.count)
        for isAbstract in [false, true] {
            try withListener(.unix(path, abstract: isAbstract)) { listener in
                #expect(listener.address == .unix(path, abstract: isAbstract))
                _ = try PlainSocket.connected(to: listener.address)
            }
            #expect(throws: SystemError(ENAMETOOLONG, "bind")) {
                try sockets.listen(on: .unix(path + "x", abstract: isAbstract), ListenOptions())
            }
        }
    }

    @Test("listen throws EADDRNOTAVAIL for an address that is not of this machine")
    func whatIsNoAddressOfThisMachineIsRefused() throws {
        let elsewhere = try #require(SocketAddress(host: "192.0.2.1", port: 0))
        #expect(throws: SystemError(EADDRNOTAVAIL, "bind")) {
            try sockets.listen(on: elsewhere, ListenOptions())
        }
    }

    @Test(
        "the address of a socket without one is an error, or an empty path if it is a Unix socket")
    func addressesOfWhatHasNone() throws {
        #expect(throws: SystemError(EBADF, "getsockname")) {
            try sockets.localAddress(of: Descriptor(-1))
        }
        try withListener(Self.loopback) { listener in
            #expect(throws: SystemError(ENOTCONN, "getpeername")) {
                try sockets.remoteAddress(of: listener.descriptor)
            }
        }
        let netlink = try PlainSocket(family: AF_NETLINK, type: CInt(SOCK_RAW.rawValue))
        #expect(throws: SystemError(EAFNOSUPPORT, "getsockname")) {
            try sockets.localAddress(of: netlink.descriptor)
        }
        let unnamed = try PlainSocket(family: AF_UNIX)
        #expect(try sockets.localAddress(of: unnamed.descriptor) == .unix("", abstract: false))
    }

    // MARK: Sharing a port

    @Test("two listeners with reusePort share a port")
    func reusePortSharesAPort() throws {
        let options = ListenOptions(reusePort: true)
        try withListener(Self.loopback, options) { first in
            try withListener(first.address, options) { second in
                #expect(second.address == first.address)
                #expect(second.descriptor != first.descriptor)
            }
        }
    }

    @Test(
        "listen throws EADDRINUSE unless both listeners set reusePort",
        arguments: [(false, false), (true, false), (false, true)])
    func aPortIsSharedOnlyIfBothWant(first: Bool, second: Bool) throws {
        try withListener(Self.loopback, ListenOptions(reusePort: first)) { listener in
            #expect(throws: SystemError(EADDRINUSE, "bind")) {
                try sockets.listen(on: listener.address, ListenOptions(reusePort: second))
            }
        }
    }

    @Test("a port can be used again immediately after its listener closes")
    func aPortIsFreeAtOnceAfterItsListener() throws {
        var address = Self.loopback
        for _ in 0..<5 {
            try withListener(address) { listener in
                address = listener.address
                // The side that closes first stays in TIME_WAIT.
                let client = try PlainSocket.connected(to: address)
                let waiting = try #require(try acceptWaiting(on: listener))
                sockets.discard(waiting)
                #expect(isReadable(client.number, millisecondsMax: 30_000))
            }
        }
    }

    @Test("a listener on the IPv6 wildcard address accepts IPv4 clients too", .enabled(if: hasV6))
    func v6ServesV4Too() throws {
        try withListener(Self.anyV6) { listener in
            let port = try #require(listener.address.port)
            _ = try PlainSocket.connected(to: at(Self.loopback, port))
            let waiting = try #require(try acceptWaiting(on: listener))
            defer { sockets.discard(waiting) }
            let peer = try sockets.remoteAddress(of: waiting)
            #expect(peer.hostText == "127.0.0.1")
            #expect(try sockets.localAddress(of: waiting) == at(Self.loopback, port))
            #expect(throws: SystemError(EADDRINUSE, "bind")) {
                try sockets.listen(on: at(.v4(IPv4Bytes(0), port: 0), port), ListenOptions())
            }
        }
    }

    @Test(
        "a listener with onlyV6 leaves IPv4 clients to another listener on the same port",
        .enabled(if: hasV6))
    func onlyV6LeavesV4ToOthers() throws {
        // IPv4 first: a port that is free for IPv6 may be in use by a client for IPv4.
        try withListener(.v4(IPv4Bytes(0), port: 0)) { other in
            let port = try #require(other.address.port)
            try withListener(at(Self.anyV6, port), ListenOptions(onlyV6: true)) { listener in
                _ = try PlainSocket.connected(to: at(Self.loopback, port))
                #expect(try acceptWaiting(on: listener) == nil)
                let waiting = try #require(try acceptWaiting(on: other))
                sockets.discard(waiting)
            }
        }
    }

    // MARK: Waiting connections

    private func acceptWaiting(on listener: BoundListener) throws -> Descriptor? {
        try sockets.acceptWaiting(on: listener.descriptor)?.descriptor
    }

    @Test("the listener accepts every waiting client and then returns nil")
    func acceptsWhoWaits() throws {
        try withListener(Self.loopback) { listener in
            #expect(try acceptWaiting(on: listener) == nil)
            let clients = try (0..<3).map { _ in try PlainSocket.connected(to: listener.address) }
            var ports: Set<UInt16?> = []
            while let waiting = try acceptWaiting(on: listener) {
                expectPlain(waiting)
                ports.insert(try sockets.remoteAddress(of: waiting).port)
                #expect(try sockets.localAddress(of: waiting) == listener.address)
                sockets.discard(waiting)
            }
            let expected = try clients.map { try sockets.localAddress(of: $0.descriptor).port }
            #expect(ports == Set(expected))
        }
    }

    @Test("accepting on a descriptor that is not a listener throws an error")
    func acceptingOnWhatIsNoListenerIsAnError() throws {
        #expect(throws: SystemError(EBADF, "accept")) {
            try sockets.acceptWaiting(on: Descriptor(-1))
        }
        let idle = try PlainSocket(family: AF_INET)
        #expect(throws: SystemError(EINVAL, "accept")) {
            try sockets.acceptWaiting(on: idle.descriptor)
        }
    }

    @Test("a listener is non-blocking and close-on-exec")
    func aListenerIsNonBlockingAndStaysHere() throws {
        try withListener(Self.loopback) { expectPlain($0.descriptor) }
    }

    private func expectPlain(_ descriptor: Descriptor) {
        #expect(fcntl(descriptor.number, F_GETFL) & O_NONBLOCK != 0)
        #expect(fcntl(descriptor.number, F_GETFD) & FD_CLOEXEC != 0)
    }

    @Test("a look for unread bytes leaves the error of a reset to the receive")
    func lookingLeavesTheError() throws {
        try withListener(Self.loopback) { listener in
            let client = try PlainSocket.connected(to: listener.address)
            let served = try #require(try sockets.acceptWaiting(on: listener.descriptor))
            defer { sockets.discard(served.descriptor) }
            #expect(!sockets.hasUnread(served.descriptor))
            #expect(send(client.number, "x", 1, 0) == 1)
            #expect(isReadable(served.descriptor.number, millisecondsMax: 10_000))
            #expect(sockets.hasUnread(served.descriptor))
            var byte: UInt8 = 0
            #expect(recv(served.descriptor.number, &byte, 1, 0) == 1)
            sockets.resetOnClose(client.descriptor)
            client.end()
            #expect(isReadable(served.descriptor.number, millisecondsMax: 10_000))
            #expect(!sockets.hasUnread(served.descriptor))
            #expect(recv(served.descriptor.number, &byte, 1, 0) == -1 && errno == ECONNRESET)
        }
    }

    /// An error that waits there would end each wait at once.
    @Test("an adopted socket keeps no queue of errors")
    func adoptedSocketsHaveNoErrorQueue() throws {
        let socket = try PlainSocket(family: AF_INET, type: CInt(SOCK_DGRAM.rawValue))
        #expect(try socket.bind(to: Self.loopback) == 0)
        var on: CInt = 1
        let (level, name) = (CInt(IPPROTO_IP), CInt(IP_RECVERR))
        #expect(setsockopt(socket.number, level, name, &on, 4) == 0)
        _ = try sockets.adopt(socket.descriptor)
        #expect(socket.option(level, name) == 0)
    }

    @Test("a waiting datagram counts as unread, also an empty one")
    func emptyDatagramsAreUnread() throws {
        let receiver = try PlainSocket(family: AF_INET, type: CInt(SOCK_DGRAM.rawValue))
        #expect(try receiver.bind(to: Self.loopback) == 0)
        let sender = try PlainSocket(family: AF_INET, type: CInt(SOCK_DGRAM.rawValue))
        #expect(try sender.connect(to: sockets.localAddress(of: receiver.descriptor)) == 0)
        #expect(!sockets.hasUnread(receiver.descriptor))
        #expect(send(sender.number, "", 0, 0) == 0)
        #expect(isReadable(receiver.number, millisecondsMax: 10_000))
        #expect(sockets.hasUnread(receiver.descriptor))
    }

    // MARK: Shorthands

    private func withListener(
        _ address: SocketAddress, _ options: ListenOptions = ListenOptions(),
        _ body: (BoundListener) throws -> Void
    ) throws {
        let listener = try sockets.listen(on: address, options)
        defer {
            sockets.removePath(of: listener)
            sockets.discard(listener.descriptor)
        }
        try body(listener)
    }

    private func at(_ address: SocketAddress, _ port: UInt16) -> SocketAddress {
        switch address {
        case .v4(let bytes, _): .v4(bytes, port: port)
        case .v6(let bytes, _, let scope): .v6(bytes, port: port, scope: scope)
        case .unix: address
        }
    }
}

/// Checks whether this machine supports the address family.
enum FamilyProbe {
    static func canBind(_ address: SocketAddress) -> Bool {
        guard let probe = try? PlainSocket(family: address.family) else { return false }
        return (try? probe.bind(to: address)) == 0
    }
}
