/// Tests of servers and clients as services of a group: its shutdown drains, a failure ends it.
import Glibc
import NetAPI
import NetServices
import ServiceLifecycle
import TestSupport
import Testing
import UnixSignals

@Suite struct ServerServiceTests {
    enum Ending: CaseIterable, Sendable { case call, signal, cancellation }

    @Test(
        "a group with a server and a client serves, and its end finishes a request in progress",
        arguments: Form.all, Ending.allCases)
    func drain(_ form: Form, _ ending: Ending) async throws {
        let (begun, goesOn) = (Event(), Event())
        let size = 4 << 20
        let server = try Server(listen: anyPort, options: form.options) { connection in
            while let line = try await connection.readLine() {
                if line == "slow" {
                    begun.happen()
                    await goesOn.wait()
                }
                try await connection.write([UInt8](repeating: 1, count: size))
            }
        }
        let client = try Client(options: form.options)
        try client.start()
        // A group ends its services from the last to the first, but cancels all at once: then the
        // client would close beside the server.
        let isInGroup = ending != .cancellation
        let running = RunningGroup(
            isInGroup ? [client, server] : [server], shutDownBy: [.sigterm])
        let address = try await server.address()
        let answers = Task {
            try await client.withConnection(to: address) { connection in
                var sizes: [Int] = []
                for request in ["quick\n", "slow\n"] {
                    try await connection.write(request)
                    var received = 0
                    while received < size, let bytes = try await connection.read() {
                        received += bytes.count
                    }
                    sizes.append(received)
                }
                return sizes
            }
        }
        try await patiently("the slow request") { await begun.wait() }
        switch ending {
        case .call: await running.group.triggerGracefulShutdown()
        case .signal: #expect(kill(getpid(), SIGTERM) == 0)
        case .cancellation: running.task.cancel()
        }
        try await eventually("the server stops") { server.isStopping }
        goesOn.happen()
        let sizes = try await patiently("the answers") { try await answers.value }
        #expect(sizes == [size, size])
        do {
            try await running.end()
        } catch is CancellationError {
            #expect(ending == .cancellation)
        }
        if !isInGroup { await client.stop() }
        #expect(client.isStopping && server.isStopping && server.listensNoMore)
    }

    /// Each moment of the sibling's failure, before the start, during it and after.
    enum Moment: CaseIterable, Sendable { case first, last, boot, serving }

    @Test(
        "a sibling that fails ends the group, and nothing is left listening",
        arguments: Form.all, Moment.allCases)
    func sibling(_ form: Form, _ moment: Moment) async throws {
        for _ in 0..<20 {
            let boots = Event()
            let server = try Server(
                Echo(booted: boots.happen), listen: anyPort, options: form.options)
            let client = try Client(Echo(), options: form.options)
            let services: [any Service] =
                switch moment {
                case .first: [Failing(), server, client]
                case .last: [client, server, Failing()]
                case .boot: [client, server, Failing { await boots.wait() }]
                case .serving:
                    [
                        client, server,
                        Failing {
                            await boots.wait()
                            try await eventually("served") { server.accepts }
                        },
                    ]
                }
            let running = RunningGroup(services)
            await #expect(throws: Mishap.self) { try await running.end() }
            #expect(server.isStopping && server.listensNoMore && client.isStopping)
        }
    }

    @Test("a server whose port is taken fails the group with its error", arguments: Form.all)
    func takenPort(_ form: Form) async throws {
        let first = try Server(Echo(), listen: anyPort, options: form.options)
        try first.start()
        let second = try Server(Echo(), listen: first.boundAddresses, options: form.options)
        let running = RunningGroup([try Client(Echo(), options: form.options), second])
        do {
            try await running.end()
            Issue.record("the group did not fail")
        } catch let error as NetError {
            #expect(error.code == .addressInUse)
        }
        await first.stop()
    }

    @Test("a server that a callback ends with an error fails the group", arguments: Form.all)
    func failure(_ form: Form) async throws {
        let server = try Server(FailingTick(), listen: anyPort, options: form.options)
        let running = RunningGroup([server])
        let error = await #expect(throws: NetError.self) { try await running.end() }
        #expect("\(error.map(String.init(describing:)) ?? "")".contains("Mishap"))
    }

    @Test("a shutdown or a cancellation before the start is honoured", arguments: Form.all)
    func early(_ form: Form) async throws {
        let server = try Server(Echo(), listen: anyPort, options: form.options)
        let client = try Client(Echo(), options: form.options)
        let running = RunningGroup([server, client])
        try await running.shutDown()
        #expect(server.isStopping && server.listensNoMore)

        let services: [any Service] = [
            try Server(Echo(), listen: anyPort, options: form.options),
            try Client(Echo(), options: form.options),
            try Server(Echo(), listen: anyPort, options: form.options)
                .service(drainingWithin: .seconds(1)),
        ]
        for service in services {
            let task = Task {
                while !Task.isCancelled { await Task.yield() }
                try await service.run()
            }
            task.cancel()
            try await patiently("run") { try await task.value }
            #expect((service as? Server)?.boundAddresses.isEmpty ?? true)
        }
    }

