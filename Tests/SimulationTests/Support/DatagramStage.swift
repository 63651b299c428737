import MillraceEventLoop
import MillraceSimulation
import Testing

/// Runs `body` with a stage and a connected datagram socket, which is being read.
func withConnectedDatagrams(
    _ configuration: LoopConfiguration = LoopConfiguration(),
    _ body: (Stage, Token) throws -> Void
) throws {
    try withStage(configuration) { stage in
        let address = stage.listener.address
        let requests = stage.turn(
            message: .run { loop in
                loop.connect(to: address, isDatagram: true, timeout: 1_000_000_000) { _ in }
            })
        guard case .attach(let descriptor, let token) = requests.first else {
            throw Stage.Unexpected(requests: requests)
        }
        stage.network.establish(descriptor, with: address)
        #expect(stage.turn((token, .connected)) == [.receiveDatagrams(token)])
        #expect(stage.delegate.take(token) == [.opened])
        try body(stage, token)
    }
}

extension Stage {
    /// Runs a turn in which the connection receives these datagrams, in this order.
    @discardableResult
    func receive(_ datagrams: [UInt8]..., by token: Token) -> [Request] {
        turn(after: 0, datagrams.map { (token, datagram($0)) })
    }

    func datagram(_ bytes: [UInt8]) -> QueuedEvent {
        .datagram(DatagramArrival(bytes, from: listener.address))
    }
}
