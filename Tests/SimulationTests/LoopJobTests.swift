import MillraceSimulation
import Testing

@testable import MillraceEventLoop

/// Tasks that live on a loop, in orders that a test chooses.
@Suite struct LoopJobTests {
    @Test("what two tasks write in one turn are two datagrams")
    func datagrams() throws {
        try withStage { stage in
            let address = stage.listener.address
            let requests = stage.turn(
                message: .run { loop in
                    loop.connect(to: address, isDatagram: true, timeout: 1_000_000_000) { _ in }
                })
            guard case .attach(let descriptor, let token) = requests.first else {
                throw Stage.Unexpected(requests: requests)
            }
            stage.network.establish(descriptor, with: address)
            stage.turn((token, .connected))
            // Unchecked: the tasks run inside the turn, on this thread.
            nonisolated(unsafe) let loop = stage.loop
            // On the loop's thread jobs queue up.
            let sent = loop.asCurrent {
                for number: UInt8 in [1, 2] {
                    Task(executorPreference: stage.remote) {
                        guard let connection = loop.find(token) else { return }
                        loop.write(connection, [number])
                        loop.write(connection, [number])
                    }
                }
                return stage.turn()
            }
            #expect(sent == [.send([1, 1], token)])
            #expect(stage.turn((token, .sent(2))) == [.send([2, 2], token)])
            #expect(stage.turn((token, .sent(2))) == [])
        }
    }
}
