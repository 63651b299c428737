import Synchronization

/// The seam between a connect by name and a resolver: a question, and its only answer.

/// Looks names up. May be called by several loops at once, and must not block its caller.
package protocol NameResolver: Sendable {
    /// Begins a lookup. The answer may come on any thread, also inside this call.
    func resolve(_ lookup: Lookup, _ answer: LookupAnswer)
}

/// One question to a resolver.
package final class Lookup: Sendable {
    package let host: String
    /// The family that the address asks for; nil: both.
    package let family: AddressFamily?
    private let isOver = Atomic(false)

    package init(host: String, family: AddressFamily?) {
        self.host = host
        self.family = family
    }

    /// Whether the answer still has an effect. False after the first answer, and when the connect
    /// is over.
    package var isWanted: Bool { !isOver.load(ordering: .relaxed) }

    /// Ends the lookup. True for the first call only.
    @discardableResult
    package func end() -> Bool { !isOver.exchange(true, ordering: .acquiringAndReleasing) }
}

/// The place for a lookup's answer. The first answer counts; later ones are dropped at no cost for
/// the loop. A resolver that drops this object without an answer has answered with an error.
package final class LookupAnswer: Sendable {
    package typealias Found = Result<[SocketAddress], any Error>

    private let lookup: Lookup
    private let deliver: @Sendable (Found) -> Void

    package init(_ lookup: Lookup, deliver: @escaping @Sendable (Found) -> Void) {
        self.lookup = lookup
        self.deliver = deliver
    }

    deinit { give(.failure(LookupDropped())) }

    package func give(_ found: Found) {
        guard lookup.end() else { return }
        deliver(found)
    }
}

/// The resolver has dropped a lookup without an answer.
package struct LookupDropped: Error, CustomStringConvertible {
    package var description: String { "the resolver has dropped the lookup without an answer" }
}
