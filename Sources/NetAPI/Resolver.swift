internal import MillraceEventLoop

/// Looks up the addresses of host names, for `connect` and for the start of a server. The default
/// is the system's, `SystemResolver`; `Options.Names.resolver` replaces it, for example to cache or
/// to ask a service directory.
public protocol Resolver: Sendable {
    /// Begins a lookup, and calls `answer` once: with the addresses in digits (`"192.0.2.1"`,
    /// `"2001:db8::1"`, `"fe80::1%eth0"`) in the preferred order, or with an error. Addresses of
    /// each family are tried in this order, IPv6 first, the families in turn.
    ///
    /// Called on a loop's thread, by several loops at once, and must not block. `answer` may be
    /// called on any thread, also inside this call. A second answer, and one after the end of the
    /// connect, has no effect. If `answer` is released without a call, the lookup has failed. Of an
    /// answer, texts that are no addresses and those of another family are left out. At most 32
    /// addresses are kept, from the first 1,024 texts.
    func resolve(
        _ query: HostQuery, answer: @escaping @Sendable (Result<[String], any Error>) -> Void)
}

/// A question to a resolver.
public struct HostQuery: Sendable {
    /// A family of addresses.
    public enum Family: Sendable {
        case v4
        case v6
    }

    private let lookup: Lookup

    init(_ lookup: Lookup) { self.lookup = lookup }

    /// The name as it is in the address: at most 253 bytes of ASCII, perhaps with a dot at the end.
    /// In digits it would not be looked up.
    public var host: String { lookup.host }

    /// The family that the address asks for, as `tcp6://` does; nil: both.
    public var family: Family? {
        switch lookup.family {
        case .v4: .v4
        case .v6: .v6
        case nil: nil
        }
    }

    /// Indicates whether the answer still has an effect: false once the connect has timed out, was
    /// cancelled, or has its answer. A resolver can then leave out work that has not begun.
    public var isWanted: Bool { lookup.isWanted }
}

/// The system's resolver: getaddrinfo(3) on threads of its own, which start when first needed. It
/// keeps no answer; the system may, for example in nscd or systemd-resolved.
///
/// Nothing can interrupt getaddrinfo: a lookup whose connect is over occupies its thread until the
/// name servers' time-outs are over. Lookups that wait for a thread are dropped instead.
public final class SystemResolver: Resolver {
    private struct Waiting {
        let number: Int
        let query: HostQuery
        let answer: @Sendable (Result<[String], any Error>) -> Void
    }

    private struct State {
        var waiting = ArraySlice<Waiting>()
        /// The number of the next lookup.
        var next = 0
        /// Jobs of the pool that have not begun; each looks up one host.
        var jobs = 0
        var running = 0

        var count: Int { waiting.count + running }

        /// Takes out the lookups whose connects are over.
        mutating func dropUnwanted() -> [Waiting] {
            var dropped: [Waiting] = []
            waiting.removeAll {
                guard !$0.query.isWanted else { return false }
                dropped.append($0)
                return true
            }
            return dropped
        }
    }

    private let pool: WorkerPool
    /// The most lookups that wait or run.
    private let limit: Int
    private let state = Monitor(State())

    /// Creates a resolver with at most `threads` lookups at once, at least 1, and at most `queued`
    /// that wait. Above that a lookup fails with `.overloaded`.
    public init(threads: Int = 8, queued: Int = 1024) {
        let threads = max(1, min(threads, 1024))
        pool = WorkerPool(threads: threads, queued: .max)
        limit = threads + max(0, min(queued, 1 << 30))
    }

    deinit { pool.stop() }

    public func resolve(
        _ query: HostQuery, answer: @escaping @Sendable (Result<[String], any Error>) -> Void
    ) {
        // Let go of after the lock: objects of the program may call this again in their deinit.
        var dropped: [Waiting] = []
        let (number, needsJob) = state.withLock { state -> (Int?, Bool) in
            if state.count >= limit { dropped = state.dropUnwanted() }
            guard state.count < limit else { return (nil, false) }
            state.next += 1
            state.waiting.append(Waiting(number: state.next, query: query, answer: answer))
            // Those that were dropped have left their jobs.
            let needsJob = state.jobs < state.waiting.count
            if needsJob { state.jobs += 1 }
            return (state.next, needsJob)
        }
        guard let number else { return answer(.failure(NetError.tooManyLookups)) }
        guard needsJob, !pool.submit({ [state] in Self.lookUpNext(state) }) else { return }
        // No thread can be started, or the resolver has stopped. Another job may have taken it.
        let isLeft = state.withLock { state in
            state.jobs -= 1
            let place = state.waiting.firstIndex { $0.number == number }
            if let place { dropped.append(state.waiting.remove(at: place)) }
            return place != nil
        }
        if isLeft { return answer(.failure(NetError.tooManyLookups)) }
        // That job was for another lookup, which has none now.
        startMissingJob()
    }

    /// Starts a job if a lookup waits without one. If none can be started, the lookup fails.
    private func startMissingJob() {
        let isMissing = state.withLock { state in
            guard state.jobs < state.waiting.count else { return false }
            state.jobs += 1
            return true
        }
        guard isMissing, !pool.submit({ [state] in Self.lookUpNext(state) }) else { return }
        let last = state.withLock { state in
            state.jobs -= 1
            return state.waiting.popLast()
        }
        last?.answer(.failure(NetError.tooManyLookups))
    }

    /// Drops the lookups that wait for a thread.
    func stop() { pool.stop() }

    private static func lookUpNext(_ state: Monitor<State>) {
        let next = state.withLock { state in
            state.jobs -= 1
            let next = state.waiting.popFirst()
            if next != nil { state.running += 1 }
            return next
        }
        guard let next else { return }
        if next.query.isWanted { next.answer(lookUp(next.query)) }
        state.withLock { $0.running -= 1 }
    }

    private static func lookUp(_ query: HostQuery) -> Result<[String], any Error> {
        let family: AddressFamily? =
            switch query.family {
            case .v4: .v4
            case .v6: .v6
            case nil: nil
            }
        return SystemLookup.addresses(of: query.host, family: family).map { addresses in
            addresses.compactMap(\.hostText).map { text in
                text.hasPrefix("[") ? String(text.dropFirst().dropLast()) : text
            }
        }
    }
}

/// A program's resolver in the form for the loops.
struct LoopResolver: NameResolver {
    let resolver: any Resolver

    /// The texts of an answer that are looked at.
    private static var mostTexts: Int { 1024 }

    func resolve(_ lookup: Lookup, _ answer: LookupAnswer) {
        resolver.resolve(HostQuery(lookup)) { result in
            answer.give(result.flatMap { Self.addresses($0) })
        }
    }

    private static func addresses(_ texts: [String]) -> LookupAnswer.Found {
        let addresses = texts.prefix(mostTexts).compactMap { SocketAddress(host: $0, port: 0) }
        guard addresses.isEmpty, let first = texts.first else { return .success(addresses) }
        return .failure(WrongAnswer(text: first))
    }
}

/// A resolver's answer that has no address in digits.
private struct WrongAnswer: Error, CustomStringConvertible {
    let text: String
    var description: String { "the resolver's answer \(text.debugDescription) is no address" }
}

/// The resolver of simulated servers and clients: a real lookup would take real time.
struct NoResolver: Resolver {
    func resolve(
        _ query: HostQuery, answer: @escaping @Sendable (Result<[String], any Error>) -> Void
    ) {
        answer(
            .failure(
                NetError(
                    .unresolved, "a simulated network looks up no names",
                    "set options.names.resolver")))
    }
}
