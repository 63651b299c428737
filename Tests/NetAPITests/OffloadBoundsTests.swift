/// Tests of one connection's blocking work. The number of waiting jobs is bounded, all are
/// answered, and jobs of a closed connection are skipped.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct OffloadBoundsTests {
    /// The most jobs of one connection that wait or run, by default.
    private static let most = 16

    private func halfClosing(_ setup: Setup) -> Options {
        setup.options { $0.allowHalfClosure = true }
    }

    @Test(
        "a client that sends 1 MiB of line feeds causes few jobs and little memory use",
        arguments: Setup.all)
    func aMiBOfLineFeedsWithoutWaitingHoldsFewJobsAndLittleMemory(_ setup: Setup) throws {
        let unfinished = Unfinished()
        let gate = Gate()
        defer { gate.open() }
        let handler = unfinished.handler { gate.wait() }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            let before = residentBytes()
            let feeds = [UInt8](repeating: 0x0A, count: 1 << 20)
            let sent = try client.push(feeds, untilQuietFor: .milliseconds(300))
            try eventually("it works on some of \(sent)") { unfinished.now >= Self.most }
            pause(.milliseconds(300))
            let grown = residentBytes() - before
            #expect(unfinished.peak == Self.most)
            #expect(grown < 24 << 20 || Probe.isSanitized, "grew by \(grown >> 20) MiB")
            #expect(Probe.processorShare(over: .milliseconds(300)) < 0.1 || Probe.isSanitized)
            client.reset()
            try server.waitUntilEmpty()
            gate.open()
            let next = try server.connect()
            #expect(try next.roundTrip("next\n"))
        }
    }

    @Test("line feeds are all answered before the end of stream", arguments: Setup.all)
    func lineFeedsAreAllAnsweredOnceTheClientReadsAndThenComesTheEnd(_ setup: Setup) throws {
        let unfinished = Unfinished()
        let handler = unfinished.handler()
        let count = 16_384
        try withServer(setup, handler, options: halfClosing(setup)) { server in
            let client = try server.connect()
            try client.send([UInt8](repeating: 0x0A, count: count))
            client.shutdownWrite()
            let (bytes, end) = try client.receiveUntilEnd()
            #expect(bytes.count == count && bytes.allSatisfy { $0 == 0x0A })
            #expect(end == .clean)
        }
        #expect(unfinished.peak <= Self.most && unfinished.now == 0)
    }

    @Test("short lines are answered in order", arguments: Setup.all)
    func shortLinesAreAnsweredInOrderOnceTheClientReads(_ setup: Setup) throws {
        let unfinished = Unfinished()
        let handler = unfinished.handler()
        let lines = (0..<8000).map { "\($0)\n" }.joined()
        try withServer(setup, handler) { server in
            let client = try server.connect()
            // Pieces of a size that splits lines.
            try client.send(lines, chunk: 1009)
            #expect(try client.receiveText(exactly: lines.utf8.count) == lines)
            #expect(try client.roundTrip("and one more\n"))
        }
        #expect(unfinished.peak <= Self.most && unfinished.now == 0)
    }

    /// Paused for two reasons at once, and each of them ends separately.
    @Test(
        "answers that the client does not read stay bounded and arrive complete",
        arguments: Setup.all)
    func answersThatNobodyReadsStayBoundedAndComeWhole(_ setup: Setup) throws {
        let unfinished = Unfinished()
        let peak = Shared(0)
        var handler = unfinished.handler(answer: { [UInt8](repeating: $0[0], count: 4096) })
        let traffic = handler.traffic
        handler.traffic = { connection in
            let waiting = connection.outboundBuffered
            peak.update { $0 = max($0, waiting) }
            return try traffic(connection)
        }
        let count = 4000
        try withServer(setup, handler, options: halfClosing(setup)) { server in
            let client = try server.connect(receiveBuffer: 16_384)
            let lines = (0..<count).flatMap { [UInt8(0x41 + $0 % 26), UInt8(0x0A)] }
            try client.send(lines)
            client.shutdownWrite()
            try eventually("no more is worked on") {
                let before = unfinished.now
                pause(.milliseconds(50))
                return unfinished.now == before
            }
            for number in 0..<count {
                let answer = [UInt8](repeating: UInt8(0x41 + number % 26), count: 4096)
                #expect(try client.receive(exactly: 4096) == answer)
            }
            #expect(try client.receiveEnd() == .clean)
        }
        #expect(unfinished.peak <= Self.most && unfinished.now == 0)
        #expect(peak.value <= 256 << 10 + 2 * Self.most * 4096)
    }

    /// The call with which a handler reads one request.
    enum Taking: CaseIterable {
        case line, delimited, frame, count, integer

        var request: [UInt8] {
            switch self {
            case .line, .delimited: Array("abc\n".utf8)
            case .frame: [0, 2, 0x61, 0x62]
            case .count, .integer: Array("abcd".utf8)
            }
        }

        func take(_ connection: Connection) throws -> Bool {
            switch self {
            case .line: try connection.nextLine() != nil
            case .delimited: try connection.next(through: "\n") != nil
            case .frame: try connection.nextFrame(length: UInt16.self, limit: 100) != nil
            case .count: connection.next(4) != nil
            case .integer: connection.nextInteger(as: UInt32.self) != nil
            }
        }
    }

    @Test(
        "the number of jobs is bounded for every way of reading a request",
        arguments: Setup.single, Taking.allCases)
    func everyWayOfTakingARequestIsBounded(_ setup: Setup, _ taking: Taking) throws {
        let unfinished = Unfinished()
        let gate = Gate()
        defer { gate.open() }
        let handler = TestHandler(traffic: { connection in
            while try taking.take(connection) {
                unfinished.begin()
                connection.offload {
                    gate.wait()
                } then: { connection, _ in
                    unfinished.end()
                    connection.write("x")
                }
            }
            return .none
        })
        let count = 500
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send((0..<count).flatMap { _ in taking.request })
            try eventually("as many as may be") { unfinished.now >= Self.most }
            pause(.milliseconds(50))
            #expect(unfinished.peak == Self.most)
            gate.open()
            let answers = String(repeating: "x", count: count)
            #expect(try client.receiveText(exactly: count) == answers)
        }
        #expect(unfinished.peak == Self.most)
    }

    @Test("a connection at its job limit does not delay other connections", arguments: Setup.all)
    func aConnectionWithAsMuchWorkAsItMayHaveLeavesOthersAlone(_ setup: Setup) throws {
        let unfinished = Unfinished()
        let gate = Gate()
        defer { gate.open() }
        var handler = unfinished.handler { gate.wait() }
        let traffic = handler.traffic
        handler.traffic = { connection in
            guard connection.peekInteger(as: UInt8.self) == 0x0A else {
                return try TestHandler.echo(connection)
            }
            return try traffic(connection)
        }
        try withServer(setup, handler) { server in
            let busy = try server.connect()
            _ = try busy.push(
                [UInt8](repeating: 0x0A, count: 1 << 20), untilQuietFor: .milliseconds(100))
            let others = try (0..<4).map { _ in try server.connect() }
            for _ in 0..<20 {
                for other in others { #expect(try other.roundTrip("at once")) }
            }
            busy.reset()
        }
    }

    /// Each thread works for one of them when they leave, and is then free for the next client.
    @Test("waiting jobs of clients that have left are skipped", arguments: Setup.all)
    func whoHasLeftIsNotWorkedFor(_ setup: Setup) throws {
        let options = setup.options { $0.workers.threads = 2 }
        let begun = Shared(0)
        let unfinished = Unfinished()
        let gate = Gate()
        defer { gate.open() }
        let handler = unfinished.handler {
            begun.update { $0 += 1 }
            gate.wait()
        }
        try withServer(setup, handler, options: options) { server in
            let leaving = try (0..<30).map { _ in try server.connect() }
            for client in leaving { try client.send("x\n") }
            try eventually("all have asked") { unfinished.now == leaving.count }
            try eventually("each thread works") { begun.value == 2 }
            for client in leaving { client.reset() }
            try server.waitUntilEmpty()
            gate.open()
            let next = try server.connect()
            #expect(try next.roundTrip("next\n"))
        }
        #expect(begun.value == 3, "\(begun.value) jobs were begun")
    }
}
