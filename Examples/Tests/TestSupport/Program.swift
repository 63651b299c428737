/// A program that a test runs: the lines of its output, and its end.
import Glibc

public final class Program {
    public let id: pid_t
    private let output: CInt
    private var status: CInt?

    /// Starts the program with the file `input` as its standard input. `joinsErrors` adds the
    /// standard error to the output.
    public init(
        _ arguments: [String], environment: [String] = [], input: String = "/dev/null",
        joinsErrors: Bool = false
    ) throws {
        var ends: [CInt] = [0, 0]
        guard pipe(&ends) == 0 else { throw Failure("pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        output = ends[0]
        defer { close(ends[1]) }
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, ends[1], 1)
        if joinsErrors { posix_spawn_file_actions_adddup2(&actions, ends[1], 2) }
        var words = arguments.map { strdup($0) } + [nil]
        var variables = environment.map { strdup($0) }
        var place = environ
        while let variable = place.pointee {
            variables.append(strdup(variable))
            place += 1
        }
        variables.append(nil)
        defer { for word in words + variables { free(word) } }
        var child: pid_t = 0
        let result = posix_spawnp(&child, arguments[0], &actions, nil, &words, &variables)
        guard result == 0 else { throw Failure("spawn \(arguments[0]): \(result)") }
        id = child
    }

    deinit {
        if status == nil {
            kill(id, SIGKILL)
            waitpid(id, nil, 0)
        }
        close(output)
    }

    /// Returns the next line of the output without its LF; at the end of the output, the rest.
    /// Waits at least `seconds` for each byte.
    public func readLine(within seconds: Int = 10) throws -> String {
        let seconds = Patience.seconds(atLeast: seconds)
        var line: [UInt8] = []
        while true {
            var wanted = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            guard poll(&wanted, 1, CInt(seconds * 1000)) > 0 else { throw Failure("no line") }
            var byte: UInt8 = 0
            guard read(output, &byte, 1) == 1, byte != 0x0A else {
                return String(decoding: line, as: UTF8.self)
            }
            line.append(byte)
        }
    }

    /// Returns whether the program has ended, without waiting.
    public func hasEnded() -> Bool {
        guard status == nil else { return true }
        var found: CInt = 0
        guard waitpid(id, &found, WNOHANG) == id else { return false }
        status = found
        return true
    }

    /// Returns all output until the program ends, and its exit status; nil if a signal ended it.
    /// Waits at least `seconds` for each piece of output, and for the end.
    public func finish(within seconds: Int = 20) throws -> (output: [UInt8], status: CInt?) {
        let seconds = Patience.seconds(atLeast: seconds)
        var all: [UInt8] = []
        var piece = [UInt8](repeating: 0, count: 65_536)
        while true {
            var wanted = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            guard poll(&wanted, 1, CInt(seconds * 1000)) > 0 else { throw Failure("no end") }
            let count = read(output, &piece, piece.count)
            guard count > 0 else { break }
            all += piece[..<count]
        }
        for _ in 0..<seconds * 1000 {
            if hasEnded(), let found = status {
                return (all, found & 0x7F == 0 ? (found >> 8) & 0xFF : nil)
            }
            usleep(1000)
        }
        throw Failure("process \(id) did not end")
    }
}
