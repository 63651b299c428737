/// An acceptor has no connections of its own, so nothing is ever told to it.
final class AcceptorDelegate: LoopDelegate, DatagramDelegate {
    func boot(_ loop: Loop) -> LoopAction { .none }
    func tick(_ loop: Loop) -> LoopTick { .never }
    func opened(_ connection: ConnectionReference) -> LoopAction { .none }
    func traffic(_ connection: ConnectionReference) -> LoopAction { .none }
    func writable(_ connection: ConnectionReference) -> LoopAction { .none }
    func peerEnded(_ connection: ConnectionReference) -> LoopAction { .none }
    func willWrite(_ connection: ConnectionReference) -> LoopAction { .none }
    func closed(_ connection: ConnectionReference, _ cause: CloseCause) -> LoopAction { .none }
    func shutDown(_ loop: Loop) {}
    var rest: any LoopDelegate { self }
    var datagrams: any DatagramDelegate { self }
    func datagram(
        _ datagram: UnsafePointer<ReceivedDatagram>, on loop: Loop, socket: Int
    ) -> LoopAction { .none }
}
