// Stopping on a signal: first every request in flight is answered, with `Connection: close`, then
// the server stops. The library alone closes a connection after 20 ms of silence, also one in the
// middle of a body.
import Glibc
import NetAPI
import Synchronization

final class Draining: Sendable {
    private let began = Atomic(false)
    private let busy = Atomic(0)
    private let limitSeconds: Int

    init(limitSeconds: Int) { self.limitSeconds = limitSeconds }

    var hasBegun: Bool { began.load(ordering: .relaxed) }

    func setBusy(_ isBusy: Bool) { busy.add(isBusy ? 1 : -1, ordering: .relaxed) }

    private static func signals() -> sigset_t {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGINT)
        sigaddset(&set, SIGTERM)
        return set
    }

    /// Before any thread is started, so that all inherit it: the signals come to the one that
    /// waits for them.
    static func blockSignals() {
        var set = signals()
        pthread_sigmask(SIG_BLOCK, &set, nil)
    }

    /// Waits for a signal on a thread of its own, which ends with the process.
    func stopOnSignal(_ server: Server) {
        var thread = pthread_t()
        let box = Unmanaged.passRetained(Waiter(draining: self, server: server))
        let body: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? = { raw in
            let waiter = Unmanaged<Waiter>.fromOpaque(raw!).takeRetainedValue()
            waiter.draining.waitAndStop(waiter.server)
            return nil
        }
        precondition(pthread_create(&thread, nil, body, box.toOpaque()) == 0, "no thread to be had")
        pthread_detach(thread)
    }

    private final class Waiter: Sendable {
        let draining: Draining
        let server: Server

        init(draining: Draining, server: Server) {
            self.draining = draining
            self.server = server
        }
    }

    private func waitAndStop(_ server: Server) {
        var set = Self.signals()
        var number: CInt = 0
        sigwait(&set, &number)
        began.store(true, ordering: .relaxed)
        // Bounded; what is still busy then gets the library's own time to finish.
        for _ in 0..<limitSeconds * 100 where busy.load(ordering: .relaxed) > 0 { usleep(10_000) }
        server.requestStop()
    }
}
