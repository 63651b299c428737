/// Tests that a pending answer keeps its connection open: while the server works, neither the
/// peer's end nor its silence closes it.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct OwedAnswerTests {
    /// Answers each line in upper case, from a thread that it blocks for `delay`.
    private func offloading(_ delay: Duration) -> TestHandler {
        TestHandler(traffic: { connection in
            while let line = try connection.nextLine() {
                let request = String(decoding: line)
                connection.offload {
                    pause(delay)
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
            let handler = offloading(.milliseconds(1500))
            try withServer(setup, handler, options: options) { server in
                let client = try server.connect()
                try client.send("hello\n")
                #expect(try client.receiveText(exactly: 6) == "HELLO\n")
                // After the answer it counts again.
                let time = try elapsed {
                    let end = try client.receiveEnd()
                    #expect(end == .clean)
                }
                #expect(time < .seconds(5), "\(time)")
                client.close()
                try handler.log.waitFor(.close)
            }
            #expect(handler.log.reasons == ["timeout"])
        }
    }
}
