import CMillraceLinux
import Glibc

/// A thread for a loop. It blocks every signal that is sent to the process, since those are for the
/// program's own threads.
package struct LoopThread: Sendable {
    private let thread: pthread_t

    private final class Start {
        let name: String
        let surroundings: ThreadSurroundings?
        let body: @Sendable () -> Void
        init(
            name: String, surroundings: ThreadSurroundings?, body: @escaping @Sendable () -> Void
        ) {
            self.name = name
            self.surroundings = surroundings
            self.body = body
        }
    }

    /// Starts the thread. `name` is cut to 15 bytes. A thread with `surroundings` is not a loop's:
    /// it runs the program's code under these signal and processor masks.
    package init(
        name: String, in surroundings: ThreadSurroundings? = nil,
        _ body: @escaping @Sendable () -> Void
    ) throws(SystemError) {
        let start = Unmanaged.passRetained(
            Start(name: name, surroundings: surroundings, body: body))
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
            start.surroundings?.apply()
            start.body()
            return nil
        }

    package func detach() { pthread_detach(thread) }

    /// Waits for its end. Called once, and not from the thread itself.
    package func join() { pthread_join(thread, nil) }
}

/// The signal mask and the processor mask that a thread, or a spawned process, inherits from its
/// creator.
package struct ThreadSurroundings: Sendable {
    private var signals = sigset_t()
    private var processors = mr_affinity()

    private init() {
        pthread_sigmask(SIG_BLOCK, nil, &signals)
        mr_get_affinity(&processors)
    }

    /// The masks of the last caller that was not a loop's thread. Loops block every signal, and may
    /// be bound to a processor of their own.
    private static let program = Monitor<ThreadSurroundings?>(nil)

    /// The calling thread's masks; on a loop's thread, those of the program.
    package static var current: ThreadSurroundings {
        program.withLock { known in
            if let known, Loop.isOnLoopThread { return known }
            let current = ThreadSurroundings()
            known = current
            return current
        }
    }

    func apply() {
        var (signals, processors) = (signals, processors)
        mr_set_affinity(&processors)
        pthread_sigmask(SIG_SETMASK, &signals, nil)
    }
}
