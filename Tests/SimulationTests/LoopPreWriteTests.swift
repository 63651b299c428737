import Glibc
import MillraceEventLoop
import MillraceSimulation
import Testing

/// Bytes that wait for a flush, since another connection's callback has written them. `preWrite`
/// runs before an event of their own connection sends them.
@Suite struct LoopPreWriteTests {
    /// From now on `preWrite` adds a 9, and the other connection's input writes a 2.
    private func prepare(_ stage: Stage, _ token: Token) {
        stage.loop.handlerWantsPreWrite = true
        stage.delegate.onPreWrite = { loop, connection in
            if connection.token == token { loop.write(connection, [9]) }
        }
        stage.delegate.onTraffic = { loop, _, _ in
            if let connection = loop.find(token) { loop.write(connection, [2]) }
        }
    }

    @Test("a completed send does not send them without preWrite", arguments: [1, 2])
    func completedSend(count: Int) throws {
        try withStage { stage in
            let (token, other) = (try stage.open(), try stage.open())
            #expect(stage.write([1, 1], to: token) == [.send([1, 1], token)])
            prepare(stage, token)
            let requests = stage.turn((other, .received([1])), (token, .sent(count)))
            let rest = [UInt8](repeating: 1, count: 2 - count)
            #expect(requests == [.send(rest + [2, 9], token)])
            #expect(stage.turn((token, .sent(rest.count + 2))) == [])
        }
    }

    @Test("a datagram that is tried again does not take them along without preWrite")
    func repeatedDatagram() throws {
        try withStage { stage in
            let address = stage.listener.address
            let begun = stage.turn(
                message: .run { loop in
                    loop.connect(to: address, isDatagram: true, timeout: 1_000_000_000) { _ in }
                })
            guard case .attach(let descriptor, let token) = begun.first else {
                throw Stage.Unexpected(requests: begun)
            }
            stage.network.establish(descriptor, with: address)
            stage.turn((token, .connected))
            let other = try stage.open()
            #expect(stage.write([1], to: token) == [.send([1], token)])
            prepare(stage, token)
            let refused = QueuedEvent.failed(.send, SystemError(ECONNREFUSED, "send"))
            #expect(stage.turn((other, .received([1])), (token, refused)) == [.send([1], token)])
            #expect(stage.turn((token, .sent(1))) == [.send([2, 9], token)])
            #expect(stage.turn((token, .sent(2))) == [])
        }
    }

    @Test("a piece of a record does not make a filter seal them without preWrite")
    func pieceOfARecord() throws {
        try withSecuredStage { secured in
            let token = try secured.open()
            let other = try secured.stage.open()
            prepare(secured.stage, token)
            let piece = Array(secured.record(.data, [5]).prefix(1))
            secured.turn((other, .received([1])), (token, .received(piece)))
            secured.finishSends(of: token)
            #expect(secured.sent.plain == [2, 9])
        }
    }
}
