/// Records the callbacks in order, and checks the order that every connection must have.
import MillraceTestSupport
import NetAPI
import Testing

enum Callback: String, Sendable {
    case boot, tick, shutdown
    case open, traffic, writable, halfClose, preWrite, close
}

final class EventLog: Sendable {
    struct Entry: Sendable {
        let callback: Callback
        let connection: ConnectionHandle?
        /// The name of the reason, for `.close`.
        let reason: String?

        init(_ callback: Callback, _ connection: Connection?, reason: CloseReason? = nil) {
            self.callback = callback
            self.connection = connection?.handle
            self.reason = reason?.name
        }
    }

    private struct Stored {
        var entries: [Entry] = []
        /// The number of returned calls of each callback.
        var returned: [Callback: Int] = [:]
    }

    private let stored = Shared(Stored())

    var entries: [Entry] { stored.value.entries }

    /// Records the callback before `body`, so that its consequences come later, and counts it as
    /// returned after `body`.
    func during<Output>(
        _ callback: Callback, _ connection: Connection? = nil, _ body: () throws -> Output
    ) rethrows -> Output {
        stored.update { $0.entries.append(Entry(callback, connection)) }
        defer { stored.update { $0.returned[callback, default: 0] += 1 } }
        return try body()
    }

    func add(_ callback: Callback, _ connection: Connection? = nil, reason: CloseReason? = nil) {
        stored.update {
            $0.entries.append(Entry(callback, connection, reason: reason))
            $0.returned[callback, default: 0] += 1
        }
    }

    func count(_ callback: Callback) -> Int {
        stored.update { stored in stored.entries.count { $0.callback == callback } }
    }

    /// Every callback's name, in order.
    var callbacks: [Callback] { entries.map(\.callback) }

    /// The reasons of the closes, in order.
    var reasons: [String] { entries.compactMap(\.reason) }

    /// Waits for the callback's return, so that a test sees its effects.
    func waitFor(_ callback: Callback, count wanted: Int = 1) throws {
        try eventually("\(callback) for the \(wanted). time") {
            stored.update { $0.returned[callback, default: 0] } >= wanted
        }
    }

    /// Checks the rules for any server that has stopped. Each connection opens once and first,
    /// closes once and last, and `onShutdown` comes after all closes.
    func checkLives(_ location: SourceLocation = #_sourceLocation) {
        var states: [ConnectionHandle: Bool] = [:]
        var isShutDown = false
        for (place, entry) in entries.enumerated() {
            if entry.callback == .shutdown { isShutDown = true }
            guard let connection = entry.connection else { continue }
            let isFirst = states[connection] == nil
            #expect(!isShutDown, "\(entry.callback) after onShutdown", sourceLocation: location)
            #expect(
                isFirst == (entry.callback == .open), "entry \(place) is \(entry.callback)",
                sourceLocation: location)
            #expect(
                states[connection] != false, "\(entry.callback) after onClose",
                sourceLocation: location)
            states[connection] = entry.callback != .close
        }
        let unclosed = states.values.count { $0 }
        #expect(unclosed == 0, "\(unclosed) connections without onClose", sourceLocation: location)
    }
}

extension CloseReason {
    var name: String {
        switch self {
        case .local: "local"
        case .peer: "peer"
        case .reset: "reset"
        case .handlerError: "handlerError"
        case .timeout: "timeout"
        case .inboundOverflow: "inboundOverflow"
        case .outboundOverflow: "outboundOverflow"
        case .shutdown: "shutdown"
        }
    }

    /// The error that a handler threw.
    var handlerError: (any Error)? {
        guard case .handlerError(let error) = self else { return nil }
        return error
    }
}

extension StopReason {
    var name: String {
        switch self {
        case .stopped: "stopped"
        case .shutdownAction: "shutdownAction"
        case .signal: "signal"
        case .failed: "failed"
        }
    }
}
