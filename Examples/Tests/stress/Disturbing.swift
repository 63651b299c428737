// Actions of a handler in the middle of a conversation: some must not change its bytes, and some
// break it off.
import Glibc
import NetAPI

extension Actor {
    func disturb(_ connection: Connection, _ part: Part, _ talk: Talk) throws {
        guard connection.isOpen else { return }
        if part.dice.one(in: 4) { harmless(connection, part, talk) }
        if !talk.shape.isCalm, part.dice.one(in: 24) { try breakOff(connection, part, talk) }
    }

    private func harmless(_ connection: Connection, _ part: Part, _ talk: Talk) {
        let handle = connection.handle
        let (actor, capture) = (self, Alive(.capture))
        switch part.dice.below(11) {
        case 0:
            connection.pauseReading()
            let promise = round.promise(.timer, talk)
            connection.schedule(after: .milliseconds(part.dice.below(8))) {
                _ = capture
                promise.tell()
                $0.resumeReading()
            }
        case 1:
            connection.pauseReading()
            round.task { handle.execute { $0.resumeReading() } }
        case 2:
            connection.isBusy = true
            connection.schedule(after: .milliseconds(part.dice.below(8))) { $0.isBusy = false }
        case 3: handle.wake()
        case 4:
            let promise = round.promise(.execute, talk)
            handle.execute { connection in
                _ = capture
                promise.tell()
                _ = actor.part(connection, "execute")
            }
        case 5: connection.schedule(after: .milliseconds(1)) { _ in _ = capture }.cancel()
        case 6: connection.flush()
        case 7: connection.context = Context()
        case 8:
            try? connection.set(part.dice.pick([.noDelay(true), .quickAck(true), .noKeepAlive]))
            connection.readsWhileCongested = connection.readsWhileCongested
        case 9: query(connection, talk)
        default:
            let promise = round.promise(.run, talk)
            round.task {
                let count = try? await handle.run { connection in
                    _ = capture
                    return connection.buffered + connection.outboundBuffered
                }
                promise.tell()
                if let count, count < 0 { actor.fault("a negative count") }
            }
        }
    }

    private func query(_ connection: Connection, _ talk: Talk) {
        let server = connection.server
        let (statistics, count) = (server.statistics, server.connectionCount)
        if statistics.open < 0 || count < 0 { fault("fewer than no connections") }
        if connection.remoteAddress.description.isEmpty { fault("no address") }
        if connection.loop.isStopping, talk.shape.isCalm { round.ledger.count("seen stopping") }
    }

    private func breakOff(_ connection: Connection, _ part: Part, _ talk: Talk) throws {
        part.hasBrokenOff = true
        if talk.shape.isUnix { talk.isCut.set() }
        switch part.dice.below(7) {
        case 0: connection.abort()
        case 1: connection.close()
        case 2: connection.handle.abort()
        case 3: connection.handle.close()
        case 4: throw Refusal()
        case 5:
            connection.schedule(after: .zero) { _ in throw Refusal() }
        default: connection.handle.execute { _ in throw Refusal() }
        }
    }
}

/// An object of the program that a connection keeps.
final class Context {
    private let alive = Alive(.context)
}
