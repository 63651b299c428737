import MillraceEventLoop
import MillraceSimulation
import Testing

/// Peers in the middle of a message before whose rest their filter seals nothing, as with a ticket
/// of TLS 1.3 in two records.
@Suite struct LoopHalfMessageTests {
    @Test("a reply and a close wait for the rest of the message, and lose nothing")
    func close() throws {
        try withHalfMessage { half in
            half.turn { loop, connection in
                loop.write(connection, [1, 2, 3])
                loop.close(connection, .local)
            }
            #expect(half.sealed == 0)
            #expect(half.told == [])
            half.complete()
            #expect(half.secured.sent.plain == [1, 2, 3])
            #expect(half.secured.sent.hasEnded)
            #expect(half.told == [.closed("local")])
        }
    }

    @Test("an end without bytes before it waits too", arguments: [true, false])
    func end(isClose: Bool) throws {
        try withHalfMessage { half in
            let requests = half.turn { loop, connection in
                if isClose {
                    loop.close(connection, .local)
                } else {
                    loop.shutdownWrite(connection)
                }
            }
            #expect(!requests.contains(.shutdownWrite(half.token)))
            #expect(half.told == [])
            half.complete()
            #expect(half.secured.sent.hasEnded)
            #expect(half.requests.contains(.shutdownWrite(half.token)))
            #expect(half.told == (isClose ? [.closed("local")] : []))
        }
    }

    @Test("above the high mark the rest is still read, and then the reading stops")
    func throttled() throws {
        var configuration = LoopConfiguration()
        configuration.outboundHighMark = 100
        configuration.outboundLowMark = 10
        try withHalfMessage(configuration) { half in
            let bytes = [UInt8](repeating: 7, count: 200)
            let requests = half.turn { loop, connection in loop.write(connection, bytes) }
            #expect(!requests.contains(.stop(.receive, half.token)))
            #expect(half.sealed == 0)
            // Bytes behind the message are kept for after the pause.
            half.receive(half.rest + half.secured.record(.data, [8]))
            #expect(half.requests.contains(.stop(.receive, half.token)))
            #expect(half.told == [])
            half.secured.finishSends(of: half.token)
            #expect(half.secured.sent.plain == bytes)
            half.secured.turn((half.token, .stopped(.receive)))
            #expect(half.told.contains(.traffic([8])))
        }
    }

    @Test("a handler's pause does not keep back the rest, whether it began before or after")
    func paused() throws {
        for isBefore in [true, false] {
            try withHalfMessage { half in
                if isBefore {
                    half.secured.stage.pause(half.token)
                    half.secured.turn((half.token, .stopped(.receive)))
                }
                var requests = half.turn { loop, connection in loop.write(connection, [5]) }
                #expect(requests.contains(.receive(half.token)) == isBefore)
                if !isBefore { requests = half.secured.stage.pause(half.token) }
                #expect(!requests.contains(.stop(.receive, half.token)))
                half.complete()
                #expect(half.secured.sent.plain == [5])
                #expect(half.requests.contains(.stop(.receive, half.token)))
            }
        }
    }

    @Test("no more is kept in a pause than the limit of unread bytes")
    func limit() throws {
        var configuration = LoopConfiguration()
        configuration.inboundLimit = 1_000
        try withHalfMessage(configuration) { half in
            half.secured.stage.pause(half.token)
            half.secured.turn((half.token, .stopped(.receive)))
            half.turn { loop, connection in loop.write(connection, [5]) }
            // In one piece with the start of another message.
            half.secured.stage.delegate.onTraffic = { $0.write($1, $2) }
            let bytes = [UInt8](repeating: 1, count: 1_001)
            let data = half.secured.record(.data, bytes)
            let next = half.secured.record(.aside, [1, 2, 3])
            half.receive(half.rest + data + next.prefix(4))
            #expect(half.sealed == 0)
            #expect(half.requests.contains(.stop(.receive, half.token)))
            half.secured.turn((half.token, .stopped(.receive)))
            half.secured.noteSends(half.secured.stage.resume(half.token))
            #expect(half.told == [.traffic(bytes)])
            half.receive(Array(next.dropFirst(4)))
            half.secured.finishSends(of: half.token)
            #expect(half.secured.sent.plain == [5] + bytes)
        }
    }

    enum End: CaseIterable { case reply, replyAndClose, end, close }

    @Test(
        "a wire that ends in the message keeps no connection, and its stream has no end",
        arguments: End.allCases)
    func wireEnds(_ end: End) throws {
        try withHalfMessage { half in
            half.turn { loop, connection in
                if end == .reply || end == .replyAndClose { loop.write(connection, [1]) }
                if end == .end { loop.shutdownWrite(connection) }
                if end == .replyAndClose || end == .close { loop.close(connection, .local) }
            }
            let requests =
                half.secured.turn((half.token, .endOfStream)) + half.secured.turn()
            #expect(requests.last == .close(half.token), "\(requests)")
            #expect(half.sealed == 0)
            let isLocal = end == .replyAndClose || end == .close
            guard case .closed(let cause) = half.told.last else { return }
            #expect(cause.hasPrefix(isLocal ? "local" : "filter"), "\(cause)")
        }
    }

    @Test("an abort waits for nothing")
    func abort() throws {
        try withHalfMessage { half in
            half.turn { loop, connection in loop.write(connection, [1]) }
            #expect(half.secured.stage.abort(half.token) == [.close(half.token)])
        }
    }

    @Test("a peer that never completes its message is closed with a reset, in the time for a close")
    func never() throws {
        try withHalfMessage { half in
            half.turn { loop, connection in
                loop.write(connection, [1])
                loop.close(connection, .local)
            }
            let limit = half.secured.stage.loop.configuration.closeTimeout
            var requests = half.secured.turn(after: limit)
            requests += half.secured.stage.secondLook()
            for _ in 0..<8 where !requests.contains(.close(half.token)) {
                requests += half.secured.turn(after: limit / 4)
                requests += half.secured.stage.secondLook()
            }
            #expect(requests.last == .close(half.token))
            #expect(half.told == [.closed("timeout")])
        }
    }
}

/// A secured connection whose peer has sent one half of a message.
private final class HalfMessage {
    let secured: SecuredStage
    let token: Token
    let rest: [UInt8]
    private(set) var requests: [Stage.Request] = []
    private var before = 0

    init(_ secured: SecuredStage) throws {
        self.secured = secured
        token = try secured.open()
        let message = secured.record(.aside, [UInt8](repeating: 3, count: 100))
        rest = Array(message.dropFirst(50))
        receive(Array(message.prefix(50)))
        before = secured.wireCount
    }

    /// The number of bytes that the loop has sealed since.
    var sealed: Int { secured.wireCount - before }
    var told: [RecordingDelegate.Told] { secured.stage.delegate.take(token) }

    @discardableResult
    func turn(_ body: @escaping @Sendable (Loop, ConnectionReference) -> Void) -> [Stage.Request] {
        secured.noteSends(secured.stage.turn(token, does: body))
    }

    func receive(_ bytes: [UInt8]) { requests = secured.turn((token, .received(bytes))) }

    func complete() {
        receive(rest)
        requests += secured.finishSends(of: token)
    }
}

private func withHalfMessage(
    _ configuration: LoopConfiguration = LoopConfiguration(), _ body: (HalfMessage) throws -> Void
) throws {
    try withSecuredStage(configuration) { try body(try HalfMessage($0)) }
}
