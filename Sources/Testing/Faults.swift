internal import MillraceEventLoop
internal import MillraceSimulation

/// The kinds of faults that a network may have. The seed draws how often each of them occurs, from
/// never to always, so that each seed is a different network.
public struct Faults: OptionSet, Sendable, Hashable {
    /// One bit for each kind.
    public let rawValue: Int

    /// Creates the set from its raw value.
    public init(rawValue: Int) { self.rawValue = rawValue }

    /// Bytes arrive in other pieces than those that were sent.
    public static let cuts = Faults(rawValue: 1 << 0)
    /// The kernel takes a part of a write only, or takes it late.
    public static let shortWrites = Faults(rawValue: 1 << 1)
    /// Bytes, ends, connects and offloaded work take some milliseconds.
    public static let delays = Faults(rawValue: 1 << 2)
    /// Events of different connections come in any order, one by one or many at once.
    public static let order = Faults(rawValue: 1 << 3)
    /// Peers read in small pieces, with pauses.
    public static let slowReaders = Faults(rawValue: 1 << 4)
    /// The network holds few bytes, so that a peer's stall is noticed soon.
    public static let smallWindows = Faults(rawValue: 1 << 5)
    /// Accepting fails for a while, like without a free descriptor; the loop tries again later.
    public static let acceptErrors = Faults(rawValue: 1 << 6)
    /// The network resets connections.
    public static let resets = Faults(rawValue: 1 << 7)
    /// Peers leave at any moment: with a close, a reset, or an end of their side.
    public static let departures = Faults(rawValue: 1 << 8)

    /// Faults that lose nothing: every peer must receive the same bytes as without them.
    public static let lossless: Faults = [
        .cuts, .shortWrites, .delays, .order, .slowReaders, .smallWindows,
    ]
    /// All faults. Peers may be cut off, so a test expects a beginning of the right bytes.
    public static let all: Faults = [.lossless, .acceptErrors, .resets, .departures]
}

/// The faults of one network, as drawn from its seed.
struct FaultMixture {
    var driver = FaultPlan.calm
    var network = NetworkPlan()
    var slowReaders: PerMille = 0
    var slowWriters: PerMille = 0
    var departures: PerMille = 0
    var offloadDelay: ClosedRange<Nanoseconds> = 0...0

    init(_ faults: Faults, _ random: inout SeededRandom) {
        // Everything is drawn, also for faults that are not wanted. So a seed gives a kind of fault
        // the same strength with and without the others.
        let drawn = FaultPlan.drawn(from: &random)
        let plan = NetworkPlan.drawn(from: &random)
        let delay = random.pick([0, 1_000, 100_000, 2_000_000])
        let latency = random.pick([0, 10_000, 1_000_000, 10_000_000])
        let resets = PerMille(random.pick([0, 10, 100]))
        let shares = (0..<3).map { _ in PerMille(random.pick([0, 300, 1000])) }
        if faults.contains(.cuts) {
            driver.chunk = drawn.chunk
            driver.shortReceives = drawn.shortReceives
            slowWriters = shares[0]
        }
        if faults.contains(.shortWrites) {
            driver.shortSends = drawn.shortSends
            driver.sendsAtOnce = drawn.sendsAtOnce
            driver.takesAtOnce = drawn.takesAtOnce
            driver.lateAnswers = drawn.lateAnswers
        }
        if faults.contains(.delays) {
            driver.delay = 0...Nanoseconds(delay)
            network.latency = 0...Nanoseconds(latency)
            offloadDelay = 0...Nanoseconds(latency)
        }
        if faults.contains(.order) {
            driver.completions = drawn.completions
            driver.shuffles = drawn.shuffles
            driver.spuriousWakeUps = drawn.spuriousWakeUps
            driver.endsAtOnce = drawn.endsAtOnce
            driver.answersAtClose = drawn.answersAtClose
        }
        if faults.contains(.slowReaders) { slowReaders = shares[1] }
        if faults.contains(.smallWindows) { network.capacity = plan.capacity }
        if faults.contains(.acceptErrors) { driver.acceptErrors = drawn.acceptErrors }
        if faults.contains(.resets) {
            driver.resets = resets
            network.resetsKeepInput = plan.resetsKeepInput
        }
        if faults.contains(.departures) { departures = shares[2] }
    }
}
