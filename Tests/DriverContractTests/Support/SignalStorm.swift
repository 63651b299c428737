import Glibc
import Synchronization

/// Interrupts the thread that made it a thousand times a second, until it ends. The handler does
/// nothing and system calls are not restarted, so that each shows its EINTR.
final class SignalStorm: Sendable {
    private let isOver = Atomic<Bool>(false)
    private let hasStopped = Atomic<Bool>(false)

    init() {
        var action = sigaction()
        action.__sigaction_handler.sa_handler = { _ in }
        sigaction(SIGUSR2, &action, nil)
        setBlocked(false)
        let target = pthread_self()
        startThread { [self] in
            while !isOver.load(ordering: .sequentiallyConsistent) {
                pthread_kill(target, SIGUSR2)
                usleep(1000)
            }
            hasStopped.store(true, ordering: .sequentiallyConsistent)
        }
    }

    /// Returns when no signal will come any more.
    func end() {
        isOver.store(true, ordering: .sequentiallyConsistent)
        while !hasStopped.load(ordering: .sequentiallyConsistent) { usleep(100) }
        setBlocked(true)
    }

    /// The pool's threads, on which tests run, block every signal, and expect it to stay so.
    private func setBlocked(_ isBlocked: Bool) {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGUSR2)
        pthread_sigmask(isBlocked ? SIG_BLOCK : SIG_UNBLOCK, &signals, nil)
    }
}
