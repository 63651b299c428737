/// Tests that a pending answer keeps its connection open: while the server works, neither the
/// peer's end nor its silence closes it.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct OwedAnswerTests {
    /// Answers each line in upper case, from a thread that it blocks for `delay`.
    private func offloading(_ delay: Duration) -> TestHandler { offloading { pause(delay) } }

    private func offloading(_ work: @escaping @Sendable () -> Void) -> TestHandler {
        TestHandler(traffic: { connection in
            while let line = try connection.nextLine() {
                let request = String(decoding: line)
                connection.offload {
                    work()
                    return request.uppercased() + "\n"
                } then: { connection, reply in
                    connection.write(reply)
                }
            }
            return .none
        })
    }

    /// Checks a client that ends its side directly after its request.
    private func expectTheAnswerAfterItsEnd(_ setup: Setup, _ handler: TestHandler) throws {
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("hello\n")
            client.shutdownWrite()
            #expect(try client.receiveTextUntilEnd() == ("HELLO\n", .clean))
            client.close()
            try handler.log.waitFor(.close)
        }
        #expect(handler.log.reasons == ["peer"])
    }

    @Test(
        "an offloaded request is answered after the peer has ended its side",
        arguments: Setup.all, [Duration.milliseconds(0), .milliseconds(50), .milliseconds(200)])
    func whatIsOffloadedIsAnsweredAfterThePeersEnd(_ setup: Setup, _ delay: Duration) throws {
        let handler = offloading(delay)
        try expectTheAnswerAfterItsEnd(setup, handler)
        #expect(handler.log.count(.halfClose) == 0)
    }

    @Test(
        "all offloaded requests are answered in order after the peer has ended its side",
        arguments: Setup.all)
    func allThatIsOffloadedIsAnsweredInOrder(_ setup: Setup) throws {
        let handler = offloading(.milliseconds(40))
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("one\ntwo\nthree\nfour\n")
            client.shutdownWrite()
            #expect(
                try client.receiveTextUntilEnd() == ("ONE\nTWO\nTHREE\nFOUR\n", .clean))
            client.close()
            try handler.log.waitFor(.close)
        }
        #expect(handler.log.reasons == ["peer"])
    }

    @Test("a busy connection answers after the peer has ended its side", arguments: Setup.all)
    func aBusyConnectionAnswersAfterThePeersEnd(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            connection.isBusy = true
            connection.schedule(after: .milliseconds(100)) { connection in
                connection.write("HELLO\n")
                connection.isBusy = false
            }
            return .none
        })
        try expectTheAnswerAfterItsEnd(setup, handler)
    }

    /// The peer waits for the server, so its silence does not count.
    @Test("the idle timeout does not count while the server works")
    func idleDoesNotCountWhileTheServerWorks() async {
        await sideBySide(Setup.all) { setup in
            let options = setup.options { $0.timeouts.idle = .milliseconds(600) }
            let gate = Gate()
            defer { gate.open() }
            let handler = offloading { gate.wait() }
            try withServer(setup, handler, options: options) { server in
                defer { gate.open() }
                let client = try workingClient(server, gate)
                // Two clients that connect later, one after the other, are closed before it.
                for _ in 0..<2 {
                    let silent = try server.connect()
                    #expect(try silent.receiveEnd() == .clean)
                }
                gate.open()
                #expect(try client.receiveText(exactly: 6) == "HELLO\n")
                // After the answer it counts again.
                #expect(try client.receiveEnd() == .clean)
                client.close()
                try server.waitUntilEmpty()
            }
            #expect(Set(handler.log.reasons) == ["timeout"])
        }
    }

    /// Returns a client for which the server works. On a machine that stands still, the idle
    /// timeout may close a client before it sends; the next one takes its place.
    private func workingClient(_ server: TestServer, _ gate: Gate) throws -> TestClient {
        while true {
            let client = try server.connect()
            try? client.send("hello\n")
            var isClosed = false
            try eventually("the server works") {
                isClosed = try client.poll(for: POLLIN, Deadline(.zero))
                return isClosed || gate.isReached
            }
            if !isClosed { return client }
        }
    }
}
