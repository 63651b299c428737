/// Tests of a Connection that a handler kept. After its end it reads as closed and every call on it
/// is harmless, also when its slot is reused.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct KeptConnectionTests {
    /// Keeps the first connection of its loop, and makes every call on it in later ones.
    final class Keeper: EventHandler {
        let note = PerConnection("none")
        var kept: Connection?
        let complaints: Shared<[String]>
        let closed: Shared<Int>

        init(_ complaints: Shared<[String]>, _ closed: Shared<Int>) {
            self.complaints = complaints
            self.closed = closed
        }

        func onOpen(_ connection: Connection) -> Action {
            if kept == nil { kept = connection }
            connection[note] = "mine"
            return .none
        }

        func onTraffic(_ connection: Connection) throws -> Action {
            guard let kept, kept != connection else { return .none }
            let unread = connection.buffered
            look(kept)
            call(kept)
            if !connection.isOpen { complain("this one was closed instead") }
            if connection.buffered != unread { complain("this one's input was taken instead") }
            if connection[note] != "mine" { complain("this one's variable was changed instead") }
            connection.discardAll()
            connection.write("tried")
            return .none
        }

        func onClose(_ connection: Connection, _ reason: CloseReason) -> Action {
            if connection.isOpen { complain("isOpen in onClose") }
            connection.write("not written")
            closed.update { $0 += 1 }
            return .none
        }

        func complain(_ text: String) { complaints.update { $0.append(text) } }

        private func look(_ kept: Connection) {
            if kept.isOpen { complain("isOpen") }
            if kept.isWritable { complain("isWritable") }
            if kept.buffered != 0 { complain("buffered") }
            if kept.outboundBuffered != 0 { complain("outboundBuffered") }
            if kept.bytes.byteCount != 0 { complain("bytes") }
            if kept.readPair.head.byteCount + kept.readPair.tail.byteCount != 0 {
                complain("readPair")
            }
            if kept.next().byteCount != 0 || kept.next(1) != nil { complain("next") }
            if kept.peek(1) != nil { complain("peek") }
            if kept.peekInteger(as: UInt8.self) != nil { complain("peekInteger") }
            if kept.nextInteger(as: UInt8.self) != nil { complain("nextInteger") }
            if !kept.readArray().isEmpty { complain("readArray") }
            if kept.discard(1) != 0 || kept.discardAll() != 0 { complain("discard") }
            if kept.withUnsafeBytes({ $0.count }) != 0 { complain("withUnsafeBytes") }
            do {
                if try kept.nextLine() != nil { complain("nextLine") }
                if try kept.next(through: ";") != nil { complain("next(through:)") }
                if try kept.nextFrame(length: UInt8.self, limit: 9) != nil { complain("nextFrame") }
            } catch {
                complain("\(error)")
            }
            _ = kept.localAddress
            _ = kept.remoteAddress
            _ = kept.isAccepted
        }

        private func call(_ kept: Connection) {
            kept.write("to nobody")
            kept.write([1, 2, 3])
            kept.write(decimal: 4)
            kept.write(integer: UInt32(5))
            kept.write(reserving: 10) { _ in complain("reserving") }
            kept.writeFrame([UInt8]().span.bytes, length: UInt8.self)
            kept.flush()
            kept.close()
            kept.shutdownWrite()
            kept.pauseReading()
            kept.resumeReading()
            kept.abort()
            kept.schedule(after: .zero) { [self] _ in complain("schedule") }
            kept.handle.wake()
            kept.handle.write("to nobody")
            kept.handle.execute { [complaints] _ in complaints.update { $0.append("execute") } }
            do throws(NetError) {
                try kept.set(.noDelay(true))
                complain("set")
            } catch {
                if error.code != .closed { complain("set threw \(error)") }
            }
            kept.context = self
            _ = kept.context
            kept[note] = "changed"
            _ = kept[note]
            _ = kept.loop.index
            _ = kept.hashValue
        }
    }

    /// `reuse` is the number of connections that are opened and closed in between.
    @Test(
        "every call on a kept connection is safe after its close", arguments: Setup.all, [0, 200])
    func everyCallOnAKeptConnectionIsHarmless(_ setup: Setup, _ reuse: Int) throws {
        let complaints = Shared<[String]>([])
        let closed = Shared(0)
        let server = try Server(listen: anyPort, options: setup.options()) {
            Keeper(complaints, closed)
        }
        try serve(server) { server in
            do {
                let first = try (0..<setup.loops).map { _ in try server.connect() }
                try eventually("all open") { server.server.connectionCount == setup.loops }
                for client in first { client.close() }
            }
            try eventually("the kept ones closed") { closed.value == setup.loops }
            for _ in 0..<reuse { try server.connect().close() }
            try server.waitUntilEmpty()
            for _ in 0..<4 * setup.loops {
                let client = try server.connect()
                // Bytes written to the wrong connection would come before the second answer.
                for _ in 0..<2 {
                    try client.send("unread")
                    #expect(try client.receiveText(exactly: 5) == "tried")
                }
                #expect(try client.staysSilent(for: .milliseconds(5)))
            }
        }
        #expect(Set(complaints.value) == [])
    }

    @Test("different connections are unequal and have different handles", arguments: Setup.all)
    func anotherConnectionIsAnother(_ setup: Setup) throws {
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            let all = Array(connection.loop.connections)
            connection.write("\(all.count) \(Set(all).count) \(Set(all.map(\.handle)).count)")
            return .none
        })
        try withServer(setup, handler) { server in
            let clients = try (0..<3 * setup.loops).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: clients.count)
            try clients[0].send("x")
            #expect(try clients[0].receiveText(exactly: 5) == "3 3 3")
        }
    }
}
