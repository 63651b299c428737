/// Tests of the messages to a service manager: the program's own, and those of a server about its
/// start, its stop and its loops.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct NotifyTests {
    @Test("messages arrive at a path and at an abstract name", arguments: [false, true])
    func arrives(_ isAbstract: Bool) throws {
        let socket = try NotifySocket(isAbstract: isAbstract)
        let manager = try socket.manager()
        #expect(try manager.notify(.ready, .status("42 clients\nREADY=1")))
        #expect(socket.receive() == "READY=1\nSTATUS=42 clients READY=1")
        #expect(try manager.notify(.stopping))
        #expect(socket.receive() == "STOPPING=1")
        #expect(try manager.notify(.watchdog))
        #expect(socket.receive() == "WATCHDOG=1")
    }

    /// systemd compares the time with the clock that it reads itself.
    @Test("a reload has the time at which it began")
    func reload() throws {
        let socket = try NotifySocket()
        var time = timespec()
        clock_gettime(CLOCK_MONOTONIC, &time)
        let before = time.tv_sec * 1_000_000 + time.tv_nsec / 1000
        #expect(try socket.manager().notify(.reloading))
        let lines = try #require(socket.receive()).split(separator: "\n")
        #expect(lines.first == "RELOADING=1" && lines.count == 2)
        let text = try #require(lines.last).dropFirst("MONOTONIC_USEC=".count)
        let found = try #require(Int(text))
        #expect(found >= before && found < before + 60_000_000)
    }

    @Test("a message that cannot be sent is an error with the cause")
    func unreachable() throws {
        let path = TemporaryPath.make("notify")
        let manager = try ServiceManager(variables: ["NOTIFY_SOCKET": path], process: 7)
        let error = #expect(throws: NetError.self) { try manager.notify(.ready) }
        #expect(error?.code == .system && error?.errno == ENOENT)
        #expect(error?.cause.hasPrefix("READY=1 could not be sent") == true)
    }

    /// The kernel keeps few datagrams for a receiver that reads none.
    @Test("a manager that reads nothing holds up a message for a second at most")
    func fullSocket() throws {
        let socket = try NotifySocket()
        let manager = try socket.manager()
        let outcome = Worker { () -> NetError? in
            do throws(NetError) {
                for _ in 0..<100_000 { try manager.notify(.watchdog) }
                return nil
            } catch {
                return error
            }
        }
        let error = try #require(try outcome.join("a refusal"))
        #expect(error.code == .system && error.errno == EAGAIN)
        #expect(socket.receive() == "WATCHDOG=1")
    }

    /// How a server is stopped.
    enum Ending: CaseIterable { case stop, shutdown }

    @Test(
        "a server reports that it serves, and that it begins to stop, once each",
        arguments: Setup.all, Ending.allCases)
    func states(_ setup: Setup, _ ending: Ending) throws {
        let socket = try NotifySocket()
        let options = setup.options { $0.serviceManager = try? socket.manager() }
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            return .shutdown
        })
        let server = try Server(handler, listen: anyPort, options: options)
        try bounded("start") { try server.start() }
        #expect(socket.receive() == "READY=1")
        let client = try TestClient(to: server.boundAddresses[0])
        if ending == .shutdown { try client.send("x") } else { server.requestStop() }
        // The drain waits for this client, so the message comes before the end.
        #expect(socket.receive() == "STOPPING=1")
        client.close()
        try bounded("stop") { server.stop(within: .seconds(5)) }
        #expect(socket.receive(within: .zero) == nil)
    }

    /// Clients may use up the descriptors, and the manager would end a server that serves them. In
    /// a process of its own, whose descriptors stay few.
    @Test("pings and the stop's message need no free descriptor")
    func withoutDescriptors() async {
        await #expect(processExitsWith: .success) {
            for setup in Setup.all {
                // Descriptors that a process opens once are open from here on.
                try withServer(setup, TestHandler()) { _ in }
                try NotifyTests.pingWithoutDescriptors(setup)
            }
        }
    }

    private static func pingWithoutDescriptors(_ setup: Setup) throws {
        let socket = try NotifySocket()
        let manager = try socket.manager(watchdog: .milliseconds(40))
        let server = try Server(
            TestHandler(), listen: anyPort, options: setup.options { $0.serviceManager = manager })
        let before = Probe.descriptors
        try bounded("start") { try server.start() }
        #expect(socket.receive() == "READY=1")
        let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
        var limit = rlimit()
        #expect(getrlimit(resource, &limit) == 0)
        let usual = limit.rlim_cur
        limit.rlim_cur = 3
        #expect(setrlimit(resource, &limit) == 0)
        let error = #expect(throws: NetError.self) { try manager.notify(.ready) }
        #expect(error?.errno == EMFILE)
        // Some may have been sent before.
        for _ in 0..<20 { #expect(socket.receive() == "WATCHDOG=1") }
        server.requestStop()
        let next = (0..<100).lazy.compactMap { _ in socket.receive() }.first { $0 != "WATCHDOG=1" }
        #expect(next == "STOPPING=1")
        try bounded("stop") { server.stop() }
        limit.rlim_cur = usual
        #expect(setrlimit(resource, &limit) == 0)
        try eventually("the descriptors are closed") { Probe.descriptors <= before }
    }

    @Test("a server that cannot start reports nothing", arguments: Setup.single)
    func failedStart(_ setup: Setup) throws {
        let socket = try NotifySocket()
        let options = setup.options { $0.serviceManager = try? socket.manager() }
        var handler = DatagramTestHandler()
        handler.boot = { _ in throw SystemFailure("boot", EPERM) }
        let server = try Server(handler, listen: anyPort, options: options)
        #expect(throws: NetError.self) { try server.start() }
        #expect(socket.receive(within: .zero) == nil)
    }

    @Test("the watchdog gets pings while every loop turns", arguments: Setup.all)
    func pings(_ setup: Setup) throws {
        let (socket, gate) = (try NotifySocket(), Gate())
        defer { gate.open() }
        let options = setup.options {
            $0.serviceManager = try? socket.manager(watchdog: .milliseconds(40))
        }
        let handler = TestHandler(traffic: { connection in
            connection.discardAll()
            gate.wait()
            return .none
        })
        let server = try Server(handler, listen: anyPort, options: options)
        try serve(server) { server in
            #expect(socket.receive() == "READY=1")
            for _ in 0..<5 { #expect(socket.receive() == "WATCHDOG=1") }
            // The last loop hangs; with two loops, the first one still turns.
            let clients = try (0..<setup.loops).map { _ in try server.connect() }
            try eventually("every loop has a client") {
                server.server.loopStatistics.prefix(setup.loops).allSatisfy { $0.open == 1 }
            }
            try clients.last?.send("x")
            try eventually("a loop hangs") { gate.isReached }
            // Pings from before, of which there may be many if the test was held up.
            while socket.receive(within: .zero) != nil {}
            // The answer of one question that the loop had already.
            let late = (0..<50).prefix { _ in socket.receive(within: .milliseconds(200)) != nil }
            #expect(late.count < 10)
            gate.open()
            #expect(socket.receive() == "WATCHDOG=1")
            for client in clients { client.close() }
        }
    }
}
