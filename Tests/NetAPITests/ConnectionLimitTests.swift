/// Tests that `limits.connections` holds for all loops together, also when each of them accepts.
import MillraceTestSupport
import NetAPI
import Testing

@Suite struct ConnectionLimitTests {
    /// The number of open connections that the handler has seen.
    private final class Count: Sendable {
        private let counts = Shared((now: 0, peak: 0))

        var peak: Int { counts.update { $0.peak } }

        func add() {
            counts.update { counts in
                counts.now += 1
                counts.peak = max(counts.peak, counts.now)
            }
        }

        func remove() { counts.update { $0.now -= 1 } }
    }

    @Test(
        "a server with a limit of one connection serves twenty clients one at a time",
        arguments: Setup.backends, [true, false])
    func neverMoreThanOneOfTwentyThatConnectAtOnce(_ backend: Backend, reusePort: Bool) throws {
        let setup = Setup(backend: backend, loops: 4)
        let options = setup.options {
            $0.reusePort = reusePort
            $0.limits.connections = 1
        }
        let count = Count()
        let handler = TestHandler(
            open: { _ in
                count.add()
                return .none
            },
            close: { _, _ in
                count.remove()
                return .none
            })
        let rounds = 5
        try withServer(setup, handler, options: options) { server in
            for round in 1...rounds {
                let (gate, address) = (Gate(), server.addresses[0])
                defer { gate.open() }
                let workers = (0..<20).map { number in
                    Worker {
                        gate.wait()
                        let client = try TestClient(to: address)
                        let isSame = try client.roundTrip("client \(number)")
                        client.close()
                        return isSame
                    }
                }
                gate.open()
                for worker in workers {
                    let isServed = try worker.join("a client of round \(round)")
                    #expect(isServed)
                }
            }
            try server.waitUntilEmpty()
            #expect(server.server.statistics.acceptPauses > 0)
        }
        #expect(count.peak == 1)
        #expect(handler.log.count(.open) == 20 * rounds)
    }
}
