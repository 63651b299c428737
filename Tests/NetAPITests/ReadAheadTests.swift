/// Tests of `Connection.readsWhileCongested`: whether reading continues while the peer does not
/// read its output.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ReadAheadTests {
    /// More than the kernel accepts for a peer that does not read.
    private static let owed = 24 << 20
    private static let sent = 8 << 20

    /// Writes a large output to each connection when it opens, and counts received bytes.
    private final class Counts: Sendable {
        private let taken = Shared(0)
        let isDefault = Shared<Bool?>(nil)
        let handles = Shared<[ConnectionHandle]>([])

        var bytes: Int { taken.value }

        func handler(reads: Bool?) -> TestHandler {
            TestHandler(
                open: { [self] connection in
                    isDefault.value = connection.readsWhileCongested
                    handles.update { [handle = connection.handle] in $0.append(handle) }
                    if let reads {
                        connection.readsWhileCongested = reads
                        #expect(connection.readsWhileCongested == reads)
                    }
                    connection.write([UInt8](repeating: 1, count: ReadAheadTests.owed))
                    return .none
                },
                traffic: { [self] connection in
                    let count = connection.discardAll()
                    taken.update { $0 += count }
                    return .none
                })
        }
    }

    private func counted(
        _ setup: Setup, reads: Bool?,
        _ body: (_ client: TestClient, _ counts: Counts, _ server: TestServer) throws -> Void
    ) throws {
        let counts = Counts()
        let handler = counts.handler(reads: reads)
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 16_384)
            try handler.log.waitFor(.open)
            try body(client, counts, server)
            #expect(server.server.statistics.overflowCloses == 0)
        }
    }

    @Test("an accepted connection with readsWhileCongested is read while its output waits")
    func anAcceptedConnectionThatIsToldToGoesOnBeingRead() async {
        await sideBySide(Setup.receiving) { setup in
            try counted(setup, reads: true) { client, counts, server in
                #expect(counts.isDefault.value == false)
                try client.send([UInt8](repeating: 2, count: Self.sent))
                try eventually("all is read") { counts.bytes == Self.sent }
                #expect(server.server.statistics.bytesOut < Self.owed)
                #expect(server.server.statistics.readPauses == 0)
                let waiting = Shared(0)
                counts.handles.value[0].execute { connection in
                    #expect(!connection.isWritable && connection.readsWhileCongested)
                    let count = connection.outboundBuffered
                    waiting.value = count
                }
                try eventually("somebody looks") { waiting.value > 0 }
                #expect(waiting.value > 1 << 20)
                #expect(try client.receive(exactly: Self.owed).allSatisfy { $0 == 1 })
            }
        }
    }

    @Test(
        "other accepted connections pause reading until the peer has read the output",
        arguments: [nil, false])
    func othersRestUntilTheirPeerHasCaughtUp(_ reads: Bool?) async {
        await sideBySide(Setup.receiving) { setup in
            try counted(setup, reads: reads) { client, counts, server in
                let sent = try client.push(
                    [UInt8](repeating: 2, count: Self.sent), untilQuietFor: .milliseconds(300))
                try eventually("it rests") { server.server.statistics.readPauses >= 1 }
                try settled("what it has read") { 1 + counts.bytes }
                #expect(counts.bytes <= 512 << 10, "\(counts.bytes) bytes were read")
                _ = try client.receive(exactly: Self.owed)
                try eventually("all is read") { counts.bytes == sent }
            }
        }
    }

    @Test("readsWhileCongested may be turned on while reading is paused")
    func itMayBeTurnedOnWhileReadingRests() async {
        await sideBySide(Setup.receiving) { setup in
            try counted(setup, reads: false) { client, counts, _ in
                let sent = try client.push(
                    [UInt8](repeating: 2, count: Self.sent), untilQuietFor: .milliseconds(300))
                #expect(counts.bytes < sent)
                counts.handles.value[0].execute { $0.readsWhileCongested = true }
                try eventually("all is read") { counts.bytes == sent }
                try client.send("more")
                try eventually("more is read") { counts.bytes == sent + 4 }
            }
        }
    }

    @Test("readsWhileCongested may be turned off while much output is unsent")
    func itMayBeTurnedOffWhileMuchIsUnsent() async {
        await sideBySide(Setup.receiving) { setup in
            try counted(setup, reads: true) { client, counts, _ in
                try client.send("first")
                try eventually("it is read") { counts.bytes == 5 }
                let isOff = Shared(false)
                counts.handles.value[0].execute { connection in
                    connection.readsWhileCongested = false
                    isOff.value = true
                }
                try eventually("it is off") { isOff.value }
                let sent = try client.push(
                    [UInt8](repeating: 2, count: Self.sent), untilQuietFor: .milliseconds(300))
                #expect(counts.bytes <= 512 << 10, "\(counts.bytes) bytes were read")
                _ = try client.receive(exactly: Self.owed)
                try eventually("all is read") { counts.bytes == sent + 5 }
            }
        }
    }

    @Test(
        "a pause by the handler stays in effect when readsWhileCongested changes",
        arguments: Setup.receiving)
    func aPauseOfTheHandlersOwnIsStillOne(_ setup: Setup) throws {
        try counted(setup, reads: true) { client, counts, _ in
            let isPaused = Shared(false)
            counts.handles.value[0].execute { connection in
                connection.pauseReading()
                connection.readsWhileCongested = false
                connection.readsWhileCongested = true
                isPaused.value = true
            }
            try eventually("it is paused") { isPaused.value }
            try client.send("x")
            pause(.milliseconds(100))
            #expect(counts.bytes == 0)
            counts.handles.value[0].execute { $0.resumeReading() }
            try eventually("it is read") { counts.bytes == 1 }
        }
    }

    /// Otherwise two peers that both do this would wait for each other.
    @Test(
        "an outbound connection reads while congested unless the handler turns it off",
        arguments: Setup.receiving, [nil, false])
    func oneThatWeConnectedGoesOnUnlessItIsToldNotTo(_ setup: Setup, _ reads: Bool?) throws {
        let counts = Counts()
        let client = try Client(counts.handler(reads: reads), options: setup.options())
        try bounded("Client.start") { try client.start() }
        defer { client.stop(within: .seconds(1)) }
        let quiet = TestHandler(
            open: { connection in
                connection.pauseReading()
                connection.write([UInt8](repeating: 2, count: Self.sent))
                return .none
            }, traffic: TestHandler.ignore)
        try withServer(setup, quiet) { server in
            client.connect(to: server.addresses[0]) { _ in }
            try eventually("it is open") { counts.isDefault.value != nil }
            #expect(counts.isDefault.value == true)
            if reads == nil {
                try eventually("all is read") { counts.bytes == Self.sent }
            } else {
                try eventually("it rests") { client.statistics.readPauses >= 1 }
                pause(.milliseconds(200))
                #expect(counts.bytes <= 512 << 10, "\(counts.bytes) bytes were read")
            }
            server.server.forEachConnection { $0.abort() }
        }
    }

    @Test("readsWhileCongested is false after the close and cannot be set", arguments: Setup.single)
    func afterTheCloseItIsFalseAndCannotBeSet(_ setup: Setup) throws {
        let kept = Shared<Bool?>(nil)
        let handler = TestHandler(open: { connection in
            connection.readsWhileCongested = true
            let loop = connection.loop
            connection.close()
            loop.schedule(after: .milliseconds(100)) {
                connection.readsWhileCongested = true
                kept.value = connection.readsWhileCongested
            }
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            #expect(try client.receiveEnd() == .clean)
            client.close()
            try eventually("it was asked") { kept.value != nil }
        }
        #expect(kept.value == false)
    }
}
