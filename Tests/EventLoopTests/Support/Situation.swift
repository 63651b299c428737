/// An acceptor's only listener in each state, reached by the events that lead there. Times are in
/// milliseconds, and these tests begin at 1,000.
import MillraceTestSupport

@testable import MillraceEventLoop

enum Situation: CaseIterable, Sendable {
    case idle
    /// Idle, with a slot.
    case attached
    case accepting
    /// The stream is being stopped for lack of room.
    case stopping
    case backingOff
    case full
    /// The listener is requested to stop, and its stream has not ended yet.
    case leaving
    case emptying
    case closing
    case closed

    static let token = Token(slot: 3, generation: 1)
    static let descriptor = Descriptor(9)

    var state: ListenerState {
        switch self {
        case .idle, .attached: .idle
        case .accepting: .accepting
        case .stopping, .leaving: .stopping
        case .backingOff: .backingOff
        case .full: .full
        case .emptying: .emptying(until: .milliseconds(2_000))
        case .closing: .closing
        case .closed: .closed
        }
    }

    /// Spreads connections over `targets`, if there are any.
    func acceptor(isDatagram: Bool = false, targets: [LoopRemote] = []) -> Acceptor {
        let bound = BoundListener(
            descriptor: Self.descriptor, address: .v4(IPv4Bytes(1), port: 1),
            isDatagram: isDatagram)
        var acceptor = Acceptor([(bound, spreads: !targets.isEmpty)], Targets(acceptorOf: targets))
        reach(&acceptor)
        return acceptor
    }

    private func reach(_ acceptor: inout Acceptor) {
        if self == .idle { return }
        acceptor.attached(0, as: Self.token)
        if self == .attached { return }
        _ = acceptor.start(0)
        switch self {
        case .idle, .attached, .accepting: break
        case .stopping, .full:
            _ = acceptor.pause(0, hasRoom: false)
            if self == .full { _ = acceptor.stopped(0) }
        case .backingOff: _ = acceptor.failed(0)
        case .leaving, .emptying, .closing, .closed:
            acceptor.stopRequested(within: .milliseconds(10_000), now: .milliseconds(1_000))
            _ = acceptor.stop(0)
            if self != .leaving { leave(&acceptor) }
        }
    }

    private func leave(_ acceptor: inout Acceptor) {
        _ = acceptor.stopped(0)
        if self == .emptying {
            _ = acceptor.beginEmptying(0, isHandedOut: false, now: .milliseconds(1_000))
        } else {
            _ = acceptor.close(0)
            if self == .closed { acceptor.closed(0) }
        }
    }
}

extension Acceptor {
    /// The state of the only listener.
    var state: ListenerState { listeners[0].state }
}

extension Nanoseconds {
    static func milliseconds(_ count: Nanoseconds) -> Nanoseconds { count * 1_000_000 }
}

extension AcceptedStream {
    static func numbered(_ number: CInt) -> AcceptedStream {
        AcceptedStream(descriptor: Descriptor(number), peer: nil)
    }
}
