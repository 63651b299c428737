import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Connections with a filter: their handshakes, and the handler's bytes in the wire's records.
@Suite struct LoopFilterTests {
    @Test("no handler knows of a connection before the end of its handshake")
    func handshake() throws {
        try withSecuredStage { secured in
            let (token, requests) = try secured.accept()
            #expect(requests == [.receive(token)])
            secured.turn((token, .received(secured.record(.hello))))
            #expect(secured.wireCount > 0)
            #expect(secured.stage.delegate.take(token) == [])
            secured.finishSends(of: token)
            // Bytes in one piece with the end of the handshake are shown behind `onOpen`.
            let last = secured.record(.finished) + secured.record(.data, [1, 2])
            secured.turn((token, .received(last)))
            #expect(secured.stage.delegate.take(token) == [.opened, .traffic([1, 2])])
        }
    }

    @Test("bytes come out of records that are cut anywhere")
    func everyCut() throws {
        try withSecuredStage { secured in
            let (token, _) = try secured.accept()
            let all =
                secured.record(.hello) + secured.record(.finished)
                + secured.record(.data, [1, 2, 3]) + secured.record(.data, [4])
            for byte in all { secured.turn((token, .received([byte]))) }
            #expect(
                secured.stage.delegate.take(token) == [
                    .opened, .traffic([1, 2, 3]), .traffic([4]),
                ])
        }
    }

    @Test("a handshake has one deadline, whatever trickles in, and ends with a reset")
    func handshakeDeadline() throws {
        var plan = SimulatedFilters.Plan()
        plan.handshakeTimeout = .milliseconds(300)
        try withSecuredStage(filters: plan) { secured in
            let (token, _) = try secured.accept()
            let hello = secured.record(.hello, [UInt8](repeating: 7, count: 500))
            var requests: [Stage.Request] = []
            for byte in hello.prefix(40) where requests.isEmpty {
                requests = secured.turn(after: .milliseconds(10), (token, .received([byte])))
                requests += secured.turn()
            }
            #expect(requests == [.close(token)])
            #expect(secured.stage.delegate.take(token) == [])
            #expect(secured.stage.loop.remote.counters.handshakeFailures.current == 1)
            #expect(secured.stage.loop.remote.counters.timeouts.current == 1)
        }
    }

    @Test("a refused handshake tells the peer, waits for its end, and calls no handler")
    func refusal() throws {
        var plan = SimulatedFilters.Plan()
        plan.refusals = .always
        try withSecuredStage(filters: plan) { secured in
            let (token, _) = try secured.accept()
            let requests = secured.turn(
                (token, .received(secured.record(.hello) + [0, 0, 0])))
            #expect(secured.sent.hasFailed)
            guard case .send(let alert, token) = requests.last else {
                throw Stage.Unexpected(requests: requests)
            }
            #expect(secured.turn((token, .sent(alert.count))) == [.shutdownWrite(token)])
            #expect(secured.turn((token, .endOfStream)) == [.close(token)])
            #expect(secured.stage.delegate.take(token) == [])
        }
    }

    @Test(
        "a peer that ends in its handshake leaves no trace", arguments: [true, false])
    func endInHandshake(isReset: Bool) throws {
        try withSecuredStage { secured in
            let (token, _) = try secured.accept()
            secured.turn((token, .received(Array(secured.record(.hello).prefix(2)))))
            let end: QueuedEvent =
                isReset ? .failed(.receive, SystemError(ECONNRESET, "recv")) : .endOfStream
            #expect(secured.turn((token, end)) == [.close(token)])
            #expect(secured.stage.delegate.take(token) == [])
        }
    }

    @Test("the peer's end of stream is told once, behind its bytes; its wire may end later")
    func end() throws {
        try withSecuredStage { secured in
            let token = try secured.open()
            let last = secured.record(.data, [5]) + secured.record(.end) + [1, 1, 1]
            let requests = secured.turn((token, .received(last)))
            #expect(secured.stage.delegate.take(token) == [.traffic([5])])
            #expect(secured.sent.hasEnded)
            #expect(!requests.contains(.close(token)))
            secured.finishSends(of: token)
            #expect(secured.stage.delegate.take(token) == [.closed("peer")])
            #expect(secured.turn((token, .endOfStream)).last == .close(token))
            #expect(secured.stage.delegate.take(token) == [])
        }
    }

    @Test("with half-closure the answer to an ended stream is sent, then the end")
    func halfClosure() throws {
        var configuration = LoopConfiguration()
        configuration.allowHalfClosure = true
        try withSecuredStage(configuration) { secured in
            let token = try secured.open()
            secured.turn((token, .received(secured.record(.end))))
            #expect(secured.stage.delegate.take(token) == [.peerEnded])
            // The wire's end behind it is no second end.
            secured.turn((token, .endOfStream))
            #expect(secured.stage.delegate.take(token) == [])
            secured.noteSends(secured.stage.write([9, 9], to: token))
            secured.noteSends(secured.stage.shutdownWrite(token))
            secured.finishSends(of: token)
            #expect(secured.sent.plain == [9, 9])
            #expect(secured.sent.hasEnded)
            #expect(secured.stage.delegate.take(token) == [.closed("peer")])
        }
    }

    @Test("a wire that ends before the stream is a cut: bytes are shown, the answer is sent")
    func cut() throws {
        try withSecuredStage { secured in
            let token = try secured.open()
            secured.stage.delegate.onTraffic = { $0.write($1, $2) }
            secured.turn((token, .received(secured.record(.data, [3]))), (token, .endOfStream))
            secured.finishSends(of: token)
            #expect(secured.sent.plain == [3])
            let told = secured.stage.delegate.take(token)
            #expect(told.first == .traffic([3]))
            #expect(told.count == 2)
            guard case .closed(let cause) = told.last else { return }
            #expect(cause.hasPrefix("filter"))
        }
    }

    @Test("a close sends what was written, then the stream's end, then the wire's")
    func close() throws {
        try withSecuredStage { secured in
            let token = try secured.open()
            secured.noteSends(secured.stage.write([1, 2, 3], to: token))
            #expect(secured.noteSends(secured.stage.close(token)) == [])
            #expect(secured.sent.plain == [1, 2, 3])
            #expect(!secured.sent.hasEnded)
            secured.finishSends(of: token)
            #expect(secured.sent.hasEnded)
            #expect(secured.stage.delegate.take(token) == [.closed("local")])
        }
    }

    @Test("an abort sends no end of the stream, and the bytes in flight stay until the last word")
    func abort() throws {
        try withSecuredStage { secured in
            let token = try secured.open()
            secured.noteSends(secured.stage.write([1, 2, 3], to: token))
            #expect(secured.noteSends(secured.stage.abort(token)) == [.close(token)])
            #expect(!secured.sent.hasEnded)
            #expect(secured.stage.loop.chunks.inUse == 1)
            secured.turn((token, .closed))
            #expect(secured.stage.loop.chunks.inUse == 0)
        }
    }

    @Test("a wrong record drops what is unsealed, tells the peer and closes")
    func wrongRecord() throws {
        try withSecuredStage { secured in
            let token = try secured.open()
            secured.stage.delegate.onTraffic = { loop, connection, _ in
                loop.write(connection, [9])
            }
            secured.turn(
                (token, .received(secured.record(.data, [1]) + secured.record(.hello))))
            secured.finishSends(of: token)
            #expect(secured.sent.hasFailed)
            #expect(secured.stage.loop.remote.counters.filterFailures.current == 1)
            let told = secured.stage.delegate.take(token)
            #expect(told.first == .traffic([1]))
            #expect(told.count == 2)
        }
    }

    @Test("a promise is kept when the last sealed byte is sent, not when the handler's are sealed")
    func promise() throws {
        try withSecuredStage { secured in
            let token = try secured.open()
            let told = Monitor(0)
            let requests = secured.stage.turn(token) { loop, connection in
                [UInt8](repeating: 1, count: 10).withUnsafeBytes {
                    loop.write(connection, $0) { _ in told.withLock { $0 += 1 } }
                }
            }
            secured.noteSends(requests)
            guard case .send(let bytes, token) = requests.last else {
                throw Stage.Unexpected(requests: requests)
            }
            // The header and all but one of the bytes.
            secured.turn((token, .sent(bytes.count - 1)))
            #expect(told.withLock { $0 } == 0)
            secured.turn((token, .sent(1)))
            #expect(told.withLock { $0 } == 1)
        }
    }

    @Test("sealed bytes that are not sent count for the marks")
    func marks() throws {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 100
        configuration.outboundLowMark = 10
        try withSecuredStage(configuration) { secured in
            let token = try secured.open()
            secured.stage.delegate.onTraffic = { loop, connection, _ in
                loop.write(connection, [UInt8](repeating: 1, count: 101))
            }
            let requests = secured.turn((token, .received(secured.record(.data, [1]))))
            // The reply is sealed at once, and nothing of it is sent: no more input until then.
            #expect(requests.contains(.stop(.receive, token)))
            secured.finishSends(of: token)
            #expect(secured.stage.delegate.take(token).contains(.writable))
        }
    }

    @Test("answers of the filter that the peer does not read stop the reading")
    func unreadAnswers() throws {
        var plan = SimulatedFilters.Plan()
        plan.asides = .always
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 100
        configuration.outboundLowMark = 10
        try withSecuredStage(configuration, filters: plan) { secured in
            let token = try secured.open()
            // The first answer is in flight, so the others gather behind it.
            var requests: [Stage.Request] = []
            var count = 0
            while requests.allSatisfy({ $0 != .stop(.receive, token) }) && count < 100 {
                count += 1
                let flood = (0..<100).flatMap { _ in secured.record(.data, [1]) }
                requests = secured.turn((token, .received(flood)))
            }
            // 16 KiB of answers of three bytes.
            #expect((54...60).contains(count))
        }
    }

    @Test("a stop waits a round trip for a handshake, then aborts it")
    func drainInHandshake() throws {
        try withSecuredStage { secured in
            let (token, _) = try secured.accept()
            secured.turn((token, .received(Array(secured.record(.hello).prefix(2)))))
            secured.stage.turn(message: .drain(within: .milliseconds(10_000)))
            #expect(secured.turn(after: .milliseconds(99)) == [])
            #expect(secured.turn(after: .milliseconds(2)) + secured.turn() == [.close(token)])
            #expect(secured.stage.delegate.take(token) == [])
        }
    }

    @Test("bytes that come during a computation wait for it")
    func computation() throws {
        var plan = SimulatedFilters.Plan()
        plan.computations = .always
        let pool = WorkerPool(threads: 1, queued: 8)
        defer { pool.stop() }
        try withSecuredStage(filters: plan, workers: pool) { secured in
            let (token, _) = try secured.accept()
            let requests = secured.turn((token, .received(secured.record(.hello))))
            #expect(requests.contains(.stop(.receive, token)))
            let late = secured.record(.finished) + secured.record(.data, [8])
            secured.turn((token, .received(late)))
            let end = MonotonicClock.now + .milliseconds(30_000)
            while secured.stage.delegate.lastOpened != token, MonotonicClock.now < end {
                secured.turn()
                usleep(1_000)
            }
            #expect(secured.stage.delegate.take(token) == [.opened, .traffic([8])])
        }
    }

    @Test(
        "a connect is told at the end of the handshake, or of its failure",
        arguments: [true, false])
    func connect(isRefused: Bool) throws {
        try withSecuredStage { secured in
            let outcomes = Monitor<[String]>([])
            let address = secured.stage.listener.address
            let requests = secured.stage.turn(
                message: .run { loop in
                    loop.connect(
                        to: address, isDatagram: false, timeout: .milliseconds(1_000),
                        securedTo: FilterPeer(name: "a", address: address)
                    ) { result in
                        let outcome =
                            switch result {
                            case .success: "connected"
                            case .failure(let error): "\(type(of: error))"
                            }
                        outcomes.withLock { $0.append(outcome) }
                    }
                })
            guard case .attach(let descriptor, let token) = requests.first else {
                throw Stage.Unexpected(requests: requests)
            }
            secured.stage.network.establish(descriptor, with: address)
            secured.turn((token, .connected))
            secured.turn()
            #expect(outcomes.withLock { $0 } == [])
            secured.turn((token, .received(secured.record(isRefused ? .alert : .hello))))
            secured.turn()
            #expect(outcomes.withLock { $0 } == [isRefused ? "Refused" : "connected"])
            #expect(secured.stage.delegate.take(token) == (isRefused ? [] : [.opened]))
        }
    }
}
