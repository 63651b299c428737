import Glibc
import MillraceEventLoop
import Testing

/// Contract tests of connecting: one answer, a usable stream after it, and a close that can end it
/// at any time.
extension DriverContract {
    @Suite struct Connects {
        @Test(
            "a connected descriptor sends and receives",
            arguments: DriverKind.allCases, Transport.allCases)
        func aConnectedDescriptorCarriesBothWays(
            _ kind: DriverKind, _ transport: Transport
        ) throws {
            try withSession(kind) { session in
                let listener = try session.listen(transport)
                let (token, name) = try begin(session, to: listener.address)
                defer { name.deallocate() }
                try session.run(until: "it is connected") { session.seen[token]?.events != [] }
                #expect(session.seen[token]?.events == ["connected"])
                let other = session.attach(try session.acceptWaiting(on: listener))
                for token in [token, other] { session.submit(.receive, token) }
                session.send(pattern(100_000), token)
                session.send(pattern(50_000, from: 7), other)
                try session.run(until: "both have all") {
                    session.seen[other]?.bytes.count == 100_000
                        && session.seen[token]?.bytes.count == 50_000
                }
                #expect(mismatch(session.seen[other]?.bytes, pattern(100_000)) == nil)
                #expect(mismatch(session.seen[token]?.bytes, pattern(50_000, from: 7)) == nil)
            }
        }

        @Test(
            "a connect to a port without a listener fails once with ECONNREFUSED",
            arguments: DriverKind.allCases)
        func nobodyThereIsToldOnce(_ kind: DriverKind) throws {
            try withSession(kind) { session in
                let listener = try session.listen()
                session.sockets.discard(session.release(listener))
                let (token, name) = try begin(session, to: listener.address)
                defer { name.deallocate() }
                try session.run(until: "it is refused") { session.seen[token]?.events != [] }
                try session.run(for: 20_000_000)
                #expect(session.seen[token]?.events == ["failed(connect, ECONNREFUSED)"])
            }
        }

        @Test(
            "the closed event is the last event when a connect is closed at once",
            arguments: DriverKind.allCases, Transport.allCases)
        func aCloseAtOnceIsTheLastWord(_ kind: DriverKind, _ transport: Transport) throws {
            try withSession(kind) { session in
                let listener = try session.listen(transport)
                for _ in 0..<20 {
                    let (token, name) = try begin(session, to: listener.address)
                    session.submit(.close, token)
                    try session.run(until: "closed") { session.seen[token]?.closedCount == 1 }
                    #expect(session.seen[token]?.events.last == "closed")
                    name.deallocate()
                }
            }
        }

        private func begin(
            _ session: Session, to address: SocketAddress
        ) throws -> (Token, UnsafeMutableRawBufferPointer) {
            let descriptor = try session.sockets.makeSocket(
                for: address, isDatagram: false, receiveOffload: false)
            let token = session.attach(descriptor)
            let name = try address.kernelCopy()
            session.submit(
                .connect(UnsafeRawPointer(name.baseAddress!), length: UInt32(name.count)), token)
            return (token, name)
        }
    }
}
