/// A blocking socket of the test itself, closed with its last reference.
import Glibc
import MillraceTestSupport
import Testing

@testable import MillraceEventLoop

final class PlainSocket {
    private(set) var number: CInt

    init(_ number: CInt) { self.number = number }

    init(family: CInt, type: CInt = CInt(SOCK_STREAM.rawValue)) throws {
        number = socket(family, type | CInt(SOCK_CLOEXEC.rawValue), 0)
        try #require(number >= 0, "socket: errno \(errno)")
    }

    deinit { end() }

    /// Closes it before the last reference goes.
    func end() {
        if number >= 0 { close(number) }
        number = -1
    }

    var descriptor: Descriptor { Descriptor(number) }

    /// Returns 0 or an errno.
    func connect(to address: SocketAddress) throws -> CInt {
        try address.withKernelForm { Glibc.connect(number, $0, $1) == 0 ? 0 : errno }
    }

    /// Returns 0 or an errno.
    func bind(to address: SocketAddress) throws -> CInt {
        try address.withKernelForm { Glibc.bind(number, $0, $1) == 0 ? 0 : errno }
    }

    /// Returns -1 if the option cannot be read.
    func option(_ level: CInt, _ name: CInt) -> CInt {
        (try? socketOption(number, level, name, 0)) ?? -1
    }

    static func connected(to address: SocketAddress) throws -> PlainSocket {
        let client = try PlainSocket(family: address.family)
        let result = try client.connect(to: address)
        try #require(result == 0, "connect to \(address): errno \(result)")
        return client
    }
}

/// Waits for input; false if there is none in time.
func isReadable(_ descriptor: CInt, millisecondsMax: CInt = 0) -> Bool {
    var watched = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
    return poll(&watched, 1, millisecondsMax) == 1 && watched.revents & Int16(POLLIN) != 0
}
