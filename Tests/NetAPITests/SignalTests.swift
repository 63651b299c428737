/// Tests of signals: those that were requested stop a server, all others interrupt nothing.
///
/// Each test runs in its own process, since a signal concerns the whole process.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct SignalTests {
    /// Returns the result of `run` when the process gets `number` while a client is being served.
    private static func reason(_ setup: Setup, _ number: CInt) throws -> String {
        let handler = TestHandler()
        let server = try Server(handler, listen: anyPort, options: setup.options())
        let running = Worker {
            let reason = try server.run(stoppingOn: .terminate, .interrupt)
            guard case .signal(let signal) = reason else { return reason.name }
            return signal == .terminate ? "terminate" : signal == .interrupt ? "interrupt" : "other"
        }
        try eventually("the server is bound") { !server.boundAddresses.isEmpty }
        let client = try TestClient(to: server.boundAddresses[0])
        #expect(try client.roundTrip("x"))
        kill(getpid(), number)
        #expect(try client.receiveEnd() == .clean)
        client.close()
        let reason = try running.join("Server.run")
        handler.log.checkLives()
        #expect(handler.log.count(.close) == 1)
        return reason
    }

    @Test("SIGTERM stops a server that runs until a signal")
    func sigtermStopsAServerThatRunsUntilIt() async {
        await #expect(processExitsWith: .success) {
            for setup in Setup.all {
                let reason = try SignalTests.reason(setup, SIGTERM)
                #expect(reason == "terminate")
            }
        }
    }

    @Test("SIGINT stops a server that runs until a signal")
    func sigintStopsAServerThatRunsUntilIt() async {
        await #expect(processExitsWith: .success) {
            for setup in Setup.all {
                let reason = try SignalTests.reason(setup, SIGINT)
                #expect(reason == "interrupt")
            }
        }
    }

    @Test("SIGTERM stops a server that runs in a task")
    func sigtermStopsAServerThatRunsInATask() async {
        await #expect(processExitsWith: .success) {
            let server = try Server(TestHandler(), listen: anyPort)
            let task = Task { try await server.run(stoppingOn: .terminate) }
            try await patiently("the server is bound") {
                while server.boundAddresses.isEmpty { try await Task.sleep(for: .milliseconds(1)) }
            }
            kill(getpid(), SIGTERM)
            let reason = try await patiently("await run") { try await task.value }
            #expect(reason.name == "signal")
        }
    }

    /// A drain that a busy connection would delay for five seconds ends with the second signal.
    private static func endADrain(_ setup: Setup, _ number: CInt) throws {
        let limit = Probe.isSanitized ? patience : .seconds(4)
        try promptly("the end of a drain", within: limit) { try timeOfADrain(setup, number) }
    }

    private static func timeOfADrain(_ setup: Setup, _ number: CInt) throws -> Duration {
        let handler = TestHandler(open: { connection in
            connection.isBusy = true
            return .none
        })
        let server = try Server(handler, listen: anyPort, options: setup.options())
        let running = Worker { try server.run(stoppingOn: .terminate, .interrupt).name }
        try eventually("the server is bound") { !server.boundAddresses.isEmpty }
        let client = try TestClient(to: server.boundAddresses[0])
        #expect(try client.roundTrip("x"))
        kill(getpid(), SIGTERM)
        let time = try elapsed {
            try eventually("it stops") { (try? TestClient(to: server.boundAddresses[0])) == nil }
            #expect(try client.staysSilent(for: .milliseconds(100)))
            #expect(!running.isDone)
            kill(getpid(), number)
            #expect(try client.receiveEnd().isReset)
            #expect(try running.join("Server.run") == "signal")
        }
        handler.log.checkLives()
        return time
    }

    @Test("a second signal ends the drain at once")
    func aSecondSignalEndsTheDrainAtOnce() async {
        await #expect(processExitsWith: .success) {
            for setup in Setup.all {
                try SignalTests.endADrain(setup, SIGTERM)
                try SignalTests.endADrain(setup, SIGINT)
            }
        }
    }

    @Test("a signal that the server was not asked to handle is left to the program")
    func aSignalThatWasNotAskedForIsLeftToTheProgram() async {
        await #expect(processExitsWith: .signal(SIGTERM)) {
            let server = try Server(TestHandler(), listen: anyPort)
            try server.start()
            kill(getpid(), SIGTERM)
            try eventually("the signal ends the process") { false }
        }
    }

    @Test("starting and stopping a server leaves the signal mask unchanged")
    func startingAndStoppingLeavesTheSignalMaskAlone() async {
        await #expect(processExitsWith: .success) {
            var before = sigset_t()
            var after = sigset_t()
            pthread_sigmask(SIG_BLOCK, nil, &before)
            let server = try Server(TestHandler(), listen: anyPort)
            try server.start()
            server.stop()
            pthread_sigmask(SIG_BLOCK, nil, &after)
            for number in 1..<32 {
                #expect(sigismember(&before, CInt(number)) == sigismember(&after, CInt(number)))
            }
        }
    }

    /// System calls that a signal interrupts must be repeated.
    @Test("a thousand signals a second interrupt no exchange")
    func aThousandSignalsASecondInterruptNothing() async {
        await #expect(processExitsWith: .success) {
            var action = sigaction()
            action.__sigaction_handler.sa_handler = { _ in }
            sigaction(SIGALRM, &action, nil)
            let interval = timeval(tv_sec: 0, tv_usec: 1000)
            var timer = itimerval(it_interval: interval, it_value: interval)
            setitimer(__itimer_which_t(0), &timer, nil)
            for setup in Setup.all {
                try withServer(setup) { server in
                    for round in 0..<20 {
                        var flows = try (0..<4).map { index in
                            Flow(try server.connect(), stream: round * 4 + index, length: 300_000)
                        }
                        try Exchange.run(&flows)
                    }
                    pause(.milliseconds(100))
                    let client = try server.connect()
                    #expect(try client.roundTrip("still there"))
                }
            }
            timer = itimerval()
            setitimer(__itimer_which_t(0), &timer, nil)
        }
    }
}
