import Glibc
import MillraceTestSupport
import Synchronization

/// Interrupts its creating thread a thousand times a second, until it ends. The handler is empty
/// and system calls are not restarted, so that each interrupted call returns EINTR.
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

    /// Returns when no further signal will come.
    func end() {
        isOver.store(true, ordering: .sequentiallyConsistent)
        while !hasStopped.load(ordering: .sequentiallyConsistent) { usleep(100) }
        setBlocked(true)
    }

    /// The threads of the pool, which run the tests, block every signal and must keep doing so.
    private func setBlocked(_ isBlocked: Bool) {
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGUSR2)
        pthread_sigmask(isBlocked ? SIG_BLOCK : SIG_UNBLOCK, &signals, nil)
    }
}
