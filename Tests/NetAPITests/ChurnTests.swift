/// Tests that connections leave nothing behind, in each way of ending.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ChurnTests {
    /// The way in which a client ends its connection.
    enum Leaving: Int, CaseIterable {
        case resetAtOnce, resetAfterSending, resetMidReply, closeAfterReply, closeUnread, halfClose
    }

    @Test("three thousand resets and closes leak no connection or descriptor", arguments: Setup.all)
    func threeThousandResetsAndClosesLeaveNothing(_ setup: Setup) throws {
        // The default action, like in a program that does not handle SIGPIPE: a send to a peer that
        // has left must not end the process.
        signal(SIGPIPE, SIG_DFL)
        let handler = TestHandler()
        try withServer(setup, handler) { server in
            do {
                let client = try server.connect()
                #expect(try client.roundTrip("warm"))
            }
            try server.waitUntilEmpty()
            let before = Probe.descriptors
            for number in 0..<3000 {
                try visit(server, Leaving(rawValue: number % Leaving.allCases.count)!)
            }
            do {
                // When this client is served, all clients before it in the backlog have been
                // accepted.
                let last = try server.connect()
                #expect(try last.roundTrip("last"))
            }
            try server.waitUntilEmpty()
            try eventually("every descriptor closed") { Probe.descriptors <= before }
            #expect(Probe.processorShare(over: .seconds(1)) < 0.05 || Probe.isSanitized)
            let statistics = server.server.statistics
            #expect(statistics.open == 0)
            #expect(statistics.accepted == handler.log.count(.open))
            let client = try server.connect()
            #expect(try client.roundTrip("still there"))
        }
        #expect(handler.log.count(.open) == handler.log.count(.close))
        #expect(handler.log.count(.open) > 2400, "only resets before accept may be missing")
    }

    private func visit(_ server: TestServer, _ leaving: Leaving) throws {
        let client = try server.connect()
        switch leaving {
        case .resetAtOnce: client.reset()
        case .resetAfterSending:
            try client.send("hello")
            client.reset()
        case .resetMidReply:
            try client.send([UInt8](repeating: 7, count: 10_000))
            _ = try client.receive(exactly: 100)
            client.reset()
        case .closeAfterReply:
            #expect(try client.roundTrip("hello"))
            client.close()
        case .closeUnread:
            try client.send("hello")
            client.close()
        case .halfClose:
            try client.send("hello")
            client.shutdownWrite()
            #expect(try client.receiveTextUntilEnd() == ("hello", .clean))
        }
    }

    @Test(
        "connections from several threads receive only their own bytes while slots are reused",
        arguments: Setup.all)
    func connectionsFromManyThreadsStayUncrossedWhileSlotsAreReused(_ setup: Setup) throws {
        try withServer(setup) { server in
            let threads = (0..<4).map { thread in
                Worker {
                    for number in 0..<300 {
                        let client = try server.connect()
                        let text = Array("thread \(thread), connection \(number)".utf8)
                        try client.send(text)
                        guard try client.receive(exactly: text.count) == text else {
                            throw Mishap(text: "crossed: \(thread)/\(number)")
                        }
                        if number % 2 == 0 { client.reset() }
                    }
                }
            }
            for thread in threads { try thread.join("a churning thread") }
            try server.waitUntilEmpty()
        }
    }

    @Test("a large reply that ends at a random moment contains only its own bytes")
    func closingAtARandomMomentOfALargeReplyNeverLeaksMemoryOfOthers() async {
        await sideBySide(Setup.all) { setup in
            let pattern = Pattern(stream: 99)
            let handler = TestHandler(traffic: { connection in
                let delay = connection.nextInteger(as: UInt8.self) ?? 0
                connection.write(pattern.bytes(1 << 20))
                connection.schedule(after: .microseconds(Int(delay) * 20)) { connection in
                    if delay % 2 == 0 { connection.abort() } else { connection.close() }
                }
                return .none
            })
            try withServer(setup, handler) { server in
                for number in 0..<300 {
                    let client = try server.connect(receiveBuffer: 8192)
                    try client.send([UInt8(number % 256)])
                    pause(.microseconds(500))
                    let (count, end) = try client.receiveUntilEnd(pattern)
                    #expect(count == 1 << 20 || end.isReset)
                }
            }
        }
    }

    @Test("servers that start and stop leak no descriptor or thread", arguments: Setup.all)
    func serversThatStartAndStopLeaveNothing(_ setup: Setup) throws {
        try withServer(setup) { _ in }
        let (descriptors, threads) = (Probe.descriptors, Probe.threads)
        for _ in 0..<20 {
            try withServer(setup) { server in
                let client = try server.connect()
                #expect(try client.roundTrip("hello"))
            }
        }
        try eventually("every descriptor closed") { Probe.descriptors <= descriptors }
        try eventually("every thread gone") { Probe.threads <= threads + 1 }
    }
}
