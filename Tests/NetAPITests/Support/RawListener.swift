/// The far side of a stream, served by the test itself, which decides on reads, answers and resets.
import CMillraceLinux
import Glibc
import MillraceTestSupport
import NetAPI

final class RawListener: Sendable {
    let address: Address
    let descriptor: CInt

    init(at wanted: Address = anyPort, backlog: CInt = 64) throws {
        let own = try KernelAddress(wanted)
        descriptor = try own.bind(backlog: backlog)
        let isUnix = own.family == AF_UNIX
        address = try isUnix ? wanted : Address(parsing: addressText(of: descriptor))
    }

    deinit { close(descriptor) }

    func accept() throws -> TestClient {
        var entry = pollfd(fd: descriptor, events: Int16(POLLIN), revents: 0)
        let deadline = Deadline()
        while true {
            let accepted = acceptOne(descriptor)
            if accepted >= 0 { return TestClient(accepted: accepted) }
            guard errno == EAGAIN || errno == EINTR else { throw SystemFailure("accept") }
            try deadline.check("a connection to accept")
            Glibc.poll(&entry, 1, deadline.milliseconds)
        }
    }
}

/// Accepts a waiting connection, with close-on-exec; returns -1 with errno on failure.
func acceptOne(_ listener: CInt) -> CInt {
    var peer = sockaddr_storage()
    var length: UInt32 = 0
    return mr_accept_from(listener, &peer, &length)
}

extension TestClient {
    /// Waits until the other kernel has all sent bytes. A reset discards bytes that have not
    /// arrived yet, and none that have.
    func waitUntilAcknowledged() throws {
        let deadline = Deadline()
        while true {
            let count = try unacknowledged
            if count == 0 { return }
            try deadline.check("the last \(count) bytes reach the other kernel")
            usleep(1000)
        }
    }

    /// Sends all bytes, waits until they have arrived, and resets the stream.
    func sendAndReset(_ bytes: [UInt8]) throws {
        try send(bytes)
        try waitUntilAcknowledged()
        reset()
    }

    /// Sends to a peer that does not read, until no more bytes are accepted or `limit` is reached.
    /// Returns the number of bytes that the other kernel has. A later reset must not meet a send in
    /// progress: the send would get the error, and the receive a clean end.
    @discardableResult
    func fill(_ pattern: Pattern, atMost limit: Int = 12 << 20) throws -> Int {
        var flows = [Flow(self, stream: Int(pattern.stream), length: limit)]
        try Exchange.push(&flows, untilQuietFor: .milliseconds(150))
        return flows[0].sent - Int(try unacknowledged)
    }

    /// The bytes that the other kernel does not have yet.
    private var unacknowledged: CInt {
        get throws {
            var count: CInt = 0
            guard ioctl(descriptor, UInt(TIOCOUTQ), &count) == 0 else {
                throw SystemFailure("ioctl")
            }
            return count
        }
    }
}
