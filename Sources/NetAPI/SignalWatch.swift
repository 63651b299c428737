internal import CMillraceLinux
internal import Glibc
internal import MillraceEventLoop

/// A signal that can stop a server.
public struct Signal: Sendable, Hashable, CustomStringConvertible {
    let number: Int32

    /// SIGINT.
    public static let interrupt = Signal(number: SIGINT)
    /// SIGTERM.
    public static let terminate = Signal(number: SIGTERM)
    /// SIGHUP.
    public static let hangup = Signal(number: SIGHUP)

    public var description: String {
        switch number {
        case SIGINT: "SIGINT"
        case SIGTERM: "SIGTERM"
        case SIGHUP: "SIGHUP"
        default: "signal \(number)"
        }
    }
}

/// The wait for a signal or for the server's end, whichever comes first. While it exists the
/// signals have no other effect; afterwards their earlier actions apply again.
final class SignalWatch: Sendable {
    private let signals: [(signal: Signal, slot: CInt)]
    private let ended: EventWaker

    init(_ wanted: [Signal]) throws(NetError) {
        do throws(SystemError) { ended = try EventWaker() } catch { throw NetError(error) }
        signals = wanted.map { ($0, mr_signal_watch($0.number)) }
        guard signals.allSatisfy({ $0.slot >= 0 }) else {
            throw NetError(
                .unsupported, "too many servers of this process wait for signals",
                "run those without `stoppingOn`, and stop them yourself")
        }
    }

    deinit {
        for entry in signals where entry.slot >= 0 { mr_signal_unwatch(entry.slot) }
    }

    /// Ends the wait, from any thread.
    func end() { ended.wake() }

    /// Returns the signal that came, or nil after `end`. Unblocks the signals on this thread,
    /// because a program may have inherited a mask that blocks them on all threads.
    func wait() -> Signal? {
        var before = sigset_t()
        var wanted = sigset_t()
        sigemptyset(&wanted)
        for entry in signals { sigaddset(&wanted, entry.signal.number) }
        pthread_sigmask(SIG_UNBLOCK, &wanted, &before)
        defer { pthread_sigmask(SIG_SETMASK, &before, nil) }
        while true {
            var files = signals.map {
                pollfd(fd: mr_signal_descriptor($0.slot), events: Int16(POLLIN), revents: 0)
            }
            files.append(pollfd(fd: ended.descriptor, events: Int16(POLLIN), revents: 0))
            guard poll(&files, nfds_t(files.count), -1) >= 0 || errno == EINTR else { return nil }
            if let place = signals.indices.first(where: { files[$0].revents != 0 }) {
                // Signals that came together count as one.
                var count: UInt64 = 0
                for file in files.dropLast() { _ = Glibc.read(file.fd, &count, 8) }
                return signals[place].signal
            }
            if files[signals.count].revents != 0 { return nil }
        }
    }
}
