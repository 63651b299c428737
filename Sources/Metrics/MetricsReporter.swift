/// The counters of servers and clients through swift-metrics, with the trait `Metrics`.

#if Metrics
public import CoreMetrics
internal import class MillraceEventLoop.Monitor
public import NetAPI

#if ServiceLifecycle
public import ServiceLifecycle

/// A reporter is a service where both traits are on.
extension MetricsReporter: Service {}
#endif

/// Reports the counters of a server or a client, its `Statistics`, to a metrics system.
///
/// A metric has the name of its field in snake case, with `millrace_` in front. Counters end in
/// `_total`: their increments since the last report are reported. The present values of
/// `millrace_open`, `millrace_lingering`, `millrace_offloads_waiting` and
/// `millrace_longest_turn_seconds` are reported as gauges.
///
/// The loops do nothing for a report: the reporter reads their counters on the thread that calls
/// it. Methods may be called from any thread. A reporter keeps its server.
public final class MetricsReporter: Sendable {
    private let read: @Sendable () -> Statistics
    private let period: Duration
    private let instruments: [Instrument]
    /// The value of each counter in the last report, by its place in `instruments`.
    private let reported: Monitor<[Int]>

    /// Creates a reporter of a server.
    ///
    /// `period` is the time between two reports of `run()`; less than a millisecond counts as one.
    /// Each metric has `dimensions`, which must tell several servers of a process apart. `factory`
    /// makes the metrics now; nil: the factory of `MetricsSystem.bootstrap`, which must have been
    /// called before.
    public convenience init(
        _ server: Server, every period: Duration = .seconds(10),
        dimensions: [(String, String)] = [], factory: (any MetricsFactory)? = nil
    ) {
        self.init(period, Instrument.all(dimensions, factory)) { server.statistics }
    }

    /// Creates a reporter of a client, with the same parameters as one of a server.
    public convenience init(
        _ client: Client, every period: Duration = .seconds(10),
        dimensions: [(String, String)] = [], factory: (any MetricsFactory)? = nil
    ) {
        self.init(period, Instrument.all(dimensions, factory)) { client.statistics }
    }

    private init(
        _ period: Duration, _ instruments: [Instrument], read: @escaping @Sendable () -> Statistics
    ) {
        self.read = read
        // `Task.sleep` traps above Int64.max seconds. This is 73 years.
        self.period = min(max(period, .milliseconds(1)), .nanoseconds(Int64.max / 4))
        self.instruments = instruments
        reported = Monitor(Array(repeating: 0, count: instruments.count))
    }

    /// Reports once. Of calls that overlap, each increment is reported by one.
    public func report() {
        let (statistics, increments) = take()
        for (instrument, increment) in zip(instruments, increments) {
            switch instrument {
            case .counter(_, let counter): if increment > 0 { counter.increment(by: increment) }
            case .gauge(let field, let gauge): gauge.record(statistics[keyPath: field])
            case .seconds(let field, let gauge):
                gauge.record(statistics[keyPath: field] / .seconds(1))
            }
        }
    }

    /// Returns the counters, and the increment of each instrument since the last call; 0 for
    /// gauges.
    private func take() -> (Statistics, [Int]) {
        reported.withLock { reported in
            let statistics = read()
            let increments = instruments.indices.map { place in
                guard case .counter(let field, _) = instruments[place] else { return 0 }
                // Less only after a start that failed: the loops and their counters are gone.
                let increment = max(0, statistics[keyPath: field] - reported[place])
                reported[place] += increment
                return increment
            }
            return (statistics, increments)
        }
    }

    /// Reports after each period, and a last time at the end. Returns when its task is cancelled
    /// or, with the trait `ServiceLifecycle`, when its group shuts down gracefully.
    ///
    /// A group shuts its services down in the reverse order of its list. A reporter in front of its
    /// server ends after the drain, so its last report is complete.
    public func run() async {
        #if ServiceLifecycle
        await cancelWhenGracefulShutdown { await self.reportUntilCancelled() }
        #else
        await reportUntilCancelled()
        #endif
        report()
    }

    private func reportUntilCancelled() async {
        while (try? await Task.sleep(for: period)) != nil { report() }
    }
}

/// A metric of the metrics system, with the field that it shows.
private enum Instrument: Sendable {
    case counter(WritableKeyPath<Statistics, Int> & Sendable, Counter)
    case gauge(WritableKeyPath<Statistics, Int> & Sendable, Gauge)
    case seconds(WritableKeyPath<Statistics, Duration> & Sendable, Gauge)

    /// Makes a metric for each row of the table.
    static func all(
        _ dimensions: [(String, String)], _ factory: (any MetricsFactory)?
    ) -> [Instrument] {
        let factory = factory ?? MetricsSystem.factory
        return Metric.all.map { metric in
            func gauge() -> Gauge {
                Gauge(label: metric.name, dimensions: dimensions, factory: factory)
            }
            return switch metric.kind {
            case .counter(let field):
                .counter(
                    field,
                    Counter(label: metric.name, dimensions: dimensions, factory: factory))
            case .gauge(let field): .gauge(field, gauge())
            case .seconds(let field): .seconds(field, gauge())
            }
        }
    }
}
#else
/// Exists with the trait only.
@available(
    *, unavailable, message: "give the dependency on millrace traits: [\"Metrics\"]"
)
public struct MetricsReporter: Sendable {
    /// Exists so that a call of it is reported as unavailable, rather than as unknown.
    public init<Source>(
        _ source: Source, every period: Duration = .seconds(10),
        dimensions: [(String, String)] = []
    ) {}
}
#endif
