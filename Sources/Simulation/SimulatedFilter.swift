import MillraceEventLoop
import Synchronization

/// A filter without cryptography that does, by its seed, what filters do: it takes bytes in any
/// pieces, needs computations, adds records of its own, and refuses. It also checks the loop's
/// calls.
package final class SimulatedFilter: StreamFilter {
    private enum Step { case created, started, greeted, established, over }

    private let isServer: Bool
    private let plan: SimulatedFilters.Plan
    private let report: @Sendable (String) -> Void
    private var random: SeededRandom
    private var incoming = SimulatedRecords()
    private var outgoing = SimulatedRecords()
    private var wire: ArraySlice<UInt8> = []
    /// Opened bytes without room in the caller's memory.
    private var opened: ArraySlice<UInt8> = []
    private var step = Step.created
    private var hasSealedEnd = false
    /// The last flight was computed; the next call reports the end of the handshake.
    private var isEstablishedDue = false
    private let isComputing = ComputingMark()

    private final class ComputingMark: Sendable { let isSet = Atomic(false) }

    init(
        isServer: Bool, seed: UInt64, plan: SimulatedFilters.Plan,
        report: @escaping @Sendable (String) -> Void
    ) {
        self.isServer = isServer
        self.plan = plan
        self.report = report
        random = SeededRandom(seed: seed)
    }

    package func start(_ wire: WireOutput) {
        check(step == .created, "started twice")
        step = .started
        if !isServer { append(.hello, [], wire) }
    }

    package func open(
        _ sealed: UnsafeRawBufferPointer, into plain: UnsafeMutableRawBufferPointer,
        _ wire: WireOutput
    ) -> Opened {
        check(step != .created && step != .over, "opens at the step \(step)")
        var result = Opened()
        result.taken = min(sealed.count, random.happens(plan.pieces) ? 1 + random.below(50) : .max)
        self.wire += sealed.prefix(result.taken)
        if isEstablishedDue {
            isEstablishedDue = false
            result.event = establish(wire)
            return result
        }
        while true {
            result.plain += store(in: plain, from: result.plain)
            guard opened.isEmpty else { return result }
            guard let (kind, bytes) = incoming.next(from: &self.wire) else { return result }
            if let event = handle(kind, bytes, wire) {
                if case .failed = event { step = .over }
                if case .ended = event { step = .over }
                result.event = event
                return result
            }
        }
    }

    private func store(in plain: UnsafeMutableRawBufferPointer, from start: Int) -> Int {
        let part = opened.prefix(plain.count - start)
        for (index, byte) in part.enumerated() { plain[start + index] = byte }
        opened = opened.dropFirst(part.count)
        return part.count
    }

    private func handle(
        _ kind: SimulatedRecords.Kind, _ bytes: [UInt8], _ wire: WireOutput
    ) -> FilterEvent? {
        switch kind {
        case .hello where isServer && step == .started:
            if random.happens(plan.refusals) {
                append(.alert, [], wire)
                return .failed(Refused())
            }
            step = .greeted
            append(.hello, random.bytes(random.below(300)), wire)
            return computation()
        case .hello where !isServer && step == .started:
            step = .established
            append(.finished, [], wire)
            return .established
        case .finished where isServer && step == .greeted:
            guard let computation = computation() else { return establish(wire) }
            isEstablishedDue = true
            return computation
        case .data where step == .established:
            opened += bytes
            if random.happens(plan.asides) { append(.aside, [], wire) }
            return nil
        case .aside where step == .established: return nil
        case .end where step == .established: return .ended
        case .alert: return .failed(Refused())
        default:
            append(.alert, [], wire)
            return .failed(Refused())
        }
    }

    private func establish(_ wire: WireOutput) -> FilterEvent {
        step = .established
        if random.happens(plan.asides) { append(.aside, random.bytes(100), wire) }
        return .established
    }

    private func computation() -> FilterEvent? {
        guard random.happens(plan.computations) else { return nil }
        let mark = isComputing
        mark.isSet.store(true, ordering: .relaxed)
        return .working { mark.isSet.store(false, ordering: .relaxed) }
    }

    package func seal(_ plain: UnsafeRawBufferPointer, _ wire: WireOutput) -> Sealed {
        // The peer's end or alert may come between.
        check(step == .established || step == .over, "seals at the step \(step)")
        check(!hasSealedEnd, "seals behind its end")
        check(plain.count > 0, "seals nothing")
        guard !isInMessage else { return .later }
        var rest = plain[...]
        while !rest.isEmpty {
            let part = rest.prefix(random.happens(plan.pieces) ? 1 + random.below(1_000) : 16_384)
            append(.data, Array(part), wire)
            rest = rest.dropFirst(part.count)
        }
        return .done
    }

    package func sealEnd(_ wire: WireOutput) -> Sealed {
        check(!hasSealedEnd, "ends twice")
        guard !isInMessage else { return .later }
        hasSealedEnd = true
        append(.end, [], wire)
        return .done
    }

    /// A part of a message without bytes for the program has come. Its rest must be opened first.
    private var isInMessage: Bool {
        step == .established && wire.first == SimulatedRecords.Kind.aside.rawValue
    }

    package func cutOff() -> (any Error)? { Refused() }

    private func append(_ kind: SimulatedRecords.Kind, _ bytes: [UInt8], _ wire: WireOutput) {
        outgoing.record(kind, bytes).withUnsafeBytes { wire.append($0) }
    }

    private func check(_ isRight: Bool, _ text: @autoclosure () -> String) {
        if !isRight { report("filter: \(text())") }
        if isComputing.isSet.load(ordering: .relaxed) { report("filter: called while it computes") }
    }

    package struct Refused: Error { package init() {} }
}

/// The filters of a simulated run.
package final class SimulatedFilters: AcceptingFilters, ConnectingFilters {
    package struct Plan: Sendable {
        package var pieces: PerMille = 0
        package var asides: PerMille = 0
        package var refusals: PerMille = 0
        package var computations: PerMille = 0
        package var handshakesAtOnce = Int.max
        package var handshakeTimeout: Nanoseconds = 10_000_000_000

        package init() {}

        package static func drawn(from random: inout SeededRandom) -> Plan {
            var plan = Plan()
            plan.pieces = PerMille(random.pick([0, 300, 900]))
            plan.asides = PerMille(random.pick([0, 300]))
            plan.refusals = PerMille(random.pick([0, 0, 100]))
            plan.computations = PerMille(random.pick([0, 500]))
            plan.handshakesAtOnce = random.pick([1, 3, .max])
            return plan
        }
    }

    private let plan: Plan
    private let state: Monitor<(random: SeededRandom, violations: [String])>
    package let workers: WorkerPool?

    package init(seed: UInt64, plan: Plan = Plan(), workers: WorkerPool? = nil) {
        self.plan = plan
        self.workers = workers
        state = Monitor((SeededRandom(seed: seed), []))
    }

    package var handshakeTimeout: Nanoseconds { plan.handshakeTimeout }
    package var handshakesAtOnce: Int { plan.handshakesAtOnce }
    /// Rules that the loop broke.
    package var violations: [String] { state.withLock { $0.violations } }

    package func accepting(on loop: Int) -> any StreamFilter { make(isServer: true) }
    package func connecting(to peer: FilterPeer, on loop: Int) -> any StreamFilter {
        make(isServer: false)
    }

    private func make(isServer: Bool) -> SimulatedFilter {
        SimulatedFilter(
            isServer: isServer, seed: state.withLock { $0.random.next() }, plan: plan,
            report: { [state] text in state.withLock { $0.violations.append(text) } })
    }
}
