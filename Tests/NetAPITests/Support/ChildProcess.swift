/// A program run by a test: its output, its processor time, its end.
import Glibc

final class ChildProcess {
    let id: pid_t
    private let output: CInt
    private let errors: CInt
    private var outputText = ""
    private var status: CInt?

    /// How a process ended.
    enum End: Equatable {
        case exited(CInt)
        case killed(signal: CInt)
    }

    /// `arguments` include the program's path.
    init(_ arguments: [String], environment: [String: String] = [:]) throws {
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
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, outputWrite, 1)
        posix_spawn_file_actions_adddup2(&actions, errorWrite, 2)
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
        let result = posix_spawn(&child, arguments[0], &actions, &attributes, &words, &variables)
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

    func signal(_ number: CInt) { kill(id, number) }

    /// Waits for the end.
    func wait(within limit: Duration = patience) throws -> End {
        let deadline = Deadline(limit)
        while status == nil {
            var found: CInt = 0
            if waitpid(id, &found, WNOHANG) == id {
                status = found
                break
            }
            try deadline.check("the end of process \(id)")
            usleep(1000)
        }
        let status = status!
        return status & 0x7F == 0
            ? .exited((status >> 8) & 0xFF) : .killed(signal: status & 0x7F)
    }

    /// The next line of standard output, without its LF.
    func readLine() throws -> String {
        let deadline = Deadline()
        while true {
            if let end = outputText.firstIndex(of: "\n") {
                let line = String(outputText[..<end])
                outputText.removeSubrange(...end)
                return line
            }
            let (more, isEnd) = Self.readSome(output)
            outputText += more
            if isEnd { throw SystemFailure("a line, after \(outputText.debugDescription)", EPIPE) }
            try deadline.check("a line of output")
            if more.isEmpty { usleep(1000) }
        }
    }

    /// The standard error so far; all of it after the end.
    func readErrors() -> String {
        var text = ""
        while true {
            let (more, isEnd) = Self.readSome(errors)
            text += more
            if isEnd || more.isEmpty { return text }
        }
    }

    private static func readSome(_ descriptor: CInt) -> (text: String, isEnd: Bool) {
        var buffer = [UInt8](repeating: 0, count: 4096)
        let count = read(descriptor, &buffer, buffer.count)
        if count > 0 { return (String(decoding: buffer[..<count], as: UTF8.self), false) }
        return ("", count == 0)
    }

    /// The share of one processor that it used while the caller slept.
    func processorShare(over time: Duration) throws -> Double {
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
    func descriptors(below limit: Int) -> Int {
        names(in: "/proc/\(id)/fd").compactMap { Int($0) }.count { $0 < limit }
    }
}
