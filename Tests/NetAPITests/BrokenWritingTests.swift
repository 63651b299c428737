/// Tests of a peer that answers early and resets: sends to it fail, but its whole answer is
/// delivered first.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct BrokenWritingTests {
    private static let pattern = Pattern(stream: 6)

    /// Returns a client's handler with an upload larger than both kernels' buffers, so that a send
    /// is in flight when the reset comes.
    private func uploading(
        _ taken: PerConnection<Int>, _ ends: Shared<[String]>, slowly: Bool
    ) -> TestHandler {
        var handler = TestHandler()
        handler.open = { connection in
            connection.write([UInt8](repeating: 1, count: 24 << 20))
            return .none
        }
        handler.traffic = { connection in
            let bytes = connection.readArray()
            try Self.pattern.verify(bytes, at: connection[taken])
            connection[taken] += bytes.count
            if slowly { pause(.milliseconds(2)) }
            return .none
        }
        handler.close = { connection, reason in
            let end = "\(connection[taken]), \(reason.name)"
            ends.update { $0.append(end) }
            return .none
        }
        return handler
    }

    private func withClient(
        _ setup: Setup, _ handler: TestHandler, _ body: (Client) throws -> Void
    ) throws {
        let client = try Client(handler, options: setup.options())
        try client.start()
        let result = Result { try body(client) }
        try bounded("Client.stop") { client.stop(within: .seconds(5)) }
        try result.get()
    }

    /// With a slow handler much of the answer is still in the kernel when the reset comes.
    @Test(
        "an early answer is delivered whole before the reset",
        arguments: [false, true])
    func anEarlyAnswerIsShownWhole(toASlowHandler: Bool) async {
        await sideBySide(Setup.receiving) { setup in
            let size = 4_000_000
            let (taken, ends) = (PerConnection(0), Shared<[String]>([]))
            let upstream = try RawListener()
            let handler = uploading(taken, ends, slowly: toASlowHandler)
            let rounds = toASlowHandler ? 4 : 20
            try withClient(setup, handler) { client in
                for round in 1...rounds {
                    client.connect(to: upstream.address) { _ in }
                    let far = try upstream.accept()
                    try far.wait(for: POLLIN, Deadline(), "the upload")
                    try far.sendAndReset(Self.pattern.bytes(size))
                    try eventually("it closed") { ends.value.count == round }
                }
            }
            #expect(ends.value == Array(repeating: "\(size), reset", count: rounds))
        }
    }

    /// The loop sees the answer and the reset in the same turn.
    @Test(
        "an answer and a reset in the same turn are delivered in that order",
        arguments: Setup.receiving)
    func anAnswerAndAResetAtOnceAreShownInThatOrder(_ setup: Setup) throws {
        let size = 100_000
        let (taken, ends) = (PerConnection(0), Shared<[String]>([]))
        let (isHeld, isOver) = (Shared(false), Shared(false))
        let upstream = try RawListener()
        let handler = uploading(taken, ends, slowly: false)
        try withClient(setup, handler) { client in
            let handle = Shared<ConnectionHandle?>(nil)
            client.connect(to: upstream.address) { handle.value = try? $0.get().handle }
            let far = try upstream.accept()
            try far.wait(for: POLLIN, Deadline(), "the upload")
            defer { isOver.value = true }
            handle.value?.execute { _ in
                isHeld.value = true
                try eventually("the reset") { isOver.value }
            }
            try eventually("the loop is held") { isHeld.value }
            try far.sendAndReset(Self.pattern.bytes(size))
            isOver.value = true
            try eventually("it closed") { ends.value.count == 1 }
        }
        #expect(ends.value == ["\(size), reset"])
    }
}
