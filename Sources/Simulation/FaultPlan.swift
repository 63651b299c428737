import MillraceEventLoop

/// The faults of a simulated driver, and how often they occur. The seam allows a driver all of them
/// except `stale`.
package struct FaultPlan: Sendable {
    /// The time from an operation to its completion, and between two completions of a stream.
    package var delay: ClosedRange<Nanoseconds> = 0...0
    /// The most bytes of one `received`.
    package var chunk = 65_536
    package var shortReceives: PerMille = 0
    package var shortSends: PerMille = 0
    /// Sends that are tried when they are submitted, like in a readiness driver; the others leave
    /// in a wait.
    package var sendsAtOnce: PerMille = 1000
    /// Sends answered without a completion, of those where that is allowed.
    package var takesAtOnce: PerMille = 1000
    /// Sends whose bytes leave in one wait and whose `sent` comes in a later one.
    package var lateAnswers: PerMille = 0
    /// Stops and closes that are answered when they are submitted.
    package var endsAtOnce: PerMille = 0
    /// Accepts and datagram receives that end with an error that is not about the socket, such as
    /// EMFILE.
    package var acceptErrors: PerMille = 0
    /// Receives at which the network resets the stream, for both sides.
    package var resets: PerMille = 0
    /// Waits that return without completions although there are some.
    package var spuriousWakeUps: PerMille = 0
    /// Closes that still deliver the operations in flight and the queued completions before
    /// `closed`.
    package var answersAtClose: PerMille = 0
    /// Closed tokens with one more completion. No driver should deliver it, but a loop must drop
    /// it.
    package var stale: PerMille = 0
    /// Completions that one wait makes ready.
    package var completions: ClosedRange<Int> = 256...256
    /// Whether ready tokens complete in any order, or in the order in which they became ready.
    package var shuffles = false

    package init() {}

    /// A plan without faults.
    package static let calm = FaultPlan()

    /// A plan of frequent faults, all of which the seam allows.
    package static var turbulent: FaultPlan {
        var plan = FaultPlan()
        plan.delay = 0...200_000
        plan.chunk = 16_384
        plan.shortReceives = 400
        plan.shortSends = 400
        plan.sendsAtOnce = 500
        plan.takesAtOnce = 300
        plan.lateAnswers = 300
        plan.endsAtOnce = 300
        plan.spuriousWakeUps = 100
        plan.answersAtClose = 500
        plan.completions = 1...64
        plan.shuffles = true
        return plan
    }

    /// Returns a different mixture for each seed, since faults that always occur together hide each
    /// other.
    package static func drawn(from random: inout SeededRandom) -> FaultPlan {
        var plan = FaultPlan()
        plan.delay = 0...random.pick([0, 1_000, 100_000, 20_000_000])
        plan.chunk = random.pick([64, 1_024, 16_384, 65_536])
        plan.shortReceives = PerMille(random.pick([0, 100, 500, 1000]))
        plan.shortSends = PerMille(random.pick([0, 100, 500, 1000]))
        plan.sendsAtOnce = PerMille(random.pick([0, 500, 1000]))
        plan.takesAtOnce = PerMille(random.pick([0, 500, 1000]))
        plan.lateAnswers = PerMille(random.pick([0, 200, 800]))
        plan.endsAtOnce = PerMille(random.pick([0, 300, 1000]))
        plan.acceptErrors = PerMille(random.pick([0, 0, 100, 400]))
        plan.resets = PerMille(random.pick([0, 0, 0, 10]))
        plan.spuriousWakeUps = PerMille(random.pick([0, 50, 300]))
        plan.answersAtClose = PerMille(random.pick([0, 500, 1000]))
        plan.stale = PerMille(random.pick([0, 200, 1000]))
        plan.completions = 1...random.pick([1, 4, 32, 256])
        plan.shuffles = random.happens(800)
        return plan
    }
}

/// The properties of a simulated network.
package struct NetworkPlan: Sendable {
    /// Bytes that one direction of a stream holds: both socket buffers together.
    package var capacity: ClosedRange<Int> = 262_144...262_144
    /// The time until a peer notices an event on its stream, and until a datagram arrives.
    package var latency: ClosedRange<Nanoseconds> = 0...0
    /// Sends of datagrams that the kernel refuses, for the moment or permanently.
    package var datagramErrors: PerMille = 0
    /// Messages of several datagrams that the kernel refuses to cut.
    package var bundleRefusals: PerMille = 0
    /// Resets by a peer after which the server can still read the bytes that had arrived, like on
    /// Linux.
    package var resetsKeepInput: PerMille = 1000

    package init() {}

    package static func drawn(from random: inout SeededRandom) -> NetworkPlan {
        var plan = NetworkPlan()
        let largest = random.pick([256, 4_096, 65_536, 1_048_576])
        plan.capacity = (largest / 4)...largest
        plan.latency = 0...random.pick([0, 10_000, 1_000_000, 50_000_000])
        plan.resetsKeepInput = PerMille(random.pick([0, 500, 1000]))
        return plan
    }
}
