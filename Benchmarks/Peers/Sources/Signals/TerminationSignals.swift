// SIGTERM and SIGINT for programs whose threads must not be interrupted, and the line with a
// server's address, which scripts read.
import Glibc

/// The two signals that end a server. Must be made before the first thread, so that all threads
/// inherit the mask.
public struct TerminationSignals: Sendable {
    private let set: sigset_t

    /// Blocks delivery of both signals.
    public init() {
        var set = sigset_t()
        sigemptyset(&set)
        sigaddset(&set, SIGTERM)
        sigaddset(&set, SIGINT)
        pthread_sigmask(SIG_BLOCK, &set, nil)
        self.set = set
    }

    /// Blocks the calling thread until one of them comes.
    public func wait() {
        var set = set
        var number: CInt = 0
        sigwait(&set, &number)
    }
}

/// Prints the address unbuffered, so that a script that waits on a pipe gets the line at once.
public func announce(port: Int) {
    let line = "listening on tcp://127.0.0.1:\(port)\n"
    _ = line.withCString { write(STDOUT_FILENO, $0, strlen($0)) }
}

/// Returns the program's two arguments; ends the program with status 2 unless they are numbers.
public func portAndLoops() -> (port: Int, loops: Int) {
    let arguments = CommandLine.arguments
    guard arguments.count == 3, let port = UInt16(arguments[1]), let loops = Int(arguments[2]),
        loops > 0
    else {
        _ = "usage: \(arguments[0]) PORT LOOPS\n".withCString {
            write(STDERR_FILENO, $0, strlen($0))
        }
        exit(2)
    }
    return (Int(port), loops)
}
