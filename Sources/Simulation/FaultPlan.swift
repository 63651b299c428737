import EventLoop

/// What a simulated driver does to the loop above it, and how often. Everything here but `stale` is
/// what the seam allows a driver to do.
package struct FaultPlan: Sendable {
    /// From an operation to its completion, and between two completions of a stream.
    package var delay: ClosedRange<Nanoseconds> = 0...0
    /// The largest `received`.
    package var chunk = 65_536
    package var shortReceives: PerMille = 0
    package var shortSends: PerMille = 0
    /// Sends tried when they are submitted, as a readiness driver does; the others leave in a wait.
    package var sendsAtOnce: PerMille = 1000
    /// Of those that may be answered without a completion, how many are.
    package var takesAtOnce: PerMille = 1000
    /// Sends whose bytes leave in one wait and whose `sent` comes in a later one.
    package var lateAnswers: PerMille = 0
    /// Stops and closes answered when they are submitted.
    package var endsAtOnce: PerMille = 0
    /// Accepts that end with an error which says nothing of the listener: EMFILE and its like.
    package var acceptErrors: PerMille = 0
    /// Receives at which the network resets the stream, for both sides.
    package var resets: PerMille = 0
    /// Waits that return with nothing although there is something.
    package var spuriousWakeUps: PerMille = 0
    /// Closes that still deliver what was in flight or queued before `closed` comes.
    package var answersAtClose: PerMille = 0
    /// Closed tokens that are heard of once more. No driver should; a loop must drop it
    /// nevertheless.
    package var stale: PerMille = 0
    /// Completions that one wait makes ready.
    package var completions: ClosedRange<Int> = 256...256
    /// Whether ready tokens complete in any order, or in the order of their attachment.
    package var shuffles = false

    package init() {}

    /// Nothing goes wrong.
    package static let calm = FaultPlan()

    /// Everything that the seam allows, often.
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

    /// A mixture of its own for each seed, since faults that always come together hide each other.
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

/// What the simulated network is like.
package struct NetworkPlan: Sendable {
    /// Bytes that one direction of a stream holds: both socket buffers together.
    package var capacity: ClosedRange<Int> = 262_144...262_144
    /// Until a peer hears of what happened to its stream.
    package var latency: ClosedRange<Nanoseconds> = 0...0
    /// Sends of datagrams that the kernel refuses, for the moment or for good.
    package var datagramErrors: PerMille = 0
    /// Messages of several datagrams that the kernel will not cut.
    package var bundleRefusals: PerMille = 0
    /// Resets by a peer after which the server may still read what had arrived, as Linux lets it.
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
