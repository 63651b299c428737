/// Tests of clients that write long before they read: bytes that the library received after it
/// stopped reading are kept, within bounds.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct LateReaderTests {
    static let caps = [1 << 20, 65_536, 16_384]

    private func capped(_ setup: Setup, _ cap: Int) -> Options {
        setup.options { $0.limits.inboundBytes = cap }
    }

    @Test(
        "an echo of 12 MiB to a client that reads late arrives whole",
        arguments: caps)
    func anEchoOfTwelveMiBComesBackWhole(_ cap: Int) async {
        await sideBySide(Setup.receiving) { setup in
            let handler = TestHandler()
            try withServer(setup, handler, options: capped(setup, cap)) { server in
                var flows = [Flow(try server.connect(), stream: 1, length: 12 << 20)]
                try Exchange.push(&flows, untilQuietFor: .milliseconds(500))
                try Exchange.run(&flows)
                #expect(server.server.statistics.overflowCloses == 0)
                flows[0].client.close()
                try handler.log.waitFor(.close)
            }
            #expect(handler.log.reasons == ["peer"])
        }
    }

    /// The callbacks in which a handler reads its requests.
    enum Serving: CaseIterable {
        case inOnTraffic, inOnTrafficAndOnWritable
    }

    private static let request = 64
    private static let answer = 32 * request

    /// The answer to a request is the request 32 times. The handler reads a request only while the
    /// peer reads its answers, and leaves the others unread.
    @Test(
        "unread pipelined requests stay bounded while the client does not read, and none is lost",
        arguments: Serving.allCases)
    func aPipelineIsLeftUnreadWhileItsAnswersAreAndNothingIsLost(_ serving: Serving) async {
        await sideBySide(Setup.receiving) { setup in
            let peak = Shared(0)
            let serve: TestHandler.OnConnection = { connection in
                while connection.isWritable, let request = connection.next(Self.request) {
                    for _ in 0..<32 { connection.write(request) }
                }
                let unread = connection.buffered
                peak.update { $0 = max($0, unread) }
                return .none
            }
            let handler = TestHandler(
                traffic: serve, writable: serving == .inOnTraffic ? TestHandler.ignore : serve)
            try withServer(setup, handler, options: capped(setup, 16_384)) { server in
                let client = try server.connect(receiveBuffer: 16_384)
                try askAndReadLate(client, count: 10_000)
                #expect(server.server.statistics.overflowCloses == 0)
            }
            #expect(!handler.log.reasons.contains("inboundOverflow"))
            // One receive: a byte less than its limit, and then one full buffer.
            #expect(peak.value <= 16_384 + 2 * 131_072, "\(peak.value) bytes were left unread")
        }
    }

    /// Reads when the socket accepts no more bytes. A handler that serves only in `onTraffic` may
    /// need another request to handle the earlier ones.
    private func askAndReadLate(_ client: TestClient, count: Int) throws {
        let pattern = Pattern(stream: 7)
        let requests = pattern.bytes(count * Self.request)
        let pushed = try client.push(requests, untilQuietFor: .milliseconds(500))
        let sender = Worker { try client.send(Array(requests[pushed...])) }
        var deadline = Deadline()
        var asked = count
        var answered = 0
        while answered < asked {
            if try !client.poll(for: POLLIN, Deadline(.milliseconds(100))) {
                try deadline.check("answer \(answered) of \(asked)")
                guard sender.isDone else { continue }
                try client.send(pattern.bytes(Self.request, from: asked * Self.request))
                asked += 1
            }
            let got = try client.receive(exactly: Self.answer)
            let request = pattern.bytes(Self.request, from: answered * Self.request)
            guard got == (0..<32).flatMap({ _ in request }) else {
                throw WrongBytes(stream: pattern.stream, position: answered * Self.request)
            }
            answered += 1
            deadline = Deadline()
        }
        try sender.join("sending the requests")
    }

    /// The handler leaves these bytes unread, not the library.
    @Test(
        "a client whose bytes the handler never reads is closed with inboundOverflow",
        arguments: Setup.receiving, caps)
    func whoNeverReadsAnythingIsClosedAllTheSame(_ setup: Setup, _ cap: Int) throws {
        let handler = TestHandler(traffic: TestHandler.ignore)
        try withServer(setup, handler, options: capped(setup, cap)) { server in
            let client = try server.connect()
            #expect(throws: SystemFailure.self) { try client.sendUntilRefused() }
            try handler.log.waitFor(.close)
            #expect(server.server.statistics.overflowCloses == 1)
        }
        #expect(handler.log.reasons == ["inboundOverflow"])
    }
}
