/// A program run by a test: its output, its processor time, its end.
import Glibc

public final class ChildProcess {
    public let id: pid_t
    private let output: CInt
    private let errors: CInt
    private var unread: [UInt8] = []
    private var status: CInt?

    /// How a process ended.
    public enum End: Equatable, Sendable {
        case exited(CInt)
        case killed(signal: CInt)

        /// The exit status; nil if a signal ended it.
        public var status: CInt? {
            if case .exited(let status) = self { status } else { nil }
        }
    }

    /// Starts the program that the first of the arguments names, by a path or as a shell finds it,
    /// with the file `input` as its standard input. `joinsErrors` adds the standard error to the
    /// output.
    public init(
        _ arguments: [String], environment: [String: String] = [:], input: String = "/dev/null",
        joinsErrors: Bool = false
    ) throws {
        let (outputRead, outputWrite) = try Self.makePipe()
        let (errorRead, errorWrite) = try Self.makePipe()
        defer {
            close(outputWrite)
            close(errorWrite)
        }
        output = outputRead
        errors = errorRead
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, input, O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, outputWrite, 1)
        posix_spawn_file_actions_adddup2(&actions, joinsErrors ? outputWrite : errorWrite, 2)
        var variables = environment.map { strdup("\($0.key)=\($0.value)") }
        var place = environ
        while let variable = place.pointee {
            variables.append(strdup(variable))
            place += 1
        }
        variables.append(nil)
        var words = arguments.map { strdup($0) } + [nil]
        defer { for word in words + variables { free(word) } }
        var child: pid_t = 0
        var attributes = Self.cleanSignals()
        defer { posix_spawnattr_destroy(&attributes) }
        let result = posix_spawnp(&child, arguments[0], &actions, &attributes, &words, &variables)
        guard result == 0 else { throw SystemFailure("spawn \(arguments[0])", result) }
        id = child
    }

    deinit {
        if status == nil {
            kill(id, SIGKILL)
            waitpid(id, nil, 0)
        }
        close(output)
        close(errors)
    }

    /// The signal settings of a shell: the threads that run tests block signals, and a child
    /// inherits that.
    private static func cleanSignals() -> posix_spawnattr_t {
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        return attributes
    }

    private static func makePipe() throws -> (read: CInt, write: CInt) {
        var ends: [CInt] = [0, 0]
        guard pipe(&ends) == 0 else { throw SystemFailure("pipe") }
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        _ = fcntl(ends[0], F_SETFL, O_NONBLOCK)
        return (ends[0], ends[1])
    }

    public func signal(_ number: CInt) { kill(id, number) }

    /// Whether it has ended; does not wait.
    public func hasEnded() -> Bool {
        var found: CInt = 0
        if status == nil, waitpid(id, &found, WNOHANG) == id { status = found }
        return status != nil
    }

    /// Waits for the end.
    @discardableResult
    public func wait(within limit: Duration = patience) throws -> End {
        let deadline = Deadline(limit)
        while !hasEnded() {
            try deadline.check("the end of process \(id)")
            usleep(1000)
        }
        let status = status!
        return status & 0x7F == 0
            ? .exited((status >> 8) & 0xFF) : .killed(signal: status & 0x7F)
    }

    /// The next line of standard output, without its LF.
    public func readLine(within limit: Duration = patience) throws -> String {
        let deadline = Deadline(limit)
        while true {
            if let end = unread.firstIndex(of: UInt8(ascii: "\n")) {
                let line = String(decoding: unread[..<end], as: UTF8.self)
                unread.removeSubrange(...end)
                return line
            }
            if try !readSome(deadline, "a line of output") {
                let rest = String(decoding: unread, as: UTF8.self)
                throw SystemFailure("a line, after \(rest.debugDescription)", EPIPE)
            }
        }
    }

    /// All output until the end, and how it ended; `limit` is that of each piece of output.
    public func finish(within limit: Duration = patience) throws -> (output: [UInt8], end: End) {
        while try readSome(Deadline(limit), "the end of the output") {}
        return (unread, try wait(within: limit))
    }

    /// Waits for more output; false at its end.
    private func readSome(_ deadline: Deadline, _ what: String) throws -> Bool {
        while true {
            let (bytes, isEnd) = Self.readPiece(output)
            unread += bytes
            if isEnd || !bytes.isEmpty { return !isEnd }
            try deadline.check(what)
            var wanted = pollfd(fd: output, events: Int16(POLLIN), revents: 0)
            poll(&wanted, 1, deadline.milliseconds)
        }
    }

    /// The standard error so far; all of it after the end.
    public func readErrors() -> String {
        var all: [UInt8] = []
        while true {
            let (bytes, isEnd) = Self.readPiece(errors)
            all += bytes
            if isEnd || bytes.isEmpty { return String(decoding: all, as: UTF8.self) }
        }
    }

    private static func readPiece(_ descriptor: CInt) -> (bytes: ArraySlice<UInt8>, isEnd: Bool) {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        let count = read(descriptor, &buffer, buffer.count)
        return (buffer[..<max(0, count)], count == 0)
    }

    /// The share of one processor that it used while the caller slept.
    public func processorShare(over time: Duration) throws -> Double {
        let before = try processorTime()
        let slept = elapsed { pause(time) }
        return (try processorTime() - before) / slept
    }

    /// User and system time, from its `stat` line.
    private func processorTime() throws -> Duration {
        guard let text = readText("/proc/\(id)/stat"), let end = text.lastIndex(of: ")") else {
            throw SystemFailure("/proc/\(id)/stat")
        }
        // After the name in parentheses come the third field and the rest.
        let fields = text[text.index(after: end)...].split(separator: " ")
        let ticks = (Int(fields[11]) ?? 0) + (Int(fields[12]) ?? 0)
        return .seconds(1) * ticks / sysconf(CInt(_SC_CLK_TCK))
    }

    /// The used numbers under `limit`: the program may have inherited higher ones through the test
    /// process.
    public func descriptors(below limit: Int) -> Int {
        names(in: "/proc/\(id)/fd").compactMap { Int($0) }.count { $0 < limit }
    }
}
