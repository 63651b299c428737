/// Tests that each option is in OPTIONS.md with its default, and that each invalid value is refused
/// by name before a socket is bound.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct OptionTests {
    /// A value of one option, and the text of its refusal.
    struct Row: Sendable, CustomTestStringConvertible {
        let name: String
        let value: String
        let remedy: String
        let change: @Sendable (inout Options) -> Void

        init(
            _ name: String, _ value: String, _ remedy: String = "",
            _ change: @escaping @Sendable (inout Options) -> Void
        ) {
            self.name = name
            self.value = value
            self.remedy = remedy
            self.change = change
        }

        var testDescription: String { "\(name) = \(value)" }
    }

    static let wrong: [Row] = [
        Row("loops", "-1", "1 to 1024") { $0.loops = .count(-1) },
        Row("loops", "1025", "1 to 1024") { $0.loops = .count(1025) },
        Row("tcp.keepAlive", "0.0 seconds", "1 to 32767 whole seconds") {
            $0.tcp.keepAlive = .zero
        },
        Row("tcp.keepAlive", "1.5 seconds", "1 to 32767 whole seconds") {
            $0.tcp.keepAlive = .milliseconds(1500)
        },
        Row("tcp.keepAlive", "32768.0 seconds", "1 to 32767 whole seconds") {
            $0.tcp.keepAlive = .seconds(32768)
        },
        Row("tcp.backlog", "0", "1 to 2147483647") { $0.tcp.backlog = 0 },
        Row("tcp.backlog", "2147483648", "1 to 2147483647") { $0.tcp.backlog = 1 << 31 },
        Row("tcp.deferAccept", "0.0 seconds", "1 to 3600 whole seconds") {
            $0.tcp.deferAccept = .zero
        },
        Row("tcp.deferAccept", "0.5 seconds", "1 to 3600 whole seconds") {
            $0.tcp.deferAccept = .milliseconds(500)
        },
        Row("tcp.deferAccept", "4000.0 seconds", "1 to 3600 whole seconds") {
            $0.tcp.deferAccept = .seconds(4000)
        },
        Row("limits.connections", "0", "at least 1") { $0.limits.connections = 0 },
        Row("limits.connectionsPerHost", "0", "at least 1") { $0.limits.connectionsPerHost = 0 },
        Row("limits.inboundBytes", "-1", "at least 1") { $0.limits.inboundBytes = -1 },
        Row("limits.outboundBytes", "0", "at least 1") { $0.limits.outboundBytes = 0 },
        Row("limits.outboundHighMark", "0", "1 to 67108864") { $0.limits.outboundHighMark = 0 },
        Row("limits.outboundHighMark", "67108865", "1 to 67108864") {
            $0.limits.outboundHighMark = 67_108_865
        },
        Row("limits.outboundLowMark", "-1", "0 to 262144") { $0.limits.outboundLowMark = -1 },
        Row("limits.outboundLowMark", "262145", "0 to 262144") {
            $0.limits.outboundLowMark = 262_145
        },
        Row("timeouts.idle", "0.0 seconds", "above zero") { $0.timeouts.idle = .zero },
        Row("timeouts.read", "-1.0 seconds", "above zero") { $0.timeouts.read = .seconds(-1) },
        Row("timeouts.write", "0.0 seconds", "above zero") { $0.timeouts.write = .zero },
        Row("timeouts.close", "-1.0 seconds", "above zero") { $0.timeouts.close = .seconds(-1) },
        Row("timeouts.linger", "0.0 seconds", "above zero") { $0.timeouts.linger = .zero },
        Row("timeouts.proxyHeader", "0.0 seconds", "above zero") {
            $0.timeouts.proxyHeader = .zero
        },
        Row("workers.threads", "0", "1 to 1024") { $0.workers.threads = 0 },
        Row("workers.threads", "1025", "1 to 1024") { $0.workers.threads = 1025 },
        Row("workers.queued", "-1", "at least 0") { $0.workers.queued = -1 },
        Row("names.threads", "0", "1 to 1024") { $0.names.threads = 0 },
        Row("names.queued", "-1", "at least 0") { $0.names.queued = -1 },
        Row("names.attemptDelay", "0.009 seconds", "10 ms to 10 s") {
            $0.names.attemptDelay = .milliseconds(9)
        },
        Row("names.attemptDelay", "11.0 seconds", "10 ms to 10 s") {
            $0.names.attemptDelay = .seconds(11)
        },
        Row("names.startTimeout", "0.0 seconds", "above zero") { $0.names.startTimeout = .zero },
        Row("unix.mode", "512", "0 to 511") { $0.unix.mode = 0o1000 },
        Row("unix.mode", "0o70", "right to write") { $0.unix.mode = 0o070 },
        Row("slowTurn", "0.0 seconds", "above zero") { $0.slowTurn = .zero },
        Row("busyPoll", "-1.0 seconds", "zero to 1.0 seconds") { $0.busyPoll = .seconds(-1) },
        Row("busyPoll", "2.0 seconds", "zero to 1.0 seconds") { $0.busyPoll = .seconds(2) },
        Row("minimumWait", "0.011 seconds", "zero to 0.01 seconds") {
            $0.minimumWait = .milliseconds(11)
        },
    ]

    @Test("an invalid value is refused with the name of its option", arguments: wrong)
    func aWrongValueIsRefusedByName(_ row: Row) throws {
        let handler = TestHandler()
        let options = Options().with(row.change)
        let errors = [
            #expect(throws: NetError.self) {
                try Server(handler, listen: anyPort, options: options)
            },
            #expect(throws: NetError.self) { try Client(handler, options: options) },
        ]
        for error in errors {
            #expect(error?.code == .invalidOption)
            #expect(error?.cause == "\(row.name) is \(row.value)")
            #expect(error?.remedy.contains(row.remedy) == true, "\(error as Any)")
        }
        #expect(handler.log.callbacks.isEmpty)
    }

    /// The ends of each range, and durations of centuries.
    static let right: [Row] = [
        Row("loops", "1024") { $0.loops = .count(1024) },
        Row("loops", "0, as perCore") { $0.loops = .count(0) },
        Row("tcp", "least") {
            $0.tcp.keepAlive = .seconds(1)
            $0.tcp.backlog = 1
            $0.tcp.deferAccept = .seconds(1)
        },
        Row("tcp", "most") {
            $0.tcp.keepAlive = .seconds(32767)
            $0.tcp.backlog = Int(Int32.max)
            $0.tcp.deferAccept = .seconds(3600)
        },
        Row("limits", "least") {
            $0.limits.connections = 1
            $0.limits.connectionsPerHost = 1
            $0.limits.inboundBytes = 1
            $0.limits.outboundBytes = 1
            $0.limits.outboundHighMark = 1
            $0.limits.outboundLowMark = 0
        },
        Row("limits", "most") {
            $0.limits.inboundBytes = .max
            $0.limits.outboundBytes = .max
            $0.limits.outboundHighMark = .max
            $0.limits.outboundLowMark = .max
        },
        Row("timeouts", "least") {
            $0.timeouts.idle = .nanoseconds(1)
            $0.timeouts.read = .nanoseconds(1)
            $0.timeouts.write = .nanoseconds(1)
            $0.timeouts.close = .nanoseconds(1)
            $0.timeouts.linger = .nanoseconds(1)
            $0.slowTurn = .nanoseconds(1)
        },
        Row("timeouts", "most") {
            $0.timeouts.idle = .seconds(Int64.max)
            $0.timeouts.read = .seconds(Int64.max)
            $0.timeouts.write = .seconds(Int64.max)
            $0.timeouts.close = .seconds(Int64.max)
            $0.timeouts.linger = .seconds(Int64.max)
            $0.slowTurn = .seconds(Int64.max)
        },
        Row("waiting", "most") {
            $0.busyPoll = .seconds(1)
            $0.minimumWait = .milliseconds(10)
        },
        Row("workers", "least") {
            $0.workers.threads = 1
            $0.workers.queued = 0
        },
        Row("workers", "most") {
            $0.workers.threads = 1024
            $0.workers.queued = .max
            $0.workers.perConnection = .max
        },
        Row("names", "least") {
            $0.names.threads = 1
            $0.names.queued = 0
            $0.names.attemptDelay = .milliseconds(10)
            $0.names.startTimeout = .nanoseconds(1)
        },
        Row("names", "most") {
            $0.names.threads = 1024
            $0.names.queued = .max
            $0.names.attemptDelay = .seconds(10)
            $0.names.startTimeout = .seconds(Int64.max)
        },
        Row("unix", "least") { $0.unix.mode = 0o200 },
        Row("unix", "most") { $0.unix.mode = 0o777 },
    ]

    @Test("the ends of each range are accepted", arguments: right)
    func theEndsOfARangeAreAccepted(_ row: Row) throws {
        _ = try Server(TestHandler(), listen: anyPort, options: Options().with(row.change))
    }

    /// Values beyond these could not work at all, so these only have to serve.
    @Test(
        "a server works with the largest values of its options",
        arguments: Setup.all, ["tcp", "limits", "timeouts", "waiting", "workers", "names"])
    func theLargestValuesServe(_ setup: Setup, _ name: String) throws {
        let row = try #require(Self.right.first { $0.name == name && $0.value == "most" })
        try withServer(setup, options: setup.options(row.change)) { server in
            let client = try server.connect()
            let isSame = try client.roundTrip("x")
            #expect(isSame)
        }
    }

    // MARK: OPTIONS.md

    /// Returns each stored value's name, like "tcp.noDelay", and its default.
    private static func defaults(_ value: Any, _ prefix: String = "") -> [String: String] {
        var found: [String: String] = [:]
        for child in Mirror(reflecting: value).children {
            guard let label = child.label else { continue }
            // The public names of what NetTLS sets.
            let known = ["acceptingFilters": "tls", "connectingFilters": "tlsClient"]
            let name = prefix + (known[label] ?? label)
            switch child.value {
            case is Options.TCP, is Options.UDP, is Options.Unix, is Options.Limits,
                is Options.Timeouts, is Options.Workers, is Options.Names:
                found.merge(defaults(child.value, name + ".")) { first, _ in first }
            default: found[name] = text(child.value)
            }
        }
        return found
    }

    private static func text(_ value: Any) -> String {
        switch value {
        case let value as Bool: return value ? "on" : "off"
        case let value as Int: return value == .max ? "none" : "\(value)"
        case let value as Loops: return value == .one ? "1" : "\(value)"
        case let value as Duration:
            let text = "\(value / .seconds(1))"
            return (text.hasSuffix(".0") ? String(text.dropLast(2)) : text) + " s"
        case let value as Duration?: return value.map { text($0) } ?? "none"
        default: return "\(value)"
        }
    }

    @Test("every option is in the table of OPTIONS.md with its default")
    func everyOptionIsInTheTableWithItsDefault() throws {
        let page = try #require(readText("\(PackageFiles.root)/OPTIONS.md"))
        var listed: [String: String] = [:]
        let lines = page.split(separator: "\n")
        let start = try #require(lines.firstIndex { $0.hasPrefix("| option | default |") })
        for line in lines[(start + 2)...] {
            guard line.hasPrefix("| `") else { break }
            let cells = line.split(separator: "|").map {
                $0.split(separator: " ").joined(separator: " ")
            }
            listed[cells[0].filter { $0 != "`" }] = cells[1]
        }
        #expect(listed == Self.defaults(Options()))
    }
}
