/// Tests of overload: the handler is notified of each job that the pool refuses, in order, on its
/// loop.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct OffloadRefusalTests {
    private func pool(_ setup: Setup, threads: Int, queued: Int) -> Options {
        setup.options { options in
            options.workers.threads = threads
            options.workers.queued = queued
        }
    }

    /// Answers a line with itself, or with "busy".
    private func answering(_ work: @escaping @Sendable (String) -> Void) -> TestHandler {
        TestHandler(traffic: { connection in
            while let line = try connection.nextLine() {
                let request = String(decoding: line)
                let loop = connection.loop.index
                connection.offload {
                    work(request)
                    return request
                } then: { connection, reply in
                    #expect(connection.loop.index == loop)
                    connection.write(reply + "\n")
                } refused: { connection in
                    #expect(connection.loop.index == loop && connection.isOpen)
                    connection.write("busy\n")
                }
            }
            return .none
        })
    }

    @Test("each of 60 clients receives an answer or a refusal", arguments: Setup.all)
    func eachOfSixtyClientsIsAnsweredOrToldThatItIsTooMuch(_ setup: Setup) throws {
        let gate = Gate()
        defer { gate.open() }
        let handler = answering { _ in gate.wait() }
        let options = pool(setup, threads: 2, queued: 4)
        try withServer(setup, handler, options: options) { server in
            defer { gate.open() }
            let clients = try (0..<60).map { _ in try server.connect() }
            for client in clients { try client.send("done\n") }
            // All but two that run and four that wait.
            try eventually("54 are refused") { server.server.statistics.offloadRefusals == 54 }
            gate.open()
            var done = 0
            var busy = 0
            for client in clients {
                switch try client.receiveText(exactly: 5) {
                case "done\n": done += 1
                case "busy\n": busy += 1
                case let text: Issue.record("somebody got \(text.debugDescription)")
                }
            }
            #expect(done == 6 && busy == 54, "\(done) done, \(busy) busy")
            #expect(done + busy == clients.count)
            #expect(server.server.statistics.offloadRefusals == busy)
            for client in clients { #expect(try client.staysSilent(for: .zero)) }
            // No connection was closed because of it.
            #expect(handler.log.count(.close) == 0)
            #expect(try clients[59].roundTrip("more\n"))
        }
    }

    /// Keeps the pool's one thread busy with another client's job.
    private func whileFull(
        _ setup: Setup, _ handler: (_ gate: Gate) -> TestHandler,
        _ body: (_ server: TestServer, _ gate: Gate) throws -> Void
    ) throws -> EventLog {
        let gate = Gate()
        defer { gate.open() }
        let handler = handler(gate)
        try withServer(setup, handler, options: pool(setup, threads: 1, queued: 0)) { server in
            let other = try server.connect()
            try other.send("block\n")
            try eventually("the thread is at work") { gate.isReached }
            try body(server, gate)
            gate.open()
            #expect(try other.receiveText(exactly: 6) == "block\n")
        }
        return handler.log
    }

    private func blocking(_ gate: Gate) -> TestHandler {
        answering { request in if request == "block" { gate.wait() } }
    }

    @Test(
        "refusals come in the order of the calls, and the connection stays open",
        arguments: Setup.all)
    func refusalsComeInTheOrderOfTheCallsAndTheConnectionGoesOn(_ setup: Setup) throws {
        _ = try whileFull(setup, blocking) { server, gate in
            let client = try server.connect()
            try client.send("a\nb\nc\n")
            #expect(try client.receiveText(exactly: 15) == "busy\nbusy\nbusy\n")
            #expect(server.server.statistics.offloadRefusals == 3)
            gate.open()
            // The thread is free a moment after its gate opens.
            try eventually("work is taken again") {
                try client.send("later\n")
                let text = try client.receiveText(exactly: 5)
                if text == "later" { _ = try client.receiveText(exactly: 1) }
                return text == "later"
            }
        }
    }

    /// More than one connection may have at once: each refusal makes room for the next.
    @Test("a thousand refusals in a row are all delivered", arguments: Setup.all)
    func aThousandRefusalsInARowAreAllTold(_ setup: Setup) throws {
        _ = try whileFull(setup, blocking) { server, _ in
            let client = try server.connect()
            try client.send(String(repeating: "x\n", count: 1000))
            let answers = String(repeating: "busy\n", count: 1000)
            #expect(try client.receiveText(exactly: 5000) == answers)
        }
    }

    @Test("a refusal behind a running job waits for the reply of that job", arguments: Setup.all)
    func whatIsRefusedBehindWorkThatRunsWaitsForIt(_ setup: Setup) throws {
        let gate = Gate()
        let full = Gate()
        defer {
            gate.open()
            full.open()
        }
        let handler = answering { request in
            if request == "mine" { gate.wait() }
            if request == "block" { full.wait() }
        }
        let options = pool(setup, threads: 1, queued: 1)
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            try client.send("mine\nsecond\n")
            try eventually("the first is at work") { gate.isReached }
            // Another client's job fills the queue, and gets the thread next.
            let other = try server.connect()
            try other.send("block\n")
            try eventually("it waits") { server.server.statistics.offloadsWaiting == 1 }
            let third = try server.connect()
            try third.send("third\n")
            #expect(try third.receiveText(exactly: 5) == "busy\n")
            #expect(try client.staysSilent(for: .milliseconds(50)))
            gate.open()
            // A race decides whether the second is accepted; in either case it is answered second.
            #expect(try client.receiveText(exactly: 5) == "mine\n")
            full.open()
            let second = try client.receiveText(exactly: 5)
            #expect(second == "busy\n" || second == "secon")
            #expect(try other.receiveText(exactly: 6) == "block\n")
        }
    }

    @Test("a refused closure may close the connection or offload again", arguments: Setup.all)
    func aRefusalMayCloseOrOffloadAgain(_ setup: Setup) throws {
        let reasons = try whileFull(
            setup,
            { gate in
                TestHandler(traffic: { connection in
                    while let line = try connection.nextLine() {
                        let request = String(decoding: line)
                        connection.offload {
                            if request == "block" { gate.wait() }
                            return request + "\n"
                        } then: { connection, reply in
                            connection.write(reply)
                        } refused: { connection in
                            connection.write("again\n")
                            connection.offload {
                            } then: { connection, _ in
                                connection.write("taken\n")
                            } refused: { connection in
                                connection.write("busy\n")
                                connection.close()
                            }
                        }
                    }
                    return .none
                })
            }
        ) { server, _ in
            let client = try server.connect()
            try client.send("x\n")
            #expect(try client.receiveTextUntilEnd() == ("again\nbusy\n", .clean))
        }.reasons
        // The order of the last callbacks on several loops is open.
        #expect(reasons.contains("local"))
    }

    @Test(
        "an error thrown by a refused closure closes the connection with that error",
        arguments: Setup.all)
    func anErrorOfARefusalClosesWithIt(_ setup: Setup) throws {
        let log = try whileFull(
            setup,
            { gate in
                TestHandler(
                    traffic: { connection in
                        let request = String(decoding: connection.next())
                        connection.offload {
                            gate.wait()
                            return request
                        } then: { connection, reply in
                            connection.write(reply)
                        } refused: { connection in
                            connection.write("sorry")
                            throw Mishap(text: "refused")
                        }
                        return .none
                    },
                    close: { _, reason in
                        if case .handlerError(let error) = reason {
                            #expect(error as? Mishap == Mishap(text: "refused"))
                        }
                        return .none
                    })
            }
        ) { server, _ in
            let client = try server.connect()
            try client.send("x\n")
            #expect(try client.receiveTextUntilEnd() == ("sorry", .clean))
        }
        #expect(log.reasons.first == "handlerError")
    }

    @Test(
        "a refusal without a refused closure closes the connection as overloaded",
        arguments: Setup.all)
    func withoutAnAnswerToItARefusalClosesAsOverloaded(_ setup: Setup) throws {
        let codes = Shared<[NetError.Code]>([])
        let log = try whileFull(
            setup,
            { gate in
                TestHandler(
                    traffic: { connection in
                        let request = String(decoding: connection.next())
                        connection.offload {
                            gate.wait()
                            return request
                        } then: { connection, reply in
                            connection.write(reply)
                        }
                        return .none
                    },
                    close: { _, reason in
                        if case .handlerError(let error as NetError) = reason {
                            codes.update { $0.append(error.code) }
                        }
                        return .none
                    })
            }
        ) { server, _ in
            let client = try server.connect()
            try client.send("x\n")
            #expect(try client.receiveEnd() == .clean)
        }
        #expect(log.reasons.first == "handlerError")
        #expect(codes.value == [.overloaded])
    }

    @Test("a closed connection receives no refusal", arguments: Setup.all)
    func whoIsGoneIsNotToldOfARefusal(_ setup: Setup) throws {
        let told = Shared(0)
        _ = try whileFull(
            setup,
            { gate in
                TestHandler(traffic: { connection in
                    let request = String(decoding: connection.next())
                    if request == "block\n" {
                        connection.offload {
                            gate.wait()
                            return request
                        } then: { connection, reply in
                            connection.write(reply)
                        }
                        return .none
                    }
                    connection.close()
                    connection.offload {
                    } then: { _, _ in
                        told.update { $0 += 1 }
                    } refused: { _ in
                        told.update { $0 += 1 }
                    }
                    return .none
                })
            }
        ) { server, _ in
            let client = try server.connect()
            try client.send("x\n")
            #expect(try client.receiveEnd() == .clean)
        }
        #expect(told.value == 0)
    }
}
