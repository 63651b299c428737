/// Answers sends of datagrams from a list instead of a kernel, and records the calls.
@testable import MillraceEventLoop

final class ScriptedSender: DatagramSending {
    enum Answer: Sendable {
        case sent(Int, bundles: Int = 0)
        /// `refused` is the number of datagrams in the refused message.
        case error(Int32, refused: Int = 1)
    }

    struct Datagram: Equatable {
        let bytes: [UInt8]
        let name: [UInt8]
    }

    struct Call {
        let descriptor: Descriptor
        let form: DatagramForm
        let datagrams: [Datagram]
    }

    private struct State {
        var answers: [Answer]
        var calls: [Call] = []
    }

    private let state: Monitor<State>
    private let last: Answer?

    /// After `answers`, each call is answered with `last`, or all datagrams are sent.
    init(_ answers: [Answer] = [], then last: Answer? = nil) {
        state = Monitor(State(answers: answers))
        self.last = last
    }

    /// Returns the calls since the last `takeCalls`.
    func takeCalls() -> [Call] {
        state.withLock { state in
            defer { state.calls = [] }
            return state.calls
        }
    }

    func send(
        _ datagrams: UnsafeBufferPointer<OutgoingDatagram>, on descriptor: Descriptor,
        _ form: DatagramForm
    ) -> DatagramsSent {
        let copies = datagrams.map { Datagram(bytes: Array($0.bytes), name: Array($0.name)) }
        let call = Call(descriptor: descriptor, form: form, datagrams: copies)
        let answer = state.withLock { state in
            state.calls.append(call)
            return state.answers.isEmpty ? last : state.answers.removeFirst()
        }
        var result = DatagramsSent()
        switch answer ?? .sent(copies.count) {
        case .sent(let count, let bundles):
            result.count = count
            result.bundles = bundles
        case .error(let number, let refused):
            result.error = number
            result.refused = refused
        }
        return result
    }
}
