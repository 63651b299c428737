import CLinux
import Glibc

/// A thread for a loop, with every signal that is sent to the process blocked: those are for the
/// program's own threads.
package struct LoopThread: Sendable {
    private let thread: pthread_t

    private final class Start {
        let name: String
        let signals: SignalMask?
        let body: @Sendable () -> Void
        init(name: String, signals: SignalMask?, body: @escaping @Sendable () -> Void) {
            self.name = name
            self.signals = signals
            self.body = body
        }
    }

    /// Starts the thread. `name` is cut to 15 bytes. With `signals` it is no loop's thread, and
    /// runs the program's own code under that mask.
    package init(
        name: String, signals: SignalMask? = nil, _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        let start = Unmanaged.passRetained(Start(name: name, signals: signals, body: body))
        var thread = pthread_t()
        var before = sigset_t()
        var blocked = sigset_t()
        sigfillset(&blocked)
        // Faults of this thread, aborts and profilers must reach it.
        for signal in [SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGTRAP, SIGABRT, SIGPROF] {
            sigdelset(&blocked, signal)
        }
        pthread_sigmask(SIG_SETMASK, &blocked, &before)
        let result = pthread_create(&thread, nil, LoopThread.main, start.toOpaque())
        pthread_sigmask(SIG_SETMASK, &before, nil)
        guard result == 0 else {
            start.release()
            throw SystemError(result, "pthread_create")
        }
        self.thread = thread
    }

    private static let main: @convention(c) (UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? =
        {
            guard let pointer = $0 else { return nil }
            let start = Unmanaged<Start>.fromOpaque(pointer).takeRetainedValue()
            mr_name_thread(start.name)
            start.signals?.apply()
            start.body()
            return nil
        }

    package var isCurrent: Bool { pthread_equal(thread, pthread_self()) != 0 }

    package func detach() { pthread_detach(thread) }

    /// Waits for its end. Once, and not from itself.
    package func join() { pthread_join(thread, nil) }
}

/// Which signals a thread blocks. What it spawns inherits that.
package struct SignalMask: Sendable {
    private var set = sigset_t()

    /// The calling thread's.
    package init() { pthread_sigmask(SIG_BLOCK, nil, &set) }

    func apply() {
        var set = set
        pthread_sigmask(SIG_SETMASK, &set, nil)
    }
}
