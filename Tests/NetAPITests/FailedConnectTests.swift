/// Tests of connects that fail at once and are repeated at once: a loop that is busy with them
/// still serves other connections.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct FailedConnectTests {
    /// Connects to a missing path from the loop, again and again.
    private static func storm(_ loop: Loop, _ failures: Shared<Int>, _ isOver: Shared<Bool>) {
        loop.connect(to: "unix:///nowhere/at-all") { result in
            guard case .failure = result else { return }
            failures.update { $0 += 1 }
            if !isOver.value { storm(loop, failures, isOver) }
        }
    }

    @Test(
        "connects that fail and are retried at once do not delay other connections",
        arguments: Setup.all)
    func tryingAgainAtOnceHoldsUpNobody(_ setup: Setup) throws {
        let (failures, isOver) = (Shared(0), Shared(false))
        let handler = TestHandler(open: { connection in
            // On the loop of the connection that must be served.
            connection.schedule(after: .milliseconds(20)) { connection in
                Self.storm(connection.loop, failures, isOver)
            }
            return .none
        })
        try withServer(setup, handler) { server in
            defer { isOver.value = true }
            let client = try server.connect()
            #expect(try client.roundTrip("before"))
            try eventually("connects fail") { failures.value > 100 }
            for round in 0..<20 {
                try promptly("echo \(round)", within: .seconds(1)) {
                    try elapsed {
                        let isEchoed = try client.roundTrip("echo \(round)")
                        #expect(isEchoed)
                    }
                }
            }
            isOver.value = true
        }
    }

    /// The connection was made and then lost: the test expects neither another error nor a longer
    /// wait.
    @Test(
        "a connect to a listener that resets at once succeeds or fails with ECONNRESET",
        arguments: Setup.all)
    func aListenerThatResetsAtOnceIsASuccessOrAReset(_ setup: Setup) throws {
        let (rounds, outcomes) = (200, Shared<[String]>([]))
        let listener = try RawListener()
        let resetting = Worker { for _ in 0..<rounds { try listener.accept().reset() } }
        let client = try Client(TestHandler(), options: setup.options())
        try client.start()
        for round in 1...rounds {
            client.connect(to: listener.address) { result in
                var text = "connected"
                if case .failure(let error) = result {
                    text = error.errno == ECONNRESET ? "reset" : error.description
                }
                outcomes.update { [text] in $0.append(text) }
            }
            try eventually("the outcome of connect \(round)") { outcomes.value.count == round }
        }
        try resetting.join("the resets")
        #expect(Set(outcomes.value).isSubset(of: ["connected", "reset"]))
        try eventually("none is left") { client.connectionCount == 0 }
        try bounded("stop") { client.stop() }
    }
}
