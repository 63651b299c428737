/// Tests of a connection used from other threads: ordered writes, correct results, harmless races.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct HandleTests {
    /// Returns a handler that stores its connections' handles.
    static func sharing(
        _ handles: Shared<[ConnectionHandle]>, traffic: @escaping TestHandler.OnConnection
    ) -> TestHandler {
        TestHandler(
            open: { connection in
                handles.update { [handle = connection.handle] in $0.append(handle) }
                return .none
            }, traffic: traffic)
    }

    @Test("wake runs onTraffic even without unread bytes", arguments: Setup.all)
    func wakeRunsOnTrafficAlsoWithNothingUnread(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = Self.sharing(handles) { connection in
            connection.write("\(connection.buffered) unread;")
            return .none
        }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            handles.value[0].wake()
            #expect(try client.receiveText(exactly: 9) == "0 unread;")
            try client.send("abc")
            #expect(try client.receiveText(exactly: 9) == "3 unread;")
            handles.value[0].wake()
            #expect(try client.receiveText(exactly: 9) == "3 unread;")
        }
    }

    @Test("abort ends a connection that has closed and still sends", arguments: Setup.all)
    func abortWhileFinishing(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = Self.sharing(handles) { connection in
            connection.discardAll()
            connection.write([UInt8](repeating: 1, count: 16 << 20))
            return .close
        }
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try client.send("x")
            try client.wait(for: POLLIN, Deadline(), "the first bytes")
            #expect(handler.log.count(.close) == 0)
            handles.value[0].abort()
            try handler.log.waitFor(.close)
        }
    }

    @Test("wake inside onTraffic runs onTraffic again later", arguments: Setup.all)
    func wakeInsideOnTrafficRunsItAgainLater(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            guard let byte = connection.nextInteger(as: UInt8.self) else { return .none }
            connection.write([byte])
            connection.handle.wake()
            return .none
        })
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try client.send("one at a time")
            #expect(try client.receiveText(exactly: 13) == "one at a time")
        }
    }

    @Test("wakes and closes from many threads are safe", arguments: Setup.all)
    func wakesAndClosesFromManyThreadsAreHarmless(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = Self.sharing(handles, traffic: TestHandler.echo)
        try withServer(setup, handler) { server in
            for round in 0..<10 {
                let clients = try (0..<20).map { _ in try server.connect() }
                try handler.log.waitFor(.open, count: 20 * (round + 1))
                let targets = handles.value.suffix(20)
                let threads = (0..<4).map { thread in
                    Worker {
                        for (place, handle) in targets.enumerated() {
                            handle.wake()
                            handle.write("x")
                            if place % 4 == thread { handle.close() } else { handle.wake() }
                            if place % 7 == thread { handle.abort() }
                        }
                    }
                }
                for thread in threads { try thread.join("a racing thread") }
                for client in clients { client.close() }
                try handler.log.waitFor(.close, count: 20 * (round + 1))
            }
            let client = try server.connect()
            #expect(try client.roundTrip("still there"))
        }
        #expect(handler.log.count(.open) == handler.log.count(.close))
    }

    @Test("two thousand writes and a close from one thread arrive in order", arguments: Setup.all)
    func twoThousandWritesAndACloseFromOneThreadArriveInOrder(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = Self.sharing(handles, traffic: TestHandler.ignore)
        let sent = Shared(0)
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            let writer = Worker {
                for number in 0..<2000 {
                    handles.value[0].write("line \(number)\n") { result in
                        if case .success = result { sent.update { $0 += 1 } }
                    }
                }
                handles.value[0].close()
            }
            let (text, end) = try client.receiveTextUntilEnd()
            #expect(text == (0..<2000).map { "line \($0)\n" }.joined())
            #expect(end == .clean)
            try writer.join("2,000 writes")
            try eventually("each told as sent") { sent.value == 2000 }
        }
        #expect(handler.log.reasons == ["local"])
    }

    @Test("writes from many threads keep the order of each thread", arguments: Setup.all)
    func writesFromManyThreadsKeepEachThreadsOrder(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = Self.sharing(handles, traffic: TestHandler.ignore)
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            for thread in 0..<8 {
                startThread {
                    for number in 0..<500 {
                        handles.value[0].write([UInt8(thread), UInt8(number % 250)])
                    }
                }
            }
            let bytes = try client.receive(exactly: 8 * 500 * 2)
            var next = [Int](repeating: 0, count: 8)
            for place in stride(from: 0, to: bytes.count, by: 2) {
                let thread = Int(bytes[place])
                try #require(thread < 8)
                #expect(Int(bytes[place + 1]) == next[thread] % 250)
                next[thread] += 1
            }
            #expect(next.allSatisfy { $0 == 500 })
        }
    }

    @Test("every write after the close reports closed", arguments: Setup.all)
    func afterACloseEveryWriteIsToldClosed(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let results = Shared<[NetError.Code?]>([])
        let handler = Self.sharing(handles, traffic: TestHandler.ignore)
        let write: @Sendable () -> Void = {
            handles.value[0].write("too late") { result in
                results.update { $0.append(result.code) }
            }
            handles.value[0].write([[1], [2]]) { result in
                results.update { $0.append(result.code) }
            }
        }
        try withServer(setup, handler) { server in
            let client = try server.connect()
            try handler.log.waitFor(.open)
            client.close()
            try handler.log.waitFor(.close)
            for _ in 0..<5 { write() }
            try eventually("ten answers") { results.value.count == 10 }
            handles.value[0].close()
            handles.value[0].abort()
            handles.value[0].wake()
        }
        for _ in 0..<5 { write() }
        try eventually("ten more answers, with the server stopped") { results.value.count == 20 }
        #expect(results.value.allSatisfy { $0 == .closed })
    }

    @Test(
        "a write reports success only when the kernel has accepted all its bytes",
        arguments: Setup.all)
    func sentIsToldWhenTheKernelHasTheBytesAndNotBefore(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = Self.sharing(handles, traffic: TestHandler.ignore)
        let isSent = Shared(false)
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try handler.log.waitFor(.open)
            let pattern = Pattern(stream: 1)
            handles.value[0].write(pattern.bytes(32 << 20)) { result in
                if case .success = result { isSent.value = true }
            }
            try settled("what the kernel takes") { server.server.statistics.bytesOut }
            #expect(!isSent.value, "32 MiB are more than a kernel holds")
            try client.receive(pattern, exactly: 32 << 20)
            try eventually("sent is told") { isSent.value }
        }
    }

    @Test(
        "pieces of one write stay together and are reported once, when all are sent",
        arguments: Setup.all)
    func piecesStayTogetherAndAreToldOnceWhenAllAreSent(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = Self.sharing(handles, traffic: TestHandler.ignore)
        let told = Shared(0)
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try handler.log.waitFor(.open)
            let pattern = Pattern(stream: 1)
            let handle = handles.value[0]
            handle.write([[]]) { _ in told.update { $0 += 1 } }
            try eventually("nothing at all is sent at once") { told.value == 1 }
            let pieces = (0..<32).map { pattern.bytes(1 << 20, from: $0 << 20) }
            handle.write(pieces + [[]]) { result in
                if case .success = result { told.update { $0 += 1 } }
            }
            handle.write("behind")
            try settled("what the kernel takes") { server.server.statistics.bytesOut }
            #expect(told.value == 1, "32 MiB are more than a kernel holds")
            try client.receive(pattern, exactly: 32 << 20)
            #expect(try client.receiveText(exactly: 6) == "behind")
            try eventually("sent is told") { told.value == 2 }
        }
    }

    @Test("an unsent write reports closed when the connection ends", arguments: Setup.all)
    func sentIsToldClosedWhenTheConnectionEndsFirst(_ setup: Setup) throws {
        let handles = Shared<[ConnectionHandle]>([])
        let order = Shared<[String]>([])
        var handler = Self.sharing(handles, traffic: TestHandler.ignore)
        handler.close = { _, _ in
            order.update { $0.append("onClose") }
            return .none
        }
        try withServer(setup, handler) { server in
            let client = try server.connect(receiveBuffer: 4096)
            try handler.log.waitFor(.open)
            handles.value[0].write([UInt8](repeating: 1, count: 32 << 20)) { result in
                order.update { $0.append(result.code == .closed ? "closed" : "\(result)") }
            }
            try client.wait(for: POLLIN, Deadline(), "the first bytes")
            client.reset()
            try handler.log.waitFor(.close)
        }
        #expect(order.value == ["closed", "onClose"])
    }
}

extension Result<Void, NetError> {
    /// The code of the failure.
    fileprivate var code: NetError.Code? {
        if case .failure(let error) = self { error.code } else { nil }
    }
}
