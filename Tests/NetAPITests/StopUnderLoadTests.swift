/// Tests that a stop does not queue behind closures that other threads post.
import Glibc
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct StopUnderLoadTests {
    enum Posting: CaseIterable {
        case forEachConnection, execute
    }

    @Test(
        "a stop returns in time although other threads post without pause",
        arguments: Setup.all, Posting.allCases)
    func aStopIsInTimeBesideThreadsThatPostWithoutRest(
        _ setup: Setup, _ posting: Posting
    ) throws {
        let limit = Probe.isSanitized ? patience : .seconds(2)
        try promptly("Server.stop", within: limit) { try timeOfStop(setup, posting) }
    }

    private func timeOfStop(_ setup: Setup, _ posting: Posting) throws -> Duration {
        let handles = Shared<[ConnectionHandle]>([])
        let handler = HandleTests.sharing(handles, traffic: TestHandler.echo)
        let isOver = Shared(false)
        defer { isOver.value = true }
        let (time, threads) = try withServer(setup, handler) { server in
            let clients = try (0..<4).map { _ in try server.connect() }
            try handler.log.waitFor(.open, count: clients.count)
            let ran = Shared(0)
            let targets = handles.value
            let threads = targets.map { target in
                Worker {
                    while !isOver.value {
                        post(posting, server.server, target, ran)
                    }
                }
            }
            try eventually("some ran") { ran.value > 100 }
            let time = try bounded("Server.stop") {
                elapsed { server.server.stop(within: .milliseconds(200)) }
            }
            isOver.value = true
            return (time, threads)
        }
        for thread in threads { try thread.join("a posting thread") }
        return time
    }
}

/// Each closure keeps its loop busy for 50 us.
private func post(
    _ posting: StopUnderLoadTests.Posting, _ server: Server, _ target: ConnectionHandle,
    _ ran: Shared<Int>
) {
    let body: @Sendable (Connection) -> Void = { _ in
        ran.update { $0 += 1 }
        let end = ContinuousClock.now + .microseconds(50)
        while ContinuousClock.now < end {}
    }
    switch posting {
    case .forEachConnection: server.forEachConnection(body)
    case .execute: target.execute(body)
    }
}
