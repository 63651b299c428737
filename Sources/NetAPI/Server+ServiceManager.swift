internal import Logging
internal import MillraceEventLoop
internal import Synchronization

/// The messages of a server about its own state, to the service manager of its options.
extension Server {
    /// Announces the start, later the stop, and in between that all loops turn. Called when clients
    /// can connect.
    func announceState(of group: LoopGroup) {
        guard let manager = options.serviceManager, let address = manager.messageAddress, !isClient
        else { return }
        // One for all messages: a healthy server whose clients have used up the descriptors must
        // still send pings. Closed when the stop and the watchdog need it no more. Without one,
        // each message tries to make its own.
        let socket = try? UnixMessageSocket()
        let send: @Sendable (ServiceManager.Message) -> Void = { [logger] message in
            do throws(NetError) {
                try manager.send([message], to: address, on: socket)
            } catch {
                logger.warning("\(error)")
            }
        }
        send(.ready)
        group.whenStopping { send(.stopping) }
        guard let limit = manager.watchdogTimeout else { return }
        // Not half of the limit, as sd_watchdog_enabled(3) advises: the loops' answers take time,
        // and a ping is lost if the manager's queue is full.
        Watchdog(group.remotes) { send(.watchdog) }.begin(every: limit / 4)
    }
}

/// A question to every loop, again and again. The loop that answers last sends the ping, so a loop
/// that hangs, in a callback for example, ends the pings.
private final class Watchdog: Sendable {
    private let loops: [LoopRemote]
    private let ping: @Sendable () -> Void
    /// The loops that have not answered yet.
    private let awaited = Atomic(0)

    init(_ loops: [LoopRemote], ping: @escaping @Sendable () -> Void) {
        self.loops = loops
        self.ping = ping
    }

    /// Asks on a timer of the first loop, which hangs with that loop.
    func begin(every period: Duration) {
        let period = max(1_000_000, Nanoseconds(period))
        _ = loops.first?.runFirst { [self] loop in
            _ = loop.schedule(after: period, every: period) { [self] in ask() }
        }
    }

    private func ask() {
        // The answer to the last question is late. It pings when it comes.
        guard awaited.load(ordering: .relaxed) == 0 else { return }
        awaited.store(loops.count, ordering: .relaxed)
        for loop in loops {
            // A loop that has ended needs no watching.
            if !loop.runFirst({ [self] _ in answer() }) { answer() }
        }
    }

    private func answer() {
        if awaited.subtract(1, ordering: .relaxed).newValue == 0 { ping() }
    }
}
