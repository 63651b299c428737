/// Tests of the `echo-server` program: a process with options, signals, limits and an exit status.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct EchoServerTests {
    static let forms = ["epoll", "io_uring"].flatMap { backend in [1, 2].map { (backend, $0) } }

    /// The program's path: from the environment, or the path that `make examples` writes.
    static func path() throws -> String {
        let path =
            getenv("MILLRACE_ECHO_SERVER").map { String(cString: $0) }
            ?? "\(PackageFiles.root)/.build/bin/echo-server"
        try #require(access(path, X_OK) == 0, "no \(path): run make examples")
        return path
    }

    /// Returns a running program, the addresses and the lines that it printed.
    private func start(
        _ options: [String], listen: [String] = ["tcp://127.0.0.1:0"], prefix: String = ""
    ) throws -> (process: ChildProcess, addresses: [Address], lines: [String]) {
        let words = listen.flatMap { ["--listen", $0] } + options
        let path = try Self.path()
        let process =
            prefix.isEmpty
            ? try ChildProcess([path] + words)
            : try ChildProcess(
                ["/bin/sh", "-c", "\(prefix); exec \(path) \(words.joined(separator: " "))"])
        var lines: [String] = []
        var addresses: [Address] = []
        for _ in listen {
            let line = try process.readLine()
            lines.append(line)
            let address = line.split(separator: " ").dropFirst(2).first ?? ""
            addresses.append(try Address(parsing: String(address)))
        }
        return (process, addresses, lines)
    }

    private func options(_ form: (backend: String, loops: Int)) -> [String] {
        ["--backend", form.backend, "--loops", "\(form.loops)"]
    }

    @Test("echo-server prints each address on its own line", arguments: forms)
    func itTellsEachAddressOnALine(_ form: (backend: String, loops: Int)) throws {
        let path = TemporaryPath.make()
        let (process, addresses, lines) = try start(
            options(form), listen: ["tcp://127.0.0.1:0", "tcp://[::1]:0", "unix://\(path)"])
        let tail = " (backend: \(form.backend), loops: \(form.loops))"
        #expect(lines == addresses.map { "listening on \($0)\(tail)" })
        #expect(addresses[0].port != 0 && addresses[1].port != 0)
        #expect(addresses[2] == .unix(path))
        for address in addresses {
            let client = try TestClient(to: address)
            #expect(try client.roundTrip("hello"))
        }
        process.signal(SIGTERM)
        #expect(try process.wait() == .exited(0))
        #expect(process.readErrors() == "")
        #expect(!TemporaryPath.exists(path))
    }

    @Test(
        "a signal during streams drains the connections and the server exits with zero",
        arguments: forms, [SIGTERM, SIGINT])
    func aSignalInTheMiddleOfStreamsDrainsAndExitsWithZero(
        _ form: (backend: String, loops: Int), _ signal: CInt
    ) throws {
        let (process, addresses, _) = try start(options(form))
        var flows = try (0..<8).map { index in
            var flow = Flow(try TestClient(to: addresses[0]), stream: index, length: 4 << 20)
            flow.endsAfterSending = index % 2 == 0
            flow.chunks = 100...100_000
            return flow
        }
        // Everything is sent; much of the echo is still to come.
        let sender = Worker { [flows] in
            var flows = flows
            try Exchange.push(&flows, untilQuietFor: .milliseconds(100))
            return flows.map { $0.cutHere() }
        }
        flows = try sender.join("sending")
        process.signal(signal)
        for flow in flows {
            let (count, end) = try flow.client.receiveUntilEnd(flow.pattern)
            #expect(count <= flow.length && count > 0)
            #expect(end == .clean)
            flow.client.close()
        }
        #expect(try process.wait() == .exited(0))
        #expect(process.readErrors() == "")
    }

    /// The bytes that the kernel holds for the server's sockets, from their rx_queue: proc_net(5).
    private static func unreadBytes(_ address: Address) throws -> Int {
        let digits = String(address.port ?? 0, radix: 16, uppercase: true)
        let port = ":" + String(repeating: "0", count: 4 - digits.count) + digits
        guard let text = readText("/proc/net/tcp") else { throw SystemFailure("/proc/net/tcp") }
        return text.split(separator: "\n").reduce(0) { sum, line in
            let fields = line.split(separator: " ")
            guard fields.count > 4, fields[1].hasSuffix(port) else { return sum }
            return sum + (fields[4].split(separator: ":").last.flatMap { Int($0, radix: 16) } ?? 0)
        }
    }

    /// Small enough that the server reads all of it, although its clients read nothing.
    @Test(
        "after a signal, clients receive every byte that the server has read",
        arguments: forms, [SIGTERM, SIGINT])
    func everythingAcceptedComesBack(
        _ form: (backend: String, loops: Int), _ signal: CInt
    ) throws {
        let (process, addresses, _) = try start(options(form))
        let pattern = Pattern(stream: 1)
        let clients = try (0..<8).map { _ in
            try TestClient(to: addresses[0], receiveBuffer: 4096)
        }
        for client in clients { try client.send(pattern.bytes(100_000)) }
        try eventually("the server has read it") { try Self.unreadBytes(addresses[0]) == 0 }
        process.signal(signal)
        for client in clients {
            #expect(try client.receiveUntilEnd(pattern) == (100_000, .clean))
            client.close()
        }
        #expect(try process.wait() == .exited(0))
    }

    @Test(
        "echo-server reports a wrong argument in one line and exits with a failure",
        arguments: [
            ["--listen", "howdy"], ["--listen", "tcp://127.0.0.1:99999"], ["--listen"],
            ["--listen", "tcp://127.0.0.1:0", "--backend", "kqueue"],
            ["--listen", "tcp://127.0.0.1:0", "--loops", "many"],
            ["--listen", "tcp://127.0.0.1:0", "--loops", "-1"],
            ["--listen", "tcp://127.0.0.1:0", "--loops", "5000"],
            ["--listen", "tcp://127.0.0.1:0", "--frobnicate"], ["frobnicate"],
            ["--listen", "tcp://192.0.2.1:9000"],
            ["--listen", "unix:///nonexistent/directory/app.sock"],
        ])
    func whatIsWrongIsOneLineAndAFailure(_ words: [String]) throws {
        let process = try ChildProcess([try Self.path()] + words)
        let end = try process.wait()
        guard case .exited(let status) = end else {
            Issue.record("it crashed: \(end)")
            return
        }
        #expect(status != 0)
        let errors = process.readErrors()
        #expect(errors.count { $0 == "\n" } == 1 && errors.hasSuffix("\n"), "\(errors)")
        #expect(errors.count > 10)
    }

    @Test("echo-server reports an address in use in one line and exits with a failure")
    func anAddressInUseIsOneLineAndAFailure() throws {
        let (first, addresses, _) = try start([])
        let second = try ChildProcess([try Self.path(), "--listen", "\(addresses[0])"])
        #expect(try second.wait() != .exited(0))
        let errors = second.readErrors()
        #expect(errors.contains("\(addresses[0])") && errors.count { $0 == "\n" } == 1)
        let client = try TestClient(to: addresses[0])
        #expect(try client.roundTrip("still there"))
        client.close()
        first.signal(SIGTERM)
        #expect(try first.wait() == .exited(0))
    }

    @Test(
        "a full descriptor table uses little processor time and waiting clients are served later",
        arguments: forms)
    func aFullTableOfDescriptorsCostsNothingAndTheRestIsServedLater(
        _ form: (backend: String, loops: Int)
    ) throws {
        let (process, addresses, _) = try start(options(form), prefix: "ulimit -n 64")
        var clients = try (0..<150).map { _ in try TestClient(to: addresses[0]) }
        for (number, client) in clients.enumerated() { try client.send("client \(number)") }
        func servedCount() -> Int {
            clients.count { (try? $0.poll(for: POLLIN, Deadline(.zero))) == true }
        }
        // All descriptors that the limit allows, so the table is full.
        try eventually("the table is full") { process.descriptors(below: 64) == 64 }
        try eventually("some are served") { servedCount() > 30 }
        try settled("the served clients", servedCount)
        #expect(process.descriptors(below: 64) == 64)
        #expect(try process.processorShare(over: .seconds(2)) < 0.05)
        #expect(servedCount() < 64, "\(servedCount()) served")
        // Each client that closes makes room for another, until all have been served.
        var waiting = Array(clients.enumerated())
        while !waiting.isEmpty {
            let deadline = Deadline()
            var place: Int?
            while place == nil {
                place = try waiting.firstIndex {
                    try $0.element.poll(for: POLLIN, Deadline(.zero))
                }
                try deadline.check("any of \(waiting.count) clients to be served")
                if place == nil { pause(.milliseconds(1)) }
            }
            let (number, client) = waiting.remove(at: place!)
            let text = "client \(number)"
            #expect(try client.receiveText(exactly: text.utf8.count) == text)
            client.close()
        }
        clients = []
        process.signal(SIGTERM)
        #expect(try process.wait() == .exited(0))
    }
}
