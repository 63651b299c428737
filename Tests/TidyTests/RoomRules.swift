/// The modules under Sources and the imports that each may have.
extension Rule {
    /// Each folder under Sources with the modules that it may import. A new one needs a row here.
    private static let mayImport: [String: Set<String>] = [
        "EventLoop": ["CMillraceLinux"],
        "Epoll": ["CMillraceLinux", "MillraceEventLoop"],
        "Uring": ["CMillraceLinux", "CMillraceURing", "MillraceEventLoop"],
        "Simulation": ["MillraceEventLoop"],
        "NetAPI": ["CMillraceLinux", "MillraceEventLoop", "Logging"],
        "Testing": ["MillraceEventLoop", "MillraceSimulation", "NetAPI"],
        "Services": ["NetAPI", "ServiceLifecycle"],
        "Metrics": ["CoreMetrics", "MillraceEventLoop", "NetAPI", "ServiceLifecycle"],
        "TLS": ["CMillraceTLS", "MillraceEventLoop", "NetAPI"],
    ]
    /// The one file that names the backends.
    private static let backendFile = "Sources/NetAPI/Backend.swift"
    private static let backends: Set<String> = ["MillraceEpoll", "MillraceUring"]
    private static let system: Set<String> = ["Glibc", "Synchronization"]

    static let arrows = Rule(
        name: "arrows",
        applies: { $0.isSwift && $0.isUnder("Sources") },
        violations: { file in
            guard let room = file.room, let allowed = mayImport[room] else {
                return [(1, "a room without its row in Tests/TidyTests/RoomRules.swift")]
            }
            let extra = file.path == backendFile ? backends : []
            return file.code.enumerated().compactMap { index, line in
                guard let module = importedModule(line) else { return nil }
                guard !allowed.union(extra).union(system).contains(module) else { return nil }
                return (index + 1, "\(room) may not import \(module)")
            }
        })

    /// "Glibc" for `internal import struct Glibc.timespec`.
    private static func importedModule(_ code: String) -> String? {
        let words = code.words
        let leading: Set<Substring> = [
            "public", "package", "internal", "fileprivate", "private", "testable", "preconcurrency",
            "_exported", "_implementationOnly", "_spi",
        ]
        let kinds: Set<Substring> = [
            "struct", "class", "enum", "protocol", "typealias", "func", "var", "let",
        ]
        guard let at = words.firstIndex(of: "import"),
            words[..<at].allSatisfy({ leading.contains($0) })
        else { return nil }
        return words[(at + 1)...].first { !kinds.contains($0) }.map(String.init)
    }

    static let noBackendConditions = Rule(
        name: "no backend in #if",
        applies: { $0.isSwift && $0.isUnder("Sources/EventLoop", "Sources/NetAPI") },
        violations: { file in
            file.code.enumerated().compactMap { index, line in
                let line = line.lowercased()
                let isCondition = line.trimmed.hasPrefix("#if") || line.trimmed.hasPrefix("#elseif")
                let names = ["epoll", "uring", "kqueue"]
                guard isCondition, names.contains(where: { line.contains($0) }) else { return nil }
                return (index + 1, "what a backend can do is asked of the backend, at run time")
            }
        })
}
