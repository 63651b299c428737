/// The delegate of an acceptor loop. It does nothing, since the loop has no connections.
final class AcceptorDelegate: LoopDelegate, DatagramDelegate {
    func boot(_ loop: Loop) -> LoopAction { .none }
    func tick(_ loop: Loop) -> LoopTick { .never }
    func opened(_ connection: ConnectionReference) -> LoopAction { .none }
    func traffic(_ connection: ConnectionReference) -> LoopAction { .none }
    func writable(_ connection: ConnectionReference) -> LoopAction { .none }
    func peerEnded(_ connection: ConnectionReference) -> LoopAction { .none }
    func preWrite(_ connection: ConnectionReference) -> LoopAction { .none }
    func closed(_ connection: ConnectionReference, _ cause: CloseCause) -> LoopAction { .none }
    func shutDown(_ loop: Loop) {}
    var rest: any LoopDelegate { self }
    var datagrams: any DatagramDelegate { self }
    func datagram(
        _ datagram: UnsafePointer<ReceivedDatagram>, on loop: Loop, socket: Int
    ) -> LoopAction { .none }
}
