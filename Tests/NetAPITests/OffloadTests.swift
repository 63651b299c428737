/// Tests of blocking work on other threads: ordered per connection, harmless to other connections,
/// bounded.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct OffloadTests {
    /// Answers each line in upper case after blocking for `delay`.
    private func blockingEcho(_ delay: Duration) -> TestHandler {
        var handler = TestHandler()
        handler.traffic = { connection in
            while let line = try connection.nextLine() {
                let request = String(decoding: line)
                if request == "now" {
                    connection.write("now\n")
                    continue
                }
                connection.offload {
                    pause(delay)
                    if request == "fail" { throw Mishap() }
                    // The type of this text is inferred. Two forms of `write` would accept it.
                    return "\(request.uppercased())\n"
                } then: { connection, reply in
                    connection.write(reply)
                }
            }
            return .none
        }
        return handler
    }

    @Test("replies come in order, and other connections do not wait", arguments: Setup.all)
    func repliesComeInOrderAndOthersDoNotWait(_ setup: Setup) throws {
        try withServer(setup, blockingEcho(.milliseconds(100))) { server in
            let slow = try (0..<4).map { _ in try server.connect() }
            for client in slow { try client.send("a\nb\nc\n") }
            let other = try server.connect()
            for _ in 0..<20 {
                let time = try elapsed {
                    let isServed = try other.roundTrip("now\n")
                    #expect(isServed)
                }
                #expect(time < .milliseconds(80), "\(time) while others block")
            }
            for client in slow { #expect(try client.receiveText(exactly: 6) == "A\nB\nC\n") }
        }
    }

    @Test(
        "an error in a job closes the connection, and later replies are not sent",
        arguments: Setup.all)
    func anErrorClosesAndWhatWasToFollowDoesNotRun(_ setup: Setup) throws {
        let handler = blockingEcho(.milliseconds(5))
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("a\nfail\nb\n")
            let (text, end) = try client.receiveTextUntilEnd()
            #expect(text == "A\n" && end == .clean)
            client.close()
            try handler.log.waitFor(.close)
            #expect(handler.log.reasons.first?.hasPrefix("handlerError") == true)
        }
    }

    @Test(
        "a connection that the client has reset receives no reply of its job",
        arguments: Setup.single)
    func aConnectionThatIsGoneIsNotTold(_ setup: Setup) throws {
        let told = Shared(0)
        var handler = TestHandler()
        handler.traffic = { connection in
            connection.discardAll()
            connection.offload {
                pause(.milliseconds(100))
                return 1
            } then: { _, _ in
                told.update { $0 += 1 }
            }
            return .none
        }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("x")
            try handler.log.waitFor(.traffic)
            client.reset()
            try server.waitUntilEmpty()
            pause(.milliseconds(150))
            #expect(told.value == 0)
        }
    }

    @Test("a job beyond the limit of the pool is refused and counted", arguments: Setup.single)
    func tooMuchIsRefusedAndCounted(_ setup: Setup) throws {
        let options = setup.options {
            $0.workers.threads = 1
            $0.workers.queued = 1
        }
        let handler = blockingEcho(.milliseconds(200))
        try withServer(setup, handler, options: options) { server in
            let clients = try (0..<6).map { _ in try server.connect() }
            for client in clients { try client.send("a\n") }
            try eventually("some are refused") { server.server.statistics.offloadRefusals >= 3 }
            try eventually("they are closed") { handler.log.count(.close) >= 3 }
            // Checked before the clients' own closes.
            #expect(handler.log.reasons.allSatisfy { $0.hasPrefix("handlerError") })
            for client in clients { client.close() }
        }
    }

    @Test("a stop waits for the reply of a running job", arguments: Setup.single)
    func aStopWaitsForTheReply(_ setup: Setup) throws {
        let handler = blockingEcho(.milliseconds(200))
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("a\n")
            try handler.log.waitFor(.traffic)
            server.server.requestStop(within: .seconds(5))
            let time = try elapsed {
                let (text, end) = try client.receiveTextUntilEnd()
                #expect(text == "A\n" && end == .clean)
            }
            // Half of the limit is for busy connections; this one is not busy any more.
            #expect(time < .seconds(2), "\(time)")
        }
    }
}
