internal import Glibc
internal import Logging
internal import MillraceEventLoop

/// The log lines for the reports of the loops: at once for the first of its kind, then at most one
/// in ten seconds.
final class ReportLog: Sendable {
    private let logger: Logger
    private let addresses: [Address]
    private let lastLines = Monitor<[String: (time: Nanoseconds, suppressed: Int)]>([:])

    private static let quietTime: Nanoseconds = 10_000_000_000

    init(logger: Logger, addresses: [Address]) {
        self.logger = logger
        self.addresses = addresses
    }

    func record(_ report: LoopReport) {
        switch report {
        case .acceptBackOff(let error, let listener, let delay):
            line(
                "back-off \(listener)",
                "cannot accept on listener \(listener): \(error.message) (\(error.name)); "
                    + "trying again in \(delay / 1_000_000) ms\(Self.remedy(error))")
        case .acceptPaused(let listener):
            line(
                "full \(listener)",
                "listener \(listener) waits: the limit of connections is reached")
        case .acceptorWaits(let loop):
            line(
                "behind \(loop)",
                "accepting waits for loop \(loop), which is behind with what it was handed")
        case .driverFailed(let error, let loop):
            logger.error("loop \(loop) ends: \(error)")
        case .slowTurn(let loop, let time):
            line(
                "slow \(loop)",
                "callbacks held loop \(loop) for \(time / 1_000_000) ms; "
                    + "use offload for what blocks")
        case .datagramHandlerFailed(let error):
            line("datagram", "onDatagram threw \(error); the datagram was dropped")
        case .handshakeFailed(let error, let peer):
            let from = peer.map { " with \(Address($0))" } ?? ""
            line("handshake", "a handshake\(from) failed: \(error)", level: .debug)
        case .backendFellBack(let reason):
            line("fall-back", "epoll instead of io_uring: \(reason)")
        case .ringShrunk(let entries):
            line(
                "ring",
                "memory for a full io_uring is not allowed (RLIMIT_MEMLOCK); a loop runs with "
                    + "\(entries) submission entries")
        case .minimumWaitIgnored:
            line(
                "minimum wait",
                "minimumWait needs Linux 6.12; waits return with the first completion")
        case .slotsExhausted(let loop):
            line("slots \(loop)", "loop \(loop) holds 16,777,216 connections and takes no more")
        }
    }

    private static func remedy(_ error: SystemError) -> String {
        [EMFILE, ENFILE].contains(error.number) ? "; raise the limit of open files" : ""
    }

    private func line(_ kind: String, _ text: String, level: Logger.Level = .warning) {
        let now = MonotonicClock.now
        let suppressed: Int? = lastLines.withLock { lines in
            if let last = lines[kind], now - last.time < Self.quietTime {
                lines[kind]?.suppressed += 1
                return nil
            }
            defer { lines[kind] = (now, 0) }
            return lines[kind]?.suppressed ?? 0
        }
        guard let suppressed else { return }
        logger.log(
            level: level, "\(text)\(suppressed > 0 ? " (and \(suppressed) times more)" : "")")
    }
}
