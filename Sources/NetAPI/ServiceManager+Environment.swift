internal import Glibc
internal import MillraceEventLoop

/// The variables of the environment through which a service manager reaches a process.
extension ServiceManager {
    /// The most descriptors that are accepted.
    private static let mostDescriptors = 1024
    private static let variables = [
        "LISTEN_PID", "LISTEN_PIDFDID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET",
        "WATCHDOG_PID", "WATCHDOG_USEC",
    ]

    /// Reads the variables of the service manager, and removes them from the environment: child
    /// processes must not take them for theirs. So a second call finds none, also after an error.
    /// Call it once, before the program has other threads: another thread must not read the
    /// environment meanwhile.
    ///
    /// The variables are LISTEN_PID, LISTEN_FDS and LISTEN_FDNAMES, NOTIFY_SOCKET, WATCHDOG_USEC
    /// and WATCHDOG_PID. Descriptors and the watchdog count only if the process number beside them
    /// is this process's. The descriptors become close-on-exec.
    ///
    /// Throws `.invalidEnvironment`, with the variable, for a value that it cannot have: no number,
    /// more than 1,024 descriptors, another number of names, a descriptor that is not open.
    public static func fromEnvironment() throws(NetError) -> ServiceManager {
        var found: [String: String] = [:]
        for name in variables {
            if let value = getenv(name) { found[name] = String(cString: value) }
            unsetenv(name)
        }
        return try ServiceManager(variables: found, process: getpid())
    }

    /// Reads the variables. `first` is the number of the first descriptor, which the protocol fixes
    /// at 3.
    package init(
        variables: [String: String], process: Int32, first: CInt = 3
    ) throws(NetError) {
        let reader = EnvironmentReader(variables: variables, process: process)
        self.init(
            descriptors: try reader.descriptors(from: first, atMost: Self.mostDescriptors),
            messageAddress: try reader.messageAddress(),
            watchdogTimeout: try reader.watchdogTimeout())
    }
}

/// Reads the variables, and checks each value.
private struct EnvironmentReader {
    let variables: [String: String]
    let process: Int32

    func descriptors(
        from first: CInt, atMost limit: Int
    ) throws(NetError) -> [ServiceManager.PassedDescriptor] {
        guard variables["LISTEN_PID"] != nil, variables["LISTEN_FDS"] != nil,
            try isForThisProcess("LISTEN_PID"),
            let count = try number("LISTEN_FDS", in: 0...limit), count > 0
        else { return [] }
        let names = try names(for: count)
        for number in first..<first + CInt(count) {
            let flags = fcntl(number, F_GETFD)
            guard flags >= 0, fcntl(number, F_SETFD, flags | FD_CLOEXEC) >= 0 else {
                throw NetError(
                    .invalidEnvironment,
                    "LISTEN_FDS is \(count), but descriptor \(number) is not open",
                    "pass the descriptors from \(first) on", errno: errno)
            }
        }
        return names.enumerated().map {
            ServiceManager.PassedDescriptor(
                name: $1, number: first + CInt($0))
        }
    }

    private func names(for count: Int) throws(NetError) -> [String] {
        guard let text = variables["LISTEN_FDNAMES"] else {
            return Array(repeating: "unknown", count: count)
        }
        let names = text.split(separator: ":", omittingEmptySubsequences: false).map(String.init)
        guard names.count == count else {
            throw NetError(
                .invalidEnvironment,
                "LISTEN_FDNAMES has \(names.count) names for \(count) descriptors",
                "give each one a name, with colons between them, or remove the variable")
        }
        return names
    }

    /// Whether the variable has this process's number.
    private func isForThisProcess(_ name: String) throws(NetError) -> Bool {
        try number(name, in: 1...Int(pid_t.max)) == Int(process)
    }

    func messageAddress() throws(NetError) -> SocketAddress? {
        guard let text = variables["NOTIFY_SOCKET"] else { return nil }
        let isAbstract = text.hasPrefix("@")
        let name = isAbstract ? String(text.dropFirst()) : text
        guard isAbstract ? !name.isEmpty : name.hasPrefix("/"), name.utf8.count <= 107 else {
            throw invalid(
                "NOTIFY_SOCKET", text,
                "give an absolute path, or @ and an abstract name, of at most 107 bytes")
        }
        return .unix(name, abstract: isAbstract)
    }

    func watchdogTimeout() throws(NetError) -> Duration? {
        guard variables["WATCHDOG_USEC"] != nil else { return nil }
        if variables["WATCHDOG_PID"] != nil, try !isForThisProcess("WATCHDOG_PID") { return nil }
        return try number("WATCHDOG_USEC", in: 1...Int.max / 1000).map { .microseconds($0) }
    }

    private func number(
        _ name: String, in range: ClosedRange<Int>
    ) throws(NetError) -> Int? {
        guard let text = variables[name] else { return nil }
        guard !text.isEmpty, text.utf8.allSatisfy({ (0x30...0x39).contains($0) }),
            let number = Int(text), range.contains(number)
        else {
            throw invalid(
                name, text, "give a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    private func invalid(_ name: String, _ value: String, _ remedy: String) -> NetError {
        NetError(.invalidEnvironment, "\(name) is \(value.debugDescription)", remedy)
    }
}
