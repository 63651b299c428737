/// Tests of a loop's wait: without sleeping for a while, or for more than one completion.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct WaitingTests {
    @Test("a loop that busy polls answers its clients and then sleeps", arguments: Setup.all)
    func aLoopThatBusyPollsAnswersAndThenSleeps(_ setup: Setup) throws {
        let options = setup.options { $0.busyPoll = .milliseconds(20) }
        try withServer(setup, options: options) { server in
            let client = try server.connect()
            let statistics = { server.server.statistics }
            let before = statistics().turns
            var pings = 0
            // Turns continue without events, and end. With events alone there would be few: one or
            // two for each ping. The 2 ms between two pings are many turns, also on a slow machine.
            try eventually("it looked again and again") {
                pings += 1
                let isAnswered = try client.roundTrip("ping")
                #expect(isAnswered)
                return pings >= 50 && statistics().turns > before + 1000 + 8 * pings
            }
            try eventually("it sleeps") {
                let before = statistics().turns
                pause(.milliseconds(50))
                return statistics().turns == before
            }
            #expect(try client.roundTrip("awake"))
        }
    }

    @Test(
        "a loop that busy polls runs its timers and the closures of other threads",
        arguments: Setup.all)
    func aLoopThatBusyPollsHearsOtherThreadsAndTimers(_ setup: Setup) throws {
        let handles = Shared<[LoopHandle]>([])
        let fired = Shared(0)
        var handler = TestHandler()
        handler.open = { connection in
            handles.update { [handle = connection.loop.handle] in $0.append(handle) }
            connection.loop.schedule(after: .milliseconds(5)) { fired.update { $0 += 1 } }
            return .none
        }
        // Longer than the test: the loop never sleeps.
        let options = setup.options { $0.busyPoll = .seconds(1) }
        try withServer(setup, handler, options: options) { server in
            let client = try server.connect()
            #expect(try client.roundTrip("ping"))
            try eventually("the timer") { fired.value == 1 }
            let ran = Shared(0)
            for number in 1...100 {
                handles.value[0].execute { _ in ran.update { $0 += 1 } }
                try eventually("post \(number)") { ran.value == number }
            }
        }
    }

    /// Only after a busy turn: a lone client would wait for no other.
    @Test("a minimum wait does not delay a single client", arguments: Setup.single)
    func aMinimumWaitDoesNotDelayALoneClient(_ setup: Setup) throws {
        let options = setup.options { $0.minimumWait = .milliseconds(10) }
        try withServer(setup, options: options) { server in
            let client = try server.connect()
            var quickest = Duration.seconds(1)
            for _ in 0..<300 {
                let time = try elapsed {
                    let isEchoed = try client.roundTrip("ping")
                    #expect(isEchoed)
                }
                quickest = min(quickest, time)
            }
            #expect(quickest < .milliseconds(5), "each waited: \(quickest)")
        }
    }

    @Test(
        "a server with the options lowLatency or highThroughput serves",
        arguments: Setup.backends)
    func thePresetsServe(_ backend: Backend) throws {
        #expect(Options.lowLatency.busyPoll > .zero && Options.lowLatency.loops == .one)
        let fast = Options.highThroughput
        #expect(fast.loops == .perCore && fast.reusePort && fast.pinLoops)
        for preset in [Options.lowLatency, fast] {
            let options = preset.with { $0.backend = backend }
            try withServer(Setup(backend: backend, loops: 1), options: options) { server in
                let client = try server.connect()
                let isEchoed = try client.roundTrip("ping")
                #expect(isEchoed)
            }
        }
    }

    @Test("a minimum wait loses no bytes under load", arguments: Setup.all)
    func aMinimumWaitLosesNothingUnderLoad(_ setup: Setup) throws {
        let options = setup.options { $0.minimumWait = .microseconds(200) }
        try withServer(setup, options: options) { server in
            let clients = try (0..<40).map { _ in try server.connect() }
            for round in 0..<30 {
                let text = "round \(round)"
                for client in clients { try client.send(text) }
                for client in clients {
                    let echo = try client.receiveText(exactly: text.utf8.count)
                    #expect(echo == text)
                }
            }
        }
    }
}