    @Test("a stop by the program ends the service without an error", arguments: Form.all)
    func stopped(_ form: Form) async throws {
        let server = try Server(Echo(), listen: anyPort, options: form.options)
        let service: any Service = server
        let run = Task { try await service.run() }
        _ = try await server.address()
        server.requestStop()
        try await patiently("run") { try await run.value }
    }

    /// A group cancels its services when its patience with their shutdown is over.
    @Test("a cancellation after a shutdown ends the drain at once", arguments: Form.all)
    func escalation(_ form: Form) async throws {
        let held = try HeldRequest(form)
        let (server, client) = (held.server, held.client)
        let running = RunningGroup([server.service(drainingWithin: .seconds(3600))])
        let reading = try await held.begin()
        await running.group.triggerGracefulShutdown()
        try await eventually("the server stops") { server.isStopping }
        running.task.cancel()
        do { try await running.end() } catch is CancellationError {}
        held.goesOn.happen()
        _ = try? await patiently("the reset") { try await reading.value }
        await client.stop()
    }

    /// The default is 10 s for each of the two. A machine that stands still for as long does so in
    /// some rounds only.
    @Test("the drain of a service has its own limit", arguments: Form.all)
    func limit(_ form: Form) async throws {
        var times: [Duration] = []
        repeat {
            times.append(try await Self.shutDownOfHeldRequest(form, within: .milliseconds(400)))
        } while times.last! >= .seconds(10) && times.count < 3
        #expect(times.last! < .seconds(10), "\(times)")
    }

    /// Returns the time of a shutdown while a request is in progress.
    private static func shutDownOfHeldRequest(
        _ form: Form, within limit: Duration
    ) async throws -> Duration {
        let held = try HeldRequest(form)
        let running = RunningGroup([
            held.client.service(drainingWithin: limit), held.server.service(drainingWithin: limit),
        ])
        let reading = try await held.begin()
        let start = ContinuousClock.now
        try await running.shutDown()
        let time = start.duration(to: .now)
        held.goesOn.happen()
        let answer = try await patiently("the end") { try await reading.value }
        #expect(answer == nil)
        return time
    }

    /// There are more services than the pool has threads. One that blocked would delay the others.
    @Test("services block no thread of the pool", arguments: Form.all)
    func pool(_ form: Form) async throws {
        let servers = try (0..<16).map { _ in
            try Server(Echo(), listen: anyPort, options: form.options)
        }
        let clients = try (0..<16).map { _ in try Client(options: form.options) }
        let running = RunningGroup(clients.map { $0 as any Service } + servers.map { $0 })
        for (server, client) in zip(servers, clients) {
            let address = try await server.address()
            let text = try await patiently("an answer") {
                // Until the client runs.
                while true {
                    do {
                        return try await client.withConnection(to: address) { connection in
                            try await connection.write("hello")
                            return try await connection.read(exactly: 5) { String(decoding: $0) }
                        }
                    } catch let error as NetError where error.code == .closed {
                        try await Task.sleep(for: .milliseconds(1))
                    }
                }
            }
            #expect(text == "hello")
        }
        try await running.shutDown()
    }

    @Test("run() of a server still returns the reason of its end", arguments: Form.all)
    func meaning(_ form: Form) async throws {
        let server = try Server(Echo(), listen: anyPort, options: form.options)
        server.requestStop()
        let reason = try await server.run()
        guard case .stopped = reason else {
            Issue.record("\(reason)")
            return
        }
    }
}

private struct FailingTick: EventHandler {
    func onTick(_ loop: Loop) throws -> Tick { throw Mishap() }
    func onTraffic(_ connection: Connection) -> Action { .none }
}

/// A server that holds a client's request back until the test lets it go on.
private struct HeldRequest {
    let server: Server
    let client: Client
    let goesOn = Event()
    private let begun = Event()

    init(_ form: Form) throws {
        server = try Server(listen: anyPort, options: form.options) { [begun, goesOn] connection in
            _ = try await connection.readLine()
            begun.happen()
            await goesOn.wait()
        }
        client = try Client(options: form.options)
        try client.start()
    }

    /// Makes the request of a server that runs, and returns its answer, once the server has it.
    func begin() async throws -> Task<[UInt8]?, any Error> {
        let address = try await server.address()
        let reading = Task { [client] in
            try await client.withConnection(to: address) { connection in
                try await connection.write("x\n")
                return try await connection.read()
            }
        }
        try await patiently("the request") { [begun] in await begun.wait() }
        return reading
    }
}
