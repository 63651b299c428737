/// Tests of blocking work on other threads: ordered per connection, harmless to other connections,
/// bounded.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct OffloadTests {
    /// Answers each line in upper case after `work`, which may block.
    private func blockingEcho(_ work: @escaping @Sendable () -> Void) -> TestHandler {
        var handler = TestHandler()
        handler.traffic = { connection in
            while let line = try connection.nextLine() {
                let request = String(decoding: line)
                if request == "now" {
                    connection.write("now\n")
                    continue
                }
                connection.offload {
                    work()
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
        let gate = Gate()
        defer { gate.open() }
        try withServer(setup, blockingEcho { gate.wait() }) { server in
            let slow = try (0..<4).map { _ in try server.connect() }
            for client in slow { try client.send("a\nb\nc\n") }
            try eventually("a job blocks") { gate.isReached }
            let other = try server.connect()
            for _ in 0..<20 { #expect(try other.roundTrip("now\n")) }
            for client in slow { #expect(try client.staysSilent(for: .zero)) }
            gate.open()
            for client in slow { #expect(try client.receiveText(exactly: 6) == "A\nB\nC\n") }
        }
    }

    @Test(
        "an error in a job closes the connection, and later replies are not sent",
        arguments: Setup.all)
    func anErrorClosesAndWhatWasToFollowDoesNotRun(_ setup: Setup) throws {
        let handler = blockingEcho { pause(.milliseconds(5)) }
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
        let (told, gate) = (Shared<[String]>([]), Gate())
        defer { gate.open() }
        var handler = TestHandler()
        handler.traffic = { connection in
            let text = String(decoding: connection.next())
            connection.offload {
                gate.wait()
            } then: { connection, _ in
                told.update { $0.append(text) }
                connection.write(text)
            }
            return .none
        }
        let options = setup.options { $0.workers.threads = 1 }
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            try client.send("gone")
            try eventually("its job runs") { gate.isReached }
            client.reset()
            try server.waitUntilEmpty()
            // The one thread returns the results in the order of the jobs.
            let next = try server.connect()
            try next.send("next")
            try handler.log.waitFor(.traffic, count: 2)
            gate.open()
            #expect(try next.receiveText(exactly: 4) == "next")
            #expect(told.value == ["next"])
        }
    }

    @Test("a job beyond the limit of the pool is refused and counted", arguments: Setup.single)
    func tooMuchIsRefusedAndCounted(_ setup: Setup) throws {
        let options = setup.options {
            $0.workers.threads = 1
            $0.workers.queued = 1
        }
        let gate = Gate()
        defer { gate.open() }
        let handler = blockingEcho { gate.wait() }
        try withServer(setup, handler, options: options) { server in
            defer { gate.open() }
            let clients = try (0..<6).map { _ in try server.connect() }
            for client in clients { try client.send("a\n") }
            // One runs and one waits.
            try eventually("four are refused") { server.server.statistics.offloadRefusals == 4 }
            try eventually("they are closed") { handler.log.count(.close) == 4 }
            // Checked before the clients' own closes.
            #expect(handler.log.reasons.allSatisfy { $0.hasPrefix("handlerError") })
            for client in clients { client.close() }
        }
    }

    @Test("a stop waits for the reply of a running job", arguments: Setup.single)
    func aStopWaitsForTheReply(_ setup: Setup) throws {
        let gate = Gate()
        defer { gate.open() }
        try withServer(setup, blockingEcho { gate.wait() }) { server in
            defer { gate.open() }
            let client = try server.connect()
            try client.send("a\n")
            try eventually("the job runs") { gate.isReached }
            // Half of the limit is for busy connections, longer than the test waits. This one is
            // not busy any more after its reply.
            server.server.requestStop(within: patience * 8)
            try eventually("it stops") { (try? server.connect()) == nil }
            #expect(try client.staysSilent(for: .zero))
            gate.open()
            #expect(try client.receiveTextUntilEnd() == ("A\n", .clean))
        }
    }
}
