/// The decisions of a drain: when each connection of a stopping loop is closed or aborted.
struct Drain: Equatable {
    /// A peer that was silent for this long is not in the middle of a request.
    static var quietTime: Nanoseconds { 20_000_000 }
    /// A peer that has just connected, and has sent or received no bytes yet, may be about to send.
    /// Its first bytes need an additional round trip: after the connect, a greeting, or a
    /// handshake.
    static var firstByteTime: Nanoseconds { 100_000_000 }
    /// A pipe that was silent for this long is not in the middle of a stream. Its bytes may come
    /// from far away, and nothing else tells where its streams end.
    static var pipeQuietTime: Nanoseconds { 1_000_000_000 }

    let since: Nanoseconds
    /// The time at which all connections are aborted.
    var deadline: Nanoseconds

    enum Decision: Equatable {
        case wait(until: Nanoseconds)
        /// Sends the written bytes first.
        case close
        case abort
        /// Frees the descriptor: the kernel has all output and delivers it after a close.
        case release
    }

    /// The facts about a connection that a decision depends on.
    struct Facts {
        var state: ConnectionState
        var lastReceived: Nanoseconds
        /// 0 until bytes were sent.
        var lastSent: Nanoseconds
        /// The handler is busy, or has work offloaded.
        var isWorking: Bool
        /// The peer has sent bytes for the handler.
        var hasSpoken = true
        /// Others are joined to it by pipes.
        var isPiped = false
    }

    /// The first half of the time is for peers that still send, the second half for the last bytes
    /// of output.
    private var patience: Nanoseconds { since + (deadline - since) / 2 }

    /// Decides about one connection. `hasUnread` tells whether its silent peer may have sent bytes
    /// that the loop has not seen.
    func decision(
        about facts: Facts, now: Nanoseconds, hasUnread: @autoclosure () -> Bool
    ) -> Decision {
        switch facts.state {
        case .connecting: return .abort
        // Nothing can be lost yet. Between two flights the peer is silent for a round trip.
        case .securing:
            let quietAt = max(since, facts.lastReceived, facts.lastSent) + Self.firstByteTime
            if now < patience && now >= quietAt && hasUnread() {
                return .wait(until: now + Self.quietTime)
            }
            return now >= min(deadline, quietAt) ? .abort : .wait(until: min(deadline, quietAt))
        case .open:
            guard now < deadline else { return .abort }
            let quietAt = quietTime(of: facts)
            if now < patience && now >= quietAt && hasUnread() {
                return .wait(until: now + Self.quietTime)
            }
            let end = min(patience, quietAt)
            return now >= end ? .close : .wait(until: end)
        case .finishing: return now < deadline ? .wait(until: deadline) : .abort
        case .lingering: return now < deadline ? .wait(until: deadline) : .release
        case .free, .listening, .closing: return .wait(until: deadline)
        }
    }

    private func quietTime(of facts: Facts) -> Nanoseconds {
        guard !facts.isWorking else { return .max }
        let moved = max(facts.lastReceived, facts.lastSent)
        let quietAt = max(
            max(since, moved) + Self.quietTime, facts.isPiped ? moved + Self.pipeQuietTime : 0)
        let hasTalked = facts.lastSent != 0 && facts.hasSpoken
        return hasTalked ? quietAt : max(quietAt, moved + Self.firstByteTime)
    }
}
